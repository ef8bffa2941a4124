"""Encodes videos one by one until it is stopped."""

from queue_of_jobs import connect

connection, channel = connect()
channel.basic_qos(prefetch_count=1)


def encode(channel, method, properties, body):
    print(f"encoding {body.decode()}")
    connection.sleep(0.2)  # The work; it keeps the connection's heartbeats going.
    channel.basic_ack(method.delivery_tag)


channel.basic_consume("video.jobs", encode)
print("encoder is ready")
try:
    channel.start_consuming()
except KeyboardInterrupt:
    connection.close()
