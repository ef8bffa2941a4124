//! What the tests of both Rust clients share: where the broker is, names nobody else uses, and
//! waiting with a deadline instead of sleeping.

use std::env;
use std::future::Future;
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant, SystemTime};

const DEADLINE: Duration = Duration::from_secs(15);

pub fn host() -> String {
    env::var("AMQP_HOST").unwrap_or_else(|_| "127.0.0.1".into())
}

pub fn port() -> u16 {
    let port = env::var("AMQP_PORT").unwrap_or_else(|_| "5672".into());
    port.parse().expect("AMQP_PORT is a number")
}

/// A name that no other test, run or machine uses.
pub fn unique(stem: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let started = SystemTime::UNIX_EPOCH
        .elapsed()
        .expect("a clock after 1970")
        .as_nanos();
    let n = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("interop.rust.{stem}.{}.{started}.{n}", process::id())
}

/// The future's value, or a panic that names what never came.
pub async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(DEADLINE, future).await {
        Ok(value) => value,
        Err(_) => panic!("{what}: nothing after {DEADLINE:?}"),
    }
}

/// Asks again until there is an answer; for state that only a question can reveal.
pub async fn eventually<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let end = Instant::now() + DEADLINE;
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(Instant::now() < end, "{what}: not after {DEADLINE:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Bytes that differ from one offset to the next, so that a piece lost or swapped shows.
pub fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_u32;
    let next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state.to_le_bytes()[0]
    };
    std::iter::repeat_with(next).take(length).collect()
}
