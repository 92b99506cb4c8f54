import java.time.Duration;
import java.util.ArrayList;
import java.util.Collection;
import java.util.List;
import java.util.Properties;
import java.util.Scanner;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.SubscriptionPattern;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.WakeupException;
import org.apache.kafka.common.serialization.StringDeserializer;

/**
 * A member of each of many groups, which are called ASSIGNOR-KIND-HOW (such as range-static-pattern)
 * and use what their name says. Arguments: servers, the member's name, the groups. It prints
 * "GROUP + TIME PARTITIONS" for what it got, with "-" for what it gave back and "!" for what it lost,
 * and "GROUP = VALUES" for what it read. A line "again" closes all of its consumers and makes new
 * ones, the end of input closes them.
 */
public class Members {
    static final StringDeserializer TEXT = new StringDeserializer();

    public static void main(String[] args) throws Exception {
        var input = new Scanner(System.in);
        boolean again = true;
        while (again) {
            var members = new ArrayList<Member>();
            for (var group : List.of(args).subList(2, args.length)) {
                members.add(new Member(args[0], args[1], group));
            }
            members.forEach(Thread::start);
            again = input.hasNextLine() && input.nextLine().equals("again");
            members.forEach(member -> member.consumer.wakeup());
            for (var member : members) {
                member.join();
            }
            System.out.println("closed");
        }
    }

    static class Member extends Thread implements ConsumerRebalanceListener {
        final String group;
        final KafkaConsumer<String, String> consumer;

        Member(String servers, String name, String group) {
            this.group = group;
            var how = group.split("-");
            var config = new Properties();
            config.put("bootstrap.servers", servers);
            config.put("group.id", group);
            config.put("client.id", name);
            config.put("auto.offset.reset", "earliest");
            config.put("auto.commit.interval.ms", "200");
            config.put("metadata.max.age.ms", "1000");
            config.put("reconnect.backoff.max.ms", "100");
            if (how[1].equals("static")) {
                config.put("group.instance.id", name);
            }
            if (how[0].equals("consumer")) {
                config.put("group.protocol", "consumer");
            } else {
                var assignor = how[0].equals("range") ? "RangeAssignor" : "CooperativeStickyAssignor";
                config.put("partition.assignment.strategy", "org.apache.kafka.clients.consumer." + assignor);
                config.put("session.timeout.ms", "6000");
                config.put("heartbeat.interval.ms", "500");
            }
            consumer = new KafkaConsumer<>(config, TEXT, TEXT);
            if (how[2].equals("names")) {
                consumer.subscribe(List.of("work-1"), this);
            } else if (how[0].equals("consumer")) {
                consumer.subscribe(new SubscriptionPattern("work-.*"), this);
            } else {
                consumer.subscribe(Pattern.compile("work-.*"), this);
            }
        }

        @Override
        public void run() {
            try (consumer) {
                while (true) {
                    var values = new StringBuilder();
                    consumer.poll(Duration.ofMillis(200)).forEach(record -> values.append(" ").append(record.value()));
                    if (!values.isEmpty()) {
                        System.out.println(group + " =" + values);
                    }
                }
            } catch (WakeupException closed) {
                // It is closed on the way out.
            } catch (RuntimeException error) {
                System.err.println(group + " ends: " + error);
                throw error;
            }
        }

        void tell(String what, Collection<TopicPartition> partitions) {
            var time = System.currentTimeMillis();
            var names = partitions.stream().map(TopicPartition::toString).collect(Collectors.joining(" "));
            System.out.println(group + " " + what + " " + time + " " + names);
        }

        @Override
        public void onPartitionsAssigned(Collection<TopicPartition> partitions) {
            tell("+", partitions);
        }

        @Override
        public void onPartitionsRevoked(Collection<TopicPartition> partitions) {
            tell("-", partitions);
        }

        @Override
        public void onPartitionsLost(Collection<TopicPartition> partitions) {
            tell("!", partitions);
        }
    }
}
