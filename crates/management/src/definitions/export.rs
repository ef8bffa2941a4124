//! Definitions out of a node, written as they are read.

use leveret_broker::broker::Broker;
use leveret_broker::broker::listing::{BindingInfo, BindingsOf, ExchangeInfo};
use leveret_broker::catalogue::VhostMetadata;
use leveret_broker::error::ResourceKind;
use leveret_broker::live_queue::LiveQueue;
use leveret_broker::policies::Scope;

use serde_json::{Value, json};

use super::IMPORTED_HASH;
use crate::api::{limits, parameters, policies, users};
use crate::json::{self, Columns, Object};
use crate::options::Options;
use crate::table::TableJson;

/// All of the node.
pub(crate) fn cluster(broker: &Broker, options: &Options) -> Vec<u8> {
    let cluster_name = &broker.cluster_name();
    let mut out = Vec::new();
    json::object(&mut out, Columns::ALL, |object| {
        write_head(object, options, "cluster");
        object.field("original_cluster_name", cluster_name);
        let explanation = format!("Definitions of cluster '{cluster_name}'");
        object.field("explanation", &explanation);
        object.list("users", broker.list_users(), |user, object| {
            users::write(object, &user);
        });
        object.list("vhosts", broker.list_vhosts(), |vhost, object| {
            object.field("name", &*vhost.name);
            object.field("metadata", &metadata(broker, &vhost.metadata));
            object.field("limits", &limits::of_vhost(&vhost.limits));
        });
        object.list("permissions", broker.list_permissions(), |it, object| {
            users::write_permission(object, &it);
        });
        object.list(
            "topic_permissions",
            broker.list_topic_permissions(),
            |it, object| users::write_topic_permission(object, &it),
        );
        object.list("parameters", broker.list_parameters(None), |it, object| {
            parameters::write(object, &it);
        });
        let mut globals = broker.stored_global_parameters();
        globals.retain(|(name, _)| **name != *IMPORTED_HASH);
        object.list("global_parameters", globals, |(name, value), object| {
            parameters::write_global(object, &name, &value)
        });
        write_objects(object, broker, None);
    });
    out
}

/// One vhost, in a form that can be imported into any other.
pub(crate) fn one_vhost(broker: &Broker, options: &Options, vhost: &str) -> Vec<u8> {
    let mut out = Vec::new();
    json::object(&mut out, Columns::ALL, |object| {
        write_head(object, options, "single_virtual_host");
        object.field("original_vhost_name", vhost);
        let explanation = format!("Definitions of a single virtual host: '{vhost}'");
        object.field("explanation", &explanation);
        if let Some(info) = broker.vhost_info(vhost) {
            object.field("description", &info.metadata.description);
            object.field("metadata", &metadata(broker, &info.metadata));
            object.field("limits", &limits::of_vhost(&info.limits));
        }
        object.list(
            "parameters",
            broker.list_parameters(Some(vhost)),
            |it, object| {
                object.field("component", &*it.component);
                object.field("name", &*it.name);
                object.field("value", &crate::table::ValueJson(&it.value));
            },
        );
        write_objects(object, broker, Some(vhost));
    });
    out
}

fn write_head(object: &mut Object<'_>, options: &Options, format: &str) {
    object.field("rabbit_version", options.rabbitmq_version);
    object.field("rabbitmq_version", options.rabbitmq_version);
    object.field("product_name", "Leveret");
    object.field("product_version", options.leveret_version);
    object.field("rabbitmq_definition_format", format);
}

/// What is said of a vhost, as RabbitMQ writes it: a type of queues is always named, protection where there is any.
fn metadata(broker: &Broker, metadata: &VhostMetadata) -> Value {
    let default = broker.options.default_queue_kind;
    let mut fields = json!({
        "description": metadata.description,
        "tags": metadata.tags,
        "default_queue_type": metadata.default_queue_type.unwrap_or(default).name(),
    });
    if metadata.protected_from_deletion {
        fields["protected_from_deletion"] = true.into();
    }
    fields
}

/// What is in vhosts. Of a single one nothing says which it was.
fn write_objects(object: &mut Object<'_>, broker: &Broker, vhost: Option<&str>) {
    let name_vhost = |object: &mut Object<'_>, name: &str| {
        if vhost.is_none() {
            object.field("vhost", name);
        }
    };
    let rows = broker.list_policies(Scope::User, vhost);
    object.list("policies", rows, |it, object| {
        name_vhost(object, &it.vhost);
        policies::write(object, &it.policy);
    });
    let queues = broker.list_queues(vhost);
    let queues = queues.iter().filter(|queue| is_exported(queue));
    object.list("queues", queues, |queue, object| {
        object.field("name", queue.name());
        name_vhost(object, &queue.vhost_name);
        object.field("type", queue.kind.name());
        object.field("durable", &queue.declaration.durable);
        object.field("auto_delete", &queue.declaration.auto_delete);
        object.field("arguments", &TableJson(&queue.declaration.arguments));
    });
    let mut exchanges = broker.list_exchanges(vhost);
    exchanges.retain(is_own);
    object.list("exchanges", exchanges, |exchange, object| {
        object.field("name", &*exchange.name);
        name_vhost(object, &exchange.vhost);
        object.field("type", exchange.kind.name());
        object.field("durable", &exchange.durable);
        object.field("auto_delete", &exchange.auto_delete);
        // RabbitMQ leaves out internal exchanges, and so the field that would tell them apart.
        if exchange.internal {
            object.field("internal", &true);
        }
        object.field("arguments", &TableJson(&exchange.arguments));
    });
    let mut bindings = broker.list_bindings(vhost.map_or(BindingsOf::All, BindingsOf::Vhost));
    bindings.retain(|binding| has_exported_end(broker, binding));
    object.list("bindings", bindings, |binding, object| {
        object.field("source", &*binding.source);
        name_vhost(object, &binding.vhost);
        object.field("destination", &*binding.destination);
        object.field("destination_type", &binding.destination_kind.to_string());
        object.field("routing_key", &String::from_utf8_lossy(&binding.key));
        object.field("arguments", &TableJson(&binding.arguments));
    });
}

/// Exclusive queues go with their connections.
fn is_exported(queue: &LiveQueue) -> bool {
    queue.declaration.exclusive.is_none()
}

/// The default exchange and those that every vhost has are there already.
fn is_own(exchange: &ExchangeInfo) -> bool {
    !exchange.name.is_empty() && !exchange.name.starts_with("amq.")
}

/// The default exchange's bindings come with the queues.
fn has_exported_end(broker: &Broker, binding: &BindingInfo) -> bool {
    let is_exported_queue = || {
        let queue = broker.queue_info(&binding.vhost, &binding.destination);
        queue.is_some_and(|queue| is_exported(&queue))
    };
    !binding.source.is_empty()
        && (binding.destination_kind == ResourceKind::Exchange || is_exported_queue())
}
