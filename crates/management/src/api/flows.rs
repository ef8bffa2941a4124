//! Messages between objects: which channels publish to an exchange, which queues it sends into, and who gets what out of
//! those. There is something to tell while `management.rates_mode` is `detailed`.

use leveret_broker::broker::listing::ExchangeInfo;
use leveret_broker::connections::ChannelInfo;
use leveret_broker::flows::{DeliveryFlow, PublishFlow, RoutedFlow};
use leveret_broker::live_queue::LiveQueue;
use serde_json::{Value, json};

use crate::api::connections::channel_details;
use crate::call::Call;
use crate::json::Object;
use crate::sampler::Key;
use crate::stats::{DELIVERY_STATS, Gathered, PUBLISH_STATS, ROUTED_STATS, Writer};

/// `incoming` and `outgoing` of an exchange.
pub(crate) fn write_of_exchange(
    object: &mut Object<'_>,
    call: &Call<'_>,
    exchange: &ExchangeInfo,
    numbers: &Writer,
) {
    let mut incoming = call.broker().list_publish_flows();
    incoming.retain(|flow| flow.channel.vhost == exchange.vhost && flow.exchange == exchange.name);
    object.list("incoming", incoming, |flow, object| {
        write_published(object, &flow, numbers);
        object.field("channel_details", &channel(&flow.channel, call));
    });
    let mut outgoing = call.broker().list_routed_flows();
    outgoing
        .retain(|flow| flow.queue.vhost_name == exchange.vhost && flow.exchange == exchange.name);
    object.list("outgoing", outgoing, |flow, object| {
        write_routed(object, &flow, numbers);
        object.field("queue", &queue_name(&flow.queue));
    });
}

/// `incoming` and `deliveries` of a queue.
pub(crate) fn write_of_queue(
    object: &mut Object<'_>,
    call: &Call<'_>,
    queue: &LiveQueue,
    numbers: &Writer,
) {
    let mut incoming = call.broker().list_routed_flows();
    incoming.retain(|flow| flow.queue.id == queue.id);
    object.list("incoming", incoming, |flow, object| {
        write_routed(object, &flow, numbers);
        let exchange = exchange_name(&flow.queue.vhost_name, &flow.exchange);
        object.field("exchange", &exchange);
    });
    let mut deliveries = call.broker().list_delivery_flows();
    deliveries.retain(|flow| flow.queue.id == queue.id);
    object.list("deliveries", deliveries, |flow, object| {
        write_delivered(object, &flow, numbers);
        object.field("channel_details", &channel(&flow.channel, call));
    });
}

/// `publishes` and `deliveries` of a channel.
pub(crate) fn write_of_channel(
    object: &mut Object<'_>,
    call: &Call<'_>,
    channel: &ChannelInfo,
    numbers: &Writer,
) {
    let is_it = |other: &ChannelInfo| {
        (other.connection, other.number) == (channel.connection, channel.number)
    };
    let mut publishes = call.broker().list_publish_flows();
    publishes.retain(|flow| is_it(&flow.channel));
    object.list("publishes", publishes, |flow, object| {
        write_published(object, &flow, numbers);
        let exchange = exchange_name(&flow.channel.vhost, &flow.exchange);
        object.field("exchange", &exchange);
    });
    let mut deliveries = call.broker().list_delivery_flows();
    deliveries.retain(|flow| is_it(&flow.channel));
    object.list("deliveries", deliveries, |flow, object| {
        write_delivered(object, &flow, numbers);
        object.field("queue", &queue_name(&flow.queue));
    });
}

fn write_published(object: &mut Object<'_>, flow: &PublishFlow, numbers: &Writer) {
    let gathered = Gathered::default().with_publishes(&flow.counters);
    object.object("stats", |object| {
        numbers.write(object, &PUBLISH_STATS, Key::publishes(flow), &gathered);
    });
}

fn write_routed(object: &mut Object<'_>, flow: &RoutedFlow, numbers: &Writer) {
    let gathered = Gathered::default().with_routed(flow.messages);
    object.object("stats", |object| {
        numbers.write(object, &ROUTED_STATS, Key::routed(flow), &gathered);
    });
}

fn write_delivered(object: &mut Object<'_>, flow: &DeliveryFlow, numbers: &Writer) {
    let gathered = Gathered::default().with_deliveries(&flow.counters);
    object.object("stats", |object| {
        numbers.write(object, &DELIVERY_STATS, Key::deliveries(flow), &gathered);
    });
}

fn channel(channel: &ChannelInfo, call: &Call<'_>) -> Value {
    let node = &call.broker().options.node_name;
    channel_details(&channel.facts, channel.number, &channel.user, node)
}

fn queue_name(queue: &LiveQueue) -> Value {
    json!({"name": queue.name(), "vhost": *queue.vhost_name})
}

fn exchange_name(vhost: &str, exchange: &str) -> Value {
    json!({"name": exchange, "vhost": vhost})
}
