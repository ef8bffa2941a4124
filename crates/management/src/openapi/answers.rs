//! What the answers hold: a schema for every kind of object, and which path gives which. No field is required, since
//! `columns` chooses and some come with the first sample only.

use serde_json::{Map, Value, json};

use super::schema::{Field, schema};

/// An object's name and fields.
type Object = (&'static str, &'static [Field]);

/// An object's name and the paths that give it.
type Paths = (&'static str, &'static [&'static str]);

/// What is exported, and imported.
pub(super) const DEFINITIONS: &[Field] = &[
    ("rabbit_version", "string"),
    ("rabbitmq_version", "string"),
    ("rabbitmq_definition_format", "string"),
    ("product_name", "string"),
    ("product_version", "string"),
    ("original_cluster_name", "string"),
    ("original_vhost_name", "string"),
    ("explanation", "string"),
    ("description", "string"),
    ("metadata", "object"),
    ("limits", "object"),
    ("users", "[object]"),
    ("vhosts", "[object]"),
    ("permissions", "[object]"),
    ("topic_permissions", "[object]"),
    ("parameters", "[object]"),
    ("global_parameters", "[object]"),
    ("policies", "[object]"),
    ("exchanges", "[object]"),
    ("queues", "[object]"),
    ("bindings", "[object]"),
];

#[rustfmt::skip]
const OBJECTS: &[Object] = &[
    ("Error", &[("error", "string"), ("reason", "any")]),
    ("Page", &[
        ("items", "[object]"), ("page", "integer"), ("page_count", "integer"), ("page_size", "integer"),
        ("total_count", "integer"), ("item_count", "integer"), ("filtered_count", "integer"),
    ]),
    ("Details", &[("rate", "number"), ("samples", "[object]"), ("avg", "number"), ("avg_rate", "number")]),
    ("Overview", &[
        ("management_version", "string"), ("product_name", "string"), ("product_version", "string"), ("rabbitmq_version", "string"),
        ("erlang_version", "string"), ("erlang_full_version", "string"), ("crypto_lib_version", "string"),
        ("release_series_support_status", "string"), ("cluster_name", "string"), ("node", "string"), ("rates_mode", "string"),
        ("default_queue_type", "string"), ("disable_stats", "boolean"), ("enable_queue_totals", "boolean"),
        ("is_op_policy_updating_enabled", "boolean"), ("require_definition_json_extension", "boolean"),
        ("statistics_db_event_queue", "integer"), ("sample_retention_policies", "object"), ("cluster_tags", "object"),
        ("node_tags", "object"), ("exchange_types", "[object]"), ("listeners", "[Listener]"), ("contexts", "[object]"),
        ("object_totals", "object"), ("queue_totals", "object"), ("message_stats", "object"), ("churn_rates", "object"),
    ]),
    ("Listener", &[
        ("node", "string"), ("protocol", "string"), ("ip_address", "string"), ("port", "integer"), ("tls", "boolean"),
        ("interface", "string"), ("purpose", "string"), ("socket_opts", "object|array"),
    ]),
    ("Node", &[
        ("name", "string"), ("type", "string"), ("running", "boolean"), ("being_drained", "boolean"), ("os_pid", "string"),
        ("uptime", "integer"), ("processors", "integer"), ("run_queue", "integer"), ("rates_mode", "string"),
        ("product_name", "string"), ("product_version", "string"), ("rabbitmq_version", "string"), ("erlang_version", "string"),
        ("erlang_full_version", "string"), ("crypto_lib_version", "string"), ("net_ticktime", "integer"),
        ("mem_used", "rated"), ("mem_limit", "integer"), ("mem_alarm", "boolean"), ("mem_calculation_strategy", "string"),
        ("disk_free", "rated"), ("disk_free_limit", "integer"), ("disk_free_alarm", "boolean"), ("fd_used", "rated"),
        ("fd_total", "integer"), ("sockets_used", "rated"), ("sockets_total", "integer"), ("proc_used", "rated"),
        ("proc_total", "integer"), ("gc_num", "rated"), ("gc_bytes_reclaimed", "rated"), ("context_switches", "rated"),
        ("io_read_count", "rated"), ("io_read_bytes", "rated"), ("io_read_avg_time", "rated"), ("io_write_count", "rated"),
        ("io_write_bytes", "rated"), ("io_write_avg_time", "rated"), ("io_sync_count", "rated"), ("io_sync_avg_time", "rated"),
        ("io_seek_count", "rated"), ("io_reopen_count", "rated"), ("msg_store_read_count", "rated"),
        ("msg_store_write_count", "rated"), ("queue_index_read_count", "rated"), ("queue_index_write_count", "rated"),
        ("connection_created", "rated"), ("connection_closed", "rated"), ("channel_created", "rated"),
        ("channel_closed", "rated"), ("queue_declared", "rated"), ("queue_created", "rated"), ("queue_deleted", "rated"),
        ("partitions", "array"), ("applications", "[object]"), ("auth_mechanisms", "[object]"), ("exchange_types", "[object]"),
        ("enabled_plugins", "[string]"), ("config_files", "[string]"), ("log_files", "[string]"), ("db_dir", "string"),
        ("contexts", "[object]"), ("cluster_links", "array"), ("metrics_gc_queue_length", "object"),
        ("ra_open_file_metrics", "object"),
    ]),
    ("Memory", &[("memory", "object")]),
    ("Connection", &[
        ("name", "string"), ("node", "string"), ("type", "string"), ("state", "string"), ("protocol", "string"),
        ("user", "string"), ("user_who_performed_action", "string"), ("vhost", "string"), ("user_provided_name", "string"),
        ("host", "string"), ("port", "integer"), ("peer_host", "string"), ("peer_port", "integer"), ("connected_at", "integer"),
        ("auth_mechanism", "string"), ("client_properties", "object"), ("channels", "integer"), ("channel_max", "integer"),
        ("frame_max", "integer"), ("timeout", "integer"), ("ssl", "boolean"), ("ssl_protocol", "string|null"),
        ("ssl_key_exchange", "string|null"), ("ssl_cipher", "string|null"), ("ssl_hash", "string|null"),
        ("peer_cert_subject", "string|null"), ("peer_cert_issuer", "string|null"), ("peer_cert_validity", "string|null"),
        ("peer_cert_serial_number", "string|null"), ("recv_oct", "rated"), ("recv_cnt", "integer"), ("send_oct", "rated"),
        ("send_cnt", "integer"), ("send_pend", "integer"), ("reductions", "rated"), ("garbage_collection", "object"),
    ]),
    ("Channel", &[
        ("name", "string"), ("node", "string"), ("number", "integer"), ("state", "string"), ("user", "string"),
        ("user_who_performed_action", "string"), ("vhost", "string"), ("connection_details", "object"), ("confirm", "boolean"),
        ("transactional", "boolean"), ("prefetch_count", "integer"), ("global_prefetch_count", "integer"),
        ("consumer_count", "integer"), ("messages_unacknowledged", "integer"), ("messages_unconfirmed", "integer"),
        ("messages_uncommitted", "integer"), ("acks_uncommitted", "integer"), ("pending_raft_commands", "integer"),
        ("idle_since", "string"), ("reductions", "rated"), ("garbage_collection", "object"), ("message_stats", "object"),
        ("consumer_details", "[Consumer]"), ("publishes", "[object]"), ("deliveries", "[object]"),
    ]),
    ("Consumer", &[
        ("consumer_tag", "string"), ("queue", "object"), ("channel_details", "object|array"), ("ack_required", "boolean"),
        ("active", "boolean"), ("activity_status", "string"), ("exclusive", "boolean"), ("prefetch_count", "integer"),
        ("priority", "integer"), ("arguments", "object"), ("consumer_timeout", "integer|string"), ("unacknowledged", "integer"),
    ]),
    ("Exchange", &[
        ("name", "string"), ("vhost", "string"), ("type", "string"), ("durable", "boolean"), ("auto_delete", "boolean"),
        ("internal", "boolean"), ("arguments", "object"), ("policy", "string|null"), ("user_who_performed_action", "string"),
        ("message_stats", "object"), ("incoming", "[object]"), ("outgoing", "[object]"),
    ]),
    ("Queue", &[
        ("name", "string"), ("vhost", "string"), ("type", "string"), ("node", "string"), ("state", "string"),
        ("durable", "boolean"), ("auto_delete", "boolean"), ("exclusive", "boolean"), ("arguments", "object"),
        ("policy", "string|null"), ("operator_policy", "string|null"), ("effective_policy_definition", "object"),
        ("internal", "boolean"), ("internal_owner", "boolean|object"), ("owner_pid_details", "object"),
        ("user_who_performed_action", "string"), ("leader", "string"), ("members", "[string]"), ("online", "[string]"),
        ("consumers", "integer"), ("consumer_capacity", "number"), ("consumer_utilisation", "number"),
        ("exclusive_consumer_tag", "string|null"), ("single_active_consumer_tag", "string|null"), ("messages", "rated"),
        ("messages_ready", "rated"), ("messages_unacknowledged", "rated"), ("messages_persistent", "integer"),
        ("messages_ram", "integer"), ("messages_ready_ram", "integer"), ("messages_unacknowledged_ram", "integer"),
        ("messages_paged_out", "integer"), ("messages_dlx", "integer"), ("messages_delayed", "integer"),
        ("messages_ready_returned", "integer"), ("messages_by_priority", "object"), ("messages_active_priorities", "integer"),
        ("message_bytes", "integer"), ("message_bytes_ready", "integer"), ("message_bytes_unacknowledged", "integer"),
        ("message_bytes_ram", "integer"), ("message_bytes_persistent", "integer"), ("message_bytes_paged_out", "integer"),
        ("message_bytes_dlx", "integer"), ("first_timestamp", "integer"), ("segments", "integer"), ("readers", "object"),
        ("first_offset", "integer"), ("next_offset", "integer"), ("head_message_timestamp", "integer|null"),
        ("oldest_message_age", "integer|null"), ("idle_since", "string"),
        ("memory", "integer"), ("storage_version", "integer"), ("delivery_limit", "integer|string"), ("delayed_retry", "string|object"),
        ("reductions", "rated"), ("garbage_collection", "object"), ("backing_queue_status", "object"), ("message_stats", "object"),
        ("consumer_details", "[Consumer]"), ("incoming", "[object]"), ("deliveries", "[object]"),
    ]),
    ("Binding", &[
        ("source", "string"), ("vhost", "string"), ("destination", "string"), ("destination_type", "string"),
        ("routing_key", "string"), ("arguments", "object"), ("properties_key", "string"),
    ]),
    ("Vhost", &[
        ("name", "string"), ("description", "string"), ("tags", "[string]"), ("default_queue_type", "string|null"),
        ("metadata", "object"), ("protected_from_deletion", "boolean"), ("tracing", "boolean"), ("cluster_state", "object"),
        ("messages", "rated"), ("messages_ready", "rated"), ("messages_unacknowledged", "rated"), ("recv_oct", "rated"),
        ("send_oct", "rated"), ("message_stats", "object"),
    ]),
    ("User", &[
        ("name", "string"), ("tags", "[string]"), ("password_hash", "string"), ("hashing_algorithm", "string"), ("limits", "object"),
    ]),
    ("Whoami", &[("name", "string"), ("tags", "[string]"), ("is_internal_user", "boolean"), ("login_session_timeout", "integer")]),
    ("Permission", &[
        ("user", "string"), ("vhost", "string"), ("configure", "string"), ("write", "string"), ("read", "string"),
    ]),
    ("TopicPermission", &[
        ("user", "string"), ("vhost", "string"), ("exchange", "string"), ("write", "string"), ("read", "string"),
    ]),
    ("UserLimits", &[("user", "string"), ("value", "object")]),
    ("VhostLimits", &[("vhost", "string"), ("value", "object")]),
    ("Policy", &[
        ("name", "string"), ("vhost", "string"), ("pattern", "string"), ("apply-to", "string"), ("definition", "object"),
        ("priority", "integer"),
    ]),
    ("Parameter", &[("component", "string"), ("vhost", "string"), ("name", "string"), ("value", "any")]),
    ("Shovel", &[
        ("node", "string"), ("timestamp", "string"), ("name", "string"), ("vhost", "string"), ("type", "string"), ("state", "string"),
        ("reason", "string"), ("pending", "integer"), ("remaining", "any"), ("remaining_unacked", "any"), ("forwarded", "integer"),
        ("src_uri", "string"), ("src_protocol", "string"), ("src_queue", "string"), ("src_exchange", "string"),
        ("src_exchange_key", "string"), ("dest_uri", "string"), ("dest_protocol", "string"), ("dest_queue", "string"),
        ("dest_exchange", "string"), ("dest_exchange_key", "string"), ("blocked_status", "string"),
    ]),
    ("GlobalParameter", &[("name", "string"), ("value", "any")]),
    ("Definitions", DEFINITIONS),
    ("ClusterName", &[("name", "string")]),
    ("FeatureFlag", &[
        ("name", "string"), ("desc", "string"), ("doc_url", "string"), ("state", "string"), ("stability", "string"),
        ("provided_by", "string"), ("require_level", "string"), ("experiment_level", "string"), ("callbacks", "array"),
    ]),
    ("DeprecatedFeature", &[
        ("name", "string"), ("desc", "string"), ("doc_url", "string"), ("state", "string"), ("deprecation_phase", "string"),
        ("provided_by", "string"),
    ]),
    ("AuthAttempts", &[
        ("protocol", "string"), ("auth_attempts", "integer"), ("auth_attempts_failed", "integer"),
        ("auth_attempts_succeeded", "integer"), ("remote_address", "string"), ("username", "string"),
    ]),
    ("Check", &[
        ("status", "string"), ("reason", "string"), ("port", "integer"), ("missing", "any"), ("ports", "[integer]"),
        ("protocols", "[string]"),
    ]),
    // Of paths of ours.
    ("MessagePage", &[("offset", "integer"), ("next", "integer|null"), ("total", "integer"), ("items", "[QueueMessage]")]),
    ("QueueMessage", &[
        ("position", "integer"), ("offset", "integer"), ("id", "string"), ("payload_bytes", "integer"), ("redelivered", "boolean"), ("exchange", "string"),
        ("routing_key", "string"), ("persistent", "boolean"), ("delivery_count", "integer"), ("acquired_count", "integer"),
        ("expires_at", "integer|null"), ("unacked_since", "integer"), ("consumer_details", "MessageConsumer|null"),
        ("properties", "MessageProperties"), ("payload", "string"), ("payload_encoding", "string"),
    ]),
    ("MessageConsumer", &[
        ("consumer_tag", "string|null"), ("channel_number", "integer"), ("connection_name", "string|null"), ("user", "string|null"),
    ]),
    ("MessageProperties", &[
        ("content_type", "string"), ("content_encoding", "string"), ("correlation_id", "string"), ("reply_to", "string"),
        ("expiration", "string"), ("message_id", "string"), ("type", "string"), ("user_id", "string"), ("app_id", "string"),
        ("cluster_id", "string"), ("delivery_mode", "integer"), ("priority", "integer"), ("timestamp", "integer"),
        ("headers", "object"),
    ]),
    ("MessageFilter", &[
        ("exchange", "string"), ("routing_key", "string"), ("body", "string"), ("text", "string"), ("properties", "object"),
        ("headers", "object"),
    ]),
    ("MessageDestination", &[("queue", "string"), ("exchange", "string"), ("routing_key", "string"), ("origin", "string")]),
    ("Sweep", &[
        ("action", "string"), ("dry_run", "boolean"), ("looked_at", "integer"), ("matched", "integer"), ("done", "integer"),
        ("gone", "integer"), ("unroutable", "integer"), ("refused", "integer"), ("without_origin", "integer"), ("reason", "string"),
        ("error", "string"),
    ]),
    ("Log", &[("lines", "[string]"), ("next", "integer")]),
    ("Audit", &[("items", "[AuditEntry]")]),
    ("AuditEntry", &[
        ("time", "integer"), ("user", "string"), ("peer", "string"), ("method", "string"), ("path", "string"),
        ("status", "integer"),
    ]),
    ("Watermark", &[("relative", "number"), ("absolute", "string|integer")]),
    ("Evaluated", &[("value", "string")]),
    ("Tls", &[("versions", "[string]"), ("cipher_suites", "[string]")]),
    ("Process", &[("arguments", "[string]"), ("variables", "object")]),
    ("Machine", &[("interfaces", "[Interface]"), ("threads", "[Thread]")]),
    ("Interface", &[
        ("name", "string"), ("flags", "[string]"), ("hardware_address", "string|null"), ("addresses", "[Address]"),
    ]),
    ("Address", &[("address", "string"), ("netmask", "string|null"), ("broadcast", "string|null")]),
    ("Thread", &[("id", "integer"), ("name", "string"), ("user_ms", "integer"), ("system_ms", "integer")]),
    ("MessageSizes", &[("items", "[MessageSize]")]),
    ("MessageSize", &[("bytes_max", "integer|null"), ("messages", "integer")]),
    ("ListenerCertificates", &[
        ("protocol", "string"), ("ip", "string"), ("port", "integer"), ("certfile", "CertificateFile|null"),
        ("cacertfile", "CertificateFile|null"),
    ]),
    ("CertificateFile", &[("path", "string"), ("certificates", "[Certificate]"), ("error", "string")]),
    ("Certificate", &[
        ("subject", "string"), ("issuer", "string"), ("serial_number", "string"), ("not_before", "integer"),
        ("not_before_text", "string"), ("not_after", "integer"), ("not_after_text", "string"), ("names", "[string]"),
    ]),
];

/// Paths that give a list of objects, whole or, where [`super::operations`] says so, by pages.
#[rustfmt::skip]
const LISTS: &[Paths] = &[
    ("Node", &["/nodes"]),
    ("Connection", &["/connections", "/connections/username/:user", "/vhosts/:vhost/connections"]),
    ("Channel", &["/channels", "/connections/:connection/channels", "/vhosts/:vhost/channels"]),
    ("Consumer", &["/consumers", "/consumers/:vhost"]),
    ("Exchange", &["/exchanges", "/exchanges/:vhost"]),
    ("Queue", &["/queues", "/queues/detailed", "/queues/:vhost"]),
    ("Binding", &[
        "/bindings", "/bindings/:vhost", "/bindings/:vhost/e/:source/:kind/:destination", "/queues/:vhost/:queue/bindings",
        "/exchanges/:vhost/:exchange/bindings/source", "/exchanges/:vhost/:exchange/bindings/destination",
    ]),
    ("Vhost", &["/vhosts"]),
    ("User", &["/users", "/users/without-permissions"]),
    ("Permission", &["/permissions", "/users/:user/permissions", "/vhosts/:vhost/permissions"]),
    ("TopicPermission", &[
        "/topic-permissions", "/users/:user/topic-permissions", "/vhosts/:vhost/topic-permissions",
        "/topic-permissions/:vhost/:user", "/topic-permissions/:vhost/:user/:exchange",
    ]),
    ("UserLimits", &["/user-limits", "/user-limits/:user"]),
    ("VhostLimits", &["/vhost-limits", "/vhost-limits/:vhost"]),
    ("Policy", &["/policies", "/policies/:vhost", "/operator-policies", "/operator-policies/:vhost"]),
    ("Parameter", &["/parameters", "/parameters/:component", "/parameters/:component/:vhost"]),
    ("Shovel", &["/shovels", "/shovels/:vhost"]),
    ("GlobalParameter", &["/global-parameters"]),
    ("FeatureFlag", &["/feature-flags"]),
    ("DeprecatedFeature", &["/deprecated-features", "/deprecated-features/used"]),
    ("AuthAttempts", &["/auth/attempts/:node", "/auth/attempts/:node/source"]),
    ("ListenerCertificates", &["/leveret/certificates"]),
];

/// Paths that give one object.
#[rustfmt::skip]
const SINGLES: &[Paths] = &[
    ("Overview", &["/overview"]),
    ("ClusterName", &["/cluster-name"]),
    ("Node", &["/nodes/:node"]),
    ("Memory", &["/nodes/:node/memory", "/nodes/:node/memory/relative"]),
    ("Connection", &["/connections/:connection"]),
    ("Channel", &["/channels/:channel"]),
    ("Exchange", &["/exchanges/:vhost/:exchange"]),
    ("Queue", &["/queues/:vhost/:queue"]),
    ("Binding", &["/bindings/:vhost/e/:source/:kind/:destination/:properties_key"]),
    ("Vhost", &["/vhosts/:vhost"]),
    ("User", &["/users/:user"]),
    ("Whoami", &["/whoami"]),
    ("Permission", &["/permissions/:vhost/:user"]),
    ("Policy", &["/policies/:vhost/:name", "/operator-policies/:vhost/:name"]),
    ("Parameter", &["/parameters/:component/:vhost/:name", "/shovels/vhost/:vhost/:name"]),
    ("GlobalParameter", &["/global-parameters/:name"]),
    ("Definitions", &["/definitions", "/all-configuration", "/definitions/:vhost"]),
    ("Check", &["/aliveness-test/:vhost", "/healthchecks/node", "/healthchecks/node/:node"]),
    ("MessagePage", &["/leveret/queues/:vhost/:queue/messages"]),
    ("Log", &["/leveret/log"]),
    ("Audit", &["/leveret/audit"]),
    ("Tls", &["/leveret/tls"]),
    ("Process", &["/leveret/process"]),
    ("Machine", &["/leveret/machine"]),
    ("MessageSizes", &["/leveret/message-sizes"]),
];

/// The schemas of all objects, by name.
pub(super) fn objects() -> Value {
    let schemas = OBJECTS.iter().map(|(name, fields)| {
        let properties: Map<String, Value> = fields.iter().flat_map(property).collect();
        let schema = json!({"type": "object", "properties": properties});
        ((*name).to_owned(), schema)
    });
    Value::Object(schemas.collect())
}

/// A field, and where it is counted over time the rate that comes with it.
fn property(&(name, kind): &Field) -> Vec<(String, Value)> {
    if kind == "rated" {
        return vec![
            (name.to_owned(), schema("number")),
            (format!("{name}_details"), schema("Details")),
        ];
    }
    vec![(name.to_owned(), schema(kind))]
}

/// The schema of what a path gives to those who read it; anything, where it is not described.
pub(super) fn answer(path: &str) -> Value {
    let find = |table: &[Paths]| {
        let row = table.iter().find(|(_, paths)| paths.contains(&path));
        row.map(|(name, _)| *name)
    };
    if let Some(name) = find(LISTS) {
        return schema(&format!("[{name}]"));
    }
    match find(SINGLES) {
        Some(name) => schema(name),
        None if path.starts_with("/health/") => schema("Check"),
        None => schema("any"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::routes::{ROUTES, Verb};

    #[test]
    fn what_is_described_is_there() {
        let is_object = |name| OBJECTS.iter().any(|(it, _)| *it == name);
        let kinds = OBJECTS.iter().flat_map(|(_, fields)| *fields);
        for name in kinds.flat_map(|(_, kind)| kind.trim_matches(['[', ']']).split('|')) {
            let refers = name.starts_with(char::is_uppercase);
            assert!(!refers || is_object(name), "{name}");
        }
        for (name, paths) in LISTS.iter().chain(SINGLES) {
            assert!(is_object(name), "{name}");
            for path in *paths {
                let mut routes = ROUTES.iter().filter(|route| route.path == *path);
                let is_read = routes.any(|it| it.endpoints.iter().any(|it| it.verb == Verb::Get));
                assert!(is_read, "{path}");
            }
        }
    }

    #[test]
    fn what_is_ours_is_described() {
        let is_read =
            |route: &&crate::routes::Route| route.endpoints.iter().any(|it| it.verb == Verb::Get);
        let ours = ROUTES.iter().filter(|it| it.path.starts_with("/leveret/"));
        for route in ours
            .filter(is_read)
            .filter(|it| it.path != "/leveret/events")
        {
            assert_ne!(answer(route.path), schema("any"), "{}", route.path);
        }
    }
}
