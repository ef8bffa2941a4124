import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.fail;

import com.rabbitmq.client.AMQP;
import com.rabbitmq.client.AMQP.BasicProperties;
import com.rabbitmq.client.Channel;
import com.rabbitmq.client.Connection;
import com.rabbitmq.client.ConnectionFactory;
import com.rabbitmq.client.Delivery;
import com.rabbitmq.client.GetResponse;
import com.rabbitmq.client.MessageProperties;
import com.rabbitmq.client.ShutdownSignalException;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayDeque;
import java.util.Deque;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.UUID;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.Callable;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.function.Executable;

/** The broker under test: one session per test, which takes away what it declared by name. */
final class Broker implements AutoCloseable {
    static final Duration DEADLINE = Duration.ofSeconds(15);
    static final BasicProperties PERSISTENT = MessageProperties.PERSISTENT_BASIC;

    final Connection connection;
    final Channel channel;
    private final Deque<Cleanup> cleanups = new ArrayDeque<>();

    private interface Cleanup {
        void on(Channel channel) throws Exception;
    }

    Broker() throws Exception {
        this(factory());
    }

    Broker(ConnectionFactory factory) throws Exception {
        connection = factory.newConnection("interop java");
        channel = connection.createChannel();
    }

    static ConnectionFactory factory() throws Exception {
        ConnectionFactory factory = new ConnectionFactory();
        factory.setHost(Objects.requireNonNullElse(System.getenv("AMQP_HOST"), "127.0.0.1"));
        factory.setPort(Integer.parseInt(Objects.requireNonNullElse(System.getenv("AMQP_PORT"), "5672")));
        if (System.getenv("AMQP_URL") != null) {
            factory.setUri(System.getenv("AMQP_URL"));
        }
        // A test that loses its connection should see that, not a new one.
        factory.setAutomaticRecoveryEnabled(false);
        return factory;
    }

    static String unique(String stem) {
        return "interop.java." + stem + "." + UUID.randomUUID();
    }

    String queue() throws Exception {
        return queue(Map.of());
    }

    String queue(Map<String, Object> arguments) throws Exception {
        return queue(unique("queue"), arguments);
    }

    String queue(String name, Map<String, Object> arguments) throws Exception {
        channel.queueDeclare(name, true, false, false, arguments);
        cleanups.push(cleaner -> cleaner.queueDelete(name));
        return name;
    }

    String exchange(String type) throws Exception {
        return exchange(type, Map.of());
    }

    String exchange(String type, Map<String, Object> arguments) throws Exception {
        String name = unique(type);
        channel.exchangeDeclare(name, type, true, false, arguments);
        cleanups.push(cleaner -> cleaner.exchangeDelete(name));
        return name;
    }

    void send(String queue, String body) throws Exception {
        channel.basicPublish("", queue, PERSISTENT, body.getBytes());
    }

    void publish(String exchange, String key, String body) throws Exception {
        channel.basicPublish(exchange, key, null, body.getBytes());
    }

    Inbox consume(String queue, boolean autoAck) throws Exception {
        return consume(queue, autoAck, Map.of());
    }

    Inbox consume(String queue, boolean autoAck, Map<String, Object> arguments) throws Exception {
        Inbox inbox = new Inbox();
        inbox.tag = channel.basicConsume(
                queue, autoAck, arguments, (tag, delivery) -> inbox.deliveries.add(delivery), inbox.cancels::add);
        return inbox;
    }

    /** Consumes an exclusive queue of its own that is bound by each key. */
    Inbox subscribe(String exchange, String... keys) throws Exception {
        String queue = channel.queueDeclare().getQueue();
        for (String key : keys) {
            channel.queueBind(queue, exchange, key);
        }
        return consume(queue, true);
    }

    long ready(String queue) throws Exception {
        return channel.messageCount(queue);
    }

    GetResponse get(String queue, boolean autoAck) throws Exception {
        GetResponse[] got = new GetResponse[1];
        eventually("a message in " + queue, () -> (got[0] = channel.basicGet(queue, autoAck)) != null);
        return got[0];
    }

    @Override
    public void close() throws Exception {
        if (!connection.isOpen()) {
            return;
        }
        // A channel of its own: the test's may have ended with an error.
        Channel cleaner = connection.createChannel();
        for (Cleanup cleanup : cleanups) {
            cleanup.on(cleaner);
        }
        connection.close();
    }

    /** What a consumer is given. */
    static final class Inbox {
        final BlockingQueue<Delivery> deliveries = new LinkedBlockingQueue<>();
        final BlockingQueue<String> cancels = new LinkedBlockingQueue<>();
        String tag;

        Delivery next() throws Exception {
            return take(deliveries, "a message");
        }

        void expect(String... bodies) throws Exception {
            for (String body : bodies) {
                assertEquals(body, text(next()));
            }
        }
    }

    static <T> T take(BlockingQueue<T> items, String what) throws Exception {
        T item = items.poll(DEADLINE.toMillis(), TimeUnit.MILLISECONDS);
        assertNotNull(item, () -> what + ": nothing after " + DEADLINE);
        return item;
    }

    /** Asks again until the answer is yes; for state that only a question can reveal. */
    static void eventually(String what, Callable<Boolean> ask) throws Exception {
        Instant end = Instant.now().plus(DEADLINE);
        while (!ask.call()) {
            if (Instant.now().isAfter(end)) {
                fail(what + ": not after " + DEADLINE);
            }
            Thread.sleep(10);
        }
    }

    static String text(Delivery delivery) {
        return new String(delivery.getBody());
    }

    static String text(GetResponse response) {
        return new String(response.getBody());
    }

    /** The newest record of `x-death`. */
    @SuppressWarnings("unchecked")
    static Map<String, Object> death(BasicProperties properties) {
        return ((List<Map<String, Object>>) properties.getHeaders().get("x-death")).get(0);
    }

    /** Runs what the broker should answer with channel.close of this code and text. */
    static void closesChannel(int code, String text, Executable act) {
        Throwable thrown = assertThrows(Throwable.class, act);
        while (thrown != null && !(thrown instanceof ShutdownSignalException)) {
            thrown = thrown.getCause();
        }
        closedChannel(code, text, assertInstanceOf(ShutdownSignalException.class, thrown));
    }

    static void closedChannel(int code, String text, ShutdownSignalException signal) {
        AMQP.Channel.Close close = assertInstanceOf(AMQP.Channel.Close.class, signal.getReason());
        assertEquals(text, close.getReplyText());
        assertEquals(code, close.getReplyCode());
    }
}
