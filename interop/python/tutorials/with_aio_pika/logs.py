"""Tutorials 3 to 5, Publish/Subscribe, Routing, Topics: one program for all three kinds of exchange.

logs.py fanout|direct|topic emit KEY MESSAGE
logs.py fanout|direct|topic receive KEY…
"""

import asyncio
import sys

from aio_pika import Message
from names import connect, name, say


async def emit(channel, exchange, key, message):
    await exchange.publish(Message(message.encode()), routing_key=key)
    say("sent", f"{key}:{message}")


async def receive(channel, exchange, *keys):
    queue = await channel.declare_queue(exclusive=True)
    for key in keys:
        await queue.bind(exchange, routing_key=key)

    async def callback(message):
        say("received", f"{message.routing_key}:{message.body.decode()}")

    await queue.consume(callback, no_ack=True)
    say("waiting")
    await asyncio.Future()


async def main(kind, role, *arguments):
    async with await connect() as connection:
        channel = await connection.channel()
        exchange = await channel.declare_exchange(name(f"{kind}_logs"), kind)
        await {"emit": emit, "receive": receive}[role](channel, exchange, *arguments)


asyncio.run(main(*sys.argv[1:]))
