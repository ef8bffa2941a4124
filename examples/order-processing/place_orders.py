"""Places orders, given as NUMBER:ITEM:CARD."""

import sys

from service import connect, publish

connection, channel = connect()
for argument in sys.argv[1:]:
    number, item, card = argument.split(":")
    publish(channel, "orders", "order.placed", {"number": number, "item": item, "card": card})
    print(f"placed order {number}")
connection.close()
