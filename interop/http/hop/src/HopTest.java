import static org.junit.jupiter.api.Assertions.*;

import com.rabbitmq.client.Connection;
import com.rabbitmq.client.ConnectionFactory;
import com.rabbitmq.http.client.Client;
import com.rabbitmq.http.client.ClientParameters;
import com.rabbitmq.http.client.GetAckMode;
import com.rabbitmq.http.client.GetEncoding;
import com.rabbitmq.http.client.HttpClientException;
import com.rabbitmq.http.client.domain.*;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.util.Arrays;
import java.util.Base64;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeoutException;
import java.util.function.Predicate;
import java.util.function.Supplier;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** What administrators do with hop, in a virtual host of its own. */
class HopTest {
  private static final String HOST = System.getenv("AMQP_HOST");
  private static final int PORT = Integer.parseInt(System.getenv("AMQP_PORT"));
  private static final String URL = "http://" + HOST + ":" + System.getenv("MGMT_PORT") + "/api/";
  private static final String VHOST = "hop/suite";

  private final Client client = client("guest", "guest");

  private static Client client(String user, String password) {
    try {
      return new Client(new ClientParameters().url(URL).username(user).password(password));
    } catch (Exception error) {
      throw new AssertionError(error);
    }
  }

  private static Connection connect(String user, String password, String name) throws Exception {
    var factory = new ConnectionFactory();
    factory.setHost(HOST);
    factory.setPort(PORT);
    factory.setUsername(user);
    factory.setPassword(password);
    factory.setVirtualHost(VHOST);
    return factory.newConnection(name);
  }

  /** Statistics are sampled: what they tell is awaited, for as long as RabbitMQ takes for two samples. */
  private static <T> T await(Supplier<T> ask, Predicate<T> wanted) throws Exception {
    var deadline = System.nanoTime() + 15_000_000_000L;
    while (true) {
      var answer = ask.get();
      if (answer != null && wanted.test(answer)) {
        return answer;
      }
      if (System.nanoTime() > deadline) {
        throw new TimeoutException("the last answer was " + answer);
      }
      Thread.sleep(100);
    }
  }

  private static int refusal(Runnable request) {
    return assertThrows(HttpClientException.class, request::run).status();
  }

  @BeforeEach
  void createVhost() {
    client.createVhost(VHOST, "of the suite", "one", "two");
    client.updatePermissions(VHOST, "guest", UserPermissions.FULL);
  }

  @AfterEach
  void deleteVhost() {
    client.deleteVhost(VHOST);
    for (var name : List.of("hop-user", "hop-hashed")) {
      if (client.getUser(name) != null) {
        client.deleteUser(name);
      }
    }
  }

  @Test
  void overviewAndNode() {
    var overview = client.getOverview();
    assertTrue(overview.getServerVersion().startsWith("4."), overview.getServerVersion());
    assertTrue(overview.getExchangeTypes().size() >= 4);
    assertTrue(overview.getListeners().stream().anyMatch(listener -> listener.getPort() == PORT));
    assertNotNull(overview.getQueueTotals());
    var node = client.getNode(overview.getNode());
    assertTrue(node.isRunning());
    assertFalse(node.isMemoryAlarmActive() || node.isDiskAlarmActive());
    assertTrue(node.getMemoryUsed() > 0 && node.getMemoryLimit() > node.getMemoryUsed());
    assertTrue(node.getFileDescriptorsTotal() > 0 && node.getUptime() > 0);
    assertEquals(1, client.getNodes().size());
    assertNotNull(client.getExtensions());
  }

  @Test
  void whoAmIAndWhoIsRefused() {
    var me = client.whoAmI();
    assertEquals("guest", me.getName());
    assertEquals(List.of("administrator"), me.getTags());
    assertEquals(401, refusal(() -> client("guest", "wrong").whoAmI()));
  }

  @Test
  void vhosts() {
    var vhost = client.getVhost(VHOST);
    assertEquals("of the suite", vhost.getDescription());
    assertEquals(List.of("one", "two"), vhost.getTags());
    assertFalse(vhost.isTracing());
    assertTrue(vhost.getClusterState().containsValue("running"));
    assertNull(client.getVhost("hop/none"));
    assertTrue(client.alivenessTest(VHOST));
  }

  @Test
  void users() throws Exception {
    client.createUser("hop-user", "first".toCharArray(), List.of("monitoring", "management"));
    var user = client.getUser("hop-user");
    assertEquals(List.of("monitoring", "management"), user.getTags());
    assertEquals("rabbit_password_hashing_sha256", user.getHashingAlgorithm());
    assertEquals("hop-user", client("hop-user", "first").whoAmI().getName());
    client.updateUser("hop-user", "second".toCharArray(), List.of("management"));
    assertEquals(List.of("management"), client("hop-user", "second").whoAmI().getTags());
    assertEquals(401, refusal(() -> client("hop-user", "first").whoAmI()));
    assertEquals(401, refusal(() -> client("hop-user", "second").getUsers()));
    assertTrue(client.getUsers().stream().anyMatch(each -> each.getName().equals("hop-user")));
  }

  @Test
  void usersWithHashes() throws Exception {
    var salt = new byte[] {1, 2, 3, 4};
    var digest = MessageDigest.getInstance("SHA-256");
    digest.update(salt);
    var hash = digest.digest("secret".getBytes(StandardCharsets.UTF_8));
    var salted = Arrays.copyOf(salt, salt.length + hash.length);
    System.arraycopy(hash, 0, salted, salt.length, hash.length);
    var encoded = Base64.getEncoder().encodeToString(salted);
    client.createUserWithPasswordHash("hop-hashed", encoded.toCharArray(), List.of("management"));
    assertEquals(encoded, client.getUser("hop-hashed").getPasswordHash());
    client.updatePermissions(VHOST, "hop-hashed", UserPermissions.FULL);
    connect("hop-hashed", "secret", "hashed").close();
  }

  @Test
  void permissions() {
    client.createUser("hop-user", "first".toCharArray(), List.of("management"));
    client.updatePermissions(VHOST, "hop-user", new UserPermissions("read.*", "write.*", "configure.*"));
    var granted = client.getPermissions(VHOST, "hop-user");
    assertEquals(
        List.of("configure.*", "write.*", "read.*"),
        List.of(granted.getConfigure(), granted.getWrite(), granted.getRead()));
    assertEquals(1, client.getPermissionsOf("hop-user").size());
    assertEquals(2, client.getPermissionsIn(VHOST).size());
    client.updateTopicPermissions(VHOST, "hop-user", new TopicPermissions("amq.topic", "r", "w"));
    var topics = client.getTopicPermissions(VHOST, "hop-user");
    assertEquals(List.of("amq.topic"), topics.stream().map(TopicPermissions::getExchange).toList());
    client.clearTopicPermissions(VHOST, "hop-user");
    assertTrue(client.getTopicPermissionsOf("hop-user") == null || client.getTopicPermissionsOf("hop-user").isEmpty());
    client.clearPermissions(VHOST, "hop-user");
    assertNull(client.getPermissions(VHOST, "hop-user"));
  }

  @Test
  void exchanges() {
    client.declareExchange(VHOST, "made", new ExchangeInfo("topic", true, false, true, Map.of("alternate-exchange", "amq.fanout")));
    var made = client.getExchange(VHOST, "made");
    assertEquals("topic", made.getType());
    assertTrue(made.isDurable() && made.isInternal() && !made.isAutoDelete());
    assertEquals(Map.of("alternate-exchange", "amq.fanout"), made.getArguments());
    assertEquals(8, client.getExchanges(VHOST).size());
    assertEquals(400, refusal(() -> client.declareExchange(VHOST, "made", new ExchangeInfo("direct", true, false))));
    client.deleteExchange(VHOST, "made");
    assertNull(client.getExchange(VHOST, "made"));
  }

  @Test
  void queues() throws Exception {
    client.declareQueue(VHOST, "made", new QueueInfo(true, false, false, Map.of("x-max-length", 10)));
    client.declareQueue(VHOST, "quorum", new QueueInfo(true, false, false, Map.of("x-queue-type", "quorum")));
    var made = client.getQueue(VHOST, "made");
    assertEquals("classic", made.getType());
    assertEquals(10, made.getArguments().get("x-max-length"));
    assertEquals("running", made.getState());
    assertEquals("quorum", client.getQueue(VHOST, "quorum").getType());
    assertEquals(1, client.getQueue(VHOST, "quorum").getMemberNodes().size());
    assertEquals(400, refusal(() -> client.declareQueue(VHOST, "made", new QueueInfo(false, false, false))));
    client.purgeQueue(VHOST, "made");
    client.deleteQueue(VHOST, "made", new DeleteQueueParameters(true, true));
    assertNull(client.getQueue(VHOST, "made"));
  }

  @Test
  void pagesOfQueues() {
    for (int number = 0; number < 15; number++) {
      client.declareQueue(VHOST, "page-" + (char) ('a' + number), new QueueInfo(true, false, false));
    }
    client.declareQueue(VHOST, "other", new QueueInfo(true, false, false));
    var query = new QueryParameters();
    query.name("^page-", true);
    query.pagination().pageSize(10);
    var page = client.getQueues(VHOST, query);
    assertEquals(List.of(15, 16, 10, 1, 2), List.of(page.getFilteredCount(), page.getTotalCount(), page.getItemCount(), page.getPage(), page.getPageCount()));
    query.pagination().nextPage(page);
    var next = client.getQueues(VHOST, query);
    assertEquals(List.of(2, 5), List.of(next.getPage(), next.getItemsAsList().size()));
  }

  @Test
  void messages() throws Exception {
    client.declareQueue(VHOST, "made", new QueueInfo(true, false, false));
    var properties = Map.<String, Object>of("delivery_mode", 2, "headers", Map.of("a", "b"));
    var message = new OutboundMessage().payload("hare").utf8Encoded().properties(properties);
    assertTrue(client.publish(VHOST, "amq.default", "made", message));
    assertFalse(client.publish(VHOST, "amq.default", "nowhere", message));
    await(() -> client.getQueue(VHOST, "made"), queue -> queue.getTotalMessages() == 1);
    var got = client.get(VHOST, "made", 1, GetAckMode.NACK_REQUEUE_TRUE, GetEncoding.AUTO).get(0);
    assertEquals("hare", got.getPayload());
    assertEquals("made", got.getRoutingKey());
    assertEquals(Map.of("a", "b"), got.getProperties().get("headers"));
    assertFalse(got.isRedelivered());
    assertTrue(client.get(VHOST, "made").isRedelivered());
    client.purgeQueue(VHOST, "made");
    await(() -> client.getQueue(VHOST, "made"), queue -> queue.getTotalMessages() == 0);
  }

  @Test
  void bindings() {
    client.declareQueue(VHOST, "made", new QueueInfo(true, false, false));
    client.bindQueue(VHOST, "made", "amq.topic", "a.#", Map.of("x", 1));
    client.bindExchange(VHOST, "amq.fanout", "amq.topic", "b");
    var between = client.getQueueBindingsBetween(VHOST, "amq.topic", "made");
    assertEquals(1, between.size());
    assertEquals("a.#", between.get(0).getRoutingKey());
    assertEquals(Map.of("x", 1), between.get(0).getArguments());
    assertTrue(between.get(0).getPropertiesKey().startsWith("a.%23~"), between.get(0).getPropertiesKey());
    assertEquals(2, client.getQueueBindings(VHOST, "made").size());
    assertEquals(2, client.getBindingsBySource(VHOST, "amq.topic").size());
    assertEquals(DestinationType.EXCHANGE, client.getExchangeBindingsBetween(VHOST, "amq.topic", "amq.fanout").get(0).getDestinationType());
    assertEquals(1, client.getExchangeBindingsByDestination(VHOST, "amq.fanout").size());
    client.unbindExchange(VHOST, "amq.fanout", "amq.topic", "b");
    assertEquals(0, client.getExchangeBindingsByDestination(VHOST, "amq.fanout").size());
  }

  @Test
  void policies() throws Exception {
    client.declareQueue(VHOST, "made", new QueueInfo(true, false, false));
    client.declarePolicy(VHOST, "long", new PolicyInfo("^made$", 5, "queues", Map.of("max-length", 100)));
    client.declareOperatorPolicy(VHOST, "short", new PolicyInfo("^made$", 1, "queues", Map.of("max-length", 50)));
    var policy = client.getPolicies(VHOST).get(0);
    assertEquals(List.of("long", "^made$", "queues"), List.of(policy.getName(), policy.getPattern(), policy.getApplyTo()));
    assertEquals(5, policy.getPriority());
    assertEquals("short", client.getOperatorPolicies(VHOST).get(0).getName());
    var queue = await(() -> client.getQueue(VHOST, "made"), found -> "long".equals(found.getPolicy()));
    assertEquals(Map.of("max-length", 50), queue.getEffectivePolicyDefinition());
    client.deletePolicy(VHOST, "long");
    client.deleteOperatorPolicy(VHOST, "short");
    assertTrue(client.getPolicies(VHOST).isEmpty());
  }

  @Test
  void limits() throws Exception {
    client.limitMaxNumberOfConnections(VHOST, 0);
    client.limitMaxNumberOfQueues(VHOST, 1);
    var limits = client.getVhostLimits(VHOST);
    assertEquals(List.of(0, 1), List.of(limits.getMaxConnections(), limits.getMaxQueues()));
    assertThrows(Exception.class, () -> connect("guest", "guest", "refused"));
    client.clearMaxConnectionsLimit(VHOST);
    connect("guest", "guest", "taken").close();
    client.clearMaxQueuesLimit(VHOST);
  }

  @Test
  void connectionsChannelsAndConsumers() throws Exception {
    var connection = connect("guest", "guest", "of-hop");
    try {
      var channel = connection.createChannel();
      channel.confirmSelect();
      channel.basicQos(7);
      channel.queueDeclare("consumed", true, false, false, null);
      channel.basicConsume("consumed", false, "tag", (tag, delivery) -> {}, tag -> {});
      var shown = await(
          () -> client.getConnections().stream()
              .filter(each -> each.getClientProperties() != null && "of-hop".equals(each.getClientProperties().getConnectionName()))
              .findFirst().orElse(null),
          found -> found.getChannels() == 1);
      assertEquals(List.of("guest", VHOST, "AMQP 0-9-1", "PLAIN"), List.of(shown.getUser(), shown.getVhost(), shown.getProtocol(), shown.getAuthMechanism()));
      assertEquals("RabbitMQ", shown.getClientProperties().getProduct());
      assertEquals(PORT, shown.getPort());
      assertTrue(shown.getConnectedAt() > 0 && shown.getFrameMax() > 0);
      var of = await(() -> client.getChannels(shown.getName()), channels -> channels.size() == 1 && channels.get(0).getConsumerCount() == 1);
      assertTrue(of.get(0).usesPublisherConfirms());
      assertEquals(1, of.get(0).getNumber());
      var consumer = await(() -> client.getConsumers(VHOST), consumers -> consumers.size() == 1).get(0);
      assertEquals(List.of("tag", "consumed"), List.of(consumer.getConsumerTag(), consumer.getQueueDetails().getName()));
      assertEquals(7, consumer.getPrefetchCount());
      assertTrue(consumer.isAckRequired() && consumer.isActive());
      client.closeConnection(shown.getName(), "of the suite");
      await(connection::getCloseReason, reason -> reason.getMessage().contains("of the suite"));
    } finally {
      connection.abort();
    }
  }

  @Test
  void clusterNameAndDefinitions() {
    var before = client.getClusterName().getName();
    client.setClusterName("hares");
    assertEquals("hares", client.getClusterName().getName());
    client.setClusterName(before);
    client.declareQueue(VHOST, "made", new QueueInfo(true, false, false));
    var definitions = client.getDefinitions();
    assertTrue(definitions.getServerVersion().startsWith("4."));
    assertTrue(definitions.getUsers().stream().anyMatch(user -> user.getName().equals("guest") && !user.getPasswordHash().isEmpty()));
    assertTrue(definitions.getQueues().stream().anyMatch(queue -> queue.getVhost().equals(VHOST) && queue.getName().equals("made")));
    assertTrue(definitions.getPermissions().stream().anyMatch(each -> each.getVhost().equals(VHOST)));
  }
}
