import java.time.Duration;
import java.util.Arrays;
import java.util.Properties;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.kstream.Produced;

/** Kafka Streams with exactly_once_v2: counts the words of "lines", and joins "orders" with "prices". */
public class Streaming {
    public static void main(String[] args) {
        Properties config = new Properties();
        config.put("bootstrap.servers", args[0]);
        config.put("application.id", "streaming");
        config.put("state.dir", args[1]);
        config.put("processing.guarantee", "exactly_once_v2");
        config.put("num.stream.threads", "1");
        // An order waits for the prices of its time.
        config.put("max.task.idle.ms", "1000");
        config.put("replication.factor", "1");
        config.put("default.key.serde", Serdes.StringSerde.class);
        config.put("default.value.serde", Serdes.StringSerde.class);
        config.put("auto.offset.reset", "earliest");
        config.put("consumer.session.timeout.ms", "2000");
        config.put("consumer.heartbeat.interval.ms", "400");
        config.put("producer.transaction.timeout.ms", "5000");
        config.put("reconnect.backoff.max.ms", "100");
        StreamsBuilder builder = new StreamsBuilder();
        builder.<String, String>stream("lines")
                .flatMapValues(line -> Arrays.asList(line.split(" ")))
                .groupBy((key, word) -> word)
                .count()
                .toStream()
                .to("counts", Produced.with(Serdes.String(), Serdes.Long()));
        builder.<String, String>stream("orders")
                .join(builder.<String, String>table("prices"), (order, price) -> order + "@" + price)
                .to("joined");
        KafkaStreams streams = new KafkaStreams(builder.build(), config);
        streams.setUncaughtExceptionHandler(error -> {
            error.printStackTrace();
            return org.apache.kafka.streams.errors.StreamsUncaughtExceptionHandler.StreamThreadExceptionResponse
                    .REPLACE_THREAD;
        });
        streams.setStateListener((now, before) -> System.out.println("state " + now));
        streams.start();
    }
}
