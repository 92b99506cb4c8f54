import java.time.Duration;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.AuthorizationException;
import org.apache.kafka.common.errors.OutOfOrderSequenceException;
import org.apache.kafka.common.errors.ProducerFencedException;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

/** Copies "in" to "out" exactly once, in transactions; every seventh is aborted and done again. */
public class Pipeline {
    static final StringSerializer WRITE = new StringSerializer();
    static final StringDeserializer READ = new StringDeserializer();
    static int transactions = 0;

    public static void main(String[] args) {
        while (true) {
            try {
                live(args[0], args[1], args[2]);
            } catch (KafkaException error) {
                System.err.println("begins again after " + error);
            }
        }
    }

    static void live(String bootstrap, String transactionalId, String group) {
        Properties base = new Properties();
        base.put("bootstrap.servers", bootstrap);
        base.put("reconnect.backoff.max.ms", "100");
        Properties writing = new Properties();
        writing.putAll(base);
        writing.put("transactional.id", transactionalId);
        writing.put("transaction.timeout.ms", "3000");
        Properties reading = new Properties();
        reading.putAll(base);
        reading.put("group.id", group);
        reading.put("isolation.level", "read_committed");
        reading.put("enable.auto.commit", "false");
        reading.put("auto.offset.reset", "earliest");
        reading.put("max.poll.records", "20");
        reading.put("session.timeout.ms", "1500");
        reading.put("heartbeat.interval.ms", "300");
        try (var producer = new KafkaProducer<String, String>(writing, WRITE, WRITE);
                var consumer = new KafkaConsumer<String, String>(reading, READ, READ)) {
            producer.initTransactions();
            consumer.subscribe(List.of("in"));
            while (true) {
                ConsumerRecords<String, String> records = consumer.poll(Duration.ofMillis(200));
                if (records.isEmpty()) {
                    continue;
                }
                try {
                    copy(producer, consumer, records);
                } catch (ProducerFencedException | OutOfOrderSequenceException | AuthorizationException fatal) {
                    throw fatal;
                } catch (KafkaException error) {
                    System.err.println("aborts after " + error);
                    producer.abortTransaction();
                    rewind(consumer);
                }
            }
        }
    }

    static void copy(
            KafkaProducer<String, String> producer,
            KafkaConsumer<String, String> consumer,
            ConsumerRecords<String, String> records) {
        producer.beginTransaction();
        Map<TopicPartition, OffsetAndMetadata> offsets = new HashMap<>();
        for (var record : records) {
            producer.send(new ProducerRecord<>("out", record.partition(), null, record.value()));
            var place = new TopicPartition(record.topic(), record.partition());
            offsets.put(place, new OffsetAndMetadata(record.offset() + 1));
        }
        producer.sendOffsetsToTransaction(offsets, consumer.groupMetadata());
        if (++transactions % 7 == 0) {
            producer.abortTransaction();
            rewind(consumer);
            return;
        }
        producer.commitTransaction();
        System.out.println("committed " + records.count());
    }

    static void rewind(KafkaConsumer<String, String> consumer) {
        consumer.committed(consumer.assignment()).forEach((place, offset) -> {
            if (offset == null) {
                consumer.seekToBeginning(List.of(place));
            } else {
                consumer.seek(place, offset);
            }
        });
    }
}
