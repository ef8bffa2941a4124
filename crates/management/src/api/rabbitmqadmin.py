#!/usr/bin/env python3
"""Says where rabbitmqadmin is: like RabbitMQ 4.3, Leveret no longer serves it."""

import sys

sys.exit(
    "rabbitmqadmin is not served here. Version 2 is at https://github.com/rabbitmq/rabbitmqadmin-ng "
    "(cargo install rabbitmqadmin); both versions work with this node."
)
