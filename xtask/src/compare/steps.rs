//! Where the time of one message goes, step by step: samples of `perf`, each given to the step that its functions belong to.

use std::path::Path;
use std::process::{Command, Stdio};

struct Step {
    name: &'static str,
    /// Parts of the names of functions: a sample with one of them anywhere in its stack belongs here. For the kernel, whose
    /// stacks are whole.
    within: &'static [&'static str],
    /// The same for the function that was running alone: our own stacks have gaps.
    at: &'static [&'static str],
}

const fn kernel(name: &'static str, within: &'static [&'static str]) -> Step {
    let at = &[];
    Step { name, within, at }
}

const fn ours(name: &'static str, at: &'static [&'static str]) -> Step {
    let within = &[];
    Step { name, within, at }
}

/// In the order in which a sample is held against them.
const STEPS: [Step; 7] = [
    kernel(
        "read the socket (kernel)",
        &["sys_recvfrom", "sock_recvmsg", "sys_read"],
    ),
    kernel(
        "write the socket (kernel, up to the other end's queue)",
        &["sys_sendmsg", "do_writev", "sock_write_iter", "sys_sendto"],
    ),
    kernel("wait and be woken (kernel)", &["epoll", "schedule"]),
    ours(
        "encode deliveries",
        &[
            "connection::events",
            "put_body",
            "put_deliver",
            "Channel::deliver",
            "Output",
        ],
    ),
    ours(
        "parse frames, join messages",
        &[
            "connection::input",
            "Connection::receive",
            "assembly",
            "method::",
            "Message::in_block",
        ],
    ),
    ours(
        "check and route",
        &["routes", "Channel::publish", "Batch::push", "memcmp"],
    ),
    ours(
        "queue: take in, hand out, mailboxes",
        &["queue", "publish::", "flush_into_queues", "mailbox"],
    ),
];

/// Samples the processes for so many seconds. Gives the steps with their shares, the rest last; `None` where there is no
/// `perf`, or it may not look.
pub(super) fn sample(
    directory: &Path,
    pids: &[u32],
    seconds: u32,
) -> Option<Vec<(&'static str, f64)>> {
    let data = directory.join("perf.data");
    let pids: Vec<String> = pids.iter().map(u32::to_string).collect();
    let recorded = Command::new("perf")
        .args(["record", "-q", "-g", "-F", "2000", "-o"])
        .arg(&data)
        .args(["-p", &pids.join(","), "--", "sleep", &seconds.to_string()])
        .stdin(Stdio::null())
        .output()
        .ok()?;
    let output = Command::new("perf")
        .args(["script", "-F", "ip,sym", "-i"])
        .arg(&data)
        .output()
        .ok()
        .filter(|_| recorded.status.success())?;
    shares(&String::from_utf8_lossy(&output.stdout))
}

/// The shares of the steps in what `perf script` prints: samples with a function a line, an empty line between them.
fn shares(script: &str) -> Option<Vec<(&'static str, f64)>> {
    let mut counts = [0_u32; STEPS.len() + 1];
    let mut all = 0_u32;
    let samples = script.split("\n\n").filter(|text| !text.trim().is_empty());
    for stack in samples {
        let running = stack.trim_start_matches('\n').lines().next().unwrap_or("");
        let step = STEPS.iter().position(|step| {
            step.within.iter().any(|name| stack.contains(name))
                || step.at.iter().any(|name| running.contains(name))
        });
        counts[step.unwrap_or(STEPS.len())] += 1;
        all += 1;
    }
    let names = STEPS.iter().map(|step| step.name).chain(["the rest"]);
    let share = |count: u32| f64::from(count) / f64::from(all);
    (all > 0).then(|| names.zip(counts.map(share)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_go_to_steps() {
        let script = "   1 copy_to_iter\n   2 tcp_recvmsg\n   3 __x64_sys_recvfrom\n\n\
                      \x20  4 leveret_broker::queue::machine::QueueCore::apply\n\n\
                      \x20  5 leveret_broker::queue::machine::QueueCore::deliver\n\n\
                      \x20  6 something_else\n\n";
        let shares = shares(script).unwrap();
        let of = |name: &str| {
            shares
                .iter()
                .find(|(step, _)| step.starts_with(name))
                .unwrap()
                .1
        };
        assert_eq!((of("read"), of("queue"), of("the rest")), (0.25, 0.5, 0.25));
    }

    #[test]
    fn no_samples_are_no_shares() {
        assert_eq!(shares("\n"), None);
    }
}
