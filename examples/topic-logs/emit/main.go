// Emit publishes log lines: pairs of a topic and a text.
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	topiclogs "topiclogs"
)

func main() {
	conn, ch, err := topiclogs.Connect()
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close()
	if err := ch.Confirm(false); err != nil {
		log.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()

	for args := os.Args[1:]; len(args) >= 2; args = args[2:] {
		line := amqp.Publishing{ContentType: "text/plain", Timestamp: time.Now(), Body: []byte(args[1])}
		confirmation, err := ch.PublishWithDeferredConfirmWithContext(ctx, topiclogs.Exchange, args[0], false, false, line)
		if err != nil {
			log.Fatal(err)
		}
		if _, err := confirmation.WaitContext(ctx); err != nil {
			log.Fatal(err)
		}
		fmt.Println("emitted", args[0])
	}
}
