"""Works on tasks one by one until it is stopped."""

import os
import sys

import pika

worker = sys.argv[1]
connection = pika.BlockingConnection(pika.URLParameters(os.environ.get("AMQP_URL", "amqp://localhost")))
channel = connection.channel()
channel.queue_declare("tasks", durable=True)
channel.basic_qos(prefetch_count=1)


def work(channel, method, properties, body):
    name, seconds = body.decode().split(":")
    again = " again" if method.redelivered else ""
    print(f"{worker} takes {name}{again}")
    connection.sleep(float(seconds))  # The work; it keeps the connection's heartbeats going.
    print(f"{worker} finished {name}")
    channel.basic_ack(method.delivery_tag)


channel.basic_consume("tasks", work)
print(f"{worker} waits for tasks")
try:
    channel.start_consuming()
except KeyboardInterrupt:
    connection.close()
