//! The cluster as a whole.

use leveret_broker::broker::listing::ObjectTotals;
use leveret_broker::table::{Table, Value as BrokerValue};
use serde_json::{Value, json};

use crate::access::is_monitor;
use crate::answer::{Answer, Reply};
use crate::api::nodes::{
    CRYPTO_LIBRARY, ERLANG_VERSION, contexts, erlang_full_version, exchange_types,
};
use crate::call::{Call, Vhosts};
use crate::list::reply_one;
use crate::sampler::Key;
use crate::stats::{CHURN, Gathered, LENGTHS, MESSAGE_STATS, Writer};
use crate::table::{TableJson, value_from_json};

pub(crate) fn show(call: &Call<'_>) -> Reply {
    let (options, broker) = (&call.management.options, call.broker());
    let numbers = Writer::samples(call)?;
    let gathered = lengths(call);
    reply_one(&call.query, |object| {
        object.field("management_version", options.rabbitmq_version);
        object.field("rates_mode", broker.options.rates_mode.name());
        object.field(
            "sample_retention_policies",
            &json!({
                "global": [600, 3600, 28800, 86400],
                "basic": [600, 3600],
                "detailed": [600],
            }),
        );
        object.field("exchange_types", &exchange_types());
        object.field("product_name", "Leveret");
        object.field("product_version", options.leveret_version);
        object.field("rabbitmq_version", options.rabbitmq_version);
        object.field("cluster_name", &call.broker().cluster_name());
        object.field("cluster_tags", &TableJson(&cluster_tags(call)));
        object.field("node_tags", &json!({}));
        object.field("erlang_version", ERLANG_VERSION);
        object.field("erlang_full_version", &erlang_full_version(call));
        object.field("crypto_lib_version", CRYPTO_LIBRARY);
        object.field("release_series_support_status", "supported");
        object.field("disable_stats", &false);
        object.field("is_op_policy_updating_enabled", &true);
        object.field("require_definition_json_extension", &false);
        object.field("enable_queue_totals", &false);
        object.field(
            "default_queue_type",
            broker.options.default_queue_kind.name(),
        );
        object.object("message_stats", |object| {
            numbers.write(object, &MESSAGE_STATS, Key::Node, &gathered);
        });
        object.object("churn_rates", |object| {
            let churn = Gathered::default().with_churn(&broker.churn());
            numbers.write(object, &CHURN, Key::Node, &churn);
        });
        object.object("queue_totals", |object| {
            numbers.write(object, &LENGTHS, Key::Node, &gathered);
        });
        object.field("object_totals", &object_totals(call));
        object.field("statistics_db_event_queue", &0);
        object.field("node", &broker.options.node_name);
        object.field("listeners", &listeners(call));
        object.field("contexts", &contexts(call));
    })
}

/// The global parameter, if it has tags.
fn cluster_tags(call: &Call<'_>) -> Table {
    let mut parameters = call.broker().list_global_parameters().into_iter();
    match parameters.find(|(name, _)| &**name == "cluster_tags") {
        Some((_, BrokerValue::Table(tags))) => tags,
        _ => Table::new(),
    }
}

/// Sums over the vhosts that the user may see, as of the last look at the counters.
fn lengths(call: &Call<'_>) -> Gathered {
    let totals = call.management.totals.lock();
    match call.known_vhosts() {
        Vhosts::All => totals.node,
        visible => {
            let mut sum = Gathered::default();
            for (name, gathered) in &totals.vhosts {
                if visible.contains(name) {
                    sum = sum.plus(gathered);
                }
            }
            sum
        }
    }
}

fn object_totals(call: &Call<'_>) -> Value {
    let broker = call.broker();
    let totals = match call.known_vhosts() {
        Vhosts::All => broker.object_totals(),
        visible => ObjectTotals {
            queues: count(&broker.list_queues(None), |it| {
                visible.contains(&it.vhost_name)
            }),
            exchanges: count(&broker.list_exchanges(None), |it| {
                visible.contains(&it.vhost)
            }),
            connections: count(&broker.list_connections(), |it| {
                call.sees_connections_of(&it.user)
            }),
            channels: count(&broker.list_channels(), |it| {
                call.sees_connections_of(&it.user)
            }),
            consumers: count(&broker.list_consumers(None), |it| {
                visible.contains(&it.queue.vhost_name)
            }),
            ..ObjectTotals::default()
        },
    };
    json!({
        "consumers": totals.consumers,
        "queues": totals.queues,
        "exchanges": totals.exchanges,
        "connections": totals.connections,
        "channels": totals.channels,
    })
}

fn count<T>(items: &[T], wanted: impl Fn(&T) -> bool) -> usize {
    items.iter().filter(|item| wanted(item)).count()
}

/// Where the node listens is for monitoring to know.
fn listeners(call: &Call<'_>) -> Value {
    if !is_monitor(call.user()) {
        return json!([]);
    }
    let node = &call.broker().options.node_name;
    let listeners = call.management.options.operations.listeners();
    let one = |it: &crate::ListenerFacts| {
        json!({
            "node": node,
            "protocol": it.protocol,
            "ip_address": it.ip,
            "port": it.port,
            "socket_opts": {},
            "tls": it.protocol.ends_with("/ssl") || it.protocol.starts_with("https"),
        })
    };
    listeners.iter().map(one).collect()
}

pub(crate) fn show_cluster_name(call: &Call<'_>) -> Reply {
    reply_one(&call.query, |object| {
        object.field("name", &call.broker().cluster_name());
    })
}

pub(crate) fn put_cluster_name(call: &Call<'_>) -> Reply {
    let body = call.object()?;
    let name = value_from_json(&body.required_text("name")?.into())?;
    let durable_at = call.broker().set_global_parameter("cluster_name", name)?;
    Ok(Answer::done().after(durable_at))
}
