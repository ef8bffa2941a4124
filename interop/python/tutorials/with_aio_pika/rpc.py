"""Tutorial 6, Remote procedure call: rpc.py serve | call N"""

import asyncio
import sys
import uuid

from aio_pika import Message
from names import connect, name, say


def fibonacci(n):
    return n if n < 2 else fibonacci(n - 1) + fibonacci(n - 2)


async def serve(channel):
    queue = await channel.declare_queue(name("rpc_queue"))
    await channel.set_qos(prefetch_count=1)

    async def on_request(request):
        async with request.process():
            answer = str(fibonacci(int(request.body))).encode()
            reply = Message(answer, correlation_id=request.correlation_id)
            await channel.default_exchange.publish(reply, routing_key=request.reply_to)

    await queue.consume(on_request)
    say("waiting")
    await asyncio.Future()


async def call(channel, n):
    replies = await channel.declare_queue(exclusive=True)
    request = Message(n.encode(), correlation_id=str(uuid.uuid4()), reply_to=replies.name)
    await channel.default_exchange.publish(request, routing_key=name("rpc_queue"))
    async with replies.iterator(no_ack=True, timeout=30) as messages:
        async for message in messages:
            if message.correlation_id == request.correlation_id:
                say("got", message.body.decode())
                return


async def main(role, *arguments):
    async with await connect() as connection:
        await {"serve": serve, "call": call}[role](await connection.channel(), *arguments)


asyncio.run(main(*sys.argv[1:]))
