//! The node and its machine.

use leveret_broker::login_sources::{LoginCounts, LoginSource};
use serde_json::{Value, json};

use crate::DiskFigures;
use crate::answer::{Answer, Failure, Reply};
use crate::call::Call;
use crate::json::Object;
use crate::list::{List, reply_one};
use crate::memory::{Memory, PARTS};
use crate::sampler::{Key, Sampler};
use crate::stats::{CHURN, DISK, Gathered, Writer};

/// What RabbitMQ has as plug-ins and is part of this program.
const PLUGINS: [&str; 4] = [
    "rabbitmq_event_exchange",
    "rabbitmq_management",
    "rabbitmq_management_agent",
    "rabbitmq_prometheus",
];

/// There is no Erlang below us; programs that parse its version find one.
pub(crate) const ERLANG_VERSION: &str = "0";

pub(crate) fn erlang_full_version(call: &Call<'_>) -> String {
    let version = call.management.options.leveret_version;
    format!("Leveret {version} runs without Erlang")
}

pub(crate) const CRYPTO_LIBRARY: &str = "aws-lc-rs";

pub(crate) fn list(call: &Call<'_>) -> Reply {
    // A node is written from what it is at this moment, so it is written once, and read as often as it takes.
    let mut out = Vec::new();
    crate::json::object(&mut out, crate::json::Columns::ALL, |object| {
        write(call, object)
    });
    let node: Value = serde_json::from_slice(&out).unwrap_or_default();
    let list = List::new(
        vec![node],
        |node| node["name"].as_str().unwrap_or_default(),
        |node, object| {
            for (name, value) in node.as_object().into_iter().flatten() {
                object.field(name, value);
            }
        },
    );
    list.reply(&call.query)
}

pub(crate) fn show(call: &Call<'_>) -> Reply {
    check_name(call)?;
    reply_one(&call.query, |object| write(call, object))
}

/// There is one node, and its name is known.
pub(crate) fn check_name(call: &Call<'_>) -> Result<(), Failure> {
    match call.parameter("node") == call.broker().options.node_name {
        true => Ok(()),
        false => Err(Failure::no_such_object()),
    }
}

fn write(call: &Call<'_>, object: &mut Object<'_>) {
    let (options, broker) = (&call.management.options, call.broker());
    let host = (options.host)();
    let alarms = broker.alarms.reason().unwrap_or_default();
    let connections = broker.connection_count();
    object.field("name", &broker.options.node_name);
    object.field("type", "disc");
    let service = options.operations.service();
    object.field("running", &!service.is_stopped);
    object.field("being_drained", &service.is_drained);
    object.field("rabbitmq_version", options.rabbitmq_version);
    object.field("product_name", "Leveret");
    object.field("product_version", options.leveret_version);
    object.field("erlang_version", ERLANG_VERSION);
    object.field("erlang_full_version", &erlang_full_version(call));
    object.field("crypto_lib_version", CRYPTO_LIBRARY);
    object.field("os_pid", &host.os_pid.to_string());
    object.field(
        "uptime",
        &call.now.0.saturating_sub(call.management.started_at.0),
    );
    object.field("run_queue", &0);
    object.field("processors", &host.processors);
    figure(object, "mem_used", host.memory_used);
    object.field("mem_limit", &host.memory_limit);
    object.field("mem_alarm", &alarms.contains("memory"));
    object.field("mem_calculation_strategy", "rss");
    figure(object, "disk_free", host.disk_free);
    object.field("disk_free_limit", &host.disk_free_limit);
    object.field("disk_free_alarm", &alarms.contains("disk"));
    figure(object, "fd_used", host.files_open);
    object.field("fd_total", &host.files_max);
    figure(object, "sockets_used", connections as u64);
    object.field("sockets_total", &host.files_max);
    figure(object, "proc_used", host.threads);
    object.field("proc_total", &1_048_576);
    for name in ["gc_num", "gc_bytes_reclaimed", "context_switches"] {
        let value = match name {
            "context_switches" => host.context_switches,
            _ => 0,
        };
        figure(object, name, value);
    }
    write_disk(object, call, &host.disk);
    let churn = Gathered::default().with_churn(&broker.churn());
    Writer::rates(call).write(object, &CHURN, Key::Node, &churn);
    object.field("rates_mode", broker.options.rates_mode.name());
    object.field("net_ticktime", &60);
    object.field("partitions", &json!([]));
    object.field("cluster_links", &json!([]));
    object.field("enabled_plugins", &PLUGINS);
    object.field("applications", &applications(call));
    object.field("auth_mechanisms", &mechanisms(call));
    object.field("exchange_types", &exchange_types());
    object.field("config_files", &options.config_files);
    object.field("log_files", &options.operations.log_files());
    object.field("db_dir", &options.data_dir);
    object.field("contexts", &contexts(call));
    object.field("ra_open_file_metrics", &json!({}));
    object.field("metrics_gc_queue_length", &json!({}));
}

/// What the log does with its disk. There is no message store and no index beside it: dashboards ask for those all the same.
fn write_disk(object: &mut Object<'_>, call: &Call<'_>, disk: &DiskFigures) {
    let numbers = Writer::rates(call);
    let gathered = Gathered::default().with_disk(disk);
    numbers.write(object, &DISK, Key::Node, &gathered);
    for (name, operations) in [
        ("io_read_avg_time", disk.reads),
        ("io_write_avg_time", disk.writes),
        ("io_sync_avg_time", disk.syncs),
    ] {
        object.field(name, &operations.average_ms());
        object.field(&format!("{name}_details"), &json!({"rate": 0.0}));
    }
    for name in [
        "io_seek_count",
        "io_reopen_count",
        "msg_store_read_count",
        "msg_store_write_count",
        "queue_index_read_count",
        "queue_index_write_count",
    ] {
        figure(object, name, 0);
    }
}

fn figure(object: &mut Object<'_>, name: &str, value: u64) {
    object.field(name, &value);
    object.field(&format!("{name}_details"), &json!({"rate": 0.0}));
}

fn applications(call: &Call<'_>) -> Value {
    let version = call.management.options.rabbitmq_version;
    let application = |name: &str, description: &str| json!({"name": name, "description": description, "version": version});
    json!([
        application("rabbit", "RabbitMQ"),
        application("rabbitmq_event_exchange", "RabbitMQ Event Exchange"),
        application("rabbitmq_management", "RabbitMQ Management Console"),
        application("rabbitmq_prometheus", "Prometheus metrics"),
    ])
}

fn mechanisms(call: &Call<'_>) -> Value {
    let one = |name: &String| json!({"name": name, "description": "", "enabled": true});
    let mechanisms = call.management.options.auth_mechanisms.iter();
    mechanisms.map(one).collect()
}

pub(crate) fn exchange_types() -> Value {
    let one = |kind: leveret_broker::exchange::Kind| json!({"name": kind.name(), "description": "", "enabled": true});
    leveret_broker::exchange::Kind::ALL
        .map(one)
        .into_iter()
        .collect()
}

pub(crate) fn contexts(call: &Call<'_>) -> Value {
    let node = &call.broker().options.node_name;
    let listeners = call.management.options.operations.listeners();
    let context = |listener: &crate::ListenerFacts| {
        let description = match listener.protocol {
            "http" | "https" => "RabbitMQ Management",
            "http/prometheus" | "https/prometheus" => "RabbitMQ Prometheus",
            _ => return None,
        };
        Some(json!({
            "node": node,
            "description": description,
            "path": "/",
            "ip": listener.ip,
            "port": listener.port.to_string(),
            "ssl_opts": [],
            "cowboy_opts": "[]",
        }))
    };
    listeners.iter().filter_map(context).collect()
}

pub(crate) fn memory(call: &Call<'_>) -> Reply {
    check_name(call)?;
    let memory = Memory::of(call.management);
    reply_one(&call.query, |object| {
        object.object("memory", |object| {
            for name in PARTS {
                object.field(name, &memory.part(name));
            }
            object.field("strategy", "rss");
            let used = memory.resident;
            let total = json!({"rss": used, "allocated": used, "erlang": used});
            object.field("total", &total);
        });
    })
}

/// As above, in hundredths of the whole.
pub(crate) fn memory_relative(call: &Call<'_>) -> Reply {
    check_name(call)?;
    let memory = Memory::of(call.management);
    let share = |bytes: u64| bytes.saturating_mul(100) / memory.resident.max(1);
    reply_one(&call.query, |object| {
        object.object("memory", |object| {
            for name in PARTS {
                object.field(name, &share(memory.part(name)));
            }
            object.field("total", &100);
        });
    })
}

/// Log-ins by protocol.
pub(crate) fn auth_attempts(call: &Call<'_>) -> Reply {
    check_name(call)?;
    let attempts = &call.management.attempts;
    let http = ("http", attempts.succeeded(), attempts.failed());
    let others = call.broker().logins().into_iter();
    let others = others.map(|it| (it.protocol.short_name(), it.succeeded, it.failed));
    let row = |(protocol, succeeded, failed): (&str, u64, u64)| {
        json!({
            "protocol": protocol,
            "auth_attempts": succeeded + failed,
            "auth_attempts_succeeded": succeeded,
            "auth_attempts_failed": failed,
        })
    };
    let rows: Vec<Value> = [http].into_iter().chain(others).map(row).collect();
    Ok(Answer::value(&rows.into()))
}

/// Log-ins by who came from where, of the time that operators had them counted.
pub(crate) fn auth_attempts_by_source(call: &Call<'_>) -> Reply {
    check_name(call)?;
    let row = |(source, counts): (LoginSource, LoginCounts)| {
        json!({
            "remote_address": source.address.to_string(),
            "username": source.user,
            "protocol": source.protocol,
            "auth_attempts": counts.succeeded + counts.failed,
            "auth_attempts_succeeded": counts.succeeded,
            "auth_attempts_failed": counts.failed,
        })
    };
    let sources = call.broker().login_sources.list().into_iter();
    let rows: Vec<Value> = sources.map(row).collect();
    Ok(Answer::value(&rows.into()))
}

pub(crate) fn reset_auth_attempts(call: &Call<'_>) -> Reply {
    check_name(call)?;
    call.management.attempts.reset();
    call.broker().reset_logins();
    Ok(Answer::done())
}

pub(crate) fn reset_auth_attempts_by_source(call: &Call<'_>) -> Reply {
    check_name(call)?;
    call.broker().login_sources.reset();
    Ok(Answer::done())
}

/// With one node every queue is where it can be.
pub(crate) fn rebalance(_: &Call<'_>) -> Reply {
    Ok(Answer::done())
}

pub(crate) fn reset_samples(call: &Call<'_>) -> Reply {
    if call.parameter_if_any("node").is_some() {
        check_name(call)?;
    }
    *call.management.sampler.lock() = Sampler::default();
    Ok(Answer::done())
}
