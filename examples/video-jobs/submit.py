"""Submits videos, given as CLASS:NAME."""

import sys

import pika

from queue_of_jobs import PRIORITIES, connect

connection, channel = connect()
channel.confirm_delivery()
for job in sys.argv[1:]:
    plan, video = job.split(":")
    properties = pika.BasicProperties(delivery_mode=pika.DeliveryMode.Persistent, priority=PRIORITIES[plan])
    channel.basic_publish("", "video.jobs", f"{plan} {video}", properties)
    print(f"submitted {video}")
connection.close()
