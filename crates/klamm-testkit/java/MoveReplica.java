import java.util.List;
import java.util.Map;
import java.util.Properties;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.DescribeReplicaLogDirsResult.ReplicaLogDirInfo;
import org.apache.kafka.common.TopicPartitionReplica;

/** Moves a replica to another log directory with Kafka's own client, and waits until it is there. */
public class MoveReplica {
    private static final long WAIT_MAX_MS = 60_000;

    public static void main(String[] args) throws Exception {
        var replica = new TopicPartitionReplica(args[1], Integer.parseInt(args[2]), Integer.parseInt(args[3]));
        var directory = args[4];
        var properties = new Properties();
        properties.put("bootstrap.servers", args[0]);
        try (var admin = Admin.create(properties)) {
            System.out.println("from " + describe(admin, replica).getCurrentReplicaLogDir());
            admin.alterReplicaLogDirs(Map.of(replica, directory)).all().get();
            var deadline = System.currentTimeMillis() + WAIT_MAX_MS;
            var wasUnderWay = false;
            while (true) {
                var info = describe(admin, replica);
                if (info.getFutureReplicaLogDir() == null) {
                    System.out.println((wasUnderWay ? "was under way, " : "") + "in " + info.getCurrentReplicaLogDir());
                    return;
                }
                wasUnderWay |= info.getFutureReplicaLogDir().equals(directory) && info.getFutureReplicaOffsetLag() >= 0;
                if (System.currentTimeMillis() > deadline) {
                    throw new IllegalStateException("it is still on its way: " + info);
                }
                Thread.sleep(50);
            }
        }
    }

    private static ReplicaLogDirInfo describe(Admin admin, TopicPartitionReplica replica) throws Exception {
        return admin.describeReplicaLogDirs(List.of(replica)).all().get().get(replica);
    }
}
