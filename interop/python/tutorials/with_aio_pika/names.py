"""Where the broker is, and names that no other run uses."""

import os

import aio_pika


def connect():
    return aio_pika.connect(os.environ.get("AMQP_URL", "amqp://guest:guest@127.0.0.1:5672/"))


def name(plain):
    return os.environ.get("TUTORIAL_PREFIX", "") + plain


def say(*words):
    print(*words, flush=True)
