//! COMPATIBILITY.md has one row for each feature that RabbitMQ has, and each row says where we stand.

use super::Source;

/// The features by area: a letter, and the number of the last one. The numbers are ours; the list was made once from
/// RabbitMQ 4.3's documentation and sources, and a feature added there gets the next number here.
const AREAS: [(char, u32); 7] = [
    ('C', 21),
    ('H', 28),
    ('X', 21),
    ('Q', 18),
    ('T', 29),
    ('E', 21),
    ('U', 11),
];

/// The arguments of queues, consumers and exchanges, listed by their names.
const ARGUMENTS: [&str; 29] = [
    "x-queue-type",
    "x-message-ttl",
    "x-expires",
    "x-max-length",
    "x-max-length-bytes",
    "x-overflow",
    "x-dead-letter-exchange",
    "x-dead-letter-routing-key",
    "x-dead-letter-strategy",
    "x-max-priority",
    "x-single-active-consumer",
    "x-delivery-limit",
    "x-quorum-initial-group-size",
    "target-group-size",
    "x-queue-leader-locator",
    "x-member-placement-tag",
    "x-consumer-timeout",
    "x-consumer-disconnected-timeout",
    "x-delayed-retry-type",
    "x-delayed-retry-min, x-delayed-retry-max",
    "x-max-in-memory-length, x-max-in-memory-bytes",
    "x-queue-version",
    "x-queue-mode",
    "x-queue-master-locator",
    "x-max-age",
    "x-stream-max-segment-size-bytes",
    "x-stream-filter-size-bytes",
    "x-initial-cluster-size",
    "x-selector-fields",
];

/// The commands of RabbitMQ's command-line tools: a tool, and the names it has. A command that several tools share is listed
/// with one of them.
const COMMANDS: [(&str, &str); 6] = [
    (
        "ctl",
        "add_user authenticate_user change_password clear_password delete_user list_users \
         set_user_tags set_user_limits clear_user_limits list_user_limits hash_password \
         set_permissions set_permissions_globally clear_permissions list_permissions \
         list_user_permissions set_topic_permissions clear_topic_permissions \
         list_topic_permissions list_user_topic_permissions add_vhost delete_vhost list_vhosts \
         update_vhost_metadata set_vhost_tags enable_vhost_deletion_protection \
         disable_vhost_deletion_protection restart_vhost reconcile_vhosts set_vhost_limits \
         clear_vhost_limits list_vhost_limits set_policy clear_policy list_policies \
         set_operator_policy clear_operator_policy list_operator_policies set_parameter \
         clear_parameter list_parameters set_global_parameter clear_global_parameter \
         list_global_parameters list_queues list_exchanges list_bindings list_connections \
         list_channels list_consumers list_unresponsive_queues delete_queue purge_queue \
         close_connection close_all_connections close_all_user_connections export_definitions \
         import_definitions status version ping help autocomplete await_startup wait \
         await_online_nodes stop shutdown stop_app start_app reset join_cluster \
         forget_cluster_node cluster_status set_cluster_name enable_feature_flag \
         list_feature_flags list_deprecated_features rotate_logs set_log_level environment \
         report trace_on trace_off set_vm_memory_high_watermark set_disk_free_limit \
         suspend_listeners resume_listeners activate_free_disk_space_monitoring \
         deactivate_free_disk_space_monitoring list_ciphers list_hashes encode decode \
         encrypt_conf_value decrypt_conf_value eval eval_file exec force_boot \
         force_standalone_khepri_boot force_reset force_gc node_health_check \
         rename_cluster_node update_cluster_nodes remove_classic_queue_mirroring_from_policies \
         list_channel_interceptors set_channel_interceptor_priorities reset_stats_db \
         shovel_status delete_shovel restart_shovel federation_status restart_federation_link \
         list_mqtt_connections list_web_mqtt_connections list_stomp_connections \
         list_stream_connections list_stream_consumers list_stream_publishers \
         list_stream_consumer_groups list_stream_group_consumers list_stream_tracking \
         activate_stream_consumer add_signing_key add_uaa_key clear_auth_backend_cache \
         list_trust_store_certificates refresh_trust_store",
    ),
    (
        "diagnostics",
        "is_running check_running check_local_alarms check_alarms alarms \
         check_port_connectivity check_port_listener check_protocol_listener \
         check_virtual_hosts listeners memory_breakdown check_certificate_expiration \
         check_if_node_is_quorum_critical check_for_quorum_queues_without_an_elected_leader \
         check_if_any_deprecated_features_are_used \
         check_if_new_quorum_queue_replicas_have_finished_initial_sync \
         check_if_cluster_has_classic_queue_mirroring_policy \
         check_if_metadata_store_is_initialized \
         check_if_metadata_store_is_initialized_with_data certificates cipher_suites \
         tls_versions consume_event_stream log_location log_tail log_tail_stream \
         server_version is_booting metadata_store_status message_size_stats \
         list_node_auth_attempt_stats reset_node_auth_attempt_metrics \
         enable_auth_attempt_source_tracking disable_auth_attempt_source_tracking \
         discover_peers resolve_hostname resolver_info list_network_interfaces os_env \
         list_policies_that_match erlang_version erlang_cookie_hash erlang_cookie_sources \
         command_line_arguments maybe_stuck observer remote_shell runtime_thread_stats \
         consistent_hash_exchange_ring_state",
    ),
    (
        "queues",
        "add_member delete_member grow grow_to_count shrink quorum_status rebalance peek \
         reclaim_quorum_memory force_checkpoint transfer_leadership \
         list_policies_with_classic_queue_mirroring",
    ),
    (
        "streams",
        "add_replica delete_replica grow shrink stream_status restart_stream \
         coordinator_status transfer_leadership add_super_stream delete_super_stream \
         reset_offset",
    ),
    ("plugins", "list enable disable set is_enabled directories"),
    (
        "upgrade",
        "drain revive await_online_quorum_plus_one post_upgrade \
         has_reached_target_cluster_size",
    ),
];

const STATES: [&str; 4] = ["yes", "partly", "no", "no (planned)"];

pub(super) fn check(sources: &[Source], complaints: &mut Vec<String>) {
    let Some(page) = Source::find(sources, "COMPATIBILITY.md") else {
        complaints.push("COMPATIBILITY.md is missing".to_owned());
        return;
    };
    let ids = AREAS
        .iter()
        .flat_map(|&(area, last)| (1..=last).map(move |n| format!("{area}{n:02}")));
    let wanted: Vec<String> = ids
        .chain(ARGUMENTS.map(str::to_owned))
        .chain(commands())
        .collect();
    let rows: Vec<(String, &str)> = page.text.lines().filter_map(row).collect();
    for id in &wanted {
        let count = rows.iter().filter(|(name, _)| name == id).count();
        if count != 1 {
            complaints.push(format!("COMPATIBILITY.md: {count} rows for {id}"));
        }
    }
    for (id, state) in &rows {
        // Endpoints of the HTTP API are known by their paths.
        if !wanted.contains(id) && !id.starts_with('/') {
            complaints.push(format!("COMPATIBILITY.md: nothing is known of {id}"));
        }
        if !STATES.contains(state) {
            complaints.push(format!("COMPATIBILITY.md: the state of {id} is `{state}`"));
        }
    }
}

/// `tool command`, for every command.
fn commands() -> impl Iterator<Item = String> {
    COMMANDS.iter().flat_map(|(tool, names)| {
        names
            .split_whitespace()
            .map(move |name| format!("{tool} {name}"))
    })
}

/// Name and state of a table row: `| name | feature | state | …`. Not the heads of tables.
fn row(line: &str) -> Option<(String, &str)> {
    let mut cells = line.strip_prefix('|')?.split('|').map(str::trim);
    let name = cells.next()?.replace('`', "");
    let state = cells.nth(1)?;
    (!name.starts_with('-') && !["id", "argument", "command", "path"].contains(&name.as_str()))
        .then_some((name, state))
}

#[cfg(test)]
mod tests {
    use super::super::sources;
    use super::*;

    /// A page with every row in the state `state`.
    fn page(state: &str) -> String {
        let ids = AREAS
            .iter()
            .flat_map(|&(area, last)| (1..=last).map(move |n| format!("{area}{n:02}")));
        let rows = ids
            .chain(ARGUMENTS.map(|name| format!("`{name}`")))
            .chain(commands().map(|name| format!("`{name}`")));
        let rows = rows.map(|id| format!("| {id} | words | {state} | a test |\n"));
        format!(
            "| id | feature | state | proof |\n|---|---|---|---|\n{}",
            rows.collect::<String>()
        )
    }

    fn check_page(page: &str, wanted: &[&str]) {
        let mut complaints = Vec::new();
        check(&sources(&[("COMPATIBILITY.md", page)]), &mut complaints);
        assert_eq!(complaints, wanted);
    }

    #[test]
    fn each_feature_has_one_row() {
        check_page(&page("yes"), &[]);
        check_page(
            &page("partly").replace("| H05 ", "| H50 "),
            &[
                "COMPATIBILITY.md: 0 rows for H05",
                "COMPATIBILITY.md: nothing is known of H50",
            ],
        );
        let twice = page("no") + "| `x-expires` | words | no (planned) | |\n";
        check_page(&twice, &["COMPATIBILITY.md: 2 rows for x-expires"]);
    }

    #[test]
    fn endpoints_are_known_by_their_paths() {
        let endpoint = |state| page("yes") + &format!("| `/queues` | words | {state} | |\n");
        check_page(&endpoint("yes"), &[]);
        check_page(
            &endpoint("soon"),
            &["COMPATIBILITY.md: the state of /queues is `soon`"],
        );
    }

    #[test]
    fn each_row_has_a_state() {
        let soon = page("yes").replacen("| yes |", "| soon |", 1);
        check_page(&soon, &["COMPATIBILITY.md: the state of C01 is `soon`"]);
    }
}
