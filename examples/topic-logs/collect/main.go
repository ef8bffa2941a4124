// Collect prints the log lines whose topic matches one of its patterns until it is stopped.
package main

import (
	"fmt"
	"log"
	"os"

	topiclogs "topiclogs"
)

func main() {
	conn, ch, err := topiclogs.Connect()
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close()

	queue, err := ch.QueueDeclare("", false, false, true, false, nil)
	if err != nil {
		log.Fatal(err)
	}
	for _, pattern := range os.Args[1:] {
		if err := ch.QueueBind(queue.Name, pattern, topiclogs.Exchange, false, nil); err != nil {
			log.Fatal(err)
		}
	}
	lines, err := ch.Consume(queue.Name, "", true, true, false, false, nil)
	if err != nil {
		log.Fatal(err)
	}

	fmt.Println("collecting", os.Args[1:])
	for line := range lines {
		fmt.Printf("%s: %s\n", line.RoutingKey, line.Body)
	}
}
