"""Tutorial 2, Work Queues: work.py task MESSAGE | worker

Each dot of a message is a little work; the word "forever" is work that never ends.
"""

import sys
import threading

import pika
from names import PARAMETERS, name, say


def task(channel, message):
    channel.basic_publish(
        exchange="",
        routing_key=name("task_queue"),
        body=message,
        properties=pika.BasicProperties(delivery_mode=pika.DeliveryMode.Persistent),
    )
    say("sent", message)


def worker(channel):
    def callback(channel, method, properties, body):
        message = body.decode()
        say("received again" if method.redelivered else "received", message)
        if "forever" in message and not method.redelivered:
            threading.Event().wait()
        channel.connection.sleep(message.count(".") / 100)
        say("done", message)
        channel.basic_ack(delivery_tag=method.delivery_tag)

    channel.basic_qos(prefetch_count=1)
    channel.basic_consume(queue=name("task_queue"), on_message_callback=callback)
    say("waiting")
    channel.start_consuming()


with pika.BlockingConnection(PARAMETERS) as connection:
    channel = connection.channel()
    channel.queue_declare(queue=name("task_queue"), durable=True)
    {"task": task, "worker": worker}[sys.argv[1]](channel, *sys.argv[2:])
