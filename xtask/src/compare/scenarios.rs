//! The loads. Names and settings stay what they are, or figures of different days can't be compared.

/// Which figure of a report is the scenario's rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rate {
    Received,
    Published,
    Operations,
}

/// Which latency counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Latency {
    Delivery,
    Confirm,
    Operation,
    /// The queue grows: how long a message takes says how long the run was.
    None,
}

pub(super) struct Scenario {
    pub(super) name: &'static str,
    pub(super) what: &'static str,
    /// The command line of `leveret perf`; what ends by time gets its time behind it.
    line: &'static str,
    pub(super) rate: Rate,
    pub(super) latency: Latency,
}

impl Scenario {
    pub(super) fn arguments(&self, seconds: &str) -> String {
        let line = self.line;
        let counted = line.contains(" -C ") || line.contains(" -D ");
        match counted || line.starts_with("queues ") || line.starts_with("connections ") {
            true => line.to_owned(),
            false => format!("{line} --time {seconds}"),
        }
    }
}

pub(super) const fn scenario(
    name: &'static str,
    what: &'static str,
    line: &'static str,
    rate: Rate,
    latency: Latency,
) -> Scenario {
    Scenario {
        name,
        what,
        line,
        rate,
        latency,
    }
}

use Latency::{Confirm, Delivery, Operation};
use Rate::{Operations, Published, Received};

pub(super) const SCENARIOS: [Scenario; 30] = [
    scenario(
        "a_1p1c_16B",
        "1 publisher, 1 consumer, 16 B, auto-ack, open loop",
        "throughput -a -s 16",
        Received,
        Latency::None,
    ),
    scenario(
        "b_1p1c_1KiB",
        "the same, 1 KiB",
        "throughput -a -s 1024",
        Received,
        Latency::None,
    ),
    scenario(
        "c_ack10_16B",
        "ack every 10, prefetch 200, open loop",
        "throughput -A 10 -q 200 -s 16",
        Received,
        Latency::None,
    ),
    scenario(
        "cl_auto_16B",
        "16 B, auto-ack, at most 10 000 on their way",
        "throughput -a -s 16 --in-flight 10000",
        Received,
        Delivery,
    ),
    scenario(
        "cl_auto_1KiB",
        "the same, 1 KiB",
        "throughput -a -s 1024 --in-flight 10000",
        Received,
        Delivery,
    ),
    scenario(
        "cl_ack10_16B",
        "ack every 10, prefetch 200, at most 10 000 on their way",
        "throughput -A 10 -q 200 -s 16 --in-flight 10000",
        Received,
        Delivery,
    ),
    scenario(
        "cl_ack1_16B",
        "ack each, prefetch 200, at most 10 000 on their way",
        "throughput -A 1 -q 200 -s 16 --in-flight 10000",
        Received,
        Delivery,
    ),
    scenario(
        "cl_64KiB",
        "64 KiB, auto-ack, at most 200 on their way",
        "throughput -a -s 65536 --in-flight 200",
        Received,
        Delivery,
    ),
    scenario(
        "cl_1MiB",
        "1 MiB, auto-ack, at most 32 on their way",
        "throughput -a -s 1048576 --in-flight 32",
        Received,
        Delivery,
    ),
    scenario(
        "d_publish_16B",
        "2 000 000 messages into a queue without consumers",
        "throughput -y 0 -s 16 --keep -C 2000000",
        Published,
        Latency::None,
    ),
    scenario(
        "d_drain_16B",
        "and out of it, auto-ack",
        "throughput -x 0 -a -D 2000000",
        Received,
        Latency::None,
    ),
    scenario(
        "e_confirm_w1",
        "persistent 1 KiB, confirms one by one, a consumer",
        "throughput -f persistent -s 1024 -c 1 -A 10 -q 200",
        Received,
        Confirm,
    ),
    scenario(
        "e_confirm_w100",
        "the same, 100 outstanding",
        "throughput -f persistent -s 1024 -c 100 -A 10 -q 200",
        Received,
        Confirm,
    ),
    scenario(
        "e_confirm_w1000",
        "the same, 1000 outstanding",
        "throughput -f persistent -s 1024 -c 1000 -A 10 -q 200",
        Received,
        Confirm,
    ),
    scenario(
        "e_pubonly_w1",
        "persistent 1 KiB, confirms one by one, no consumer",
        "throughput -f persistent -s 1024 -c 1 -y 0",
        Published,
        Confirm,
    ),
    scenario(
        "e_pubonly_w1000",
        "the same, 1000 outstanding",
        "throughput -f persistent -s 1024 -c 1000 -y 0",
        Published,
        Confirm,
    ),
    scenario(
        "f_quorum_w100",
        "quorum queue, 1 KiB, 100 outstanding",
        "throughput --queue-type quorum -f persistent -s 1024 -c 100 -A 10 -q 200",
        Received,
        Confirm,
    ),
    scenario(
        "g_fanout10_16B",
        "fanout to 10 queues; rate of deliveries",
        "throughput -a -s 16 -e leveret-perf-fanout -t fanout --queues 10 -y 10",
        Received,
        Latency::None,
    ),
    scenario(
        "h_topic1000_16B",
        "topic, 1000 bindings, 10 queues",
        "throughput -a -s 16 -e leveret-perf-topic -t topic --bindings 1000 --queues 10 -y 10",
        Received,
        Latency::None,
    ),
    scenario(
        "i_50p50c50q_16B",
        "50 publishers, consumers and queues, 16 B",
        "throughput -a -s 16 -x 50 -y 50 --queues 50",
        Received,
        Latency::None,
    ),
    scenario(
        "i_50p50c50q_confirm",
        "the same, persistent 1 KiB, 100 outstanding each, ack every 10",
        "throughput -f persistent -s 1024 -c 100 -A 10 -q 200 -x 50 -y 50 --queues 50",
        Received,
        Confirm,
    ),
    scenario(
        "j_latency_1000",
        "1 KiB at 1000/s, auto-ack",
        "latency -a -s 1024 -r 1000",
        Received,
        Delivery,
    ),
    scenario(
        "j_latency_10000",
        "1 KiB at 10 000/s, auto-ack",
        "latency -a -s 1024 -r 10000",
        Received,
        Delivery,
    ),
    scenario(
        "k_flush1_16B",
        "one write for each message, as simple clients do",
        "throughput -a -s 16 --flush 1",
        Received,
        Latency::None,
    ),
    scenario(
        "m_connection_churn",
        "connect, open a channel, close; 8 at a time",
        "churn connection --concurrency 8",
        Operations,
        Operation,
    ),
    scenario(
        "m_channel_churn",
        "open and close a channel; 4 at a time",
        "churn channel --concurrency 4",
        Operations,
        Operation,
    ),
    scenario(
        "m_queue_churn",
        "declare and delete a durable queue; 4 at a time",
        "churn queue --concurrency 4",
        Operations,
        Operation,
    ),
    scenario(
        "m_queue_churn_100",
        "the same, 100 at a time",
        "churn queue --concurrency 100",
        Operations,
        Operation,
    ),
    scenario(
        "n_queues_10000",
        "10 000 durable queues declared, 100 under way",
        "queues -n 10000 --pipeline 100",
        Operations,
        Operation,
    ),
    scenario(
        "n_connections_1000",
        "1000 connections with a channel opened, one by one",
        "connections -n 1000 --channels 1",
        Operations,
        Operation,
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_in_order() {
        let names: Vec<&str> = SCENARIOS.iter().map(|scenario| scenario.name).collect();
        let letters: Vec<&str> = names.iter().map(|name| &name[..1]).collect();
        assert!(letters.is_sorted());
        let mut unique = names.clone();
        unique.sort_unstable();
        unique.dedup();
        assert_eq!(unique.len(), names.len());
    }

    #[test]
    fn only_what_ends_by_time_has_one() {
        for scenario in &SCENARIOS {
            let timed = scenario.arguments("7").ends_with(" --time 7");
            let counted = scenario.name.starts_with('d') || scenario.name.starts_with('n');
            assert_eq!(timed, !counted, "{}", scenario.name);
        }
    }
}
