"""Computes Fibonacci numbers on request until it is stopped."""

import json
import os

import pika

connection = pika.BlockingConnection(pika.URLParameters(os.environ.get("AMQP_URL", "amqp://localhost")))
channel = connection.channel()
channel.queue_declare("rpc.fibonacci", durable=True)
channel.basic_qos(prefetch_count=1)


def fibonacci(n):
    if n < 0:
        raise ValueError(f"no Fibonacci number has the index {n}")
    a, b = 0, 1
    for _ in range(n):
        a, b = b, a + b
    return a


def serve(channel, method, properties, body):
    try:
        answer = {"result": fibonacci(json.loads(body)["n"])}
    except ValueError as error:
        # The caller's mistake is an answer too; without one it would wait until its deadline.
        answer = {"error": str(error)}
    channel.basic_publish(
        exchange="",
        routing_key=properties.reply_to,
        body=json.dumps(answer),
        properties=pika.BasicProperties(content_type="application/json", correlation_id=properties.correlation_id),
    )
    channel.basic_ack(method.delivery_tag)


channel.basic_consume("rpc.fibonacci", serve)
print("server waits for requests")
try:
    channel.start_consuming()
except KeyboardInterrupt:
    connection.close()
