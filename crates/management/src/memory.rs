//! What the node's memory is used for, as far as that is known: messages that wait, what waits to be sent, and what the
//! past takes. All the rest is one figure, and the parts of RabbitMQ that have no counterpart are 0.

use leveret_broker::queue::Kind;

use crate::Management;

/// RabbitMQ's names of the parts.
pub(crate) const PARTS: [&str; 26] = [
    "connection_readers",
    "connection_writers",
    "connection_channels",
    "connection_other",
    "queue_procs",
    "quorum_queue_procs",
    "quorum_queue_dlx_procs",
    "stream_queue_procs",
    "stream_queue_replica_reader_procs",
    "stream_queue_coordinator_procs",
    "plugins",
    "metadata_store",
    "other_proc",
    "metrics",
    "mgmt_db",
    "mnesia",
    "quorum_ets",
    "metadata_store_ets",
    "other_ets",
    "binary",
    "msg_index",
    "code",
    "atom",
    "other_system",
    "allocated_unused",
    "reserved_unallocated",
];

/// Bytes, as of one moment.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Memory {
    /// What the system says that the process has.
    pub(crate) resident: u64,
    /// What waiting messages of classic queues take.
    classic: u64,
    /// And those of quorum queues.
    quorum: u64,
    /// And those of streams.
    stream: u64,
    /// What waits to be written to sockets.
    unsent: u64,
    /// What rates and samples are made from.
    past: u64,
}

impl Memory {
    pub(crate) fn of(management: &Management) -> Self {
        let broker = &management.broker;
        let mut memory = Self {
            resident: (management.options.host)().memory_used,
            past: (management.sampler.lock().bytes() + management.ages.lock().bytes()) as u64,
            ..Self::default()
        };
        for queue in broker.list_queues(None).iter() {
            let part = match queue.kind {
                Kind::Classic => &mut memory.classic,
                Kind::Quorum => &mut memory.quorum,
                Kind::Stream => &mut memory.stream,
            };
            *part += queue.resident_bytes();
        }
        let connections = broker.list_connections();
        memory.unsent = connections.iter().map(|it| it.send_pend).sum();
        memory
    }

    /// The part of that name, one of [`PARTS`].
    pub(crate) fn part(&self, name: &str) -> u64 {
        match name {
            "queue_procs" => self.classic,
            "quorum_queue_procs" => self.quorum,
            "stream_queue_procs" => self.stream,
            "connection_writers" => self.unsent,
            "mgmt_db" => self.past,
            "other_system" => {
                let known = self.classic + self.quorum + self.stream + self.unsent + self.past;
                self.resident.saturating_sub(known)
            }
            _ => 0,
        }
    }
}
