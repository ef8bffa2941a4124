"""Adds tasks, given as NAME:SECONDS, and returns when the broker has them on disk."""

import os
import sys

import pika

connection = pika.BlockingConnection(pika.URLParameters(os.environ.get("AMQP_URL", "amqp://localhost")))
channel = connection.channel()
channel.queue_declare("tasks", durable=True)
channel.confirm_delivery()

for task in sys.argv[1:]:
    channel.basic_publish(
        exchange="",
        routing_key="tasks",
        body=task,
        properties=pika.BasicProperties(delivery_mode=pika.DeliveryMode.Persistent),
        mandatory=True,
    )
    print(f"added {task}")

connection.close()
