//! The families of RabbitMQ's metrics: name, type, what they tell, and where it comes from.

use leveret_broker::broker::listing::ExchangeInfo;
use leveret_broker::connections::{ChannelInfo, ConnectionInfo};

use super::rows::{NodeRow, QueueRow};
use super::text::Kind::{self, Counter, Gauge, Untyped};

/// A family. See [`Family::whole_name`].
pub(super) struct Family {
    /// RabbitMQ's name for the families that belong together, as `/metrics/detailed` is asked for them.
    pub(super) group: &'static str,
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) help: &'static str,
    pub(super) source: Source,
    /// RabbitMQ has no such family.
    is_ours: bool,
}

impl Family {
    /// With what it begins with: `rabbitmq_` or `leveret_`, then what the path adds.
    pub(super) fn whole_name(&self, infix: &str) -> String {
        let product = if self.is_ours { "leveret" } else { "rabbitmq" };
        format!("{product}_{infix}{}", self.name)
    }
}

/// Where the samples of a family come from: one for each object of that kind, or their sum.
#[derive(Clone, Copy)]
pub(super) enum Source {
    Node(fn(&NodeRow) -> f64),
    Queue(fn(&QueueRow) -> u64),
    /// Of all queues together the largest one is told, not the sum.
    QueueMax(fn(&QueueRow) -> u64),
    /// 1 for each queue, with labels that say what it is. It has no sum.
    QueueInfo,
    /// A number between 0 and 1, whose sum over queues means nothing: RabbitMQ sums it all the same.
    QueueShare(fn(&QueueRow) -> f64),
    Exchange(fn(&ExchangeInfo) -> u64),
    Connection(fn(&ConnectionInfo) -> u64),
    Channel(fn(&ChannelInfo) -> u64),
    /// RabbitMQ has one sample for each channel and queue, channel and exchange, or all three. Channels count by
    /// themselves here.
    ChannelQueue(fn(&ChannelInfo) -> u64),
    ChannelExchange(fn(&ChannelInfo) -> u64),
    ChannelQueueExchange(fn(&ChannelInfo) -> u64),
}

const fn family(
    group: &'static str,
    name: &'static str,
    kind: Kind,
    help: &'static str,
    source: Source,
) -> Family {
    Family {
        group,
        name,
        kind,
        help,
        source,
        is_ours: false,
    }
}

/// One that RabbitMQ does not have.
const fn ours(
    group: &'static str,
    name: &'static str,
    kind: Kind,
    help: &'static str,
    source: Source,
) -> Family {
    Family {
        is_ours: true,
        ..family(group, name, kind, help, source)
    }
}

use Source::{
    Channel, ChannelExchange, ChannelQueue, ChannelQueueExchange, Connection, Exchange, Node,
    Queue, QueueInfo, QueueMax, QueueShare,
};

#[rustfmt::skip]
pub(super) const FAMILIES: &[Family] = &[
    // The node.
    family("node_coarse_metrics", "process_open_fds", Gauge, "Open files.", Node(|n| n.host.files_open as f64)),
    family("node_coarse_metrics", "process_max_fds", Gauge, "Files that may be open.", Node(|n| n.host.files_max as f64)),
    family("node_coarse_metrics", "process_resident_memory_bytes", Gauge, "Memory in use.", Node(|n| n.host.memory_used as f64)),
    family("node_coarse_metrics", "resident_memory_limit_bytes", Gauge, "Memory above which publishers are blocked.", Node(|n| n.host.memory_limit as f64)),
    family("node_coarse_metrics", "disk_space_available_bytes", Gauge, "Free disk.", Node(|n| n.host.disk_free as f64)),
    family("node_coarse_metrics", "disk_space_available_limit_bytes", Gauge, "Free disk below which publishers are blocked.", Node(|n| n.host.disk_free_limit as f64)),
    family("node_coarse_metrics", "erlang_processes_used", Gauge, "Threads.", Node(|n| n.host.threads as f64)),
    family("node_coarse_metrics", "erlang_processes_limit", Gauge, "Erlang processes that there may be; there are none.", Node(|_| 1_048_576.0)),
    family("node_coarse_metrics", "erlang_scheduler_run_queue", Gauge, "Erlang processes that wait to run; there are none.", Node(|_| 0.0)),
    family("node_coarse_metrics", "erlang_net_ticktime_seconds", Gauge, "Interval of heartbeats between nodes.", Node(|_| 60.0)),
    family("node_coarse_metrics", "erlang_uptime_seconds", Gauge, "Time since the node started.", Node(|n| n.uptime_ms as f64 / 1000.0)),
    family("node_metrics", "erlang_gc_runs_total", Counter, "Garbage collections; there are none.", Node(|_| 0.0)),
    family("node_metrics", "erlang_gc_reclaimed_bytes_total", Counter, "Memory that garbage collections freed.", Node(|_| 0.0)),
    family("node_metrics", "erlang_scheduler_context_switches_total", Counter, "Switches between threads.", Node(|n| n.host.context_switches as f64)),
    family("node_persister_metrics", "io_read_ops_total", Counter, "Reads of the log.", Node(|n| n.host.disk.reads.count as f64)),
    family("node_persister_metrics", "io_read_bytes_total", Counter, "Bytes that the log has read.", Node(|n| n.host.disk.reads.bytes as f64)),
    family("node_persister_metrics", "io_read_time_seconds_total", Counter, "How long the log's reads took.", Node(|n| n.host.disk.reads.seconds)),
    family("node_persister_metrics", "io_write_ops_total", Counter, "Writes of the log.", Node(|n| n.host.disk.writes.count as f64)),
    family("node_persister_metrics", "io_write_bytes_total", Counter, "Bytes that the log has written.", Node(|n| n.host.disk.writes.bytes as f64)),
    family("node_persister_metrics", "io_write_time_seconds_total", Counter, "How long the log's writes took.", Node(|n| n.host.disk.writes.seconds)),
    family("node_persister_metrics", "io_sync_ops_total", Counter, "Syncs of the log.", Node(|n| n.host.disk.syncs.count as f64)),
    family("node_persister_metrics", "io_sync_time_seconds_total", Counter, "How long the log's syncs took.", Node(|n| n.host.disk.syncs.seconds)),
    family("node_persister_metrics", "io_seek_ops_total", Counter, "Not counted.", Node(|_| 0.0)),
    family("node_persister_metrics", "io_seek_time_seconds_total", Counter, "Not counted.", Node(|_| 0.0)),
    family("node_persister_metrics", "io_reopen_ops_total", Counter, "Not counted.", Node(|_| 0.0)),
    family("node_persister_metrics", "schema_db_ram_tx_total", Counter, "Not counted.", Node(|_| 0.0)),
    family("node_persister_metrics", "schema_db_disk_tx_total", Counter, "Not counted.", Node(|_| 0.0)),
    family("node_persister_metrics", "msg_store_read_total", Counter, "Not counted.", Node(|_| 0.0)),
    family("node_persister_metrics", "msg_store_write_total", Counter, "Not counted.", Node(|_| 0.0)),
    family("node_persister_metrics", "queue_index_read_ops_total", Counter, "Not counted.", Node(|_| 0.0)),
    family("node_persister_metrics", "queue_index_write_ops_total", Counter, "Not counted.", Node(|_| 0.0)),
    family("auth_attempt_metrics", "auth_attempts_total", Counter, "Log-ins that were tried.", Node(|n| (n.logins_succeeded() + n.logins_failed()) as f64)),
    family("auth_attempt_metrics", "auth_attempts_succeeded_total", Counter, "Of those, the ones that succeeded.", Node(|n| n.logins_succeeded() as f64)),
    family("auth_attempt_metrics", "auth_attempts_failed_total", Counter, "Of those, the ones that failed.", Node(|n| n.logins_failed() as f64)),
    // What comes and goes.
    family("connection_churn_metrics", "connections_opened_total", Counter, "Connections that were opened.", Node(|n| n.churn.connection_created as f64)),
    family("connection_churn_metrics", "connections_closed_total", Counter, "Connections that were closed.", Node(|n| n.churn.connection_closed as f64)),
    family("connection_churn_metrics", "channels_opened_total", Counter, "Channels that were opened.", Node(|n| n.churn.channel_created as f64)),
    family("connection_churn_metrics", "channels_closed_total", Counter, "Channels that were closed.", Node(|n| n.churn.channel_closed as f64)),
    family("connection_churn_metrics", "queues_declared_total", Counter, "Declarations of queues.", Node(|n| n.churn.queue_declared as f64)),
    family("connection_churn_metrics", "queues_created_total", Counter, "Queues that were made.", Node(|n| n.churn.queue_created as f64)),
    family("connection_churn_metrics", "queues_deleted_total", Counter, "Queues that were deleted.", Node(|n| n.churn.queue_deleted as f64)),
    family("totals", "connections", Gauge, "Connections.", Node(|n| n.totals.connections as f64)),
    family("totals", "channels", Gauge, "Channels.", Node(|n| n.totals.channels as f64)),
    family("totals", "queues", Gauge, "Queues.", Node(|n| n.totals.queues as f64)),
    family("totals", "consumers", Gauge, "Consumers.", Node(|n| n.totals.consumers as f64)),
    // Queues.
    family("queue_coarse_metrics", "queue_messages_ready", Gauge, "Messages that wait to be delivered.", Queue(|q| q.stats.ready)),
    family("queue_coarse_metrics", "queue_messages_unacked", Gauge, "Messages that were delivered and not acknowledged.", Queue(|q| q.stats.unsettled)),
    family("queue_coarse_metrics", "queue_messages", Gauge, "All messages of a queue.", Queue(QueueRow::messages)),
    family("queue_coarse_metrics", "queue_process_reductions_total", Counter, "Work of Erlang processes; there are none.", Queue(|_| 0)),
    family("queue_consumer_count", "queue_consumers", Gauge, "Consumers of a queue.", Queue(|q| q.stats.consumers)),
    family("queue_metrics", "queue_consumer_capacity", Gauge, "Whether consumers could take more.", QueueShare(|q| f64::from(u8::from(q.stats.ready == 0)))),
    family("queue_metrics", "queue_consumer_utilisation", Gauge, "Whether consumers could take more.", QueueShare(|q| f64::from(u8::from(q.stats.ready == 0)))),
    family("queue_metrics", "queue_process_memory_bytes", Gauge, "Memory of Erlang processes; there are none.", Queue(|_| 0)),
    family("queue_metrics", "queue_messages_ram", Gauge, "Messages in memory.", Queue(|q| q.messages() - q.paged_out())),
    family("queue_metrics", "queue_messages_ram_bytes", Gauge, "Bodies in memory, bytes.", Queue(|q| q.stats.ready_bytes + q.stats.unsettled_bytes - q.paged_out_bytes())),
    family("queue_metrics", "queue_messages_ready_ram", Gauge, "Messages in memory that wait.", Queue(|q| q.stats.ready - q.stats.on_disk.ready)),
    family("queue_metrics", "queue_messages_unacked_ram", Gauge, "Messages in memory that are not acknowledged.", Queue(|q| q.stats.unsettled - q.stats.on_disk.unsettled)),
    family("queue_metrics", "queue_messages_persistent", Gauge, "Persistent messages.", Queue(|q| q.stats.persistent)),
    family("queue_metrics", "queue_messages_persistent_bytes", Gauge, "Bodies of persistent messages, bytes.", Queue(|q| q.stats.persistent_bytes)),
    family("queue_metrics", "queue_messages_bytes", Gauge, "Bodies, bytes.", Queue(|q| q.stats.ready_bytes + q.stats.unsettled_bytes)),
    family("queue_metrics", "queue_messages_ready_bytes", Gauge, "Bodies that wait, bytes.", Queue(|q| q.stats.ready_bytes)),
    family("queue_metrics", "queue_messages_unacked_bytes", Gauge, "Bodies that are not acknowledged, bytes.", Queue(|q| q.stats.unsettled_bytes)),
    family("queue_metrics", "queue_messages_paged_out", Gauge, "Messages on disk only.", Queue(QueueRow::paged_out)),
    family("queue_metrics", "queue_messages_paged_out_bytes", Gauge, "Bodies on disk only, bytes.", Queue(QueueRow::paged_out_bytes)),
    family("queue_metrics", "queue_head_message_timestamp", Gauge, "The timestamp of the next message, if it has one.", Queue(QueueRow::head_message_timestamp)),
    ours("queue_metrics", "queue_oldest_message_age_seconds", Gauge, "How long the oldest message that waits has done so.", QueueMax(|q| q.oldest_message_age)),
    family("queue_metrics", "queue_disk_reads_total", Counter, "Messages that were read from disk.", Queue(|q| q.counters.disk_reads)),
    family("queue_metrics", "queue_disk_writes_total", Counter, "Messages that were written to disk.", Queue(|q| q.counters.disk_writes)),
    family("queue_delivery_metrics", "queue_get_ack_total", Counter, "Messages got, to be acknowledged.", Queue(|q| q.counters.deliveries.get)),
    family("queue_delivery_metrics", "queue_get_total", Counter, "Messages got for good.", Queue(|q| q.counters.deliveries.get_no_ack)),
    family("queue_delivery_metrics", "queue_get_empty_total", Counter, "Gets that found nothing.", Queue(|q| q.counters.deliveries.get_empty)),
    family("queue_delivery_metrics", "queue_messages_delivered_ack_total", Counter, "Messages delivered, to be acknowledged.", Queue(|q| q.counters.deliveries.deliver)),
    family("queue_delivery_metrics", "queue_messages_delivered_total", Counter, "Messages delivered for good.", Queue(|q| q.counters.deliveries.deliver_no_ack)),
    family("queue_delivery_metrics", "queue_messages_redelivered_total", Counter, "Messages delivered again.", Queue(|q| q.counters.deliveries.redeliver)),
    family("queue_delivery_metrics", "queue_messages_acked_total", Counter, "Messages acknowledged.", Queue(|q| q.counters.deliveries.ack)),
    family("queue_exchange_metrics", "queue_messages_published_total", Counter, "Messages published to a queue.", Queue(|q| q.counters.publish)),
    family("queue_metrics", "queue_info", Gauge, "1 for each queue, with its type.", QueueInfo),
    // Exchanges.
    family("exchange_metrics", "exchange_messages_published_total", Counter, "Messages published to an exchange.", Exchange(|x| x.counters.publish_in)),
    family("exchange_metrics", "exchange_messages_confirmed_total", Counter, "Not counted.", Exchange(|_| 0)),
    family("exchange_metrics", "exchange_messages_unroutable_returned_total", Counter, "Messages returned for want of a queue.", Exchange(|x| x.counters.return_unroutable)),
    family("exchange_metrics", "exchange_messages_unroutable_dropped_total", Counter, "Messages dropped for want of a queue.", Exchange(|x| x.counters.drop_unroutable)),
    // Connections.
    family("connection_coarse_metrics", "connection_incoming_bytes_total", Counter, "Bytes received.", Connection(|c| c.recv_oct)),
    family("connection_coarse_metrics", "connection_outgoing_bytes_total", Counter, "Bytes sent.", Connection(|c| c.send_oct)),
    family("connection_coarse_metrics", "connection_process_reductions_total", Counter, "Work of Erlang processes; there are none.", Connection(|_| 0)),
    family("connection_metrics", "connection_incoming_packets_total", Counter, "Reads from the socket.", Connection(|c| c.recv_cnt)),
    family("connection_metrics", "connection_outgoing_packets_total", Counter, "Writes to the socket.", Connection(|c| c.send_cnt)),
    family("connection_metrics", "connection_pending_packets", Gauge, "Bytes that wait to be sent.", Connection(|c| c.send_pend)),
    family("connection_metrics", "connection_channels", Gauge, "Channels of a connection.", Connection(|c| c.channels as u64)),
    // Channels.
    family("channel_metrics", "channel_consumers", Gauge, "Consumers of a channel.", Channel(|c| c.consumer_count)),
    family("channel_metrics", "channel_messages_unacked", Gauge, "Deliveries that are not acknowledged.", Channel(|c| c.messages_unacknowledged)),
    family("channel_metrics", "channel_messages_unconfirmed", Gauge, "Publishes that are not confirmed.", Channel(|c| c.messages_unconfirmed)),
    family("channel_metrics", "channel_messages_uncommitted", Gauge, "Publishes of an open transaction.", Channel(|c| c.messages_uncommitted)),
    family("channel_metrics", "channel_acks_uncommitted", Gauge, "Acknowledgements of an open transaction.", Channel(|c| c.acks_uncommitted)),
    family("channel_metrics", "consumer_prefetch", Gauge, "Limit of unacknowledged deliveries, for each consumer.", Channel(|c| c.prefetch_count)),
    family("channel_metrics", "channel_prefetch", Gauge, "Limit of unacknowledged deliveries, for the channel.", Channel(|c| c.global_prefetch_count)),
    family("channel_process_metrics", "channel_process_reductions_total", Counter, "Work of Erlang processes; there are none.", Channel(|_| 0)),
    family("channel_exchange_metrics", "channel_messages_published_total", Counter, "Messages published.", ChannelExchange(|c| c.counters.publishes.publish)),
    family("channel_exchange_metrics", "channel_messages_confirmed_total", Counter, "Messages confirmed.", ChannelExchange(|c| c.counters.publishes.confirm)),
    family("channel_exchange_metrics", "channel_messages_unroutable_returned_total", Counter, "Messages returned for want of a queue.", ChannelExchange(|c| c.counters.publishes.return_unroutable)),
    family("channel_exchange_metrics", "channel_messages_unroutable_dropped_total", Counter, "Messages dropped for want of a queue.", ChannelExchange(|c| c.counters.publishes.drop_unroutable)),
    family("channel_queue_metrics", "channel_get_ack_total", Counter, "Messages got, to be acknowledged.", ChannelQueue(|c| c.counters.deliveries().get)),
    family("channel_queue_metrics", "channel_get_total", Counter, "Messages got for good.", ChannelQueue(|c| c.counters.deliveries().get_no_ack)),
    family("channel_queue_metrics", "channel_get_empty_total", Counter, "Gets that found nothing.", ChannelQueue(|c| c.counters.deliveries().get_empty)),
    family("channel_queue_metrics", "channel_messages_delivered_ack_total", Counter, "Messages delivered, to be acknowledged.", ChannelQueue(|c| c.counters.deliveries().deliver)),
    family("channel_queue_metrics", "channel_messages_delivered_total", Counter, "Messages delivered for good.", ChannelQueue(|c| c.counters.deliveries().deliver_no_ack)),
    family("channel_queue_metrics", "channel_messages_redelivered_total", Counter, "Messages delivered again.", ChannelQueue(|c| c.counters.deliveries().redeliver)),
    family("channel_queue_metrics", "channel_messages_acked_total", Counter, "Messages acknowledged.", ChannelQueue(|c| c.counters.deliveries().ack)),
    family("channel_queue_exchange_metrics", "queue_exchange_messages_published_total", Counter, "Messages that channels published and queues took.", ChannelQueueExchange(|c| c.counters.publishes.routed)),
];

/// What is told of the node as a whole and not of its objects, on `/metrics` alone.
#[rustfmt::skip]
pub(super) const ALARMS: &[Family] = &[
    family("alarms", "alarms_file_descriptor_limit", Untyped, "1 while files run out; never so, clients are refused before.", Node(|_| 0.0)),
    family("alarms", "alarms_free_disk_space_watermark", Untyped, "1 while disk is low.", Node(|n| f64::from(u8::from(n.disk_alarm)))),
    family("alarms", "alarms_memory_used_watermark", Untyped, "1 while memory is low.", Node(|n| f64::from(u8::from(n.memory_alarm)))),
    family("cluster", "unreachable_cluster_peers_count", Gauge, "Nodes of the cluster that do not answer.", Node(|_| 0.0)),
];

/// Parts of the memory, with their names in the HTTP API.
#[rustfmt::skip]
pub(super) const MEMORY: &[(&str, &str)] = &[
    ("rabbitmq_memory_atom_table_bytes", "atom"),
    ("rabbitmq_memory_binary_heap_bytes", "binary"),
    ("rabbitmq_memory_classic_metadata_store_bytes", "mnesia"),
    ("rabbitmq_memory_classic_queue_erlang_process_bytes", "queue_procs"),
    ("rabbitmq_memory_client_connection_channel_bytes", "connection_channels"),
    ("rabbitmq_memory_client_connection_other_bytes", "connection_other"),
    ("rabbitmq_memory_client_connection_reader_bytes", "connection_readers"),
    ("rabbitmq_memory_client_connection_writer_bytes", "connection_writers"),
    ("rabbitmq_memory_code_module_bytes", "code"),
    ("rabbitmq_memory_management_stats_db_bytes", "mgmt_db"),
    ("rabbitmq_memory_message_index_bytes", "msg_index"),
    ("rabbitmq_memory_metrics_bytes", "metrics"),
    ("rabbitmq_memory_modern_metadata_store_bytes", "metadata_store"),
    ("rabbitmq_memory_modern_metadata_store_ets_table_bytes", "metadata_store_ets"),
    ("rabbitmq_memory_other_erlang_process_bytes", "other_proc"),
    ("rabbitmq_memory_other_ets_table_bytes", "other_ets"),
    ("rabbitmq_memory_other_system_bytes", "other_system"),
    ("rabbitmq_memory_plugin_bytes", "plugins"),
    ("rabbitmq_memory_quorum_queue_dlx_erlang_process_bytes", "quorum_queue_dlx_procs"),
    ("rabbitmq_memory_quorum_queue_erlang_process_bytes", "quorum_queue_procs"),
    ("rabbitmq_memory_quorum_queue_ets_table_bytes", "quorum_ets"),
    ("rabbitmq_memory_runtime_allocated_unused_bytes", "allocated_unused"),
    ("rabbitmq_memory_runtime_reserved_unallocated_bytes", "reserved_unallocated"),
    ("rabbitmq_memory_stream_coordinator_erlang_process_bytes", "stream_queue_coordinator_procs"),
    ("rabbitmq_memory_stream_erlang_process_bytes", "stream_queue_procs"),
    ("rabbitmq_memory_stream_replica_reader_erlang_process_bytes", "stream_queue_replica_reader_procs"),
];
