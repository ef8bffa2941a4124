//! What an operator sees and does, as lines of scripts.
//!
//! ```text
//! list queues           exchanges, bindings, connections, channels, consumers: one line each
//! count queue q         what was counted of a queue, of `exchange x`, of `all` or `dead-letters`; zeros are left out
//! browse q 0 2 text     two messages of a queue from its first on, with a text in their bodies
//! user u administrator  a user whose password is its name, with tags; `delete-user u`
//! vhost v               a vhost, with `default_queue_type=…`, `description=…`, `protected`; `delete-vhost v`
//! trace v on            the firehose of a vhost
//! limit user u max-channels=1       limits of a user, or of a `vhost`
//! allow u / .* .* .*    permissions; `disallow u /`; `-` is the empty pattern
//! policy / p ^q all 0 max-length=1  a policy, an `operator-policy`; `clear-policy / p`
//! parameter / federation-upstream s uri=a  a parameter; `clear-parameter`, `global-parameter name value`
//! close all bye         closes connections: `all`, of `user u`, of `vhost v`
//! turn-away bye         closes all, and takes none until `let-in`
//! ```

use std::sync::Arc;

use leveret_broker::broker::Broker;
use leveret_broker::broker::administration::{Outcome, Password, PermissionSpec, PolicySpec};
use leveret_broker::broker::listing::BindingsOf;
use leveret_broker::catalogue::{VhostLimits, VhostMetadata};
use leveret_broker::counters::{Deliveries, Publishes};
use leveret_broker::live_queue::BrowsePage;
use leveret_broker::policies::{Policy, Scope};
use leveret_broker::queue::{Browsed, Kind};
use leveret_broker::table::Value;
use leveret_broker::time::Timestamp;
use leveret_broker::users::UserLimits;

use crate::words;

/// Gives what the operator sees; `None`: this is no word of an operator.
pub(crate) fn play(broker: &Broker, now: Timestamp, words: &[&str]) -> Option<Vec<String>> {
    Some(match *words {
        ["list", what] => list(broker, what),
        ["count", ref what @ ..] => vec![count(broker, what)],
        ["browse", queue, offset, most, ref rest @ ..] => browse(
            broker,
            queue,
            offset.parse().unwrap(),
            most.parse().unwrap(),
            rest.first(),
        ),
        ["close", ref whom @ .., reason] => {
            let reason = reason.replace('_', " ");
            let closed = match *whom {
                ["user", user] => broker.close_connections_of_user(user, &reason),
                ["vhost", vhost] => broker.close_connections_of_vhost(vhost, &reason),
                _ => broker.close_connections(&reason),
            };
            vec![format!("closed {closed}")]
        }
        ["turn-away", reason] => {
            let closed = broker.turn_away(&reason.replace('_', " "));
            vec![format!("closed {closed}")]
        }
        ["let-in"] => {
            broker.let_in();
            Vec::new()
        }
        _ => match change(broker, now, words)? {
            Ok(_) => Vec::new(),
            Err(refused) => {
                let text = refused.to_string().replace('\n', " ");
                vec![format!("refused: {}", text.trim_end())]
            }
        },
    })
}

/// What an operator changes.
fn change(broker: &Broker, now: Timestamp, words: &[&str]) -> Option<Outcome> {
    let empty = |word| if word == "-" { "" } else { word };
    let named = |words: &[&str], name: &str| {
        let mut words = words.iter();
        words.find_map(|word| Some(word.strip_prefix(name)?.strip_prefix('=')?.to_owned()))
    };
    let limit = |words: &[&str], name| named(words, name).map(|limit| limit.parse().unwrap());
    Some(match *words {
        ["user", name, ref tags @ ..] => {
            let tags = tags.iter().map(|tag| (*tag).into()).collect();
            broker.put_user(name, Password::Plain(name), Some(tags))
        }
        ["delete-user", name] => broker.delete_user(name),
        ["vhost", name, ref rest @ ..] => {
            let metadata = VhostMetadata {
                description: named(rest, "description").unwrap_or_default(),
                tags: Vec::new(),
                default_queue_type: named(rest, "default_queue_type")
                    .map(|kind| Kind::from_name(&kind).unwrap()),
                protected_from_deletion: rest.contains(&"protected"),
            };
            broker.put_vhost(name, metadata)
        }
        ["trace", name, on] => broker.set_tracing(name, on == "on"),
        ["delete-vhost", name] => broker.delete_vhost(name),
        ["limit", "user", name, ref rest @ ..] => {
            let limits = UserLimits {
                connections_max: limit(rest, "max-connections"),
                channels_max: limit(rest, "max-channels"),
            };
            broker.set_user_limits(name, limits)
        }
        ["limit", "vhost", name, ref rest @ ..] => {
            let limits = VhostLimits {
                connections_max: limit(rest, "max-connections"),
                queues_max: limit(rest, "max-queues"),
            };
            broker.set_vhost_limits(name, limits)
        }
        ["allow", user, vhost, configure, write, read] => {
            let spec = PermissionSpec {
                configure: empty(configure),
                write: empty(write),
                read: empty(read),
            };
            broker.set_permissions(user, vhost, spec, now)
        }
        ["disallow", user, vhost] => broker.clear_permissions(user, vhost, now),
        ["allow-topic", user, vhost, exchange, write, read] => {
            broker.set_topic_permissions(user, vhost, exchange, (empty(write), empty(read)))
        }
        ["disallow-topic", user, vhost] => broker.clear_topic_permissions(user, vhost, None),
        [
            kind @ ("policy" | "operator-policy"),
            vhost,
            name,
            pattern,
            apply_to,
            priority,
            ref rest @ ..,
        ] => {
            let pairs = rest.iter().filter_map(|word| word.split_once('='));
            let spec = PolicySpec {
                name,
                pattern,
                apply_to,
                priority: priority.parse().unwrap(),
                definition: pairs
                    .map(|(name, word)| (Box::from(name), words::value(word)))
                    .collect(),
            };
            broker.set_policy(vhost, scope(kind), spec, now)
        }
        ["parameter", vhost, component, name, ref rest @ ..] => {
            let pairs = rest.iter().filter_map(|word| word.split_once('='));
            let table = pairs.map(|(name, word)| (Box::from(name), words::value(word)));
            let value = Value::Table(table.collect());
            broker.set_parameter(vhost, component, name, value, now)
        }
        ["clear-parameter", vhost, component, name] => {
            broker.clear_parameter(vhost, component, name, now)
        }
        ["global-parameter", name, word] => broker.set_global_parameter(name, words::value(word)),
        ["clear-global-parameter", name] => broker.clear_global_parameter(name),
        ["clear-policy", vhost, name] => broker.clear_policy(vhost, Scope::User, name, now),
        ["clear-operator-policy", vhost, name] => {
            broker.clear_policy(vhost, Scope::Operator, name, now)
        }
        _ => return None,
    })
}

fn scope(word: &str) -> Scope {
    match word {
        "policy" => Scope::User,
        _ => Scope::Operator,
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
        "vhosts" => broker
            .list_vhosts()
            .iter()
            .map(|it| {
                let kind = it.metadata.default_queue_type;
                let kind = kind.map_or("-", Kind::name);
                format!("{} {} {kind}", it.name, name(&it.metadata.description))
            })
            .collect(),
        "users" => broker
            .list_users()
            .iter()
            .map(|it| format!("{} {:?} {:?}", it.name, it.tags, it.limits))
            .collect(),
        "permissions" => broker
            .list_permissions()
            .iter()
            .map(|it| format!("{} {} {}", it.user, it.vhost, it.permissions.read.source()))
            .collect(),
        "topic-permissions" => broker
            .list_topic_permissions()
            .iter()
            .map(|it| {
                let write = it.permissions.write.source();
                format!("{} {} {} {write}", it.user, it.vhost, it.exchange)
            })
            .collect(),
        "policies" => broker
            .list_queues(None)
            .iter()
            .map(|queue| {
                let status = queue.status();
                let of = |policy: &Option<Arc<Policy>>| {
                    let policy = policy.as_ref();
                    policy.map_or_else(|| "-".to_owned(), |policy| policy.name.to_string())
                };
                let (user, operator) = (of(&status.applied.user), of(&status.applied.operator));
                format!("{} {user} {operator}", queue.name())
            })
            .collect(),
        "parameters" => broker
            .list_parameters(None)
            .iter()
            .map(|it| {
                format!(
                    "{} {} {} {}",
                    it.vhost,
                    it.component,
                    it.name,
                    words::describe_value(&it.value)
                )
            })
            .collect(),
        "global-parameters" => broker
            .list_global_parameters()
            .iter()
            .map(|(name, value)| format!("{name} {}", value.text()))
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

fn browse(
    broker: &Broker,
    queue: &str,
    offset: u64,
    messages_max: usize,
    text: Option<&&str>,
) -> Vec<String> {
    let page = BrowsePage {
        offset,
        messages_max,
        bytes_max: 1 << 20,
        looked_at_max: 4,
    };
    let queue = broker.queue_info("/", queue).unwrap();
    let has_text = |it: &Browsed| {
        let body = String::from_utf8_lossy(it.message.body());
        text.is_none_or(|text| body.contains(text))
    };
    let browse = queue.browse(page, has_text).unwrap();
    let line = |(place, it): &(u64, Browsed)| {
        let again = if it.redelivered { " again" } else { "" };
        let body = String::from_utf8_lossy(it.message.body());
        format!("{place}{again} {body}")
    };
    let next = browse.next.map(|next| format!("next {next}"));
    browse.messages.iter().map(line).chain(next).collect()
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
