from service import TryAgain, run


def reserve(order, attempt):
    if order["item"] == "unicorn":
        raise TryAgain("out of stock")
    print(f"reserved {order['item']} for order {order['number']}")


run("inventory", handle=reserve, next_event="order.reserved")
