"""Tutorial 7, Publisher Confirms: confirms.py COUNT"""

import sys

import pika
from names import PARAMETERS, name, say

COUNT = int(sys.argv[1])
PERSISTENT = pika.BasicProperties(delivery_mode=pika.DeliveryMode.Persistent)


def individually():
    """Waits for the confirm of each message before it sends the next."""
    with pika.BlockingConnection(PARAMETERS) as connection:
        channel = connection.channel()
        channel.queue_declare(queue=name("confirms"), durable=True)
        channel.confirm_delivery()
        for number in range(COUNT):
            channel.basic_publish("", name("confirms"), str(number), PERSISTENT, mandatory=True)
        say("individually", COUNT)


def asynchronously():
    """Sends all it has and counts what comes back."""
    outstanding = set()

    def on_open(connection):
        connection.channel(on_open_callback=on_channel)

    def on_channel(channel):
        channel.confirm_delivery(on_confirm, callback=lambda _: publish(channel))

    def publish(channel):
        outstanding.update(range(1, COUNT + 1))
        for number in range(COUNT):
            channel.basic_publish("", name("confirms"), str(number), PERSISTENT)

    def on_confirm(frame):
        assert isinstance(frame.method, pika.spec.Basic.Ack), "refused"
        tag = frame.method.delivery_tag
        outstanding.difference_update(range(1, tag + 1) if frame.method.multiple else [tag])
        if not outstanding:
            say("asynchronously", COUNT)
            connection.close()

    connection = pika.SelectConnection(
        PARAMETERS,
        on_open_callback=on_open,
        on_close_callback=lambda connection, _: connection.ioloop.stop(),
    )
    connection.ioloop.start()


individually()
asynchronously()
with pika.BlockingConnection(PARAMETERS) as connection:
    say("queued", connection.channel().queue_delete(name("confirms")).method.message_count)
