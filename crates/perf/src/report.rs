//! What a run found, and how it is told: as text, JSON or Markdown.

use std::fmt::Write;

use serde::Serialize;

use crate::counting::Times;
use crate::process::{self, Memory};

/// Names with units; absent is what does not apply.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Report {
    pub(crate) name: String,
    pub(crate) command: &'static str,
    pub(crate) broker: String,
    /// What the figures are over.
    pub(crate) seconds: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) messages: Option<Messages>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) operations: Vec<Operations>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) latency: Option<Percentiles>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) confirm_latency: Option<Percentiles>,
    pub(crate) client: Usage,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) server: Option<Server>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) series: Vec<Second>,
}

/// Messages of the measured time; the counts are of the whole run.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Messages {
    pub(crate) published_per_second: f64,
    pub(crate) confirmed_per_second: f64,
    pub(crate) received_per_second: f64,
    pub(crate) received_mb_per_second: f64,
    pub(crate) published: u64,
    pub(crate) confirmed: u64,
    pub(crate) received: u64,
    pub(crate) nacked: u64,
    pub(crate) returned: u64,
    pub(crate) redelivered: u64,
    pub(crate) out_of_order: u64,
    /// Times that an alarm held a publisher back.
    pub(crate) blocked: u64,
    /// What should have arrived and did not; absent where messages may go elsewhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) missing: Option<i64>,
}

/// Something that was done over and over.
#[derive(Debug, Serialize)]
pub(crate) struct Operations {
    pub(crate) what: String,
    pub(crate) count: u64,
    pub(crate) per_second: f64,
    pub(crate) latency: Percentiles,
}

/// Microseconds.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(crate) struct Percentiles {
    pub(crate) count: u64,
    pub(crate) mean_us: f64,
    pub(crate) p50_us: f64,
    pub(crate) p75_us: f64,
    pub(crate) p90_us: f64,
    pub(crate) p95_us: f64,
    pub(crate) p99_us: f64,
    pub(crate) p999_us: f64,
    pub(crate) p9999_us: f64,
    pub(crate) max_us: f64,
}

impl Percentiles {
    /// `None` when nothing was recorded.
    pub(crate) fn of(times: &Times) -> Option<Self> {
        if times.is_empty() {
            return None;
        }
        let at = |quantile| us(times.value_at_quantile(quantile));
        Some(Self {
            count: times.len(),
            mean_us: (times.mean() / 100.0).round() / 10.0,
            p50_us: at(0.5),
            p75_us: at(0.75),
            p90_us: at(0.9),
            p95_us: at(0.95),
            p99_us: at(0.99),
            p999_us: at(0.999),
            p9999_us: at(0.9999),
            max_us: us(times.max()),
        })
    }
}

/// To a tenth: a clock can't do better over a network.
fn us(ns: u64) -> f64 {
    (ns as f64 / 100.0).round() / 10.0
}

/// CPU time of some processes.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(crate) struct Usage {
    pub(crate) cpu_seconds: f64,
    /// CPU seconds a second.
    pub(crate) cores: f64,
    /// CPU time for each message or operation.
    pub(crate) cpu_us_each: f64,
}

impl Usage {
    pub(crate) fn new(cpu_seconds: f64, seconds: f64, each: u64) -> Self {
        Self {
            cpu_seconds,
            cores: cpu_seconds / seconds.max(1e-9),
            cpu_us_each: cpu_seconds * 1e6 / each.max(1) as f64,
        }
    }
}

#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Server {
    #[serde(flatten)]
    pub(crate) usage: Usage,
    pub(crate) rss_mib: f64,
    pub(crate) rss_peak_mib: f64,
    /// How much it grew from the start to the end.
    pub(crate) rss_growth_mib: f64,
}

/// The broker's processes, from a moment on.
pub(crate) struct Watch<'a> {
    pids: &'a [u32],
    server: f64,
    client: f64,
    memory: Memory,
}

impl<'a> Watch<'a> {
    pub(crate) fn start(pids: &'a [u32]) -> Self {
        process::forget_peak(pids);
        Self {
            pids,
            server: process::cpu_seconds(pids),
            client: process::cpu_seconds(&[std::process::id()]),
            memory: process::memory(pids),
        }
    }

    /// What client and server have used since then for `each` messages or operations.
    pub(crate) fn stop(&self, seconds: f64, each: u64) -> (Usage, Option<Server>) {
        let client = process::cpu_seconds(&[std::process::id()]) - self.client;
        let memory = process::memory(self.pids);
        let server = process::cpu_seconds(self.pids) - self.server;
        let server = Server {
            usage: Usage::new(server, seconds, each),
            rss_mib: memory.now,
            rss_peak_mib: memory.peak,
            rss_growth_mib: memory.now - self.memory.now,
        };
        (
            Usage::new(client, seconds, each),
            (!self.pids.is_empty()).then_some(server),
        )
    }
}

/// One second of a run.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(crate) struct Second {
    /// Its end, from the first publish on.
    pub(crate) at: f64,
    pub(crate) published_per_second: f64,
    pub(crate) confirmed_per_second: f64,
    pub(crate) received_per_second: f64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
}

impl Report {
    pub(crate) fn json(&self) -> String {
        let text = serde_json::to_string_pretty(self);
        text.expect("a report is numbers and strings") + "\n"
    }

    /// Lines of a name and its value.
    pub(crate) fn text(&self) -> String {
        self.rows()
            .into_iter()
            .fold(String::new(), |mut text, (name, value)| {
                let _ = writeln!(text, "{name:<24} {value}");
                text
            })
    }

    pub(crate) fn markdown(&self) -> String {
        let mut text = String::from("| figure | value |\n|---|---|\n");
        for (name, value) in self.rows() {
            let _ = writeln!(text, "| {name} | {} |", value.replace('|', "\\|"));
        }
        text
    }

    fn rows(&self) -> Vec<(String, String)> {
        let mut rows: Vec<(String, String)> = Vec::new();
        let mut row = |name: &str, value: String| rows.push((name.to_owned(), value));
        if !self.name.is_empty() {
            row("run", self.name.clone());
        }
        row("broker", self.broker.clone());
        row("measured", format!("{:.2} s", self.seconds));
        if let Some(messages) = &self.messages {
            for (name, value) in messages.rows() {
                row(name, value);
            }
        }
        for done in &self.operations {
            row(
                &done.what,
                format!("{}, {}/s", done.count, short(done.per_second)),
            );
            row("", done.latency.text());
        }
        for (name, latency) in [
            ("latency", self.latency),
            ("confirm latency", self.confirm_latency),
        ] {
            if let Some(latency) = latency {
                row(name, latency.text());
            }
        }
        let each =
            |usage: &Usage| format!("{:.2} cores, {:.3} µs each", usage.cores, usage.cpu_us_each);
        row("client CPU", each(&self.client));
        if let Some(server) = &self.server {
            row("server CPU", each(&server.usage));
            let memory = format!(
                "{:.1} MiB, peak {:.1}, grown by {:.1}",
                server.rss_mib, server.rss_peak_mib, server.rss_growth_mib
            );
            row("server memory", memory);
        }
        rows
    }
}

impl Messages {
    fn rows(&self) -> Vec<(&'static str, String)> {
        let mut rows = Vec::new();
        let mut rate = |name, count: u64, per_second: f64| {
            if count > 0 {
                rows.push((name, format!("{}/s ({count} in all)", short(per_second))));
            }
        };
        rate("published", self.published, self.published_per_second);
        rate("confirmed", self.confirmed, self.confirmed_per_second);
        rate("received", self.received, self.received_per_second);
        if self.received > 0 {
            rows.push(("", format!("{:.1} MB/s", self.received_mb_per_second)));
        }
        let oddities = [
            ("nacked", self.nacked),
            ("returned", self.returned),
            ("redelivered", self.redelivered),
            ("out of order", self.out_of_order),
            ("held back by alarms", self.blocked),
        ];
        for (name, count) in oddities.into_iter().filter(|oddity| oddity.1 > 0) {
            rows.push((name, count.to_string()));
        }
        if let Some(missing) = self.missing.filter(|missing| *missing != 0) {
            rows.push(("missing", missing.to_string()));
        }
        rows
    }
}

impl Percentiles {
    fn text(&self) -> String {
        format!(
            "p50 {}, p95 {}, p99 {}, p99.9 {}, max {}",
            time(self.p50_us),
            time(self.p95_us),
            time(self.p99_us),
            time(self.p999_us),
            time(self.max_us)
        )
    }
}

/// A time in the unit that suits it.
pub(crate) fn time(us: f64) -> String {
    match us {
        us if us < 1e3 => format!("{us:.1} µs"),
        us if us < 1e6 => format!("{:.2} ms", us / 1e3),
        us => format!("{:.2} s", us / 1e6),
    }
}

/// A number in three digits, such as `1.23 M`.
pub(crate) fn short(number: f64) -> String {
    let (number, unit) = match number {
        n if n >= 999_500.0 => (n / 1e6, " M"),
        n if n >= 10_000.0 => (n / 1e3, " k"),
        n => (n, ""),
    };
    let digits = match number {
        n if n >= 99.95 => 0,
        n if n >= 9.995 => 1,
        _ => 2,
    };
    format!("{number:.digits$}{unit}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::counting::times;

    #[test]
    fn numbers_are_short() {
        let check = |number, expected| assert_eq!(short(number), expected);
        check(0.0, "0.00");
        check(12.34, "12.3");
        check(9999.0, "9999");
        check(12_345.0, "12.3 k");
        check(999_499.0, "999 k");
        check(1_234_567.0, "1.23 M");
        check(123_456_789.0, "123 M");
    }

    #[test]
    fn percentiles_are_those_of_the_times() {
        let mut times = times();
        assert!(Percentiles::of(&times).is_none());
        (1..=1000).for_each(|n| times.saturating_record(n * 1000));
        let found = Percentiles::of(&times).unwrap();
        let near = |found: f64, wanted: f64| {
            assert!((found / wanted - 1.0).abs() < 2e-3, "{found} {wanted}")
        };
        near(found.p50_us, 500.0);
        near(found.p99_us, 990.0);
        near(found.p9999_us, 1000.0);
        near(found.mean_us, 500.5);
        assert_eq!(found.count, 1000);
    }

    fn report() -> Report {
        let mut times = times();
        times.saturating_record(5_000_000);
        Report {
            name: "a|b".to_owned(),
            command: "throughput",
            broker: "Leveret".to_owned(),
            seconds: 2.0,
            messages: Some(Messages {
                published: 10,
                published_per_second: 5.0,
                missing: Some(3),
                ..Default::default()
            }),
            latency: Percentiles::of(&times),
            ..Default::default()
        }
    }

    #[test]
    fn a_report_is_told_three_ways() {
        let text = report().text();
        assert!(
            text.contains("published                5.00/s (10 in all)\n"),
            "{text}"
        );
        assert!(text.contains("missing                  3\n"), "{text}");
        assert!(
            text.contains("latency                  p50 5.00 ms"),
            "{text}"
        );
        assert!(!text.contains("returned"), "{text}");
        assert!(report().markdown().contains("| run | a\\|b |\n"));
        let json: serde_json::Value = serde_json::from_str(&report().json()).unwrap();
        assert_eq!(json["messages"]["published"], 10);
        assert!(json.get("server").is_none());
    }
}
