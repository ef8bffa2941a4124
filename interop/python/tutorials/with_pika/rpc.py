"""Tutorial 6, Remote procedure call: rpc.py serve | call N"""

import sys
import uuid

import pika
from names import PARAMETERS, name, say


def fibonacci(n):
    return n if n < 2 else fibonacci(n - 1) + fibonacci(n - 2)


def serve(channel):
    channel.queue_declare(queue=name("rpc_queue"))

    def on_request(channel, method, properties, body):
        channel.basic_publish(
            exchange="",
            routing_key=properties.reply_to,
            properties=pika.BasicProperties(correlation_id=properties.correlation_id),
            body=str(fibonacci(int(body))),
        )
        channel.basic_ack(delivery_tag=method.delivery_tag)

    channel.basic_qos(prefetch_count=1)
    channel.basic_consume(queue=name("rpc_queue"), on_message_callback=on_request)
    say("waiting")
    channel.start_consuming()


def call(channel, n):
    replies = channel.queue_declare(queue="", exclusive=True).method.queue
    correlation_id = str(uuid.uuid4())
    channel.basic_publish(
        exchange="",
        routing_key=name("rpc_queue"),
        properties=pika.BasicProperties(reply_to=replies, correlation_id=correlation_id),
        body=n,
    )
    for _, properties, body in channel.consume(replies, auto_ack=True, inactivity_timeout=30):
        if properties and properties.correlation_id == correlation_id:
            say("got", body.decode())
            break


with pika.BlockingConnection(PARAMETERS) as connection:
    {"serve": serve, "call": call}[sys.argv[1]](connection.channel(), *sys.argv[2:])
