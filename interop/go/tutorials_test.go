// RabbitMQ's seven tutorials with amqp091-go, sender and receiver on connections of their own.
package interop_test

import (
	"fmt"
	"strconv"
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"
)

func TestTutorial1Hello(t *testing.T) {
	sender, receiver := open(t), open(t)
	queue := sender.queue(nil)

	sender.send(queue, "Hello World!")

	bodies(t, receiver.consume(queue, true), "Hello World!")
}

func TestTutorial2WorkQueue(t *testing.T) {
	sender, busy, diligent := open(t), open(t), open(t)
	queue := sender.queue(nil)
	must(t, busy.Qos(1, 0, false))
	must(t, diligent.Qos(1, 0, false))

	hoarded := busy.consume(queue, false)
	sender.send(queue, "task 0")
	bodies(t, hoarded, "task 0")

	// The busy worker holds its task, so the other one does all the rest.
	done := diligent.consume(queue, false)
	for n := 1; n <= 5; n++ {
		sender.send(queue, fmt.Sprint("task ", n))
	}
	for n := 1; n <= 5; n++ {
		task := next(t, done, "a task")
		equal(t, string(task.Body), fmt.Sprint("task ", n), "task")
		must(t, task.Ack(false))
	}

	must(t, busy.conn.Close())
	returned := next(t, done, "the task of the lost worker")
	equal(t, string(returned.Body), "task 0", "returned task")
	equal(t, returned.Redelivered, true, "redelivered")
	must(t, returned.Ack(false))
}

func TestTutorial3PublishSubscribe(t *testing.T) {
	sender, receiver := open(t), open(t)
	logs := sender.exchange("fanout", nil)
	screen := receiver.subscription(logs, "")
	file := receiver.subscription(logs, "ignored")

	sender.publish(logs, "", amqp.Publishing{Body: []byte("info: all is well")})

	bodies(t, screen, "info: all is well")
	bodies(t, file, "info: all is well")
}

func TestTutorial4Routing(t *testing.T) {
	sender, receiver := open(t), open(t)
	logs := sender.exchange("direct", nil)
	errors := receiver.subscription(logs, "error")
	all := receiver.subscription(logs, "info", "warning", "error")

	for _, severity := range []string{"info", "warning", "error"} {
		sender.publish(logs, severity, amqp.Publishing{Body: []byte(severity)})
	}

	bodies(t, all, "info", "warning", "error")
	bodies(t, errors, "error")
}

func TestTutorial5Topics(t *testing.T) {
	sender, receiver := open(t), open(t)
	logs := sender.exchange("topic", nil)
	// Each is bound to the last key as well, so a message too many would come before it.
	everything := receiver.subscription(logs, "#")
	kernel := receiver.subscription(logs, "kern.*", "end")
	deep := receiver.subscription(logs, "kern.#", "end")
	critical := receiver.subscription(logs, "*.critical", "end")

	keys := []string{"kern.critical", "kern.a.b", "kern", "auth.critical", "end"}
	for _, key := range keys {
		sender.publish(logs, key, amqp.Publishing{Body: []byte(key)})
	}

	bodies(t, everything, keys...)
	bodies(t, kernel, "kern.critical", "end")
	bodies(t, deep, "kern.critical", "kern.a.b", "kern", "end")
	bodies(t, critical, "kern.critical", "auth.critical", "end")
}

func TestTutorial6RPC(t *testing.T) {
	server, client := open(t), open(t)
	requests := server.queue(nil)
	must(t, server.Qos(1, 0, false))
	incoming := server.consume(requests, false)
	served := make(chan error, 1)
	go func() { served <- serveFibonacci(server.Channel, incoming) }()

	replyTo, err := client.QueueDeclare("", false, false, true, false, nil)
	must(t, err)
	replies := client.consume(replyTo.Name, true)

	for n, want := range map[int]string{0: "0", 10: "55", 30: "832040"} {
		id := unique("call")
		client.publish("", requests, amqp.Publishing{ReplyTo: replyTo.Name, CorrelationId: id, Body: []byte(strconv.Itoa(n))})
		reply := next(t, replies, "the reply")
		equal(t, reply.CorrelationId, id, "correlation id")
		equal(t, string(reply.Body), want, fmt.Sprintf("fibonacci(%d)", n))
	}

	must(t, server.Close())
	must(t, next(t, served, "the server's end"))
}

func serveFibonacci(ch *amqp.Channel, requests <-chan amqp.Delivery) error {
	for request := range requests {
		n, err := strconv.Atoi(string(request.Body))
		if err != nil {
			return err
		}
		a, b := 0, 1
		for range n {
			a, b = b, a+b
		}
		reply := amqp.Publishing{CorrelationId: request.CorrelationId, Body: []byte(strconv.Itoa(a))}
		if err := ch.Publish("", request.ReplyTo, false, false, reply); err != nil {
			return err
		}
		if err := request.Ack(false); err != nil {
			return err
		}
	}
	return nil
}

func TestTutorial7PublisherConfirms(t *testing.T) {
	s := open(t).confirming()
	queue := s.queue(nil)
	publish := func(body string) *amqp.DeferredConfirmation {
		message := amqp.Publishing{DeliveryMode: amqp.Persistent, Body: []byte(body)}
		confirmation, err := s.PublishWithDeferredConfirmWithContext(t.Context(), "", queue, false, false, message)
		must(t, err)
		return confirmation
	}

	for n := range 10 {
		confirmed(t, publish(fmt.Sprint("one ", n)))
	}
	var batch []*amqp.DeferredConfirmation
	for n := range 200 {
		batch = append(batch, publish(fmt.Sprint("batch ", n)))
	}
	for _, confirmation := range batch {
		confirmed(t, confirmation)
	}

	equal(t, s.ready(queue), 210, "messages in the queue")
}

func confirmed(t *testing.T, confirmation *amqp.DeferredConfirmation) {
	t.Helper()
	next(t, done(confirmation), "a confirm")
	equal(t, confirmation.Acked(), true, "ack")
}

// done turns the confirmation's closing into an item.
func done(confirmation *amqp.DeferredConfirmation) <-chan bool {
	settled := make(chan bool, 1)
	go func() { settled <- confirmation.Wait() }()
	return settled
}
