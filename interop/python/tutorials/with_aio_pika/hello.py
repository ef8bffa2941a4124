"""Tutorial 1, Hello World: hello.py send | receive"""

import asyncio
import sys

from aio_pika import Message
from names import connect, name, say


async def send(channel):
    await channel.default_exchange.publish(Message(b"Hello World!"), routing_key=name("hello"))
    say("sent Hello World!")


async def receive(channel):
    queue = await channel.declare_queue(name("hello"))

    async def callback(message):
        say("received", message.body.decode())

    await queue.consume(callback, no_ack=True)
    say("waiting")
    await asyncio.Future()


async def main(role):
    async with await connect() as connection:
        channel = await connection.channel()
        await channel.declare_queue(name("hello"))
        await {"send": send, "receive": receive}[role](channel)


asyncio.run(main(*sys.argv[1:]))
