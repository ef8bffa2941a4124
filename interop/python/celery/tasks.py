"""A Celery application with tasks that return, retry, give up, and tell when they ran."""

import os
import time

from celery import Celery

PREFIX = os.environ["CELERY_PREFIX"]

app = Celery("interop", broker=os.environ["AMQP_URL"], backend="rpc://")
app.conf.update(
    task_default_queue=PREFIX + "tasks",
    event_queue_prefix=PREFIX + "events",
    control_exchange=PREFIX + "control",
    event_exchange=PREFIX + "events",
    task_acks_late=True,
    worker_prefetch_multiplier=16,
    broker_connection_retry_on_startup=False,
    result_expires=600,
)


@app.task
def double(number):
    return 2 * number


@app.task(bind=True, max_retries=3)
def third_time_lucky(self, number):
    if self.request.retries < 2:
        raise self.retry(countdown=0)
    return number, self.request.retries


@app.task(bind=True, max_retries=1)
def never_lucky(self):
    raise self.retry(countdown=0, exc=ValueError("out of luck"))


@app.task
def time_of_run():
    return time.time()
