//! What was measured, and the table of it.

use std::fmt::Write;

use super::broker::Kind;
use super::scenarios::{Latency, Rate, Scenario};

/// One scenario, one run.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Measured {
    pub(super) scenario: &'static str,
    pub(super) kind: Kind,
    /// As the broker calls itself.
    pub(super) broker: String,
    pub(super) rate: f64,
    server_us: f64,
    server_cores: f64,
    client_cores: f64,
    peak_mib: f64,
    /// p50 and p99, µs.
    pub(super) latency: Option<(f64, f64)>,
    wrong: f64,
}

impl Measured {
    /// Takes the figures out of a report of `leveret perf`; `None` when one is missing.
    pub(super) fn read(report: &str, kind: Kind, scenario: &Scenario) -> Option<Self> {
        let rate = match scenario.rate {
            Rate::Received => number(report, &["messages", "received_per_second"]),
            Rate::Published => number(report, &["messages", "published_per_second"]),
            Rate::Operations => number(report, &["operations", "per_second"]),
        };
        let latency = match scenario.latency {
            Latency::Delivery => Some("latency"),
            Latency::Confirm => Some("confirm_latency"),
            Latency::Operation => Some("operations"),
            Latency::None => None,
        };
        let percentile = |name| number(report, &[latency?, name]);
        let odd = |name| number(report, &["messages", name]).unwrap_or(0.0).abs();
        Some(Self {
            scenario: scenario.name,
            kind,
            broker: text(report, "broker")?.to_owned(),
            rate: rate?,
            server_us: number(report, &["server", "cpu_us_each"])?,
            server_cores: number(report, &["server", "cores"])?,
            client_cores: number(report, &["client", "cores"])?,
            peak_mib: number(report, &["server", "rss_peak_mib"])?,
            latency: percentile("p50_us").zip(percentile("p99_us")),
            wrong: odd("out_of_order") + odd("missing"),
        })
    }

    /// CPU of the broker for a message.
    pub(super) fn server_ns(&self) -> f64 {
        self.server_us * 1000.0
    }

    /// For whoever waits.
    pub(super) fn line(&self) -> String {
        format!(
            "{:<9} {:<20} {:>8}/s  server {:.3} µs, {:.2} cores  load {:.2} cores  peak {:.0} MiB{}",
            self.kind.name(),
            self.scenario,
            short(self.rate),
            self.server_us,
            self.server_cores,
            self.client_cores,
            self.peak_mib,
            if self.wrong > 0.0 {
                "  LOST OR OUT OF ORDER"
            } else {
                ""
            }
        )
    }
}

/// The number under a key, looked for behind each key before it. Enough for reports that we write ourselves, whose order
/// does not change.
fn number(report: &str, keys: &[&str]) -> Option<f64> {
    let rest = keys.iter().try_fold(report, |rest, key| after(rest, key))?;
    let end = rest.find(|c: char| !c.is_ascii_digit() && !"+-.eE".contains(c))?;
    rest[..end].parse().ok()
}

fn text<'a>(report: &'a str, key: &str) -> Option<&'a str> {
    after(report, key)?.strip_prefix('"')?.split('"').next()
}

fn after<'a>(report: &'a str, key: &str) -> Option<&'a str> {
    let key = format!("\"{key}\":");
    let at = report.find(&key)?;
    Some(report[at + key.len()..].trim_start())
}

/// Medians of the runs, brokers side by side, with their ratio to the first.
pub(super) fn markdown(scenarios: &[&Scenario], kinds: &[Kind], measured: &[Measured]) -> String {
    let mut text = String::new();
    for kind in kinds {
        if let Some(one) = measured.iter().find(|one| one.kind == *kind) {
            let _ = writeln!(text, "- {}: {}", kind.name(), one.broker);
        }
    }
    text += "\nMedian of the runs ± half of (largest − smallest). CPU is that of all the broker's processes, for each message \
             published or delivered, whichever were more. A ratio is Leveret's over the other's.\n\n\
             | scenario | broker | rate/s | ratio | server µs | ratio | server cores | load cores | peak MiB | p50 | p99 |\n\
             |---|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|\n";
    for scenario in scenarios {
        let of = |kind: Kind| -> Vec<&Measured> {
            let same = |one: &&Measured| one.scenario == scenario.name && one.kind == kind;
            measured.iter().filter(same).collect()
        };
        let ours = of(Kind::Leveret);
        for kind in kinds {
            let runs = of(*kind);
            if !runs.is_empty() {
                text += &row(scenario, &runs, &ours);
            }
        }
    }
    text += "\n| scenario | load |\n|---|---|\n";
    for scenario in scenarios {
        let _ = writeln!(text, "| {} | {} |", scenario.name, scenario.what);
    }
    text
}

fn row(scenario: &Scenario, runs: &[&Measured], ours: &[&Measured]) -> String {
    let figure = |of: fn(&Measured) -> f64| median(runs, of);
    let ratio = |of: fn(&Measured) -> f64| {
        if ours.is_empty() || runs[0].kind == Kind::Leveret {
            return "–".to_owned();
        }
        format!("{:.2}", median(ours, of).0 / median(runs, of).0)
    };
    let (rate, spread) = figure(|one| one.rate);
    let micros = |time: f64| match runs[0].latency {
        Some(_) => format!("{time:.0} µs"),
        None => "–".to_owned(),
    };
    let wrong = runs.iter().any(|one| one.wrong > 0.0);
    format!(
        "| {}{} | {} | {} ± {:.0} % | {} | {:.3} | {} | {:.2} | {:.2} | {:.0} | {} | {} |\n",
        scenario.name,
        if wrong { " (lost or out of order)" } else { "" },
        runs[0].kind.name(),
        short(rate),
        100.0 * spread / rate.max(f64::MIN_POSITIVE),
        ratio(|one| one.rate),
        figure(|one| one.server_us).0,
        ratio(|one| one.server_us),
        figure(|one| one.server_cores).0,
        figure(|one| one.client_cores).0,
        figure(|one| one.peak_mib).0,
        micros(figure(|one| one.latency.unwrap_or_default().0).0),
        micros(figure(|one| one.latency.unwrap_or_default().1).0),
    )
}

/// The median, and half of the range.
fn median(runs: &[&Measured], of: fn(&Measured) -> f64) -> (f64, f64) {
    let mut values: Vec<f64> = runs.iter().map(|one| of(one)).collect();
    values.sort_by(f64::total_cmp);
    let middle = (values[(values.len() - 1) / 2] + values[values.len() / 2]) / 2.0;
    (middle, (values[values.len() - 1] - values[0]) / 2.0)
}

/// Three digits, such as `1.23 M`.
pub(super) fn short(number: f64) -> String {
    match number {
        n if n >= 1e6 => format!("{:.2} M", n / 1e6),
        n if n >= 1e4 => format!("{:.0} k", n / 1e3),
        n if n >= 1e3 => format!("{:.2} k", n / 1e3),
        n => format!("{n:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::scenarios::SCENARIOS;
    use super::*;

    fn report(rate: f64) -> String {
        format!(
            r#"{{ "name": "", "broker": "Leveret 0.1.0", "seconds": 5.0,
            "messages": {{ "published_per_second": 1.0, "received_per_second": {rate:?}, "missing": 0 }},
            "latency": {{ "p50_us": 10.5, "p99_us": 20 }},
            "client": {{ "cpu_seconds": 1.0, "cores": 0.25, "cpu_us_each": 9.0 }},
            "server": {{ "cpu_seconds": 2.0, "cores": 1e0, "cpu_us_each": 0.5, "rss_mib": 1.0, "rss_peak_mib": 12.0 }},
            "series": [ {{ "received_per_second": 7.0 }} ] }}"#
        )
    }

    #[test]
    fn figures_are_found() {
        let scenario = SCENARIOS
            .iter()
            .find(|one| one.name == "cl_auto_16B")
            .unwrap();
        let one = Measured::read(&report(1e6), Kind::RabbitMq, scenario).unwrap();
        assert_eq!((one.rate, one.server_us, one.server_cores), (1e6, 0.5, 1.0));
        assert_eq!(
            (one.client_cores, one.peak_mib, one.wrong),
            (0.25, 12.0, 0.0)
        );
        assert_eq!(
            (one.latency, &*one.broker),
            (Some((10.5, 20.0)), "Leveret 0.1.0")
        );
        assert_eq!(Measured::read("{}", Kind::RabbitMq, scenario), None);
    }

    #[test]
    fn the_table_has_medians_and_ratios() {
        let scenario = SCENARIOS
            .iter()
            .find(|one| one.name == "cl_auto_16B")
            .unwrap();
        let mut measured = Vec::new();
        for (kind, rates) in [
            (Kind::Leveret, [3e6, 2e6, 1e6]),
            (Kind::RabbitMq, [1e5, 1e5, 1e5]),
        ] {
            for rate in rates {
                measured.push(Measured::read(&report(rate), kind, scenario).unwrap());
            }
        }
        let text = markdown(&[scenario], &Kind::ALL, &measured);
        assert!(
            text.contains("| cl_auto_16B | Leveret | 2.00 M ± 50 % | – |"),
            "{text}"
        );
        assert!(
            text.contains("| cl_auto_16B | RabbitMQ | 100 k ± 0 % | 20.00 | 0.500 | 1.00 |"),
            "{text}"
        );
    }
}
