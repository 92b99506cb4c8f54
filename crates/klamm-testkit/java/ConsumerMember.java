import java.time.Duration;
import java.util.List;
import java.util.Properties;
import java.util.TreeSet;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.SubscriptionPattern;
import org.apache.kafka.common.errors.WakeupException;
import org.apache.kafka.common.serialization.StringDeserializer;

/**
 * A member of a group of the consumer protocol: prints what it has whenever that changes, and the
 * values that it reads. Arguments: servers, group, "name", "pattern", or "classic" for a member of
 * the classic protocol, which, instance id.
 */
public class ConsumerMember {
    public static void main(String[] args) throws Exception {
        var properties = new Properties();
        properties.put("bootstrap.servers", args[0]);
        properties.put("group.id", args[1]);
        properties.put("group.protocol", args[2].equals("classic") ? "classic" : "consumer");
        if (args[2].equals("classic")) {
            properties.put("session.timeout.ms", "6000");
            properties.put("heartbeat.interval.ms", "500");
        }
        properties.put("auto.offset.reset", "earliest");
        properties.put("auto.commit.interval.ms", "200");
        properties.put("metadata.max.age.ms", "1000");
        if (args.length > 4) {
            properties.put("group.instance.id", args[4]);
        }
        var text = new StringDeserializer();
        var consumer = new KafkaConsumer<String, String>(properties, text, text);
        var main = Thread.currentThread();
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            consumer.wakeup();
            try {
                main.join();
            } catch (InterruptedException interrupted) {
                Thread.currentThread().interrupt();
            }
        }));
        if (args[2].equals("pattern")) {
            consumer.subscribe(new SubscriptionPattern(args[3]));
        } else {
            consumer.subscribe(List.of(args[3]));
        }
        var told = "";
        try {
            while (true) {
                for (var record : consumer.poll(Duration.ofMillis(100))) {
                    System.out.println(record.value());
                }
                var has = new TreeSet<String>();
                consumer.assignment().forEach(partition -> has.add(partition.toString()));
                if (!has.toString().equals(told)) {
                    told = has.toString();
                    System.out.println("has " + String.join(" ", has));
                }
            }
        } catch (WakeupException stopped) {
            System.out.println("leaves");
        } finally {
            consumer.close();
        }
    }
}
