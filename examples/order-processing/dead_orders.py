"""Lists the orders that were given up, and takes them off the queue."""

import json

from service import connect

connection, channel = connect()
while True:
    method, properties, body = channel.basic_get("orders.dead")
    if method is None:
        break
    order = json.loads(body)
    print(f"order {order['number']} died in {properties.headers['step']}: {properties.headers['reason']}")
    channel.basic_ack(method.delivery_tag)
connection.close()
