"""Tutorials 3 to 5, Publish/Subscribe, Routing, Topics: one program for all three kinds of exchange.

logs.py fanout|direct|topic emit KEY MESSAGE
logs.py fanout|direct|topic receive KEY…
"""

import sys

import pika
from names import PARAMETERS, name, say


def emit(channel, exchange, key, message):
    channel.basic_publish(exchange=exchange, routing_key=key, body=message)
    say("sent", f"{key}:{message}")


def receive(channel, exchange, *keys):
    queue = channel.queue_declare(queue="", exclusive=True).method.queue
    for key in keys:
        channel.queue_bind(exchange=exchange, queue=queue, routing_key=key)

    def callback(channel, method, properties, body):
        say("received", f"{method.routing_key}:{body.decode()}")

    channel.basic_consume(queue=queue, on_message_callback=callback, auto_ack=True)
    say("waiting")
    channel.start_consuming()


kind, role, *arguments = sys.argv[1:]
with pika.BlockingConnection(PARAMETERS) as connection:
    channel = connection.channel()
    exchange = name(f"{kind}_logs")
    channel.exchange_declare(exchange=exchange, exchange_type=kind)
    {"emit": emit, "receive": receive}[role](channel, exchange, *arguments)
