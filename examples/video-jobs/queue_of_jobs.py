"""The queue that both sides declare, and the priorities of the classes."""

import os

import pika

PRIORITIES = {"free": 0, "plus": 1, "premium": 2}


def connect():
    connection = pika.BlockingConnection(pika.URLParameters(os.environ.get("AMQP_URL", "amqp://localhost")))
    channel = connection.channel()
    # As few priorities as there are classes: each one costs the broker a little.
    channel.queue_declare("video.jobs", durable=True, arguments={"x-max-priority": max(PRIORITIES.values())})
    return connection, channel
