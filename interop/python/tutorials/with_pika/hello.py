"""Tutorial 1, Hello World: hello.py send | receive"""

import sys

import pika
from names import PARAMETERS, name, say


def send(channel):
    channel.basic_publish(exchange="", routing_key=name("hello"), body="Hello World!")
    say("sent Hello World!")


def receive(channel):
    def callback(channel, method, properties, body):
        say("received", body.decode())

    channel.basic_consume(queue=name("hello"), on_message_callback=callback, auto_ack=True)
    say("waiting")
    channel.start_consuming()


with pika.BlockingConnection(PARAMETERS) as connection:
    channel = connection.channel()
    channel.queue_declare(queue=name("hello"))
    {"send": send, "receive": receive}[sys.argv[1]](channel)
