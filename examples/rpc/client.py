"""Asks for the Fibonacci numbers of the given indices, all at once."""

import json
import os
import sys
import time

import pika

DEADLINE_SECONDS = 10

connection = pika.BlockingConnection(pika.URLParameters(os.environ.get("AMQP_URL", "amqp://localhost")))
channel = connection.channel()
answers = {}


def receive(channel, method, properties, body):
    answers[properties.correlation_id] = json.loads(body)


# The replies come to the channel that asks, so this comes first.
channel.basic_consume("amq.rabbitmq.reply-to", receive, auto_ack=True)

for n in sys.argv[1:]:
    channel.basic_publish(
        exchange="",
        routing_key="rpc.fibonacci",
        body=json.dumps({"n": int(n)}),
        properties=pika.BasicProperties(
            content_type="application/json",
            reply_to="amq.rabbitmq.reply-to",
            correlation_id=n,
            expiration=str(DEADLINE_SECONDS * 1000),
        ),
    )

give_up = time.monotonic() + DEADLINE_SECONDS
while len(answers) < len(sys.argv[1:]) and time.monotonic() < give_up:
    connection.process_data_events(time_limit=0.1)

for n in sys.argv[1:]:
    answer = answers.get(n, {"error": "no answer"})
    print(f"fibonacci({n}) = {answer['result']}" if "result" in answer else f"fibonacci({n}) failed: {answer['error']}")

connection.close()
