"""RABBITMQ.md 1.2: publish, consume and everything else a channel does."""

import re

import pika
import pytest
from support import (
    assert_channel_closed,
    assert_connection_closed,
    channel_error,
    confirmed,
    connection_error,
    consumers,
    depth,
    drain,
    eventually,
    fill,
    get,
    wait_for,
)
from wire import Typed, content_frames, method_frame

MIB = 1024 * 1024


def publish_error(wire, code, text, body=b"", **arguments):
    wire.publish(1, body, **arguments)
    assert_channel_closed(wire, wire.read(), code, text, "basic.publish")


# -- publish ----------------------------------------------------------------------------------------------------------


def test_H01_no_such_exchange(wire):
    publish_error(wire, 404, "NOT_FOUND - no exchange 'no-such-exchange' in vhost '/'", exchange="no-such-exchange")


def test_H01_internal_exchange(wire):
    text = "ACCESS_REFUSED - cannot publish to internal exchange 'amq.rabbitmq.trace' in vhost '/'"
    publish_error(wire, 403, text, exchange="amq.rabbitmq.trace")


def test_H01_size_is_checked_before_the_exchange(wire):
    text = "PRECONDITION_FAILED - message size 16777217 is larger than configured max size 16777216"
    publish_error(wire, 406, text, bytes(16 * MIB + 1), exchange="no-such-exchange")


def test_H01_exchange_is_checked_before_the_expiration(wire):
    text = "NOT_FOUND - no exchange 'no-such-exchange' in vhost '/'"
    publish_error(wire, 404, text, exchange="no-such-exchange", expiration="nonsense")


def test_H02_largest_message(wire, queue):
    body = bytes(range(256)) * (16 * MIB // 256)
    fill(wire, queue, [body])
    assert get(wire, queue).body == body


def test_H02_message_too_large(wire, queue):
    text = "PRECONDITION_FAILED - message size 16777217 is larger than configured max size 16777216"
    publish_error(wire, 406, text, bytes(16 * MIB + 1), routing_key=queue)
    assert depth(wire, queue) == 0


@pytest.mark.parametrize("expiration", ["0", "1", "00005", "315360000000"])
def test_H03_expiration(wire, expiration):
    wire.publish(1, b"", routing_key="nowhere", expiration=expiration)
    wire.ask(1, "basic.qos")


@pytest.mark.parametrize(
    "expiration, reason",
    [
        ("abc", "no_integer"),
        ("", "no_integer"),
        (" 5", "no_integer"),
        ("-1", "{value_negative,-1}"),
        ("315360000001", "{value_too_large,315360000001}"),
        ("1.5", '{leftover_string,".5"}'),
        ("5 ", '{leftover_string," "}'),
    ],
)
def test_H03_invalid_expiration(wire, expiration, reason):
    text = f"PRECONDITION_FAILED - invalid expiration '{expiration}': {reason}"
    publish_error(wire, 406, text, routing_key="nowhere", expiration=expiration)


def test_H04_mandatory_unroutable(wire):
    wire.publish(1, b"body", routing_key="nowhere", mandatory=True, content_type="text/plain", headers={"a": 1})
    returned = wire.read()
    assert (returned.name, returned.code, returned.text) == ("basic.return", 312, "NO_ROUTE")
    assert (returned.exchange, returned.routing_key, returned.body) == ("", "nowhere", b"body")
    assert returned.properties == {"content_type": "text/plain", "headers": {"a": 1}}


def test_H04_mandatory_routable(wire, queue):
    wire.ask(1, "confirm.select")
    assert confirmed(wire, routing_key=queue, mandatory=True)


def test_H04_mandatory_through_an_alternate_exchange(wire, queue, names):
    exchange, alternate = names.exchange(), names.exchange()
    wire.ask(1, "exchange.declare", exchange=alternate, type="fanout")
    wire.ask(1, "exchange.declare", exchange=exchange, type="direct", arguments={"alternate-exchange": alternate})
    wire.ask(1, "queue.bind", queue=queue, exchange=alternate)
    wire.ask(1, "confirm.select")
    assert confirmed(wire, exchange=exchange, routing_key="no such key", mandatory=True)
    assert depth(wire, queue) == 1


def test_H04_return_comes_before_the_confirm(wire):
    wire.ask(1, "confirm.select")
    wire.publish(1, b"", routing_key="nowhere", mandatory=True)
    assert [wire.read().name, wire.read().name] == ["basic.return", "basic.ack"]


def test_H05_immediate(wire, queue):
    wire.publish(1, b"", routing_key=queue, immediate=True)
    assert_connection_closed(wire, wire.read(), 540, "NOT_IMPLEMENTED - immediate=true", "basic.publish")


def test_H06_user_id(wire, queue):
    wire.ask(1, "confirm.select")
    assert confirmed(wire, routing_key=queue, user_id="guest")
    assert get(wire, queue).properties["user_id"] == "guest"


@pytest.mark.parametrize("user_id", ["somebody", ""])
def test_H06_wrong_user_id(wire, queue, user_id):
    text = f"PRECONDITION_FAILED - user_id property set to '{user_id}' but authenticated user was 'guest'"
    publish_error(wire, 406, text, routing_key=queue, user_id=user_id)


@pytest.fixture
def three_queues(wire, names):
    queues = [names.queue() for _ in range(3)]
    for queue in queues:
        wire.ask(1, "queue.declare", queue=queue, durable=True)
    return queues


def test_H07_cc_and_bcc(wire, three_queues):
    to, cc, bcc = three_queues
    wire.ask(1, "confirm.select")
    assert confirmed(wire, b"x", routing_key=to, headers={"CC": [cc], "BCC": [bcc], "other": 1})
    for queue in three_queues:
        message = get(wire, queue)
        assert message.properties["headers"] == {"CC": [cc], "other": 1}
        assert message.routing_key == to


def test_H07_blind_keys_are_followed_when_the_message_dies(wire, three_queues):
    to, cc, bcc = three_queues
    exchange = f"{to}.dead"
    wire.ask(1, "exchange.declare", exchange=exchange, type="direct", auto_delete=True)
    for queue in three_queues:
        wire.ask(1, "queue.bind", queue=queue, exchange=exchange, routing_key=f"{queue}.key")
    source = f"{to}.key"
    arguments = {"x-dead-letter-exchange": exchange, "x-expires": 60000}
    wire.ask(1, "queue.declare", queue=source, durable=True, arguments=arguments)
    wire.ask(1, "confirm.select")
    copies = {"CC": [f"{cc}.key"], "BCC": [f"{bcc}.key"]}
    assert confirmed(wire, b"x", routing_key=source, expiration="0", headers=copies)
    for queue in three_queues:
        message = eventually(lambda: get(wire, queue))
        assert message.routing_key == source
        assert message.properties["headers"]["CC"] == [f"{cc}.key"]
        assert message.properties["headers"]["x-death"][0]["routing-keys"] == [source, f"{cc}.key"]
        assert "BCC" not in message.properties["headers"]
    wire.ask(1, "queue.delete", queue=source)


def test_H07_one_copy_for_each_queue(wire, queue):
    wire.ask(1, "confirm.select")
    assert confirmed(wire, b"x", routing_key=queue, headers={"CC": [queue, queue], "BCC": [queue]})
    assert depth(wire, queue) == 1


def test_H07_cc_makes_a_message_routable(wire, queue):
    wire.ask(1, "confirm.select")
    assert confirmed(wire, b"x", routing_key="nowhere", mandatory=True, headers={"CC": [queue]})
    assert depth(wire, queue) == 1


@pytest.mark.parametrize("header", ["CC", "BCC"])
@pytest.mark.parametrize("value, kind", [("text", "longstr"), (5, "signedint"), (None, "void"), ({}, "table")])
def test_H07_wrong_type(wire, queue, header, value, kind):
    text = f'PRECONDITION_FAILED - invalid message: {{unacceptable_type_in_header,"{header}",{kind}}}'
    publish_error(wire, 406, text, routing_key=queue, headers={header: value})


# -- confirms and transactions ----------------------------------------------------------------------------------------


def test_H08_confirm_select_twice_and_nowait(wire, queue):
    wire.ask(1, "confirm.select")
    wire.ask(1, "confirm.select")
    wire.send_method(1, "confirm.select", nowait=True)
    assert confirmed(wire, routing_key=queue)


@pytest.mark.parametrize("delivery_mode", [None, 1, 2])
def test_H08_confirm(wire, queue, delivery_mode):
    wire.ask(1, "confirm.select")
    wire.publish(1, b"x", routing_key=queue, delivery_mode=delivery_mode)
    answer = wire.read()
    assert (answer.name, answer.delivery_tag) == ("basic.ack", 1)
    assert depth(wire, queue) == 1


def test_H08_every_tag_is_confirmed_once(wire, queue):
    wire.ask(1, "confirm.select")
    count = 1000
    one = method_frame(1, "basic.publish", routing_key=queue) + content_frames(1, b"x", delivery_mode=2)
    wire.send(one * count)
    confirmed_tags = []
    while len(confirmed_tags) < count:
        answer = wire.read()
        assert answer.name == "basic.ack"
        if answer.multiple:
            done = set(confirmed_tags)
            confirmed_tags += [tag for tag in range(1, answer.delivery_tag + 1) if tag not in done]
        else:
            confirmed_tags.append(answer.delivery_tag)
    assert sorted(confirmed_tags) == list(range(1, count + 1))
    wire.assert_silent()
    assert depth(wire, queue) == count


def test_H08_tags_start_at_one_on_each_channel(login, queue):
    wire = login(channels=(1, 2))
    for channel in (1, 2):
        wire.publish(channel, routing_key=queue)
        wire.ask(channel, "confirm.select")
        wire.publish(channel, routing_key=queue)
        assert wire.read(channel).delivery_tag == 1


def test_H08_nack_when_the_queue_is_full(wire, names):
    queue = names.queue()
    wire.ask(
        1, "queue.declare", queue=queue, durable=True, arguments={"x-max-length": 1, "x-overflow": "reject-publish"}
    )
    wire.ask(1, "confirm.select")
    assert confirmed(wire, b"first", routing_key=queue)
    assert not confirmed(wire, b"second", routing_key=queue)
    assert drain(wire, queue) == [b"first"]


def test_H08_nack_when_one_of_the_queues_is_full(wire, names, queue):
    full, exchange = names.queue(), names.exchange()
    wire.ask(
        1, "queue.declare", queue=full, durable=True, arguments={"x-max-length": 1, "x-overflow": "reject-publish"}
    )
    wire.ask(1, "exchange.declare", exchange=exchange, type="fanout")
    for target in (full, queue):
        wire.ask(1, "queue.bind", queue=target, exchange=exchange)
    wire.ask(1, "confirm.select")
    assert confirmed(wire, b"first", exchange=exchange)
    assert not confirmed(wire, b"second", exchange=exchange)
    assert drain(wire, queue) == [b"first", b"second"]


def test_H08_quorum_queue_confirms(wire, names):
    queue = names.queue()
    wire.ask(1, "queue.declare", queue=queue, durable=True, arguments={"x-queue-type": "quorum"})
    fill(wire, queue, [b"a", b"b"])
    assert drain(wire, queue) == [b"a", b"b"]


def test_H08_pika_confirms(channel, queue):
    channel.confirm_delivery()
    for body in (b"a", b"b"):
        channel.basic_publish("", queue, body, pika.BasicProperties(delivery_mode=2), mandatory=True)
    with pytest.raises(pika.exceptions.UnroutableError):
        channel.basic_publish("", "nowhere", b"", mandatory=True)


def test_H09_commit(login, wire, queue):
    observer = login()
    wire.ask(1, "tx.select")
    wire.publish(1, b"a", routing_key=queue)
    wire.publish(1, b"b", routing_key=queue)
    wire.ask(1, "basic.qos")
    assert depth(observer, queue) == 0
    wire.ask(1, "tx.commit")
    assert drain(observer, queue) == [b"a", b"b"]


def test_H09_rollback(wire, queue):
    wire.ask(1, "tx.select")
    wire.publish(1, b"a", routing_key=queue)
    wire.ask(1, "tx.rollback")
    wire.ask(1, "tx.commit")
    assert depth(wire, queue) == 0


def test_H09_acks_wait_for_the_commit(login, queue):
    fill(login(), queue, [b"a", b"b"])
    wire = login()
    wire.ask(1, "tx.select")
    first = get(wire, queue, no_ack=False)
    wire.send_method(1, "basic.ack", delivery_tag=first.delivery_tag)
    wire.ask(1, "tx.rollback")
    wire.ask(1, "channel.close", code=200, text="")
    wire.ask(1, "channel.open")
    wire.ask(1, "tx.select")
    first = eventually(lambda: (m := get(wire, queue, no_ack=False)).body == b"a" and m)
    assert first.redelivered
    wire.send_method(1, "basic.ack", delivery_tag=first.delivery_tag)
    wire.ask(1, "tx.commit")
    wire.ask(1, "channel.close", code=200, text="")
    wire.ask(1, "channel.open")
    assert drain(wire, queue) == [b"b"]


def test_H09_unroutable_mandatory_in_a_transaction(wire):
    wire.ask(1, "tx.select")
    wire.publish(1, b"", routing_key="nowhere", mandatory=True)
    wire.assert_silent()
    wire.send_method(1, "tx.commit")
    assert [wire.read().name, wire.read().name] == ["basic.return", "tx.commit-ok"]


def test_H09_rejected_publish_in_a_transaction(wire, names):
    queue = names.queue()
    arguments = {"x-max-length": 1, "x-overflow": "reject-publish"}
    wire.ask(1, "queue.declare", queue=queue, durable=True, arguments=arguments)
    wire.ask(1, "tx.select")
    wire.publish(1, b"a", routing_key=queue)
    wire.publish(1, b"b", routing_key=queue)
    answer = wire.call(1, "tx.commit")
    assert_channel_closed(wire, answer, 406, "PRECONDITION_FAILED - partial tx completion", "tx.commit")


def test_H09_confirm_then_tx(wire):
    wire.ask(1, "confirm.select")
    channel_error(wire, 406, "PRECONDITION_FAILED - cannot switch from confirm to tx mode", "tx.select")


def test_H09_tx_then_confirm(wire):
    wire.ask(1, "tx.select")
    channel_error(wire, 406, "PRECONDITION_FAILED - cannot switch from tx to confirm mode", "confirm.select")


@pytest.mark.parametrize("method", ["tx.commit", "tx.rollback"])
def test_H09_without_select(wire, method):
    channel_error(wire, 406, "PRECONDITION_FAILED - channel is not transactional", method)


# -- acknowledgements -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["basic.ack", "basic.nack", "basic.reject"])
@pytest.mark.parametrize("tag", [0, 5])
def test_H10_unknown_tag(wire, method, tag):
    channel_error(wire, 406, f"PRECONDITION_FAILED - unknown delivery tag {tag}", method, delivery_tag=tag)


@pytest.mark.parametrize("method", ["basic.ack", "basic.nack"])
def test_H10_unknown_tag_multiple(wire, method):
    channel_error(wire, 406, "PRECONDITION_FAILED - unknown delivery tag 5", method, delivery_tag=5, multiple=True)


@pytest.mark.parametrize("method", ["basic.ack", "basic.nack"])
def test_H10_zero_and_multiple_is_all_even_if_none(wire, method):
    wire.send_method(1, method, delivery_tag=0, multiple=True)
    wire.ask(1, "basic.qos")


def test_H10_second_ack(wire, queue):
    fill(wire, queue, [b"a"])
    tag = get(wire, queue, no_ack=False).delivery_tag
    wire.send_method(1, "basic.ack", delivery_tag=tag)
    channel_error(wire, 406, f"PRECONDITION_FAILED - unknown delivery tag {tag}", "basic.ack", delivery_tag=tag)


def test_H10_tag_of_another_channel(login, queue):
    wire = login(channels=(1, 2))
    fill(wire, queue, [b"a"])
    tag = get(wire, queue, no_ack=False).delivery_tag
    text = f"PRECONDITION_FAILED - unknown delivery tag {tag}"
    channel_error(wire, 406, text, "basic.ack", channel=2, delivery_tag=tag)


def unacked(wire, queue, count):
    """Takes messages without acknowledging them, gives their tags."""
    return [get(wire, queue, no_ack=False).delivery_tag for _ in range(count)]


def reopened(wire, channel=1):
    """Closes the channel, whereby all it has not acknowledged returns, and opens it again."""
    wire.ask(channel, "channel.close", code=200, text="")
    wire.ask(channel, "channel.open")
    return wire


def test_H10_ack_multiple(wire, queue):
    fill(wire, queue, [b"a", b"b", b"c", b"d"])
    tags = unacked(wire, queue, 4)
    wire.send_method(1, "basic.ack", delivery_tag=tags[1], multiple=True)
    reopened(wire)
    assert eventually(lambda: depth(wire, queue) == 2)
    assert drain(wire, queue) == [b"c", b"d"]


def test_H10_ack_zero_multiple(wire, queue):
    fill(wire, queue, [b"a", b"b"])
    unacked(wire, queue, 2)
    wire.send_method(1, "basic.ack", delivery_tag=0, multiple=True)
    reopened(wire)
    assert drain(wire, queue) == []


def test_H10_nack_multiple_requeue(wire, queue):
    fill(wire, queue, [b"a", b"b", b"c"])
    tags = unacked(wire, queue, 3)
    wire.send_method(1, "basic.nack", delivery_tag=tags[1], multiple=True, requeue=True)
    assert [get(wire, queue).body for _ in range(2)] == [b"a", b"b"]
    assert get(wire, queue) is None


@pytest.mark.parametrize("method", ["basic.nack", "basic.reject"])
@pytest.mark.parametrize("requeue", [True, False])
def test_H10_requeue(wire, queue, method, requeue):
    fill(wire, queue, [b"a"])
    tag = get(wire, queue, no_ack=False).delivery_tag
    wire.send_method(1, method, delivery_tag=tag, requeue=requeue)
    message = get(wire, queue)
    assert (message.body, message.redelivered) == (b"a", True) if requeue else message is None


@pytest.mark.parametrize("method", ["basic.nack", "basic.reject"])
def test_H10_rejected_is_dead_lettered(wire, names, queue, method):
    source = names.queue()
    arguments = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": queue}
    wire.ask(1, "queue.declare", queue=source, durable=True, arguments=arguments)
    fill(wire, source, [b"a"])
    tag = get(wire, source, no_ack=False).delivery_tag
    wire.send_method(1, method, delivery_tag=tag, requeue=False)
    assert wait_for(wire, queue).properties["headers"]["x-death"][0]["reason"] == "rejected"


def test_H10_no_ack_leaves_nothing_to_acknowledge(wire, queue):
    fill(wire, queue, [b"a"])
    tag = get(wire, queue, no_ack=True).delivery_tag
    channel_error(wire, 406, f"PRECONDITION_FAILED - unknown delivery tag {tag}", "basic.ack", delivery_tag=tag)


# -- qos and consumers ------------------------------------------------------------------------------------------------


def test_H11_prefetch_size(wire):
    connection_error(wire, 540, "NOT_IMPLEMENTED - prefetch_size!=0 (10)", "basic.qos", prefetch_size=10)


def deliveries(wire, count, channel=1):
    out = [wire.read(channel) for _ in range(count)]
    assert {method.name for method in out} == {"basic.deliver"}
    return out


def test_H11_prefetch_is_per_consumer(wire, queue):
    fill(wire, queue, [b"%d" % number for number in range(10)])
    wire.ask(1, "basic.qos", prefetch_count=2)
    wire.ask(1, "basic.consume", queue=queue, consumer_tag="first")
    assert [m.consumer_tag for m in deliveries(wire, 2)] == ["first"] * 2
    wire.assert_silent()
    wire.ask(1, "basic.consume", queue=queue, consumer_tag="second")
    assert [m.consumer_tag for m in deliveries(wire, 2)] == ["second"] * 2
    wire.assert_silent()


def test_H11_ack_gives_credit(wire, queue):
    fill(wire, queue, [b"%d" % number for number in range(5)])
    wire.ask(1, "basic.qos", prefetch_count=2)
    wire.ask(1, "basic.consume", queue=queue)
    first, _ = deliveries(wire, 2)
    wire.send_method(1, "basic.ack", delivery_tag=first.delivery_tag)
    assert deliveries(wire, 1)[0].body == b"2"
    wire.assert_silent()
    wire.send_method(1, "basic.ack", delivery_tag=0, multiple=True)
    assert [m.body for m in deliveries(wire, 2)] == [b"3", b"4"]


def test_H11_change_of_prefetch_is_for_new_consumers(wire, queue):
    fill(wire, queue, [b"x"] * 10)
    wire.ask(1, "basic.qos", prefetch_count=1)
    wire.ask(1, "basic.consume", queue=queue, consumer_tag="one")
    deliveries(wire, 1)
    wire.ask(1, "basic.qos", prefetch_count=3)
    wire.assert_silent()
    wire.ask(1, "basic.consume", queue=queue, consumer_tag="three")
    assert [m.consumer_tag for m in deliveries(wire, 3)] == ["three"] * 3
    wire.assert_silent()


def test_H11_no_prefetch_is_no_limit(wire, queue):
    fill(wire, queue, [b"x"] * 300)
    wire.ask(1, "basic.consume", queue=queue)
    assert [m.delivery_tag for m in deliveries(wire, 300)] == list(range(1, 301))


def test_H11_prefetch_does_not_bind_no_ack(wire, queue):
    fill(wire, queue, [b"x"] * 20)
    wire.ask(1, "basic.qos", prefetch_count=1)
    wire.ask(1, "basic.consume", queue=queue, no_ack=True)
    deliveries(wire, 20)


def test_H11_get_does_not_count(wire, queue):
    fill(wire, queue, [b"x"] * 5)
    wire.ask(1, "basic.qos", prefetch_count=1)
    unacked(wire, queue, 3)
    wire.ask(1, "basic.consume", queue=queue)
    deliveries(wire, 1)
    wire.assert_silent()


def test_H11_global_qos(wire, queue, expect):
    """Shared by the consumers of the channel; 4.3 turns it into a limit for each consumer."""
    fill(wire, queue, [b"x"] * 10)
    wire.ask(1, "basic.qos", prefetch_count=3, global_=True)
    wire.ask(1, "basic.consume", queue=queue, consumer_tag="a")
    deliveries(wire, 3)
    wire.ask(1, "basic.consume", queue=queue, consumer_tag="b")
    more = expect(leveret=0, rabbitmq=3)
    assert [m.consumer_tag for m in (wire.read() for _ in range(more))] == ["b"] * more
    wire.assert_silent()


def test_H11_global_qos_takes_effect_at_once(wire, queue, expect):
    """Raising it gives more to a consumer that is there already: how Celery, before it knew RabbitMQ 4, made room for
    tasks that wait for their time."""
    fill(wire, queue, [b"x"] * 10)
    wire.ask(1, "basic.qos", prefetch_count=2, global_=True)
    wire.ask(1, "basic.consume", queue=queue)
    deliveries(wire, 2)
    wire.send_method(1, "basic.qos", prefetch_count=5, global_=True)
    more = expect(leveret=3, rabbitmq=0)
    answers = [wire.read().name for _ in range(1 + more)]
    assert sorted(answers) == ["basic.deliver"] * more + ["basic.qos-ok"]
    wire.assert_silent()


def test_H12_generated_tag(wire, queue):
    tag = wire.ask(1, "basic.consume", queue=queue).consumer_tag
    assert re.fullmatch(r"amq\.ctag-[A-Za-z0-9_-]{22}", tag)


def test_H12_tag_reuse(wire, queue):
    wire.ask(1, "basic.consume", queue=queue, consumer_tag="t")
    text = "NOT_ALLOWED - attempt to reuse consumer tag 't'"
    connection_error(wire, 530, text, "basic.consume", queue=queue, consumer_tag="t")


def test_H12_tag_is_free_after_cancel_and_on_other_channels(login, queue):
    wire = login(channels=(1, 2))
    wire.ask(1, "basic.consume", queue=queue, consumer_tag="t")
    wire.ask(2, "basic.consume", queue=queue, consumer_tag="t")
    wire.ask(1, "basic.cancel", consumer_tag="t")
    wire.ask(1, "basic.consume", queue=queue, consumer_tag="t")


def test_H12_no_such_queue(wire):
    channel_error(wire, 404, "NOT_FOUND - no queue 'no-such' in vhost '/'", "basic.consume", queue="no-such")


def test_H12_no_local_is_ignored(wire, queue):
    wire.ask(1, "basic.consume", queue=queue, no_local=True, no_ack=True)
    wire.publish(1, b"own", routing_key=queue)
    assert wire.read().body == b"own"


def test_H12_nowait(wire, queue):
    wire.send_method(1, "basic.consume", queue=queue, consumer_tag="t", nowait=True, no_ack=True)
    wire.publish(1, b"x", routing_key=queue)
    assert (m := wire.read()).name == "basic.deliver" and m.consumer_tag == "t"


def test_H12_exclusive_consumer_keeps_others_out(login, queue):
    first, second = login(), login()
    first.ask(1, "basic.consume", queue=queue, exclusive=True, consumer_tag="t")
    text = f"ACCESS_REFUSED - queue '{queue}' in vhost '/' in exclusive use"
    channel_error(second, 403, text, "basic.consume", queue=queue)
    first.ask(1, "basic.cancel", consumer_tag="t")
    second.ask(1, "basic.consume", queue=queue)


def test_H12_exclusive_consumer_comes_too_late(login, queue):
    first, second = login(), login()
    first.ask(1, "basic.consume", queue=queue)
    text = f"ACCESS_REFUSED - queue '{queue}' in vhost '/' in exclusive use"
    channel_error(second, 403, text, "basic.consume", queue=queue, exclusive=True)


def test_H12_deliver_carries_what_was_published(wire, queue):
    wire.ask(1, "queue.bind", queue=queue, exchange="amq.direct", routing_key=f"key.{queue}")
    wire.ask(1, "basic.consume", queue=queue, consumer_tag="t", no_ack=True)
    wire.publish(1, b"body", exchange="amq.direct", routing_key=f"key.{queue}", content_type="a/b")
    message = wire.read()
    assert message.arguments == {
        "consumer_tag": "t",
        "delivery_tag": 1,
        "redelivered": False,
        "exchange": "amq.direct",
        "routing_key": f"key.{queue}",
    }
    assert (message.properties, message.body) == ({"content_type": "a/b"}, b"body")


def test_consumers_share_a_queue_in_turns(login, queue):
    wires = [login() for _ in range(3)]
    for wire in wires:
        wire.ask(1, "basic.consume", queue=queue, no_ack=True)
    fill(login(), queue, [b"%d" % number for number in range(30)])
    for wire in wires:
        assert len(deliveries(wire, 10)) == 10


@pytest.mark.parametrize("letter", ["b", "B", "s", "u", "I", "i", "l"])
def test_H13_priority_of_any_integer_type(wire, queue, letter):
    wire.ask(1, "basic.consume", queue=queue, arguments={"x-priority": Typed(letter, 3)})


def test_H13_higher_priority_first(login, queue):
    low, high, publisher = login(), login(), login()
    low.ask(1, "basic.consume", queue=queue, arguments={"x-priority": -1})
    high.ask(1, "basic.qos", prefetch_count=2)
    high.ask(1, "basic.consume", queue=queue, arguments={"x-priority": 10})
    fill(publisher, queue, [b"%d" % number for number in range(4)])
    assert [m.body for m in deliveries(high, 2)] == [b"0", b"1"]
    assert [m.body for m in deliveries(low, 2)] == [b"2", b"3"]
    high.send_method(1, "basic.ack", delivery_tag=0, multiple=True)
    high.ask(1, "basic.qos")
    fill(publisher, queue, [b"4"])
    assert deliveries(high, 1)[0].body == b"4"


@pytest.mark.parametrize(
    "value, kind", [("high", "longstr"), (1.5, "double"), (Typed("T", 3), "timestamp"), (True, "bool"), (None, "void")]
)
def test_H13_priority_of_another_type(wire, queue, value, kind):
    text = (
        f"PRECONDITION_FAILED - invalid arg 'x-priority' for queue '{queue}' in vhost '/': "
        f'"expected integer, got {kind}"'
    )
    channel_error(wire, 406, text, "basic.consume", queue=queue, arguments={"x-priority": value})


@pytest.mark.parametrize("argument", [{"x-stream-offset": "first"}, {"x-consumer-timeout": 60000}])
def test_consumer_argument_of_another_queue_type(wire, queue, argument):
    name = next(iter(argument))
    text = (
        f"PRECONDITION_FAILED - invalid arg '{name}' for queue '{queue}' in vhost '/' "
        "of queue type rabbit_classic_queue"
    )
    channel_error(wire, 406, text, "basic.consume", queue=queue, arguments=argument)


def test_consumer_argument_that_nobody_knows(wire, queue):
    wire.ask(1, "basic.consume", queue=queue, arguments={"x-unheard-of": 1, "other": "x"})


def test_H14_cancel_notify_when_the_queue_is_deleted(login, names):
    queue, owner, consumer = names.queue(), login(), login()
    owner.ask(1, "queue.declare", queue=queue, durable=True)
    consumer.ask(1, "basic.consume", queue=queue, consumer_tag="t")
    owner.ask(1, "queue.delete", queue=queue)
    cancel = consumer.read()
    assert (cancel.name, cancel.consumer_tag, cancel.nowait) == ("basic.cancel", "t", True)
    consumer.ask(1, "basic.qos")


def test_H15_cancel(wire, queue):
    wire.ask(1, "basic.consume", queue=queue, consumer_tag="t")
    assert wire.ask(1, "basic.cancel", consumer_tag="t").consumer_tag == "t"
    assert consumers(wire, queue) == 0


def test_H15_cancel_of_an_unknown_tag(wire):
    assert wire.ask(1, "basic.cancel", consumer_tag="never").consumer_tag == "never"


def test_H15_unacked_messages_stay_with_the_channel(login, wire, queue):
    fill(login(), queue, [b"a"])
    wire.ask(1, "basic.consume", queue=queue, consumer_tag="t")
    tag = wire.read().delivery_tag
    wire.ask(1, "basic.cancel", consumer_tag="t")
    assert depth(wire, queue) == 0
    wire.send_method(1, "basic.ack", delivery_tag=tag)
    reopened(wire)
    assert depth(wire, queue) == 0


def test_H16_get(wire, queue):
    fill(wire, queue, [b"a", b"b", b"c"])
    message = get(wire, queue)
    assert message.arguments == {
        "delivery_tag": 1,
        "redelivered": False,
        "exchange": "",
        "routing_key": queue,
        "message_count": 2,
    }
    assert get(wire, queue).message_count == 1


def test_H16_get_empty(wire, queue):
    assert wire.call(1, "basic.get", queue=queue).name == "basic.get-empty"


def test_H16_get_from_no_such_queue(wire):
    channel_error(wire, 404, "NOT_FOUND - no queue 'no-such' in vhost '/'", "basic.get", queue="no-such")


def test_H17_recover(wire, queue):
    fill(wire, queue, [b"a", b"b"])
    unacked(wire, queue, 2)
    wire.ask(1, "basic.recover", requeue=True)
    messages = [get(wire, queue), get(wire, queue)]
    assert [(m.body, m.redelivered) for m in messages] == [(b"a", True), (b"b", True)]


def test_H17_recover_async(wire, queue):
    fill(wire, queue, [b"a"])
    unacked(wire, queue, 1)
    wire.send_method(1, "basic.recover-async", requeue=True)
    assert get(wire, queue).redelivered


@pytest.mark.parametrize("method", ["basic.recover", "basic.recover-async"])
def test_H17_recover_without_requeue(wire, method):
    connection_error(wire, 540, "NOT_IMPLEMENTED - requeue=false", method, requeue=False)


def test_H18_flow(wire):
    assert wire.ask(1, "channel.flow", active=True).active is True


def test_H18_flow_off(wire):
    connection_error(wire, 540, "NOT_IMPLEMENTED - active=false", "channel.flow", active=False)


# -- the last declared queue ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "method, arguments",
    [
        ("queue.bind", {"exchange": "amq.direct", "routing_key": "k"}),
        ("queue.unbind", {"exchange": "amq.direct", "routing_key": "k"}),
        ("queue.purge", {}),
        ("queue.delete", {}),
        ("basic.get", {}),
        ("basic.consume", {}),
    ],
)
def test_H19_no_previously_declared_queue(wire, method, arguments):
    channel_error(wire, 404, "NOT_FOUND - no previously declared queue", method, **arguments)


def test_H19_last_declared_queue(wire):
    queue = wire.ask(1, "queue.declare", exclusive=True).queue
    wire.ask(1, "confirm.select")
    assert confirmed(wire, b"a", routing_key=queue)
    assert wire.ask(1, "basic.get", no_ack=True).body == b"a"
    assert confirmed(wire, b"b", routing_key=queue)
    assert wire.ask(1, "queue.purge").message_count == 1
    wire.ask(1, "queue.bind", exchange="amq.direct", routing_key=f"k.{queue}")
    wire.ask(1, "queue.unbind", exchange="amq.direct", routing_key=f"k.{queue}")
    wire.ask(1, "basic.consume")
    assert consumers(wire, queue) == 1
    wire.ask(1, "queue.delete")
    assert wire.read().name == "basic.cancel"
    channel_error(wire, 404, f"NOT_FOUND - no queue '{queue}' in vhost '/'", "basic.get", queue=queue)


def test_H19_bind_with_neither_queue_nor_key(wire):
    queue = wire.ask(1, "queue.declare", exclusive=True).queue
    wire.ask(1, "queue.bind", exchange="amq.direct")
    wire.ask(1, "confirm.select")
    assert confirmed(wire, b"a", exchange="amq.direct", routing_key=queue, mandatory=True)
    assert drain(wire, queue) == [b"a"]


def test_H19_a_passive_declare_counts(wire, login, queue):
    other = login()
    other.ask(1, "queue.declare", queue=queue, passive=True)
    assert other.ask(1, "basic.get").name == "basic.get-empty"


# -- direct reply-to --------------------------------------------------------------------------------------------------

REPLY_TO = "amq.rabbitmq.reply-to"


def test_H20_request_and_reply(login, queue):
    client, server, third = login(), login(), login()
    client.ask(1, "basic.consume", queue=REPLY_TO, no_ack=True, consumer_tag="t")
    client.publish(1, b"question", routing_key=queue, reply_to=REPLY_TO, correlation_id="7")
    request = wait_for(server, queue)
    address = request.properties["reply_to"]
    assert address.startswith(REPLY_TO + ".")
    server.publish(1, b"answer", routing_key=address, correlation_id="7")
    reply = client.read()
    assert (reply.name, reply.consumer_tag, reply.body) == ("basic.deliver", "t", b"answer")
    assert (reply.exchange, reply.routing_key, reply.delivery_tag) == ("", address, 1)
    assert reply.properties["correlation_id"] == "7"
    third.publish(1, b"another", routing_key=address)
    assert client.read().body == b"another"


def test_H20_T25_liveness(login, queue):
    client, server = login(), login()
    client.ask(1, "basic.consume", queue=REPLY_TO, no_ack=True)
    client.publish(1, b"question", routing_key=queue, reply_to=REPLY_TO)
    address = wait_for(server, queue).properties["reply_to"]
    alive = server.ask(1, "queue.declare", queue=address, passive=True)
    assert (alive.queue, alive.message_count, alive.consumer_count) == (address, 0, 1)
    client.ask(0, "connection.close", code=200, text="")
    client.socket.close()
    text = f"NOT_FOUND - no queue '{address}' in vhost '/'"

    def gone():
        answer = server.call(1, "queue.declare", queue=address, passive=True)
        if answer.name == "queue.declare-ok":
            return False
        assert_channel_closed(server, answer, 404, text, "queue.declare")
        return True

    eventually(gone)


def test_H20_T25_reply_to_a_client_that_has_gone(login, queue):
    """Dropped and confirmed."""
    client, server = login(), login()
    client.ask(1, "basic.consume", queue=REPLY_TO, no_ack=True)
    client.publish(1, b"question", routing_key=queue, reply_to=REPLY_TO)
    address = wait_for(server, queue).properties["reply_to"]
    client.ask(0, "connection.close", code=200, text="")
    server.ask(1, "confirm.select")
    assert confirmed(server, b"answer", routing_key=address)


def test_H20_with_acknowledgement(wire):
    text = "PRECONDITION_FAILED - reply consumer cannot acknowledge"
    channel_error(wire, 406, text, "basic.consume", queue=REPLY_TO)


def test_H20_second_consumer(wire):
    wire.ask(1, "basic.consume", queue=REPLY_TO, no_ack=True)
    text = "PRECONDITION_FAILED - reply consumer already set"
    channel_error(wire, 406, text, "basic.consume", queue=REPLY_TO, no_ack=True)


def test_H20_one_for_each_channel_and_again_after_cancel(login):
    wire = login(channels=(1, 2))
    wire.ask(1, "basic.consume", queue=REPLY_TO, no_ack=True, consumer_tag="t")
    wire.ask(2, "basic.consume", queue=REPLY_TO, no_ack=True, consumer_tag="t")
    wire.ask(1, "basic.cancel", consumer_tag="t")
    wire.ask(1, "basic.consume", queue=REPLY_TO, no_ack=True)


def test_H20_publish_without_consumer(wire, queue):
    text = "PRECONDITION_FAILED - fast reply consumer does not exist"
    publish_error(wire, 406, text, routing_key=queue, reply_to=REPLY_TO)


def test_H20_declare_of_the_pseudo_queue(wire):
    answer = wire.ask(1, "queue.declare", queue=REPLY_TO, passive=True)
    assert (answer.queue, answer.message_count, answer.consumer_count) == (REPLY_TO, 0, 1)


def test_H20_no_bindings(wire):
    text = "ACCESS_REFUSED - cannot bind or unbind to a volatile (direct reply-to) queue"
    channel_error(wire, 403, text, "queue.bind", queue=REPLY_TO + ".abc", exchange="amq.direct")


def test_H20_unroutable_address_is_returned(wire):
    wire.publish(1, b"x", routing_key=REPLY_TO + ".abc", mandatory=True)
    assert wire.read().text == "NO_ROUTE"


# -- what a message carries -------------------------------------------------------------------------------------------


def test_H21_consumer_timeout_of_a_quorum_queue(login, names):
    queue, wire = names.queue(), login(timeout=90)
    wire.ask(
        1, "queue.declare", queue=queue, durable=True,
        arguments={"x-queue-type": "quorum", "x-consumer-timeout": 1000},
    )  # fmt: skip
    fill(wire, queue, [b"a"])
    wire.ask(1, "basic.consume", queue=queue, consumer_tag="t")
    assert wire.read().body == b"a"
    cancel = wire.read()
    assert (cancel.name, cancel.consumer_tag) == ("basic.cancel", "t")
    assert wait_for(wire, queue).body == b"a"


@pytest.mark.parametrize("queue_timeout", [None, 600_000])
def test_H21_consumer_timeout_of_a_consumer(login, names, queue_timeout):
    """The consumer's own counts, whatever the queue's is."""
    queue, wire = names.queue(), login(timeout=90)
    arguments = {"x-queue-type": "quorum"}
    if queue_timeout:
        arguments["x-consumer-timeout"] = queue_timeout
    wire.ask(1, "queue.declare", queue=queue, durable=True, arguments=arguments)
    fill(wire, queue, [b"a"])
    wire.ask(1, "basic.consume", queue=queue, consumer_tag="t", arguments={"x-consumer-timeout": 1000})
    assert wire.read().body == b"a"
    cancel = wire.read()
    assert (cancel.name, cancel.consumer_tag) == ("basic.cancel", "t")


def test_H21_no_timeout_on_a_classic_queue(wire, names):
    """The argument belongs to quorum queues."""
    queue = names.queue()
    text = (
        f"PRECONDITION_FAILED - invalid arg 'x-consumer-timeout' for queue '{queue}' in vhost '/' "
        "of queue type rabbit_classic_queue"
    )
    arguments = {"x-consumer-timeout": 1000}
    channel_error(wire, 406, text, "queue.declare", queue=queue, durable=True, arguments=arguments)


def test_H22_redelivered(login, queue):
    first, second = login(), login()
    fill(first, queue, [b"a", b"b"])
    assert get(first, queue, no_ack=False).redelivered is False
    first.socket.close()
    eventually(lambda: depth(second, queue) == 2)
    messages = [get(second, queue), get(second, queue)]
    assert [(m.body, m.redelivered) for m in messages] == [(b"a", True), (b"b", False)]


def test_H22_counts_of_a_quorum_queue(wire, names):
    queue = names.queue()
    wire.ask(1, "queue.declare", queue=queue, durable=True, arguments={"x-queue-type": "quorum"})
    fill(wire, queue, [b"a"])
    wire.ask(1, "basic.consume", queue=queue)
    first = wire.read()
    assert "headers" not in first.properties
    wire.send_method(1, "basic.reject", delivery_tag=first.delivery_tag, requeue=True)
    second = wire.read()
    assert second.redelivered
    assert second.properties["headers"] == {"x-delivery-count": Typed("l", 1), "x-acquired-count": Typed("l", 1)}
    wire.send_method(1, "basic.nack", delivery_tag=second.delivery_tag, requeue=True)
    assert wire.read().properties["headers"] == {"x-delivery-count": Typed("l", 1), "x-acquired-count": Typed("l", 2)}


ALL_PROPERTIES = {
    "content_type": "text/plain",
    "content_encoding": "utf-8",
    "headers": {"h": "v"},
    "delivery_mode": 2,
    "priority": 7,
    "correlation_id": "correlation",
    "reply_to": "reply",
    "expiration": "60000",
    "message_id": "message",
    "timestamp": 1700000000,
    "type": "type",
    "user_id": "guest",
    "app_id": "app",
    "cluster_id": "cluster",
}


def test_H23_all_properties(wire, queue):
    wire.ask(1, "confirm.select")
    assert confirmed(wire, b"x", routing_key=queue, **ALL_PROPERTIES)
    assert get(wire, queue).properties == ALL_PROPERTIES


@pytest.mark.parametrize("name", [name for name in ALL_PROPERTIES if name != "expiration"])
def test_H23_each_property_alone(wire, queue, name):
    wire.ask(1, "confirm.select")
    assert confirmed(wire, b"x", routing_key=queue, **{name: ALL_PROPERTIES[name]})
    assert get(wire, queue).properties == {name: ALL_PROPERTIES[name]}


def test_H23_no_properties_and_no_body(wire, queue):
    wire.ask(1, "confirm.select")
    assert confirmed(wire, routing_key=queue)
    message = get(wire, queue)
    assert (message.properties, message.body) == ({}, b"")


HEADERS = {
    "zebra": True,
    "alpha": False,
    "byte": Typed("b", -5),
    "unsigned byte": Typed("B", 200),
    "short": Typed("s", -300),
    "unsigned short": Typed("u", 60000),
    "int": -70000,
    "unsigned int": Typed("i", 4000000000),
    "long": Typed("l", -(2**40)),
    "float": Typed("f", 0.5),
    "double": 0.1,
    "decimal": Typed("D", (2, 12345)),
    "string": "text",
    "bytes": Typed("x", b"\x00\xff\x01"),
    "timestamp": Typed("T", 1700000000),
    "void": None,
    "array": [1, "two", [3.5, None], {"four": 4}],
    "table": {"b": 1, "a": {"c": []}},
    "empty table": {},
    "empty array": [],
    "": "no name",
}


@pytest.mark.parametrize("queue_type", ["classic", "quorum"])
def test_H23_field_types(wire, names, queue_type):
    queue = names.queue()
    wire.ask(1, "queue.declare", queue=queue, durable=True, arguments={"x-queue-type": queue_type})
    wire.ask(1, "confirm.select")
    assert confirmed(wire, b"x", routing_key=queue, headers=HEADERS)
    assert get(wire, queue).properties["headers"] == HEADERS


@pytest.mark.parametrize("delivery_mode", [0, 3, 255])
def test_H23_other_delivery_modes_pass(wire, queue, delivery_mode):
    wire.ask(1, "confirm.select")
    assert confirmed(wire, b"x", routing_key=queue, delivery_mode=delivery_mode)
    assert get(wire, queue).properties["delivery_mode"] == delivery_mode


def test_H24_line_breaks_are_stripped_from_names(wire, names):
    name = names.queue()
    assert wire.ask(1, "queue.declare", queue=f"\r{name}\r\n", exclusive=True).queue == name
    wire.ask(1, "exchange.declare", exchange=f"{name[:5]}\n{name[5:]}", type="fanout")
    names.exchanges.append(name)
    wire.ask(1, "exchange.declare", exchange=name, type="fanout", passive=True)


def test_H24_longest_name(wire):
    name = "é" * 100 + "n" * 55
    assert wire.ask(1, "queue.declare", queue=name, exclusive=True).queue == name


def test_H25_deletes_are_idempotent(wire, queue):
    assert wire.ask(1, "queue.delete", queue="no-such-queue").message_count == 0
    wire.ask(1, "exchange.delete", exchange="no-such-exchange")
    wire.ask(1, "queue.unbind", queue="no-such-queue", exchange="amq.direct", routing_key="k")
    wire.ask(1, "queue.unbind", queue=queue, exchange="no-such-exchange", routing_key="k")
    wire.ask(1, "queue.unbind", queue=queue, exchange="amq.direct", routing_key="never bound")
    wire.ask(1, "exchange.unbind", destination="no-such-exchange", source="amq.direct")
    wire.ask(1, "exchange.unbind", destination="amq.fanout", source="no-such-exchange")


def test_H25_purge_of_a_missing_queue(wire):
    channel_error(wire, 404, "NOT_FOUND - no queue 'no-such' in vhost '/'", "queue.purge", queue="no-such")


def test_purge_counts_and_spares_the_unacked(wire, queue):
    fill(wire, queue, [b"a", b"b", b"c"])
    tag = get(wire, queue, no_ack=False).delivery_tag
    assert wire.ask(1, "queue.purge", queue=queue).message_count == 2
    wire.send_method(1, "basic.nack", delivery_tag=tag, requeue=True)
    assert drain(wire, queue) == [b"a"]


def test_order_of_one_publisher_is_kept(wire, queue):
    bodies = [b"%d" % number for number in range(500)]
    fill(wire, queue, bodies)
    wire.ask(1, "basic.consume", queue=queue, no_ack=True)
    assert [m.body for m in deliveries(wire, 500)] == bodies


@pytest.mark.parametrize("size", [1, 4095, 4096, 131064, 131065, 1_000_003])
def test_bodies_of_all_sizes(wire, queue, size):
    body = (b"0123456789abcdef" * (size // 16 + 1))[:size]
    fill(wire, queue, [body, body], delivery_mode=2)
    assert drain(wire, queue) == [body, body]
