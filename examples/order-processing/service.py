"""What the services share: the topology, and how a step is retried, given up or passed on."""

import json
import os

import pika

# Each step, and the event whose orders it handles.
STEPS = {"payment": "order.placed", "inventory": "order.paid", "email": "order.reserved"}
ATTEMPTS = 3
WAIT_MS = 200


class TryAgain(Exception):
    """The step failed for now."""


class GiveUp(Exception):
    """The step failed for good."""


def connect():
    connection = pika.BlockingConnection(pika.URLParameters(os.environ.get("AMQP_URL", "amqp://localhost")))
    channel = connection.channel()
    channel.exchange_declare("orders", "topic", durable=True)
    channel.queue_declare("orders.dead", durable=True)
    # All steps, by whoever comes first: an order should wait for a service that is not up yet.
    for step, event in STEPS.items():
        declare_step(channel, step, event)
    channel.confirm_delivery()
    return connection, channel


def declare_step(channel, step, event):
    """The queue of a step, and the one where its failed messages wait; each dead-letters into the other."""
    work, wait = f"orders.{step}", f"orders.{step}.wait"
    to_wait = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": wait}
    back_to_work = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": work, "x-message-ttl": WAIT_MS}
    channel.queue_declare(work, durable=True, arguments=to_wait)
    channel.queue_declare(wait, durable=True, arguments=back_to_work)
    channel.queue_bind(work, "orders", event)


def publish(channel, exchange, key, order, headers=None):
    """Returns when the broker has the order on disk; raises when it went nowhere."""
    properties = pika.BasicProperties(
        content_type="application/json",
        delivery_mode=pika.DeliveryMode.Persistent,
        message_id=f"order-{order['number']}",
        headers=headers,
    )
    channel.basic_publish(exchange, key, json.dumps(order), properties, mandatory=True)


def attempts(properties, queue):
    """How often the message has been rejected from the queue before, plus this time."""
    for death in (properties.headers or {}).get("x-death", []):
        if death["queue"] == queue and death["reason"] == "rejected":
            return death["count"] + 1
    return 1


def run(step, handle, next_event=None):
    """Handles the step's orders until stopped. `handle(order, attempt)` may raise TryAgain or GiveUp."""
    connection, channel = connect()
    queue = f"orders.{step}"
    channel.basic_qos(prefetch_count=10)

    def give_up(order, reason):
        print(f"{step} gives up on order {order['number']}: {reason}")
        publish(channel, "", "orders.dead", order, headers={"step": step, "reason": reason})

    def receive(channel, method, properties, body):
        order = json.loads(body)
        attempt = attempts(properties, queue)
        try:
            handle(order, attempt)
            if next_event:
                publish(channel, "orders", next_event, order)
        except TryAgain as reason:
            if attempt < ATTEMPTS:
                print(f"{step} will retry order {order['number']}: {reason}")
                channel.basic_reject(method.delivery_tag, requeue=False)
                return
            give_up(order, str(reason))
        except GiveUp as reason:
            give_up(order, str(reason))
        # Only now, when what follows from the order is on disk: a crash before repeats the step, and loses nothing.
        channel.basic_ack(method.delivery_tag)

    channel.basic_consume(queue, receive)
    print(f"{step} is ready")
    try:
        channel.start_consuming()
    except KeyboardInterrupt:
        connection.close()
