"""Where the broker is, and names that no other run uses."""

import os

import pika

PARAMETERS = pika.URLParameters(os.environ.get("AMQP_URL", "amqp://guest:guest@127.0.0.1:5672/%2F"))


def name(plain):
    return os.environ.get("TUTORIAL_PREFIX", "") + plain


def say(*words):
    print(*words, flush=True)
