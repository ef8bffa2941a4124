import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.rabbitmq.client.AMQP;
import com.rabbitmq.client.AMQP.BasicProperties;
import com.rabbitmq.client.AuthenticationFailureException;
import com.rabbitmq.client.Channel;
import com.rabbitmq.client.ConnectionFactory;
import com.rabbitmq.client.Delivery;
import com.rabbitmq.client.GetResponse;
import com.rabbitmq.client.LongString;
import com.rabbitmq.client.Return;
import com.rabbitmq.client.RpcClient;
import com.rabbitmq.client.RpcClientParams;
import com.rabbitmq.client.ShutdownSignalException;
import java.io.IOException;
import java.math.BigDecimal;
import java.util.Date;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** What the Java client's users rely on beyond the tutorials. */
class ProtocolTest {
    private Broker broker;
    private Channel channel;

    @BeforeEach
    void open() throws Exception {
        broker = new Broker();
        channel = broker.channel;
    }

    @AfterEach
    void close() throws Exception {
        broker.close();
    }

    private static BasicProperties.Builder properties() {
        return new BasicProperties.Builder();
    }

    @Test
    void everyPublishIsConfirmedOnceBySingleAndMultipleAcks() throws Exception {
        String queue = broker.queue();
        int count = 1000;
        boolean[] settled = new boolean[count + 1];
        BlockingQueue<String> trouble = new LinkedBlockingQueue<>();
        BlockingQueue<Long> ends = new LinkedBlockingQueue<>();
        long[] upTo = {0};
        channel.confirmSelect();
        channel.addConfirmListener(
                (tag, multiple) -> {
                    for (int n = multiple ? (int) upTo[0] + 1 : (int) tag; n <= tag; n++) {
                        if (settled[n] && !multiple) {
                            trouble.add("confirmed twice: " + n);
                        }
                        settled[n] = true;
                    }
                    while (upTo[0] < count && settled[(int) upTo[0] + 1]) {
                        upTo[0]++;
                    }
                    if (upTo[0] == count) {
                        ends.add(upTo[0]);
                    }
                },
                (tag, multiple) -> trouble.add("nack " + tag));

        for (int n = 0; n < count; n++) {
            broker.send(queue, "message " + n);
        }

        assertEquals(count, Broker.take(ends, "the last confirm"));
        assertNull(trouble.poll());
        assertEquals(count, broker.ready(queue));
    }

    @Test
    void unroutableMandatoryReturnsBeforeItsConfirm() throws Exception {
        BlockingQueue<Object> events = new LinkedBlockingQueue<>();
        channel.confirmSelect();
        channel.addReturnListener(events::add);
        channel.addConfirmListener((tag, multiple) -> events.add("ack " + tag), (tag, multiple) -> events.add("nack " + tag));
        String key = Broker.unique("nowhere");

        channel.basicPublish("", key, true, properties().messageId("m1").build(), "lost".getBytes());

        Return returned = assertInstanceOf(Return.class, Broker.take(events, "basic.return"));
        assertEquals(312, returned.getReplyCode());
        assertEquals("NO_ROUTE", returned.getReplyText());
        assertEquals(key, returned.getRoutingKey());
        assertEquals("m1", returned.getProperties().getMessageId());
        assertEquals("lost", new String(returned.getBody()));
        assertEquals("ack 1", Broker.take(events, "the confirm"));
    }

    @Test
    void rejectPublishNacks() throws Exception {
        String queue = broker.queue(Map.of("x-max-length", 1, "x-overflow", "reject-publish"));
        channel.confirmSelect();

        broker.send(queue, "fits");
        assertTrue(channel.waitForConfirms(Broker.DEADLINE.toMillis()));
        broker.send(queue, "too much");
        assertFalse(channel.waitForConfirms(Broker.DEADLINE.toMillis()));
    }

    @Test
    void consumerIsToldThatItsQueueIsDeleted() throws Exception {
        String queue = broker.queue();
        Broker.Inbox inbox = broker.consume(queue, true);

        broker.connection.createChannel().queueDelete(queue);

        assertEquals(inbox.tag, Broker.take(inbox.cancels, "basic.cancel"));
    }

    @Test
    void prefetchBoundsWhatIsUnacknowledged() throws Exception {
        String queue = broker.queue();
        for (int n = 0; n < 10; n++) {
            broker.send(queue, "" + n);
        }
        channel.basicQos(3);
        Broker.Inbox inbox = broker.consume(queue, false);

        inbox.expect("0", "1");
        Delivery third = inbox.next();
        Broker.eventually("seven wait", () -> broker.ready(queue) == 7);
        assertTrue(inbox.deliveries.isEmpty());

        channel.basicAck(third.getEnvelope().getDeliveryTag(), true);
        inbox.expect("3", "4", "5");
        Broker.eventually("four wait", () -> broker.ready(queue) == 4);
        assertTrue(inbox.deliveries.isEmpty());
    }

    @Test
    void prefetchIsPerConsumer() throws Exception {
        String queue = broker.queue();
        for (int n = 0; n < 6; n++) {
            broker.send(queue, "" + n);
        }
        channel.basicQos(2);
        Broker.Inbox two = broker.consume(queue, false);
        Broker.Inbox alsoTwo = broker.consume(queue, false);

        Broker.eventually("two wait", () -> broker.ready(queue) == 2);
        Broker.eventually("two for each", () -> two.deliveries.size() == 2 && alsoTwo.deliveries.size() == 2);
    }

    @Test
    void nackOfMultipleRequeuesInOrder() throws Exception {
        String queue = broker.queue();
        for (int n = 0; n < 4; n++) {
            broker.send(queue, "" + n);
        }
        broker.get(queue, false);
        broker.get(queue, false);
        GetResponse third = broker.get(queue, false);
        assertFalse(third.getEnvelope().isRedeliver());

        channel.basicNack(third.getEnvelope().getDeliveryTag(), true, true);

        Broker.eventually("four wait", () -> broker.ready(queue) == 4);
        for (int n = 0; n < 4; n++) {
            GetResponse again = broker.get(queue, true);
            assertEquals("" + n, Broker.text(again));
            assertEquals(n < 3, again.getEnvelope().isRedeliver());
        }
    }

    @Test
    void rejectedMessageIsDeadLettered() throws Exception {
        String graveyard = broker.exchange("direct");
        String dead = broker.queue();
        channel.queueBind(dead, graveyard, "buried");
        String queue = broker.queue(Map.of("x-dead-letter-exchange", graveyard, "x-dead-letter-routing-key", "buried"));

        channel.basicPublish("", queue, properties().headers(Map.of("trace", "abc")).build(), "poison".getBytes());
        channel.basicReject(broker.get(queue, false).getEnvelope().getDeliveryTag(), false);

        GetResponse letter = broker.get(dead, true);
        assertEquals("poison", Broker.text(letter));
        assertEquals("buried", letter.getEnvelope().getRoutingKey());
        Map<String, Object> headers = letter.getProps().getHeaders();
        assertEquals("abc", headers.get("trace").toString());
        assertEquals(queue, headers.get("x-first-death-queue").toString());
        assertEquals("rejected", headers.get("x-first-death-reason").toString());
        assertEquals("", headers.get("x-first-death-exchange").toString());
        Map<String, Object> death = Broker.death(letter.getProps());
        assertEquals(queue, death.get("queue").toString());
        assertEquals("rejected", death.get("reason").toString());
        assertEquals(1L, death.get("count"));
        assertEquals("", death.get("exchange").toString());
        assertEquals(queue, ((List<?>) death.get("routing-keys")).get(0).toString());
        assertInstanceOf(Date.class, death.get("time"));
    }

    @Test
    void messageIsRetriedThroughAWaitingQueue() throws Exception {
        String wait = Broker.unique("wait");
        String work = broker.queue(Map.of("x-dead-letter-exchange", "", "x-dead-letter-routing-key", wait));
        broker.queue(wait, Map.of("x-message-ttl", 1, "x-dead-letter-exchange", "", "x-dead-letter-routing-key", work));
        Broker.Inbox attempts = broker.consume(work, false);

        broker.send(work, "again");

        for (long round = 0; round < 3; round++) {
            Delivery attempt = attempts.next();
            if (round > 0) {
                Map<String, Object> death = Broker.death(attempt.getProperties());
                assertEquals("expired", death.get("reason").toString());
                assertEquals(wait, death.get("queue").toString());
                assertEquals(round, death.get("count"));
            }
            channel.basicReject(attempt.getEnvelope().getDeliveryTag(), false);
        }
        channel.basicAck(attempts.next().getEnvelope().getDeliveryTag(), false);
    }

    @Test
    void exclusiveQueueIsLockedForOthers() throws Exception {
        // A short name: the broker cuts texts at 255 bytes.
        String queue = "mine" + System.nanoTime();
        channel.queueDeclare(queue, false, true, false, Map.of());
        String text = "RESOURCE_LOCKED - cannot obtain exclusive access to locked queue '" + queue + "' in vhost '/'. "
                + "It could be originally declared on another connection or the exclusive property value does not match that "
                + "of the original declaration.";

        try (Broker other = new Broker()) {
            Broker.closesChannel(405, text, () -> other.channel.queueDeclarePassive(queue));
            Broker.closesChannel(405, text, () -> other.connection.createChannel().basicGet(queue, true));
            Broker.closesChannel(405, text, () -> other.connection.createChannel().queueDelete(queue));
        }
    }

    @Test
    void passiveDeclareOfTheAbsentClosesTheChannelOnly() throws Exception {
        String name = Broker.unique("absent");

        Broker.closesChannel(404, "NOT_FOUND - no queue '" + name + "' in vhost '/'", () -> channel.queueDeclarePassive(name));
        Channel next = broker.connection.createChannel();
        Broker.closesChannel(404, "NOT_FOUND - no exchange '" + name + "' in vhost '/'", () -> next.exchangeDeclarePassive(name));

        assertTrue(broker.connection.createChannel().isOpen());
    }

    @Test
    void inequivalentDeclarations() throws Exception {
        String queue = broker.queue(Map.of("x-max-length", 5));
        String exchange = broker.exchange("direct");

        Broker.closesChannel(
                406,
                "PRECONDITION_FAILED - inequivalent arg 'x-max-length' for queue '" + queue
                        + "' in vhost '/': received '6' but current is '5'",
                () -> channel.queueDeclare(queue, true, false, false, Map.of("x-max-length", 6)));
        Channel next = broker.connection.createChannel();
        Broker.closesChannel(
                406,
                "PRECONDITION_FAILED - inequivalent arg 'type' for exchange '" + exchange
                        + "' in vhost '/': received 'fanout' but current is 'direct'",
                () -> next.exchangeDeclare(exchange, "fanout", true));
    }

    @Test
    void asynchronousChannelErrors() throws Exception {
        String absent = Broker.unique("absent");
        closes(404, "NOT_FOUND - no exchange '" + absent + "' in vhost '/'", ch -> ch.basicPublish(absent, "", null, new byte[0]));
        closes(406, "PRECONDITION_FAILED - unknown delivery tag 99", ch -> ch.basicAck(99, false));
        closes(
                406,
                "PRECONDITION_FAILED - user_id property set to 'somebody' but authenticated user was 'guest'",
                ch -> ch.basicPublish("amq.direct", "", properties().userId("somebody").build(), new byte[0]));
    }

    private interface Act {
        void on(Channel channel) throws IOException;
    }

    private void closes(int code, String text, Act act) throws Exception {
        BlockingQueue<ShutdownSignalException> ends = new LinkedBlockingQueue<>();
        Channel provoked = broker.connection.createChannel();
        provoked.addShutdownListener(ends::add);
        act.on(provoked);
        Broker.closedChannel(code, text, Broker.take(ends, "channel.close"));
        assertTrue(broker.connection.isOpen());
    }

    @Test
    void immediateClosesTheConnection() throws Exception {
        BlockingQueue<ShutdownSignalException> ends = new LinkedBlockingQueue<>();
        broker.connection.addShutdownListener(ends::add);

        channel.basicPublish("", "anywhere", false, true, null, new byte[0]);

        AMQP.Connection.Close close =
                assertInstanceOf(AMQP.Connection.Close.class, Broker.take(ends, "connection.close").getReason());
        assertEquals(540, close.getReplyCode());
        assertEquals("NOT_IMPLEMENTED - immediate=true", close.getReplyText());
    }

    @Test
    void headersExchange() throws Exception {
        String exchange = broker.exchange("headers");
        String all = broker.queue();
        String any = broker.queue();
        channel.queueBind(all, exchange, "", Map.of("x-match", "all", "format", "pdf", "pages", 3));
        channel.queueBind(any, exchange, "", Map.of("x-match", "any", "format", "pdf", "pages", 3));
        for (String queue : List.of(all, any)) {
            channel.queueBind(queue, exchange, "", Map.of("last", true));
        }

        for (Map.Entry<String, Map<String, Object>> message : List.of(
                Map.entry("both", Map.<String, Object>of("format", "pdf", "pages", 3)),
                Map.entry("one", Map.<String, Object>of("format", "pdf", "pages", 4)),
                Map.entry("neither", Map.<String, Object>of("format", "zip")),
                Map.entry("end", Map.<String, Object>of("last", true)))) {
            BasicProperties headers = properties().headers(message.getValue()).build();
            channel.basicPublish(exchange, "", headers, message.getKey().getBytes());
        }

        broker.consume(all, true).expect("both", "end");
        broker.consume(any, true).expect("both", "one", "end");
    }

    @Test
    void exchangeBindingAndAlternateExchange() throws Exception {
        String alternate = broker.exchange("fanout");
        String front = broker.exchange("topic", Map.of("alternate-exchange", alternate));
        String back = broker.exchange("fanout");
        channel.exchangeBind(back, front, "order.#");
        Broker.Inbox orders = broker.subscribe(back, "");
        Broker.Inbox rest = broker.subscribe(alternate, "");

        for (String key : List.of("order.placed", "refund", "order")) {
            broker.publish(front, key, key);
        }
        orders.expect("order.placed", "order");
        rest.expect("refund");

        channel.exchangeUnbind(back, front, "order.#");
        broker.publish(front, "order.late", "order.late");
        rest.expect("order.late");
    }

    @Test
    void priorities() throws Exception {
        String queue = broker.queue(Map.of("x-max-priority", 5));
        for (int priority : new int[] {1, 5, 0, 3, 9, 3}) {
            channel.basicPublish("", queue, properties().priority(priority).build(), ("" + priority).getBytes());
        }
        Broker.eventually("all are queued", () -> broker.ready(queue) == 6);

        // 9 is above the maximum and counts as 5.
        broker.consume(queue, true).expect("5", "9", "3", "3", "1", "0");
    }

    @Test
    void consumerPriorities() throws Exception {
        String queue = broker.queue();
        Broker.Inbox low = broker.consume(queue, true);
        Broker.Inbox high = broker.consume(queue, true, Map.of("x-priority", 10));

        for (int n = 0; n < 3; n++) {
            broker.send(queue, "" + n);
        }

        high.expect("0", "1", "2");
        assertTrue(low.deliveries.isEmpty());
    }

    @Test
    void singleActiveConsumerHandsOver() throws Exception {
        String queue = broker.queue(Map.of("x-single-active-consumer", true));
        Broker.Inbox first = broker.consume(queue, true);
        Broker.Inbox second = broker.consume(queue, true);

        broker.send(queue, "mine");
        first.expect("mine");
        channel.basicCancel(first.tag);
        broker.send(queue, "yours");
        second.expect("yours");
    }

    @Test
    void largeAndEmptyBodies() throws Exception {
        String queue = broker.queue();
        byte[] large = new byte[1 << 20];
        new Random(1).nextBytes(large);
        Broker.Inbox inbox = broker.consume(queue, true);

        for (byte[] body : new byte[][] {large, {}, large}) {
            channel.basicPublish("", queue, Broker.PERSISTENT, body);
        }

        assertArrayEquals(large, inbox.next().getBody());
        assertEquals(0, inbox.next().getBody().length);
        assertArrayEquals(large, inbox.next().getBody());
    }

    @Test
    void propertiesAndHeaderTypes() throws Exception {
        String queue = broker.queue();
        Date second = new Date(1_700_000_000_000L);
        Map<String, Object> headers = new HashMap<>(Map.of(
                "bool", true, "byte", (byte) -5, "short", (short) -300, "int", -70_000, "long", 1L << 40,
                "float", 0.5f, "double", 0.25, "decimal", new BigDecimal("12.34"), "time", second));
        headers.put("bytes", new byte[] {0, 1, -1});
        headers.put("nothing", null);
        headers.put("table", Map.of("nested", Map.of("deeper", 1)));
        headers.put("array", List.of(1, true, Map.of("deep", 2L)));
        BasicProperties sent = properties()
                .contentType("application/json").contentEncoding("identity").deliveryMode(2).priority(7)
                .correlationId("c-1").replyTo("somewhere").expiration("600000").messageId("m-1").timestamp(second)
                .type("order.placed").userId("guest").appId("shop").build();

        channel.basicPublish("", queue, sent.builder().headers(new HashMap<>(headers)).build(), new byte[0]);

        BasicProperties got = broker.get(queue, true).getProps();
        assertArrayEquals((byte[]) headers.remove("bytes"), (byte[]) got.getHeaders().remove("bytes"));
        assertEquals(headers, got.getHeaders());
        assertEquals(sent, got.builder().headers(null).build());
    }

    @Test
    void transactions() throws Exception {
        String queue = broker.queue();
        try (Broker asking = new Broker()) {
            channel.txSelect();
            broker.send(queue, "undone");
            channel.txRollback();
            broker.send(queue, "kept");
            assertEquals(0, asking.ready(queue));
            channel.txCommit();
            assertEquals(1, asking.ready(queue));

            // An acknowledgement rolled back can be given again.
            long tag = broker.get(queue, false).getEnvelope().getDeliveryTag();
            channel.basicAck(tag, false);
            channel.txRollback();
            channel.basicAck(tag, false);
            channel.txCommit();
            channel.close();
            assertEquals(0, asking.ready(queue));
        }
    }

    @Test
    void recoverRequeues() throws Exception {
        String queue = broker.queue();
        broker.send(queue, "held");
        broker.get(queue, false);

        channel.basicRecover(true);

        assertTrue(broker.get(queue, true).getEnvelope().isRedeliver());
    }

    @Test
    void directReplyTo() throws Exception {
        try (Broker serving = new Broker()) {
            String queue = serving.queue();
            serving.channel.basicConsume(queue, true, (tag, request) -> {
                String replyTo = request.getProperties().getReplyTo();
                String id = request.getProperties().getCorrelationId();
                byte[] answer = (replyTo.startsWith("amq.rabbitmq.reply-to.") ? "direct" : "not direct").getBytes();
                serving.channel.basicPublish("", replyTo, properties().correlationId(id).build(), answer);
            }, tag -> {});

            // Without a reply queue of its own the Java client uses direct reply-to.
            RpcClientParams direct = new RpcClientParams().channel(channel).exchange("").routingKey(queue).timeout(10_000);
            try (RpcClient client = new RpcClient(direct)) {
                assertEquals("direct", client.stringCall("ping"));
            }
        }
    }

    @Test
    void exclusiveConsumerKeepsOthersOut() throws Exception {
        String queue = broker.queue();
        channel.basicConsume(queue, false, "", false, true, Map.of(), (tag, delivery) -> {}, tag -> {});

        Broker.closesChannel(
                403,
                "ACCESS_REFUSED - queue '" + queue + "' in vhost '/' in exclusive use",
                () -> broker.connection.createChannel().basicConsume(queue, (tag, delivery) -> {}, tag -> {}));
    }

    @Test
    void purgeAndConditionalDelete() throws Exception {
        String queue = broker.queue();
        broker.send(queue, "x");
        Broker.eventually("one waits", () -> broker.ready(queue) == 1);

        Broker.closesChannel(
                406,
                "PRECONDITION_FAILED - queue '" + queue + "' in vhost '/' not empty",
                () -> broker.connection.createChannel().queueDelete(queue, false, true));
        assertEquals(1, channel.queuePurge(queue).getMessageCount());
        assertEquals(0, channel.queueDelete(queue, true, true).getMessageCount());
    }

    @Test
    void connectionNameAndServerProperties() throws Exception {
        Map<String, Object> server = broker.connection.getServerProperties();
        assertEquals("RabbitMQ", server.get("product").toString());
        assertInstanceOf(LongString.class, server.get("version"));
        Map<?, ?> capabilities = (Map<?, ?>) server.get("capabilities");
        for (String name : List.of(
                "publisher_confirms", "exchange_exchange_bindings", "basic.nack", "consumer_cancel_notify", "connection.blocked",
                "consumer_priorities", "authentication_failure_close", "per_consumer_qos", "direct_reply_to")) {
            assertEquals(true, capabilities.get(name), name);
        }
        assertEquals("interop java", broker.connection.getClientProvidedName());
    }

    @Test
    void heartbeatsKeepAnIdleConnection() throws Exception {
        ConnectionFactory factory = Broker.factory();
        factory.setRequestedHeartbeat(1);
        BlockingQueue<ShutdownSignalException> ends = new LinkedBlockingQueue<>();
        try (Broker idle = new Broker(factory)) {
            assertEquals(1, idle.connection.getHeartbeat());
            idle.connection.addShutdownListener(ends::add);

            // Both sides give up after a few silent seconds.
            assertNull(ends.poll(4, TimeUnit.SECONDS));

            idle.queue();
        }
    }

    @Test
    void manyChannels() throws Exception {
        for (int n = 0; n < 200; n++) {
            assertTrue(broker.connection.createChannel().isOpen());
        }
        broker.queue();
    }

    @Test
    void wrongPasswordIsRefused() throws Exception {
        ConnectionFactory factory = Broker.factory();
        factory.setPassword("wrong");

        AuthenticationFailureException refused = assertThrows(AuthenticationFailureException.class, () -> new Broker(factory));
        assertEquals(
                "ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN. For details see the broker logfile.",
                refused.getMessage());
    }

    @Test
    void unknownVhostIsRefused() throws Exception {
        ConnectionFactory factory = Broker.factory();
        factory.setVirtualHost("no-such-vhost");

        Throwable cause = assertThrows(IOException.class, () -> new Broker(factory)).getCause();
        ShutdownSignalException signal = assertInstanceOf(ShutdownSignalException.class, cause);
        AMQP.Connection.Close close = assertInstanceOf(AMQP.Connection.Close.class, signal.getReason());
        assertEquals(530, close.getReplyCode());
        assertEquals("NOT_ALLOWED - vhost no-such-vhost not found", close.getReplyText());
    }
}
