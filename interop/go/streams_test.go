// Streams as queues: everybody reads everything, from a place of their own, and nothing leaves.
package interop_test

import (
	"fmt"
	"slices"
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"
)

// stream declares a stream that is deleted when the test ends.
func (s session) stream() string {
	s.t.Helper()
	return s.queue(amqp.Table{"x-queue-type": "stream"})
}

// append publishes, and has it confirmed before it goes on: on RabbitMQ each message is a chunk of its own then.
func (s session) append(stream, filter string, texts ...string) {
	s.t.Helper()
	for _, text := range texts {
		message := amqp.Publishing{Body: []byte(text)}
		if filter != "" {
			message.Headers = amqp.Table{"x-stream-filter-value": filter}
		}
		confirmation, err := s.PublishWithDeferredConfirm("", stream, false, false, message)
		must(s.t, err)
		if !confirmation.Wait() {
			s.t.Fatalf("%s was refused", text)
		}
	}
}

// read consumes a stream on a connection of its own, and acknowledges what next gives.
func read(t *testing.T, stream string, args amqp.Table) func() amqp.Delivery {
	t.Helper()
	s := open(t)
	must(t, s.Qos(5, 0, false))
	deliveries, err := s.Consume(stream, "", false, false, false, false, args)
	must(t, err)
	return func() amqp.Delivery {
		t.Helper()
		delivery := next(t, deliveries, "a message of the stream")
		must(t, delivery.Ack(false))
		return delivery
	}
}

func offset(delivery amqp.Delivery) int64 { return delivery.Headers["x-stream-offset"].(int64) }

func TestStreamIsReadFromEachKindOfOffset(t *testing.T) {
	s := open(t).confirming()
	texts := []string{"a", "b", "c", "d", "e"}
	for _, place := range []struct {
		offset any
		first  int
	}{
		{"first", 0}, {"last", 4}, {"next", 5}, {nil, 5}, {int64(0), 0}, {int32(3), 3}, {int64(5), 5}, {"1h", 0},
	} {
		stream := s.stream()
		s.append(stream, "", texts...)
		args := amqp.Table{}
		if place.offset != nil {
			args["x-stream-offset"] = place.offset
		}
		next := read(t, stream, args)
		// What was there is known by what comes after it.
		s.append(stream, "", "end")
		for n, want := range append(slices.Clone(texts[place.first:]), "end") {
			got := next()
			equal(t, string(got.Body), want, fmt.Sprintf("from %v: message %d", place.offset, n))
			equal(t, offset(got), int64(place.first+n), want)
		}
	}
}

func TestStreamFilterGivesOnlyWhatIsAskedFor(t *testing.T) {
	s := open(t).confirming()
	stream := s.stream()
	for n := range 10 {
		s.append(stream, []string{"", "even", "odd"}[[]int{1, 2, 1, 2, 0}[n%5]], fmt.Sprint(n))
	}
	for _, reader := range []struct {
		args amqp.Table
		want []string
	}{
		{amqp.Table{"x-stream-filter": "odd"}, []string{"1", "3", "6", "8"}},
		{amqp.Table{"x-stream-filter": []any{"odd", "even"}}, []string{"0", "1", "2", "3", "5", "6", "7", "8"}},
		{amqp.Table{"x-stream-filter": "odd", "x-stream-match-unfiltered": true}, []string{"1", "3", "4", "6", "8", "9"}},
	} {
		reader.args["x-stream-offset"] = "first"
		next := read(t, stream, reader.args)
		for _, want := range reader.want {
			equal(t, string(next().Body), want, fmt.Sprint(reader.args))
		}
	}
}

// Several publish at once: whatever the order is that their messages get, each reader sees all of them in it.
func TestStreamHasOneOrderForAllReaders(t *testing.T) {
	const publishers, each, readers = 4, 250, 3
	stream := open(t).stream()
	nexts := make([]func() amqp.Delivery, readers)
	for n := range nexts {
		nexts[n] = read(t, stream, amqp.Table{"x-stream-offset": "first"})
	}
	for publisher := range publishers {
		s := open(t).confirming()
		go publishAll(t, s, stream, publisher, each)
	}
	var order []string
	for n := range publishers * each {
		for reader, next := range nexts {
			got := next()
			equal(t, offset(got), int64(n), fmt.Sprintf("reader %d", reader))
			if reader == 0 {
				order = append(order, string(got.Body))
			}
			equal(t, string(got.Body), order[n], fmt.Sprintf("reader %d at %d", reader, n))
		}
	}
	slices.Sort(order)
	equal(t, len(slices.Compact(order)), publishers*each, "different messages")
}

// The one message lies in a stream, a classic and a quorum queue: only from the stream it does not go.
func TestStreamIsAQueueAmongOthersBehindAnExchange(t *testing.T) {
	s := open(t).confirming()
	exchange, stream := s.exchange("fanout", nil), s.stream()
	others := []string{s.queue(nil), s.queue(amqp.Table{"x-queue-type": "quorum"})}
	for _, queue := range append(others, stream) {
		must(t, s.QueueBind(queue, "", exchange, false, nil))
	}
	confirmation, err := s.PublishWithDeferredConfirm(exchange, "", true, false, amqp.Publishing{Body: []byte("all")})
	must(t, err)
	equal(t, confirmation.Wait(), true, "confirmed")
	for _, queue := range others {
		equal(t, string(s.get(queue, true).Body), "all", queue)
	}
	for range 2 {
		equal(t, string(read(t, stream, amqp.Table{"x-stream-offset": "first"})().Body), "all", stream)
	}
}
