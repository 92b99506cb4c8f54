import java.util.Scanner;
import org.apache.kafka.common.utils.Exit;
import org.apache.kafka.tools.consumer.group.ConsumerGroupCommand;

/**
 * Kafka's tool for groups, called once for each line of input, since Java takes long to start. A line
 * has the arguments, with spaces between. Argument: servers. What it says ends with a line "END".
 */
public class Commands {
    public static void main(String[] args) {
        System.setErr(System.out);
        Exit.setExitProcedure((code, message) -> {
            throw new IllegalStateException("exits with " + code + (message == null ? "" : ": " + message));
        });
        var input = new Scanner(System.in);
        while (input.hasNextLine()) {
            var command = ("--bootstrap-server " + args[0] + " " + input.nextLine()).split(" ");
            try {
                ConsumerGroupCommand.main(command);
            } catch (IllegalStateException end) {
                System.out.println(end.getMessage());
            }
            System.out.println("END");
        }
        Exit.resetExitProcedure();
    }
}
