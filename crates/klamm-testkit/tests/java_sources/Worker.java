import org.apache.kafka.connect.cli.ConnectDistributed;
import org.apache.kafka.connect.runtime.Connect;
import org.apache.kafka.connect.runtime.distributed.DistributedHerder;

/** A distributed worker of Kafka Connect that says where it listens. Argument: its properties. */
public class Worker extends ConnectDistributed {
    Worker(String... args) {
        super(args);
    }

    public static void main(String[] args) {
        new Worker(args).run();
    }

    @Override
    public void processExtraArgs(Connect<DistributedHerder> connect, String[] none) {
        var url = connect.rest().advertisedUrl();
        System.out.println("listens " + url.getHost() + ":" + url.getPort());
    }
}
