from service import run


def send(order, attempt):
    print(f"mailed: order {order['number']}, your {order['item']} is on its way")


run("email", handle=send)
