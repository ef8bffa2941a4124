// What amqp091-go's users rely on beyond the tutorials.
package interop_test

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"net"
	"net/url"
	"reflect"
	"sync/atomic"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

func TestEveryPublishIsConfirmedOnceInOrder(t *testing.T) {
	s := open(t).confirming()
	queue := s.queue(nil)
	const count = 1000
	// The client turns acks of multiple into one confirmation each.
	confirmations := s.NotifyPublish(make(chan amqp.Confirmation, count+1))

	for n := range count {
		s.send(queue, fmt.Sprint(n))
	}

	for tag := uint64(1); tag <= count; tag++ {
		confirmation := next(t, confirmations, "a confirm")
		equal(t, confirmation, amqp.Confirmation{DeliveryTag: tag, Ack: true}, "confirm")
	}
	equal(t, s.ready(queue), count, "messages in the queue")
}

func TestUnroutableMandatoryReturnsBeforeItsConfirm(t *testing.T) {
	s := open(t).confirming()
	// Both are unbuffered and read in turn, which the client's reader waits for: a confirm first would be seen first.
	returns := s.NotifyReturn(make(chan amqp.Return))
	confirms := s.NotifyPublish(make(chan amqp.Confirmation))
	key := unique("nowhere")

	message := amqp.Publishing{MessageId: "m1", Body: []byte("lost")}
	must(t, s.PublishWithContext(t.Context(), "", key, true, false, message))

	select {
	case returned := <-returns:
		equal(t, returned.ReplyCode, 312, "reply code")
		equal(t, returned.ReplyText, "NO_ROUTE", "reply text")
		equal(t, returned.RoutingKey, key, "routing key")
		equal(t, returned.MessageId, "m1", "message id")
		equal(t, string(returned.Body), "lost", "body")
	case <-confirms:
		t.Fatal("confirmed before it was returned")
	case <-time.After(deadline):
		t.Fatal("nothing came")
	}
	equal(t, next(t, confirms, "the confirm").Ack, true, "ack")
}

func TestRejectPublishNacks(t *testing.T) {
	s := open(t).confirming()
	queue := s.queue(amqp.Table{"x-max-length": 1, "x-overflow": "reject-publish"})
	confirms := s.NotifyPublish(make(chan amqp.Confirmation, 2))

	s.send(queue, "fits")
	equal(t, next(t, confirms, "the confirm").Ack, true, "first")
	s.send(queue, "too much")
	equal(t, next(t, confirms, "the confirm").Ack, false, "second")
}

func TestConsumerIsToldThatItsQueueIsDeleted(t *testing.T) {
	s := open(t)
	queue := s.queue(nil)
	cancels := s.NotifyCancel(make(chan string, 1))
	deliveries, err := s.Consume(queue, "mine", false, false, false, false, nil)
	must(t, err)

	_, err = s.channel().QueueDelete(queue, false, false, false)
	must(t, err)

	equal(t, next(t, cancels, "basic.cancel"), "mine", "consumer tag")
	if _, open := <-deliveries; open {
		t.Fatal("a delivery from a deleted queue")
	}
}

func TestPrefetchBoundsWhatIsUnacknowledged(t *testing.T) {
	s, asking := open(t), open(t)
	queue := s.queue(nil)
	for n := range 10 {
		s.send(queue, fmt.Sprint(n))
	}
	must(t, s.Qos(3, 0, false))
	deliveries := s.consume(queue, false)

	bodies(t, deliveries, "0", "1")
	third := next(t, deliveries, "third")
	eventually(t, "seven wait", func() bool { return asking.ready(queue) == 7 })
	equal(t, len(deliveries), 0, "deliveries above the limit")

	must(t, third.Ack(true))
	bodies(t, deliveries, "3", "4", "5")
	eventually(t, "four wait", func() bool { return asking.ready(queue) == 4 })
	equal(t, len(deliveries), 0, "deliveries above the limit")
}

func TestNackOfMultipleRequeuesInOrder(t *testing.T) {
	s := open(t)
	queue := s.queue(nil)
	for n := range 4 {
		s.send(queue, fmt.Sprint(n))
	}
	for range 2 {
		s.get(queue, false)
	}
	third := s.get(queue, false)
	equal(t, third.Redelivered, false, "redelivered at first")

	must(t, third.Nack(true, true))

	eventually(t, "four wait", func() bool { return s.ready(queue) == 4 })
	for n := range 4 {
		again := s.get(queue, true)
		equal(t, string(again.Body), fmt.Sprint(n), "body")
		equal(t, again.Redelivered, n < 3, "redelivered")
	}
}

func TestRejectedMessageIsDeadLettered(t *testing.T) {
	s := open(t)
	graveyard := s.exchange("direct", nil)
	dead := s.queue(nil)
	must(t, s.QueueBind(dead, "buried", graveyard, false, nil))
	queue := s.queue(amqp.Table{"x-dead-letter-exchange": graveyard, "x-dead-letter-routing-key": "buried"})

	s.publish("", queue, amqp.Publishing{Headers: amqp.Table{"trace": "abc"}, Body: []byte("poison")})
	must(t, s.get(queue, false).Reject(false))

	letter := s.get(dead, true)
	equal(t, string(letter.Body), "poison", "body")
	equal(t, letter.RoutingKey, "buried", "routing key")
	equal(t, letter.Headers["trace"], any("abc"), "own header")
	equal(t, letter.Headers["x-first-death-queue"], any(queue), "x-first-death-queue")
	equal(t, letter.Headers["x-first-death-reason"], any("rejected"), "x-first-death-reason")
	death := letter.Headers["x-death"].([]any)[0].(amqp.Table)
	equal(t, death["queue"], any(queue), "x-death queue")
	equal(t, death["reason"], any("rejected"), "x-death reason")
	equal(t, death["count"], any(int64(1)), "x-death count")
	equal(t, death["exchange"], any(""), "x-death exchange")
	equal(t, death["routing-keys"].([]any)[0], any(queue), "x-death routing key")
	if at := death["time"].(time.Time); time.Since(at).Abs() > time.Minute {
		t.Fatalf("x-death time is %s", at)
	}
}

func TestExpiredMessageIsDeadLettered(t *testing.T) {
	s := open(t)
	dead := s.queue(nil)
	byQueue := s.queue(amqp.Table{"x-message-ttl": 1, "x-dead-letter-exchange": "", "x-dead-letter-routing-key": dead})
	byMessage := s.queue(amqp.Table{"x-dead-letter-exchange": "", "x-dead-letter-routing-key": dead})

	s.send(byQueue, "queue")
	first := s.get(dead, true)
	s.publish("", byMessage, amqp.Publishing{Expiration: "1", Body: []byte("message")})
	second := s.get(dead, true)

	equal(t, string(first.Body), "queue", "first")
	equal(t, string(second.Body), "message", "second")
	equal(t, second.Expiration, "", "expiration of a dead letter")
	death := second.Headers["x-death"].([]any)[0].(amqp.Table)
	equal(t, death["reason"], any("expired"), "reason")
	equal(t, death["original-expiration"], any("1"), "original expiration")
}

func TestOverflowDropsAndDeadLettersTheOldest(t *testing.T) {
	s := open(t)
	dead := s.queue(nil)
	queue := s.queue(amqp.Table{"x-max-length": 2, "x-dead-letter-exchange": "", "x-dead-letter-routing-key": dead})

	for n := range 3 {
		s.send(queue, fmt.Sprint(n))
	}

	letter := s.get(dead, true)
	equal(t, string(letter.Body), "0", "dropped")
	equal(t, letter.Headers["x-first-death-reason"], any("maxlen"), "reason")
	bodies(t, s.consume(queue, true), "1", "2")
}

func TestExclusiveQueueIsLockedForOthers(t *testing.T) {
	owner, intruder := open(t), open(t)
	// A short name: the broker cuts texts at 255 bytes.
	name := rand.Text()[:12]
	_, err := owner.QueueDeclare(name, false, false, true, false, nil)
	must(t, err)

	_, err = intruder.Consume(name, "", true, false, false, false, nil)

	failsWith(t, err, 405, fmt.Sprintf("RESOURCE_LOCKED - cannot obtain exclusive access to locked queue '%s' in vhost '/'. "+
		"It could be originally declared on another connection or the exclusive property value does not match that of the original declaration.", name))
}

func TestExclusiveQueueGoesWithItsConnection(t *testing.T) {
	owner, other := open(t), open(t)
	name := unique("mine")
	_, err := owner.QueueDeclare(name, false, false, true, false, nil)
	must(t, err)

	must(t, owner.conn.Close())

	eventually(t, "the name is free", func() bool {
		ch := other.channel()
		defer ch.Close()
		_, err := ch.QueueDeclare(name, false, false, true, false, nil)
		return err == nil
	})
}

func TestPassiveDeclareOfTheAbsentClosesTheChannelOnly(t *testing.T) {
	s := open(t)
	name := unique("absent")

	_, err := s.QueueDeclarePassive(name, true, false, false, false, nil)
	failsWith(t, err, 404, fmt.Sprintf("NOT_FOUND - no queue '%s' in vhost '/'", name))

	s.Channel = s.channel()
	err = s.ExchangeDeclarePassive(name, "direct", true, false, false, false, nil)
	failsWith(t, err, 404, fmt.Sprintf("NOT_FOUND - no exchange '%s' in vhost '/'", name))

	s.Channel = s.channel()
	s.queue(nil)
}

func TestInequivalentDeclaration(t *testing.T) {
	s := open(t)
	queue := s.queue(nil)

	_, err := s.QueueDeclare(queue, true, true, false, false, nil)

	failsWith(t, err, 406, fmt.Sprintf("PRECONDITION_FAILED - inequivalent arg 'auto_delete' for queue '%s' in vhost '/': received 'true' but current is 'false'", queue))
}

func TestChannelErrorsTellTheirReason(t *testing.T) {
	missing := unique("absent")
	for name, provoke := range map[string]struct {
		act  func(*amqp.Channel) error
		code int
		text string
	}{
		"publish to an absent exchange": {
			func(ch *amqp.Channel) error { return ch.Publish(missing, "", false, false, amqp.Publishing{}) },
			404, fmt.Sprintf("NOT_FOUND - no exchange '%s' in vhost '/'", missing),
		},
		"unknown delivery tag": {
			func(ch *amqp.Channel) error { return ch.Ack(99, false) },
			406, "PRECONDITION_FAILED - unknown delivery tag 99",
		},
		"reserved name": {
			func(ch *amqp.Channel) error {
				go ch.ExchangeDeclare("amq.mine", "fanout", true, false, false, false, nil)
				return nil
			},
			403, "ACCESS_REFUSED - exchange name 'amq.mine' contains reserved prefix 'amq.*'",
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := open(t)
			closed := s.NotifyClose(make(chan *amqp.Error, 1))
			must(t, provoke.act(s.Channel))
			failsWith(t, next(t, closed, "channel.close"), provoke.code, provoke.text)
			equal(t, s.conn.IsClosed(), false, "connection closed")
		})
	}
}

func TestImmediateClosesTheConnection(t *testing.T) {
	s := open(t)
	closed := s.conn.NotifyClose(make(chan *amqp.Error, 1))

	must(t, s.Publish("", "anywhere", false, true, amqp.Publishing{}))

	failsWith(t, next(t, closed, "connection.close"), 540, "NOT_IMPLEMENTED - immediate=true")
}

func TestHeadersExchange(t *testing.T) {
	s := open(t)
	exchange := s.exchange("headers", nil)
	all, any := s.queue(nil), s.queue(nil)
	pdf := amqp.Table{"format": "pdf", "pages": int32(3)}
	with := func(match string) amqp.Table {
		return amqp.Table{"x-match": match, "format": pdf["format"], "pages": pdf["pages"]}
	}
	must(t, s.QueueBind(all, "", exchange, false, with("all")))
	must(t, s.QueueBind(any, "", exchange, false, with("any")))
	last := amqp.Table{"x-match": "all", "last": true}
	must(t, s.QueueBind(all, "", exchange, false, last))
	must(t, s.QueueBind(any, "", exchange, false, last))

	for _, message := range []amqp.Publishing{
		{Headers: pdf, Body: []byte("both")},
		{Headers: amqp.Table{"format": "pdf", "pages": int64(4)}, Body: []byte("one")},
		{Headers: amqp.Table{"format": "zip"}, Body: []byte("neither")},
		{Headers: amqp.Table{"last": true}, Body: []byte("end")},
	} {
		s.publish(exchange, "", message)
	}

	bodies(t, s.consume(all, true), "both", "end")
	bodies(t, s.consume(any, true), "both", "one", "end")
}

func TestExchangeBindingAndAlternateExchange(t *testing.T) {
	s := open(t)
	alternate := s.exchange("fanout", nil)
	front := s.exchange("direct", amqp.Table{"alternate-exchange": alternate})
	back := s.exchange("fanout", nil)
	must(t, s.ExchangeBind(back, "order", front, false, nil))
	orders, rest := s.queue(nil), s.queue(nil)
	must(t, s.QueueBind(orders, "", back, false, nil))
	must(t, s.QueueBind(rest, "", alternate, false, nil))

	for _, key := range []string{"order", "refund"} {
		s.publish(front, key, amqp.Publishing{Body: []byte(key)})
	}

	bodies(t, s.consume(orders, true), "order")
	bodies(t, s.consume(rest, true), "refund")
}

func TestPriorities(t *testing.T) {
	s := open(t)
	queue := s.queue(amqp.Table{"x-max-priority": 5})
	for _, priority := range []uint8{1, 5, 0, 3, 9, 3} {
		s.publish("", queue, amqp.Publishing{Priority: priority, Body: fmt.Append(nil, priority)})
	}
	eventually(t, "all are queued", func() bool { return s.ready(queue) == 6 })

	// 9 is above the maximum and counts as 5.
	bodies(t, s.consume(queue, true), "5", "9", "3", "3", "1", "0")
}

func TestConsumerPriorities(t *testing.T) {
	s := open(t)
	queue := s.queue(nil)
	low := s.consume(queue, true)
	high, err := s.Consume(queue, "", true, false, false, false, amqp.Table{"x-priority": 10})
	must(t, err)

	for n := range 5 {
		s.send(queue, fmt.Sprint(n))
	}

	bodies(t, high, "0", "1", "2", "3", "4")
	equal(t, len(low), 0, "messages of the lower consumer")
}

func TestLargeAndEmptyBodies(t *testing.T) {
	s := open(t)
	queue := s.queue(nil)
	large := make([]byte, 1<<20)
	rand.Read(large)

	for _, body := range [][]byte{large, {}, large} {
		s.publish("", queue, amqp.Publishing{DeliveryMode: amqp.Persistent, Body: body})
	}

	deliveries := s.consume(queue, true)
	for _, want := range [][]byte{large, {}, large} {
		if got := next(t, deliveries, "a message").Body; !bytes.Equal(got, want) {
			t.Fatalf("%d bytes came, %d were sent, or others", len(got), len(want))
		}
	}
}

func TestSmallFrames(t *testing.T) {
	s := openWith(t, amqp.Config{FrameSize: 8192})
	equal(t, s.conn.Config.FrameSize, 8192, "negotiated frame size")
	queue := s.queue(nil)
	body := make([]byte, 100_000)
	rand.Read(body)

	s.publish("", queue, amqp.Publishing{Body: body})

	if got := s.get(queue, true).Body; !bytes.Equal(got, body) {
		t.Fatal("the body changed on its way")
	}
}

func TestPropertiesAndHeaderTypes(t *testing.T) {
	s := open(t)
	queue := s.queue(nil)
	second := time.Unix(1_700_000_000, 0)
	sent := amqp.Publishing{
		ContentType: "application/json", ContentEncoding: "identity", DeliveryMode: amqp.Persistent, Priority: 7,
		CorrelationId: "c-1", ReplyTo: "somewhere", Expiration: "600000", MessageId: "m-1", Timestamp: second,
		Type: "order.placed", UserId: "guest", AppId: "shop", Body: []byte("{}"),
		Headers: amqp.Table{
			"bool": true, "byte": uint8(200), "int8": int8(-5), "int16": int16(-300), "int32": int32(-70_000), "int64": int64(1) << 40,
			"float32": float32(0.5), "float64": 0.25, "decimal": amqp.Decimal{Scale: 2, Value: 1234}, "string": "snowman ☃", "bytes": []byte{0, 1, 255},
			"time": second, "nil": nil, "table": amqp.Table{"nested": amqp.Table{"deeper": "x"}}, "array": []any{"a", int32(1), amqp.Table{"deep": true}},
		},
	}

	s.publish("", queue, sent)

	got := s.get(queue, true)
	equal(t, fmt.Sprintf("%v", []any{got.ContentType, got.ContentEncoding, got.DeliveryMode, got.Priority, got.CorrelationId, got.ReplyTo,
		got.Expiration, got.MessageId, got.Timestamp.Unix(), got.Type, got.UserId, got.AppId}),
		"[application/json identity 2 7 c-1 somewhere 600000 m-1 1700000000 order.placed guest shop]", "properties")
	if !reflect.DeepEqual(got.Headers, sent.Headers) {
		t.Fatalf("headers: got %#v\nwant %#v", got.Headers, sent.Headers)
	}
}

func TestTransactions(t *testing.T) {
	s, asking := open(t), open(t)
	queue := s.queue(nil)
	must(t, s.Tx())

	s.send(queue, "undone")
	must(t, s.TxRollback())
	s.send(queue, "kept")
	equal(t, asking.ready(queue), 0, "messages before the commit")
	must(t, s.TxCommit())
	equal(t, asking.ready(queue), 1, "messages after the commit")

	// An acknowledgement rolled back can be given again.
	kept := s.get(queue, false)
	must(t, kept.Ack(false))
	must(t, s.TxRollback())
	must(t, kept.Ack(false))
	must(t, s.TxCommit())
	must(t, s.Close())
	equal(t, asking.ready(queue), 0, "messages after the acknowledgement")
}

func TestConfirmsAndTransactionsExcludeEachOther(t *testing.T) {
	s := open(t)
	must(t, s.Tx())

	failsWith(t, s.Confirm(false), 406, "PRECONDITION_FAILED - cannot switch from tx to confirm mode")
}

func TestRecoverRequeues(t *testing.T) {
	s := open(t)
	queue := s.queue(nil)
	s.send(queue, "held")
	s.get(queue, false)

	must(t, s.Recover(true))

	equal(t, s.get(queue, true).Redelivered, true, "redelivered")
}

func TestDirectReplyTo(t *testing.T) {
	server, client := open(t), open(t)
	queue := server.queue(nil)
	requests := server.consume(queue, true)
	replies := client.consume("amq.rabbitmq.reply-to", true)

	client.publish("", queue, amqp.Publishing{ReplyTo: "amq.rabbitmq.reply-to", CorrelationId: "1", Body: []byte("ping")})
	request := next(t, requests, "the request")
	server.publish("", request.ReplyTo, amqp.Publishing{CorrelationId: request.CorrelationId, Body: []byte("pong")})

	reply := next(t, replies, "the reply")
	equal(t, string(reply.Body), "pong", "reply")
	equal(t, reply.CorrelationId, "1", "correlation id")
}

func TestForgedReplyAddressIsNoQueue(t *testing.T) {
	s := open(t)
	queue := s.queue(nil)
	s.consume("amq.rabbitmq.reply-to", true)
	s.publish("", queue, amqp.Publishing{ReplyTo: "amq.rabbitmq.reply-to"})
	address := s.get(queue, true).ReplyTo

	forged := address[:len(address)-5] + "xxxxx"
	_, err := s.channel().QueueDeclarePassive(forged, false, false, false, false, nil)

	failsWith(t, err, 404, fmt.Sprintf("NOT_FOUND - no queue '%s' in vhost '/'", forged))
	_, err = s.channel().QueueDeclarePassive(address, false, false, false, false, nil)
	must(t, err)
}

func TestGetTellsHowManyWait(t *testing.T) {
	s := open(t)
	queue := s.queue(nil)
	for n := range 3 {
		s.send(queue, fmt.Sprint(n))
	}
	eventually(t, "three wait", func() bool { return s.ready(queue) == 3 })

	equal(t, s.get(queue, true).MessageCount, uint32(2), "messages left")
	purged, err := s.QueuePurge(queue, false)
	must(t, err)
	equal(t, purged, 2, "purged")
	_, ok, err := s.Get(queue, true)
	must(t, err)
	equal(t, ok, false, "a message after the purge")
}

func TestConditionalDelete(t *testing.T) {
	s := open(t)
	queue := s.queue(nil)
	s.send(queue, "x")
	eventually(t, "one waits", func() bool { return s.ready(queue) == 1 })

	_, err := s.channel().QueueDelete(queue, false, true, false)

	failsWith(t, err, 406, fmt.Sprintf("PRECONDITION_FAILED - queue '%s' in vhost '/' not empty", queue))
	deleted, err := s.QueueDelete(queue, true, false, false)
	must(t, err)
	equal(t, deleted, 1, "messages deleted with the queue")
}

func TestQueueExpiresWhenUnused(t *testing.T) {
	s := open(t)
	name := unique("expiring")
	_, err := s.QueueDeclare(name, true, false, false, false, amqp.Table{"x-expires": 50})
	must(t, err)

	// Asking is use: a passive declare renews the lease, so a binding's absence tells instead.
	gone := s.exchange("fanout", nil)
	must(t, s.QueueBind(name, "", gone, false, nil))
	s.confirming()
	eventually(t, "the queue is gone", func() bool {
		ch := s.channel()
		defer ch.Close()
		returns := ch.NotifyReturn(make(chan amqp.Return, 1))
		must(t, ch.Confirm(false))
		confirmation, err := ch.PublishWithDeferredConfirm(gone, "", true, false, amqp.Publishing{})
		must(t, err)
		next(t, done(confirmation), "the confirm")
		return len(returns) == 1
	})
}

func TestChannelMax(t *testing.T) {
	s := openWith(t, amqp.Config{ChannelMax: 10})
	equal(t, s.conn.Config.ChannelMax, uint16(10), "negotiated channel max")
	// With the first and the one that cleans up that makes ten.
	for range 8 {
		s.channel()
	}
	s.queue(nil)
}

func TestConnectionNameAndServerProperties(t *testing.T) {
	properties := amqp.NewConnectionProperties()
	properties.SetClientConnectionName("interop go")
	s := openWith(t, amqp.Config{Properties: properties})

	if product := s.conn.Properties["product"]; product != "RabbitMQ" {
		t.Fatalf("product is %v", product)
	}
	capabilities := s.conn.Properties["capabilities"].(amqp.Table)
	for _, name := range []string{"publisher_confirms", "exchange_exchange_bindings", "basic.nack", "consumer_cancel_notify", "connection.blocked",
		"consumer_priorities", "authentication_failure_close", "per_consumer_qos", "direct_reply_to"} {
		equal(t, capabilities[name], any(true), name)
	}
	s.queue(nil)
}

// The broker shows a sign of life twice per interval, so that one that is late does no harm.
func TestHeartbeatsKeepAnIdleConnection(t *testing.T) {
	wire := &countingConn{}
	s := openWith(t, amqp.Config{Heartbeat: 2 * time.Second, Dial: wire.dial})
	closed := s.conn.NotifyClose(make(chan *amqp.Error, 1))
	before := wire.received.Load()

	select {
	case err := <-closed:
		t.Fatal("closed while idle:", err)
	case <-time.After(5500 * time.Millisecond):
	}

	const frame = 8
	if heartbeats := (wire.received.Load() - before) / frame; heartbeats < 4 {
		t.Fatalf("%d heartbeats in 5.5 s", heartbeats)
	}
	s.queue(nil)
}

// countingConn counts the bytes that come in.
type countingConn struct {
	net.Conn
	received atomic.Int64
}

func (c *countingConn) dial(network, address string) (net.Conn, error) {
	conn, err := amqp.DefaultDial(deadline)(network, address)
	c.Conn = conn
	return c, err
}

func (c *countingConn) Read(into []byte) (int, error) {
	n, err := c.Conn.Read(into)
	c.received.Add(int64(n))
	return n, err
}

func TestUpdateSecret(t *testing.T) {
	s := open(t)
	must(t, s.conn.UpdateSecret("guest", "rotated"))
	s.queue(nil)
}

func TestWrongPasswordIsRefused(t *testing.T) {
	_, err := amqp.Dial(brokerURLWith(t, func(u *url.URL) { u.User = url.UserPassword("guest", "wrong") }))

	failsWith(t, err, 403, "username or password not allowed")
}

func TestUnknownVhostIsRefused(t *testing.T) {
	_, err := amqp.Dial(brokerURLWith(t, func(u *url.URL) { u.Path, u.RawPath = "/no-such-vhost", "" }))

	failsWith(t, err, 530, "NOT_ALLOWED - vhost no-such-vhost not found")
}
