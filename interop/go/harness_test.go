// The Go client against a broker at AMQP_HOST:AMQP_PORT: a session per test that cleans up after
// itself, and waiting with a deadline instead of sleeping.
package interop_test

import (
	"crypto/rand"
	"errors"
	"fmt"
	"net/url"
	"os"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

const deadline = 15 * time.Second

func brokerURL() string {
	if u := os.Getenv("AMQP_URL"); u != "" {
		return u
	}
	env := func(name, otherwise string) string {
		if value := os.Getenv(name); value != "" {
			return value
		}
		return otherwise
	}
	return "amqp://guest:guest@" + env("AMQP_HOST", "127.0.0.1") + ":" + env("AMQP_PORT", "5672") + "/%2f"
}

// brokerURLWith is the broker's address after a change, for logins that should be refused.
func brokerURLWith(t *testing.T, change func(*url.URL)) string {
	t.Helper()
	u, err := url.Parse(brokerURL())
	must(t, err)
	change(u)
	return u.String()
}

func unique(stem string) string { return "interop.go." + stem + "." + rand.Text() }

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func equal[V comparable](t *testing.T, got, want V, what string) {
	t.Helper()
	if got != want {
		t.Fatalf("%s: got %v, want %v", what, got, want)
	}
}

// next takes one item, and fails when the channel closes or nothing comes.
func next[V any](t *testing.T, items <-chan V, what string) V {
	t.Helper()
	select {
	case item, open := <-items:
		if !open {
			t.Fatalf("%s: channel closed", what)
		}
		return item
	case <-time.After(deadline):
		t.Fatalf("%s: nothing after %s", what, deadline)
	}
	panic("unreachable")
}

// eventually asks again until the answer is yes; for state that only a question can reveal.
func eventually(t *testing.T, what string, ask func() bool) {
	t.Helper()
	for end := time.Now().Add(deadline); !ask(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not after %s", what, deadline)
		}
	}
}

// failsWith checks the reply code and text of an error the broker sent.
func failsWith(t *testing.T, err error, code int, text string) {
	t.Helper()
	var reply *amqp.Error
	if !errors.As(err, &reply) {
		t.Fatalf("got %v, want %d %s", err, code, text)
	}
	if reply.Code != code || reply.Reason != text {
		t.Fatalf("got %d %s, want %d %s", reply.Code, reply.Reason, code, text)
	}
}

// session is a connection with one channel.
type session struct {
	t    *testing.T
	conn *amqp.Connection
	*amqp.Channel
}

func open(t *testing.T) session { return openWith(t, amqp.Config{}) }

func openWith(t *testing.T, config amqp.Config) session {
	t.Helper()
	conn, err := amqp.DialConfig(brokerURL(), config)
	must(t, err)
	t.Cleanup(func() { conn.Close() })
	s := session{t: t, conn: conn}
	s.Channel = s.channel()
	return s
}

func (s session) channel() *amqp.Channel {
	s.t.Helper()
	ch, err := s.conn.Channel()
	must(s.t, err)
	return ch
}

func (s session) confirming() session {
	s.t.Helper()
	must(s.t, s.Confirm(false))
	return s
}

// queue declares a durable queue that is deleted when the test ends.
func (s session) queue(args amqp.Table) string {
	s.t.Helper()
	return s.queueNamed(unique("queue"), args)
}

func (s session) queueNamed(name string, args amqp.Table) string {
	s.t.Helper()
	_, err := s.QueueDeclare(name, true, false, false, false, args)
	must(s.t, err)
	s.t.Cleanup(func() { s.cleanUp(func(ch *amqp.Channel) { ch.QueueDelete(name, false, false, false) }) })
	return name
}

func (s session) exchange(kind string, args amqp.Table) string {
	s.t.Helper()
	name := unique(kind)
	must(s.t, s.ExchangeDeclare(name, kind, true, false, false, false, args))
	s.t.Cleanup(func() { s.cleanUp(func(ch *amqp.Channel) { ch.ExchangeDelete(name, false, false) }) })
	return name
}

// cleanUp works on a channel of its own: the test's may have ended with an error.
func (s session) cleanUp(remove func(*amqp.Channel)) {
	if ch, err := s.conn.Channel(); err == nil {
		remove(ch)
		ch.Close()
	}
}

// subscription declares an exclusive queue bound to exchange by each key, and consumes it.
func (s session) subscription(exchange string, keys ...string) <-chan amqp.Delivery {
	s.t.Helper()
	q, err := s.QueueDeclare("", false, false, true, false, nil)
	must(s.t, err)
	for _, key := range keys {
		must(s.t, s.QueueBind(q.Name, key, exchange, false, nil))
	}
	return s.consume(q.Name, true)
}

func (s session) consume(queue string, autoAck bool) <-chan amqp.Delivery {
	s.t.Helper()
	deliveries, err := s.Consume(queue, "", autoAck, false, false, false, nil)
	must(s.t, err)
	return deliveries
}

func (s session) publish(exchange, key string, message amqp.Publishing) {
	s.t.Helper()
	must(s.t, s.PublishWithContext(s.t.Context(), exchange, key, false, false, message))
}

func (s session) send(queue, body string) {
	s.t.Helper()
	s.publish("", queue, amqp.Publishing{DeliveryMode: amqp.Persistent, Body: []byte(body)})
}

// ready is how many messages wait in the queue.
func (s session) ready(queue string) int {
	s.t.Helper()
	q, err := s.QueueDeclarePassive(queue, true, false, false, false, nil)
	must(s.t, err)
	return q.Messages
}

func (s session) get(queue string, autoAck bool) amqp.Delivery {
	s.t.Helper()
	var got amqp.Delivery
	eventually(s.t, "a message in "+queue, func() bool {
		delivery, ok, err := s.Get(queue, autoAck)
		must(s.t, err)
		got = delivery
		return ok
	})
	return got
}

// bodies takes as many deliveries as expected and compares their bodies.
func bodies(t *testing.T, deliveries <-chan amqp.Delivery, expected ...string) {
	t.Helper()
	for n, want := range expected {
		equal(t, string(next(t, deliveries, want).Body), want, fmt.Sprintf("message %d", n))
	}
}
