import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.util.Map;
import java.util.Properties;
import org.apache.kafka.clients.consumer.ConsumerGroupMetadata;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.StringSerializer;

/** A transactional producer that does what its input says, a line each, and tells what came of it. */
public class Scripted {
    public static void main(String[] args) throws Exception {
        Properties config = new Properties();
        config.put("bootstrap.servers", args[0]);
        config.put("transactional.id", args[1]);
        config.put("transaction.timeout.ms", args[2]);
        config.put("max.block.ms", "30000");
        config.put("reconnect.backoff.max.ms", "100");
        var texts = new StringSerializer();
        var producer = new KafkaProducer<String, String>(config, texts, texts);
        var input = new BufferedReader(new InputStreamReader(System.in));
        for (String line = input.readLine(); line != null; line = input.readLine()) {
            String answer;
            try {
                act(producer, line.split(" "));
                answer = "ok";
            } catch (Exception error) {
                Throwable cause = error;
                while (cause.getCause() != null) {
                    cause = cause.getCause();
                }
                answer = "error " + cause.getClass().getSimpleName();
            }
            System.out.println(answer);
        }
        // A transaction stays open as a process that dies leaves it.
        Runtime.getRuntime().halt(0);
    }

    static void act(KafkaProducer<String, String> producer, String[] words) throws Exception {
        switch (words[0]) {
            case "init" -> producer.initTransactions();
            case "begin" -> producer.beginTransaction();
            case "send" -> {
                var record = new ProducerRecord<String, String>(words[1], Integer.valueOf(words[2]), null, words[3]);
                producer.send(record).get();
            }
            case "offset" -> {
                var place = new TopicPartition(words[2], Integer.parseInt(words[3]));
                var offset = new OffsetAndMetadata(Long.parseLong(words[4]));
                producer.sendOffsetsToTransaction(Map.of(place, offset), new ConsumerGroupMetadata(words[1]));
            }
            case "commit" -> producer.commitTransaction();
            case "abort" -> producer.abortTransaction();
            default -> throw new IllegalArgumentException(words[0]);
        }
    }
}
