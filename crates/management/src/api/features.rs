//! What this node can do: version, extensions, feature flags, deprecated features.

use std::sync::Arc;

use leveret_broker::live_queue::LiveQueue;
use serde_json::json;

use crate::answer::{Answer, Body, Failure, Reply};
use crate::call::Call;
use crate::list::List;

pub(crate) fn version(call: &Call<'_>) -> Reply {
    Ok(Answer::value(&json!(
        call.management.options.rabbitmq_version
    )))
}

/// RabbitMQ served its tool here until 4.3. Scripts that fetch it get one that says where it is.
pub(crate) fn rabbitmqadmin(_: &Call<'_>) -> Reply {
    let script = include_bytes!("rabbitmqadmin.py").to_vec();
    Ok(Answer::text("text/x-python", Body::Whole(script)))
}

/// Scripts that plug-ins add to the web UI: there are no plug-ins.
pub(crate) fn extensions(_: &Call<'_>) -> Reply {
    Ok(Answer::value(&json!([])))
}

/// Feature flags that clients and tools ask for: name, description, and how much RabbitMQ 4.3 requires them. What they stand
/// for is always on here.
#[rustfmt::skip]
const FLAGS: [(&str, &str, &str); 12] = [
    ("classic_queue_leader_locator", "Leader locator of classic queues", "hard"),
    ("classic_queue_type_delivery_support", "Delivery of classic queues by queue type", "hard"),
    ("detailed_queues_endpoint", "The endpoint /api/queues/detailed", "soft"),
    ("feature_flags_v2", "Feature flags, second generation", "hard"),
    ("khepri_db", "Metadata in one replicated log", "soft"),
    ("message_containers", "Messages of any protocol in one form", "hard"),
    ("quorum_queue", "Quorum queues", "hard"),
    ("rabbitmq_4.0.0", "What RabbitMQ 4.0.0 brought", "soft"),
    ("rabbitmq_4.1.0", "What RabbitMQ 4.1.0 brought", "soft"),
    ("rabbitmq_4.2.0", "What RabbitMQ 4.2.0 brought", "soft"),
    ("rabbitmq_4.3.0", "What RabbitMQ 4.3.0 brought", "none"),
    ("user_limits", "Limits of connections and channels of a user", "hard"),
];

pub(crate) fn flags(call: &Call<'_>) -> Reply {
    let list = List::new(
        FLAGS.to_vec(),
        |(name, ..)| name,
        |(name, description, required), object| {
            let stability = match *required {
                "none" => "stable",
                _ => "required",
            };
            object.field("name", name);
            object.field("desc", description);
            object.field("doc_url", "");
            object.field("state", "enabled");
            object.field("stability", stability);
            object.field("require_level", required);
            object.field("experiment_level", "supported");
            object.field("callbacks", &json!([]));
            object.field("provided_by", "rabbit");
        },
    );
    list.reply(&call.query)
}

pub(crate) fn enable_flag(call: &Call<'_>) -> Reply {
    let name = call.parameter("name");
    if name == "all" || FLAGS.iter().any(|(known, ..)| *known == name) {
        return Ok(Answer::done());
    }
    Err(Failure::bad_request("unsupported"))
}

/// Deprecated features: name, description, whether RabbitMQ still has it, and whether we permit it.
struct Deprecated {
    name: &'static str,
    description: &'static str,
    phase: &'static str,
    permitted: bool,
}

fn deprecated_features(call: &Call<'_>) -> Vec<Deprecated> {
    let options = &call.broker().options;
    let feature = |name, description, permitted| Deprecated {
        name,
        description,
        phase: "permitted_by_default",
        permitted,
    };
    vec![
        feature(
            "global_qos",
            "A prefetch shared by all consumers of a channel",
            options.permit_global_qos,
        ),
        feature(
            "management_metrics_collection",
            "Metrics in the HTTP API",
            true,
        ),
        Deprecated {
            phase: "removed",
            permitted: false,
            ..feature("ram_node_type", "Nodes that keep nothing on disk", false)
        },
        feature(
            "transient_nonexcl_queues",
            "Queues that are neither durable nor exclusive",
            options.permit_transient_queues,
        ),
    ]
}

pub(crate) fn deprecated(call: &Call<'_>) -> Reply {
    reply_deprecated(call, deprecated_features(call))
}

fn reply_deprecated(call: &Call<'_>, features: Vec<Deprecated>) -> Reply {
    let list = List::new(
        features,
        |feature| feature.name,
        |feature, object| {
            object.field("name", feature.name);
            object.field("desc", feature.description);
            object.field("deprecation_phase", feature.phase);
            object.field(
                "state",
                if feature.permitted {
                    "permitted"
                } else {
                    "denied"
                },
            );
            object.field("doc_url", "");
            object.field("provided_by", "rabbit");
        },
    );
    list.reply(&call.query)
}

/// Those that something makes use of just now.
pub(crate) fn deprecated_in_use(call: &Call<'_>) -> Reply {
    let broker = call.broker();
    let is_transient = |queue: &Arc<LiveQueue>| {
        !queue.declaration.durable && queue.declaration.exclusive.is_none()
    };
    let mut features = deprecated_features(call);
    features.retain(|feature| match feature.name {
        "transient_nonexcl_queues" => broker.list_queues(None).iter().any(is_transient),
        "global_qos" => {
            let channels = broker.list_channels();
            channels.iter().any(|it| it.global_prefetch_count > 0)
        }
        _ => false,
    });
    reply_deprecated(call, features)
}
