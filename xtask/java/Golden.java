// Writes the bytes that Apache Kafka's own classes make of messages. Never part of a release.
//
// usage: java -cp 'lib/*' Golden.java INPUT OUTPUT
// Each line of INPUT, tab-separated: class, version to write, version of the JSON, a message as
// JSON or "-" for the default.
// OUTPUT has for each line four bytes of length and the bytes, or the length -1 if Kafka refuses.

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.DataOutputStream;
import java.lang.reflect.InvocationTargetException;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import org.apache.kafka.common.protocol.Message;
import org.apache.kafka.common.protocol.MessageUtil;

public class Golden {
    public static void main(String[] args) throws Exception {
        ObjectMapper mapper = new ObjectMapper();
        int refused = 0;
        try (var lines = Files.newBufferedReader(Path.of(args[0]));
                var out = new DataOutputStream(Files.newOutputStream(Path.of(args[1])))) {
            for (String line = lines.readLine(); line != null; line = lines.readLine()) {
                String[] parts = line.split("\t", 4);
                byte[] bytes = bytes(mapper, parts);
                out.writeInt(bytes == null ? -1 : bytes.length);
                if (bytes == null) {
                    refused++;
                } else {
                    out.write(bytes);
                }
            }
        }
        System.err.println("refused by Kafka: " + refused);
    }

    private static byte[] bytes(ObjectMapper mapper, String[] parts) throws Exception {
        String name = parts[0];
        short version = Short.parseShort(parts[1]);
        short jsonVersion = Short.parseShort(parts[2]);
        String json = parts[3];
        Message message;
        if (json.equals("-")) {
            message = (Message) Class.forName(name).getDeclaredConstructor().newInstance();
        } else {
            var read = Class.forName(name + "JsonConverter")
                    .getMethod("read", JsonNode.class, short.class);
            try {
                message = (Message) read.invoke(null, mapper.readTree(json), jsonVersion);
            } catch (InvocationTargetException e) {
                throw new IllegalStateException(name + " v" + version + ": " + json, e.getCause());
            }
        }
        try {
            ByteBuffer buffer = MessageUtil.toByteBufferAccessor(message, version).buffer();
            byte[] bytes = new byte[buffer.remaining()];
            buffer.get(bytes);
            return bytes;
        } catch (RuntimeException refused) {
            return null;
        }
    }
}
