//! What an operator sees and does, as lines of scripts.
//!
//! ```text
//! list queues           exchanges, bindings, connections, channels, consumers: one line each
//! count queue q         what was counted of a queue, of `exchange x`, of `channels`, or of `all`; zeros are left out
//! ```

use leveret_broker::broker::Broker;
use leveret_broker::broker::listing::BindingsOf;
use leveret_broker::counters::{Deliveries, Publishes};

/// Gives what the operator sees; `None`: this is no word of an operator.
pub(crate) fn play(broker: &Broker, words: &[&str]) -> Option<Vec<String>> {
    match *words {
        ["list", what] => Some(list(broker, what)),
        ["count", ref what @ ..] => Some(vec![count(broker, what)]),
        _ => None,
    }
}

fn name(name: &str) -> &str {
    if name.is_empty() { "-" } else { name }
}

fn list(broker: &Broker, what: &str) -> Vec<String> {
    match what {
        "queues" => broker
            .list_queues(None)
            .iter()
            .map(|queue| {
                let status = queue.status();
                format!(
                    "{} {} {} ready={} unsettled={} consumers={} idle_since={}",
                    queue.vhost_name,
                    queue.name(),
                    queue.kind.name(),
                    status.stats.ready,
                    status.stats.unsettled,
                    status.stats.consumers,
                    status.idle_since.0
                )
            })
            .collect(),
        "exchanges" => {
            let mut list = broker.list_exchanges(None);
            list.retain(|exchange| !exchange.name.starts_with("amq."));
            list.iter()
                .map(|it| format!("{} {} {}", it.vhost, name(&it.name), it.kind.name()))
                .collect()
        }
        "bindings" => broker
            .list_bindings(BindingsOf::All)
            .iter()
            .map(|it| {
                let key = String::from_utf8_lossy(&it.key);
                format!(
                    "{} {} -> {} {} {}",
                    it.vhost,
                    name(&it.source),
                    it.destination_kind,
                    it.destination,
                    name(&key)
                )
            })
            .collect(),
        "connections" => broker
            .list_connections()
            .iter()
            .map(|it| {
                format!(
                    "{} {} {} {} channels={}",
                    it.facts.name,
                    it.user,
                    it.vhost,
                    it.state.name(),
                    it.channels
                )
            })
            .collect(),
        "channels" => broker
            .list_channels()
            .iter()
            .map(|it| {
                let mut line = format!("{} consumers={}", it.name(), it.consumer_count);
                for (name, is_set) in [("confirm", it.confirm), ("tx", it.transactional)] {
                    if is_set {
                        line += &format!(" {name}");
                    }
                }
                let figures = [
                    ("prefetch", it.prefetch_count),
                    ("global_prefetch", it.global_prefetch_count),
                    ("unacknowledged", it.messages_unacknowledged),
                    ("unconfirmed", it.messages_unconfirmed),
                    ("uncommitted", it.messages_uncommitted),
                    ("acks_uncommitted", it.acks_uncommitted),
                ];
                line + &shown(&figures)
            })
            .collect(),
        "consumers" => broker
            .list_consumers(None)
            .iter()
            .map(|it| {
                let consumer = &it.consumer;
                let activity = if consumer.active { "active" } else { "waiting" };
                format!(
                    "{} of {} on channel {} {activity} prefetch={} priority={} unacknowledged={}",
                    consumer.about.tag,
                    it.queue.name(),
                    consumer.channel,
                    consumer.prefetch_count,
                    consumer.priority,
                    consumer.unacknowledged
                )
            })
            .collect(),
        other => panic!("no list of '{other}'"),
    }
}

fn count(broker: &Broker, what: &[&str]) -> String {
    match *what {
        ["queue", name] => {
            let counters = broker.queue_info("/", name).unwrap().status().counters;
            let own = [
                ("publish", counters.publish),
                ("disk_writes", counters.disk_writes),
            ];
            shown(&own) + &deliveries(&counters.deliveries)
        }
        ["exchange", name] => {
            let name = if name == "-" { "" } else { name };
            let counters = broker.exchange_info("/", name).unwrap().counters;
            shown(&[("in", counters.publish_in), ("out", counters.publish_out)])
        }
        ["all"] => {
            let [all] = broker.global_counters()[..] else {
                panic!("one protocol is spoken");
            };
            let counters = all.counters;
            let of = |kind, all: &Deliveries| match deliveries(all) {
                none if none.is_empty() => none,
                some => format!(" {kind}:{some}"),
            };
            publishes(&counters.publishes)
                + &of("classic", &counters.classic)
                + &of("quorum", &counters.quorum)
        }
        ["dead-letters"] => broker
            .dead_letter_totals()
            .iter()
            .map(|totals| {
                let counters = totals.counters;
                shown(&[
                    ("rejected", counters.rejected),
                    ("expired", counters.expired),
                    ("maxlen", counters.maxlen),
                    ("delivery_limit", counters.delivery_limit),
                    ("confirmed", counters.confirmed),
                ])
            })
            .collect(),
        _ => panic!("no count of {what:?}"),
    }
    .trim_start()
    .to_owned()
}

fn publishes(counters: &Publishes) -> String {
    shown(&[
        ("publish", counters.publish),
        ("publish_confirm", counters.publish_confirm),
        ("routed", counters.routed),
        ("confirm", counters.confirm),
        ("return", counters.return_unroutable),
        ("drop", counters.drop_unroutable),
    ])
}

fn deliveries(counters: &Deliveries) -> String {
    shown(&[
        ("deliver", counters.deliver),
        ("deliver_no_ack", counters.deliver_no_ack),
        ("get", counters.get),
        ("get_no_ack", counters.get_no_ack),
        ("get_empty", counters.get_empty),
        ("ack", counters.ack),
        ("redeliver", counters.redeliver),
    ])
}

/// The figures that are not 0.
fn shown(figures: &[(&str, u64)]) -> String {
    let figures = figures.iter().filter(|(_, figure)| *figure > 0);
    figures
        .map(|(name, figure)| format!(" {name}={figure}"))
        .collect()
}
