// Package topiclogs is what the emitter and the collector agree on.
package topiclogs

import (
	"os"

	amqp "github.com/rabbitmq/amqp091-go"
)

const Exchange = "logs.by-topic"

// Connect opens a channel on which the exchange exists.
func Connect() (*amqp.Connection, *amqp.Channel, error) {
	url := os.Getenv("AMQP_URL")
	if url == "" {
		url = "amqp://localhost"
	}
	conn, err := amqp.Dial(url)
	if err != nil {
		return nil, nil, err
	}
	ch, err := conn.Channel()
	if err != nil {
		return nil, nil, err
	}
	return conn, ch, ch.ExchangeDeclare(Exchange, amqp.ExchangeTopic, true, false, false, false, nil)
}
