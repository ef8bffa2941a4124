import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.rabbitmq.client.AMQP.BasicProperties;
import com.rabbitmq.client.Delivery;
import com.rabbitmq.client.RpcClient;
import com.rabbitmq.client.RpcClientParams;
import java.util.concurrent.ConcurrentNavigableMap;
import java.util.concurrent.ConcurrentSkipListMap;
import java.util.concurrent.atomic.AtomicBoolean;
import org.junit.jupiter.api.Test;

/** RabbitMQ's seven tutorials with the Java client, sender and receiver on connections of their own. */
class TutorialsTest {
    @Test
    void tutorial1Hello() throws Exception {
        try (Broker sender = new Broker(); Broker receiver = new Broker()) {
            String queue = sender.queue();
            sender.send(queue, "Hello World!");
            receiver.consume(queue, true).expect("Hello World!");
        }
    }

    @Test
    void tutorial2WorkQueue() throws Exception {
        try (Broker sender = new Broker(); Broker busy = new Broker(); Broker diligent = new Broker()) {
            String queue = sender.queue();
            busy.channel.basicQos(1);
            diligent.channel.basicQos(1);

            Broker.Inbox hoarded = busy.consume(queue, false);
            sender.send(queue, "task 0");
            hoarded.expect("task 0");

            // The busy worker holds its task, so the other one does all the rest.
            Broker.Inbox done = diligent.consume(queue, false);
            for (int n = 1; n <= 5; n++) {
                sender.send(queue, "task " + n);
            }
            for (int n = 1; n <= 5; n++) {
                Delivery task = done.next();
                assertEquals("task " + n, Broker.text(task));
                diligent.channel.basicAck(task.getEnvelope().getDeliveryTag(), false);
            }

            busy.connection.close();
            Delivery returned = done.next();
            assertEquals("task 0", Broker.text(returned));
            assertTrue(returned.getEnvelope().isRedeliver());
            diligent.channel.basicAck(returned.getEnvelope().getDeliveryTag(), false);
        }
    }

    @Test
    void tutorial3PublishSubscribe() throws Exception {
        try (Broker sender = new Broker(); Broker receiver = new Broker()) {
            String logs = sender.exchange("fanout");
            Broker.Inbox screen = receiver.subscribe(logs, "");
            Broker.Inbox file = receiver.subscribe(logs, "ignored");

            sender.publish(logs, "", "info: all is well");

            screen.expect("info: all is well");
            file.expect("info: all is well");
        }
    }

    @Test
    void tutorial4Routing() throws Exception {
        try (Broker sender = new Broker(); Broker receiver = new Broker()) {
            String logs = sender.exchange("direct");
            Broker.Inbox errors = receiver.subscribe(logs, "error");
            Broker.Inbox all = receiver.subscribe(logs, "info", "warning", "error");

            for (String severity : new String[] {"info", "warning", "error"}) {
                sender.publish(logs, severity, severity);
            }

            all.expect("info", "warning", "error");
            errors.expect("error");
        }
    }

    @Test
    void tutorial5Topics() throws Exception {
        try (Broker sender = new Broker(); Broker receiver = new Broker()) {
            String logs = sender.exchange("topic");
            // Each is bound to the last key as well, so a message too many would come before it.
            Broker.Inbox everything = receiver.subscribe(logs, "#");
            Broker.Inbox kernel = receiver.subscribe(logs, "kern.*", "end");
            Broker.Inbox deep = receiver.subscribe(logs, "kern.#", "end");
            Broker.Inbox critical = receiver.subscribe(logs, "*.critical", "end");

            String[] keys = {"kern.critical", "kern.a.b", "kern", "auth.critical", "end"};
            for (String key : keys) {
                sender.publish(logs, key, key);
            }

            everything.expect(keys);
            kernel.expect("kern.critical", "end");
            deep.expect("kern.critical", "kern.a.b", "kern", "end");
            critical.expect("kern.critical", "auth.critical", "end");
        }
    }

    @Test
    void tutorial6Rpc() throws Exception {
        try (Broker serving = new Broker(); Broker calling = new Broker()) {
            String requests = serving.queue();
            serving.channel.basicQos(1);
            serving.channel.basicConsume(requests, false, (tag, request) -> {
                String answer = Long.toString(fibonacci(Integer.parseInt(Broker.text(request))));
                String id = request.getProperties().getCorrelationId();
                BasicProperties reply = new BasicProperties.Builder().correlationId(id).build();
                serving.channel.basicPublish("", request.getProperties().getReplyTo(), reply, answer.getBytes());
                serving.channel.basicAck(request.getEnvelope().getDeliveryTag(), false);
            }, tag -> {});

            String replyTo = calling.channel.queueDeclare().getQueue();
            RpcClientParams named = new RpcClientParams()
                    .channel(calling.channel).exchange("").routingKey(requests).replyTo(replyTo).timeout(10_000);
            try (RpcClient client = new RpcClient(named)) {
                assertEquals("0", client.stringCall("0"));
                assertEquals("55", client.stringCall("10"));
                assertEquals("832040", client.stringCall("30"));
            }
        }
    }

    private static long fibonacci(int n) {
        long a = 0;
        long b = 1;
        for (; n > 0; n--) {
            long sum = a + b;
            a = b;
            b = sum;
        }
        return a;
    }

    @Test
    void tutorial7PublisherConfirms() throws Exception {
        try (Broker broker = new Broker()) {
            String queue = broker.queue();
            broker.channel.confirmSelect();
            long deadline = Broker.DEADLINE.toMillis();

            for (int n = 0; n < 10; n++) {
                broker.send(queue, "one " + n);
                broker.channel.waitForConfirmsOrDie(deadline);
            }

            for (int n = 0; n < 100; n++) {
                broker.send(queue, "batch " + n);
            }
            broker.channel.waitForConfirmsOrDie(deadline);

            ConcurrentNavigableMap<Long, String> outstanding = new ConcurrentSkipListMap<>();
            AtomicBoolean nacked = new AtomicBoolean();
            broker.channel.addConfirmListener(
                    (tag, multiple) -> {
                        if (multiple) {
                            outstanding.headMap(tag, true).clear();
                        } else {
                            outstanding.remove(tag);
                        }
                    },
                    (tag, multiple) -> nacked.set(true));
            for (int n = 0; n < 100; n++) {
                outstanding.put(broker.channel.getNextPublishSeqNo(), "streamed " + n);
                broker.send(queue, "streamed " + n);
            }
            Broker.eventually("every confirm", outstanding::isEmpty);
            assertFalse(nacked.get());

            assertEquals(210, broker.ready(queue));
        }
    }
}
