from service import GiveUp, TryAgain, run


def charge(order, attempt):
    if order["card"] == "stolen":
        raise GiveUp("the card is stolen")
    if order["card"] == "slow-bank" and attempt < 3:
        raise TryAgain(f"the bank did not answer attempt {attempt}")
    print(f"charged order {order['number']} at attempt {attempt}")


run("payment", handle=charge, next_event="order.paid")
