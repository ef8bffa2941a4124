"""Tutorial 2, Work Queues: work.py task MESSAGE | worker

Each dot of a message is a little work; the word "forever" is work that never ends.
"""

import asyncio
import sys

from aio_pika import DeliveryMode, Message
from names import connect, name, say


async def task(channel, queue, message):
    persistent = Message(message.encode(), delivery_mode=DeliveryMode.PERSISTENT)
    await channel.default_exchange.publish(persistent, routing_key=queue.name)
    say("sent", message)


async def worker(channel, queue):
    await channel.set_qos(prefetch_count=1)

    async def callback(message):
        async with message.process():
            text = message.body.decode()
            say("received again" if message.redelivered else "received", text)
            if "forever" in text and not message.redelivered:
                await asyncio.Future()
            await asyncio.sleep(text.count(".") / 100)
            say("done", text)

    await queue.consume(callback)
    say("waiting")
    await asyncio.Future()


async def main(role, *arguments):
    async with await connect() as connection:
        channel = await connection.channel()
        queue = await channel.declare_queue(name("task_queue"), durable=True)
        await {"task": task, "worker": worker}[role](channel, queue, *arguments)


asyncio.run(main(*sys.argv[1:]))
