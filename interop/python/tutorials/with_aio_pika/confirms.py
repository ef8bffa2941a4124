"""Tutorial 7, Publisher Confirms: confirms.py COUNT"""

import asyncio
import sys

from aio_pika import DeliveryMode, Message
from names import connect, name, say


def publish(channel, number):
    message = Message(str(number).encode(), delivery_mode=DeliveryMode.PERSISTENT)
    return channel.default_exchange.publish(message, routing_key=name("confirms"), mandatory=True)


async def individually(channel, count):
    """Waits for the confirm of each message before it sends the next."""
    for number in range(count):
        await publish(channel, number)
    say("individually", count)


async def asynchronously(channel, count):
    """Sends all it has and waits for all confirms together."""
    await asyncio.gather(*(publish(channel, number) for number in range(count)))
    say("asynchronously", count)


async def main(count):
    async with await connect() as connection:
        channel = await connection.channel(publisher_confirms=True)
        queue = await channel.declare_queue(name("confirms"), durable=True)
        await individually(channel, count)
        await asynchronously(channel, count)
        deleted = await queue.delete(if_unused=False, if_empty=False)
        say("queued", deleted.message_count)


asyncio.run(main(int(sys.argv[1])))
