// What applications notice over time: nothing is lost among many, limits hold, and names are what they seem.
package interop_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"
)

// Publishers confirm, consumers return every fifth message once: each is settled exactly once all the same.
func TestManyPublishersAndConsumersLoseNothing(t *testing.T) {
	const publishers, consumers, each = 4, 4, 500
	queue := open(t).queue(nil)
	settled := make(chan string, publishers*each)

	for range consumers {
		s := open(t)
		must(t, s.Qos(20, 0, false))
		go settle(s.consume(queue, false), settled)
	}
	var publishing sync.WaitGroup
	for publisher := range publishers {
		s := open(t).confirming()
		publishing.Go(func() { publishAll(t, s, queue, publisher, each) })
	}

	seen := map[string]bool{}
	for range publishers * each {
		body := next(t, settled, fmt.Sprintf("message %d", len(seen)))
		if seen[body] {
			t.Fatalf("%s was settled twice", body)
		}
		seen[body] = true
	}
	// A message may be delivered and settled before its confirm.
	publishing.Wait()
	s := open(t)
	eventually(t, "the queue is empty", func() bool { return s.ready(queue) == 0 })
	equal(t, len(settled), 0, "messages beyond those published")
}

func settle(deliveries <-chan amqp.Delivery, settled chan<- string) {
	for n := 0; ; n++ {
		delivery, ok := <-deliveries
		if !ok {
			return
		}
		if n%5 == 0 && !delivery.Redelivered {
			delivery.Nack(false, true)
			continue
		}
		delivery.Ack(false)
		settled <- string(delivery.Body)
	}
}

func publishAll(t *testing.T, s session, queue string, publisher, count int) {
	var last *amqp.DeferredConfirmation
	for n := range count {
		message := amqp.Publishing{DeliveryMode: amqp.Persistent, Body: fmt.Appendf(nil, "%d/%d", publisher, n)}
		confirmation, err := s.PublishWithDeferredConfirm("", queue, false, false, message)
		if err != nil {
			t.Error(err)
			return
		}
		last = confirmation
	}
	if !last.Wait() {
		t.Error("the last message was refused")
	}
}

func TestOrderIsKeptBetweenOnePublisherAndOneConsumer(t *testing.T) {
	sender, receiver := open(t), open(t)
	queue := sender.queue(nil)
	must(t, receiver.Qos(50, 0, false))
	deliveries := receiver.consume(queue, false)

	const count = 2000
	for n := range count {
		sender.send(queue, fmt.Sprint(n))
	}

	for n := range count {
		delivery := next(t, deliveries, "a message")
		equal(t, string(delivery.Body), fmt.Sprint(n), "body")
		equal(t, delivery.DeliveryTag, uint64(n+1), "delivery tag")
		if n%10 == 9 {
			must(t, delivery.Ack(true))
		}
	}
}

func TestQuorumQueueDeadLettersAtTheDeliveryLimit(t *testing.T) {
	s := open(t)
	dead := s.queue(nil)
	queue := s.queue(amqp.Table{
		"x-queue-type": "quorum", "x-delivery-limit": 2,
		"x-dead-letter-exchange": "", "x-dead-letter-routing-key": dead,
	})
	deliveries := s.consume(queue, false)

	s.send(queue, "poison")
	for attempt := range 3 {
		delivery := next(t, deliveries, "an attempt")
		equal(t, delivery.Redelivered, attempt > 0, "redelivered")
		if attempt > 0 {
			equal(t, delivery.Headers["x-delivery-count"], any(int64(attempt)), "x-delivery-count")
		}
		must(t, delivery.Reject(true))
	}

	letter := s.get(dead, true)
	equal(t, letter.Headers["x-first-death-reason"], any("delivery_limit"), "reason")
	equal(t, letter.Headers["x-first-death-queue"], any(queue), "queue")
}

func TestCarbonCopies(t *testing.T) {
	s := open(t)
	to, cc, bcc := s.queue(nil), s.queue(nil), s.queue(nil)
	headers := amqp.Table{"CC": []any{cc}, "BCC": []any{bcc}, "own": "header"}

	s.publish("", to, amqp.Publishing{Headers: headers, Body: []byte("copied")})

	for _, queue := range []string{to, cc, bcc} {
		delivery := s.get(queue, true)
		equal(t, string(delivery.Body), "copied", "body")
		equal(t, delivery.Headers["own"], any("header"), "own header")
		_, blind := delivery.Headers["BCC"]
		equal(t, blind, false, "BCC header")
		equal(t, delivery.Headers["CC"].([]any)[0], any(cc), "CC header")
	}
}

func TestAnEmptyNameMeansTheLastDeclaredQueue(t *testing.T) {
	s := open(t)
	exchange := s.exchange("fanout", nil)
	declared, err := s.QueueDeclare("", false, false, true, false, nil)
	must(t, err)

	must(t, s.QueueBind("", "", exchange, false, nil))
	deliveries := s.consume("", true)
	s.publish(exchange, "", amqp.Publishing{Body: []byte("found")})

	bodies(t, deliveries, "found")
	equal(t, strings.HasPrefix(declared.Name, "amq.gen-"), true, "generated name")
}

func TestNamesAreUTF8(t *testing.T) {
	s := open(t)
	queue := s.queueNamed(unique("häschen-☃-\U0001F407"), nil)
	exchange := s.exchange("topic", nil)
	must(t, s.QueueBind(queue, "ключ.#", exchange, false, nil))

	s.publish(exchange, "ключ.значение", amqp.Publishing{Body: []byte("да")})

	delivery := s.get(queue, true)
	equal(t, delivery.RoutingKey, "ключ.значение", "routing key")
	equal(t, string(delivery.Body), "да", "body")
}

func TestLengthInBytesIsBounded(t *testing.T) {
	s := open(t)
	queue := s.queue(amqp.Table{"x-max-length-bytes": 10})

	for _, body := range []string{"12345", "abcde", "fgh"} {
		s.send(queue, body)
	}

	eventually(t, "the oldest is dropped", func() bool { return s.ready(queue) == 2 })
	bodies(t, s.consume(queue, true), "abcde", "fgh")
}

func TestExpirationZeroReachesAWaitingConsumerOnly(t *testing.T) {
	s := open(t)
	queue := s.queue(nil)
	atOnce := amqp.Publishing{Expiration: "0", Body: []byte("now or never")}

	s.publish("", queue, atOnce)
	eventually(t, "nobody waited", func() bool { return s.ready(queue) == 0 })
	deliveries := s.consume(queue, true)
	s.publish("", queue, atOnce)
	s.send(queue, "end")

	bodies(t, deliveries, "now or never", "end")
}

func TestACancelledConsumerKeepsWhatItHolds(t *testing.T) {
	s := open(t)
	queue := s.queue(nil)
	s.send(queue, "held")
	deliveries, err := s.Consume(queue, "mine", false, false, false, false, nil)
	must(t, err)
	held := next(t, deliveries, "the message")

	must(t, s.Cancel("mine", false))
	equal(t, s.ready(queue), 0, "messages while it is held")
	must(t, held.Ack(false))
	must(t, s.Close())
	equal(t, open(t).ready(queue), 0, "messages after the acknowledgement")
}

func TestAClosedChannelGivesBackWhatItHeld(t *testing.T) {
	s, other := open(t), open(t)
	queue := s.queue(nil)
	for n := range 3 {
		s.send(queue, fmt.Sprint(n))
	}
	for range 3 {
		s.get(queue, false)
	}

	must(t, s.Close())

	for n := range 3 {
		again := other.get(queue, true)
		equal(t, string(again.Body), fmt.Sprint(n), "body")
		equal(t, again.Redelivered, true, "redelivered")
	}
}

func TestManyConnectionsComeAndGo(t *testing.T) {
	var open sync.WaitGroup
	for range 100 {
		open.Go(func() {
			conn, err := amqp.Dial(brokerURL())
			if err != nil {
				t.Error(err)
				return
			}
			if _, err := conn.Channel(); err != nil {
				t.Error(err)
			}
			if err := conn.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	open.Wait()
}

// Each thread's close is answered; nobody finds the socket gone under its feet.
func TestAConnectionClosedByManyAtOnce(t *testing.T) {
	for range 10 {
		s := open(t)
		outcomes := make(chan error, 16)
		for range cap(outcomes) {
			go func() { outcomes <- s.conn.Close() }()
		}
		for range cap(outcomes) {
			var broken *amqp.Error
			err := next(t, outcomes, "an answer")
			if errors.As(err, &broken) && err != error(amqp.ErrClosed) {
				t.Fatal(err)
			}
		}
	}
}
