//! What a node uses memory for, and amounts of bytes in units.

use serde_json::{Value, json};

use crate::call::Call;
use crate::command::{Command, DIAGNOSTICS, Section, Switch, TIMEOUT};
use crate::failure::Failure;
use crate::node::{Node, path};
use crate::output::{Format, Output};

const UNKNOWN: &str = "(not available)";

pub(super) const COMMANDS: &[Command] = &[Command::new(
    Section::Monitoring,
    "memory_breakdown",
    "Shows what a node uses memory for",
    0..=0,
    memory_breakdown,
)
.usage("[--unit <unit>]")
.tools(DIAGNOSTICS)
.switches(&[Switch::text("unit"), TIMEOUT])
.check(check_unit)
.banner(|call| format!("Reporting memory breakdown on node {}...", call.node))];

fn memory_breakdown(call: &Call<'_>, node: &Node) -> Result<Output, Failure> {
    let answer = node.get(&path(["nodes", node.name()?, "memory"]))?;
    let shares = shares(&answer["memory"]);
    if call.format == Format::Csv {
        return Ok(Output::Text(memory_csv(&shares)));
    }
    let unit = unit(call).to_ascii_lowercase();
    let lines = shares.iter().map(|share| {
        format!(
            "{}: {} ({:?}%)\n",
            share.name,
            amount(share.bytes, &unit),
            share.percentage
        )
    });
    let json = shares.iter().map(|share| {
        let value = json!({ "bytes": share.bytes, "percentage": share.percentage });
        (share.name.to_owned(), value)
    });
    Ok(Output::Report {
        text: lines.collect(),
        json: Value::Object(json.collect()),
    })
}

fn memory_csv(shares: &[Share<'_>]) -> String {
    let mut fields: Vec<(String, String)> = Vec::new();
    for share in shares {
        fields.push((
            format!("\"{}.bytes\"", share.name),
            format!("\"{}\"", share.bytes),
        ));
        let percentage = format!("\"{:?}\"", share.percentage);
        fields.push((format!("\"{}.percentage\"", share.name), percentage));
    }
    let (names, values): (Vec<String>, Vec<String>) = fields.into_iter().unzip();
    format!("{}\n{}", names.join(","), values.join(","))
}

/// Bytes in a unit of RabbitMQ's tools: `gb` is 1000³, `gib` 1024³.
fn unit_bytes(unit: &str) -> Option<f64> {
    let unit = unit.to_ascii_lowercase();
    if unit == "bytes" {
        return Some(1.0);
    }
    let (letter, suffix) = unit.split_at_checked(1)?;
    let power = "kmgtp".find(letter)? + 1;
    let base = match suffix {
        "" | "b" => 1000.0_f64,
        "i" | "ib" => 1024.0,
        _ => return None,
    };
    Some(base.powi(i32::try_from(power).ok()?))
}

pub(super) fn check_unit(call: &Call<'_>) -> Result<(), Failure> {
    let unit = unit(call);
    match unit_bytes(unit) {
        Some(_) => Ok(()),
        None => Err(Failure::usage(format!(
            "\"unit '{unit}' is not supported. Please use one of: bytes, mb, mib, gb, gib, tb, tib\""
        ))),
    }
}

pub(super) fn unit<'a>(call: &'a Call<'_>) -> &'a str {
    call.value("unit").unwrap_or("gb")
}

/// An amount of bytes in a unit, to four places.
pub(super) fn amount(bytes: &Value, unit: &str) -> String {
    match (bytes.as_f64(), unit_bytes(unit)) {
        (Some(bytes), Some(1.0)) => format!("{bytes} {unit}"),
        (Some(bytes), Some(size)) => format!("{:?} {unit}", rounded(bytes / size, 4)),
        _ => UNKNOWN.to_owned(),
    }
}

fn rounded(value: f64, places: i32) -> f64 {
    let scale = 10_f64.powi(places);
    (value * scale).round() / scale
}

/// One use of memory: its name, bytes, and per cent of the whole.
pub(super) struct Share<'a> {
    pub(super) name: &'a str,
    pub(super) bytes: &'a Value,
    pub(super) percentage: f64,
}

/// The parts of memory, the largest first.
pub(super) fn shares(memory: &Value) -> Vec<Share<'_>> {
    let Value::Object(parts) = memory else {
        return Vec::new();
    };
    let total = total(memory).as_f64().filter(|&total| total > 0.0);
    let mut shares: Vec<Share<'_>> = parts
        .iter()
        .filter_map(|(name, bytes)| {
            let percentage = 100.0 * bytes.as_f64()? / total.unwrap_or(f64::INFINITY);
            Some(Share {
                name,
                bytes,
                percentage: rounded(percentage, 2),
            })
        })
        .collect();
    shares.sort_by(|a, b| {
        b.bytes
            .as_f64()
            .partial_cmp(&a.bytes.as_f64())
            .expect("numbers")
    });
    shares
}

/// What a node uses in all, by its own way to count.
pub(super) fn total(memory: &Value) -> &Value {
    let strategy = memory["strategy"].as_str().unwrap_or("rss");
    &memory["total"][strategy]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_have_four_places() {
        let check = |bytes: u64, unit: &str, expected: &str| {
            assert_eq!(amount(&bytes.into(), unit), expected);
        };
        check(134_402_048, "gb", "0.1344 gb");
        check(19_989_200, "mb", "19.9892 mb");
        check(20_000_000, "gb", "0.02 gb");
        check(0, "gb", "0.0 gb");
        check(1_048_576, "mib", "1.0 mib");
        check(50_000_000, "bytes", "50000000 bytes");
        assert_eq!(amount(&Value::Null, "gb"), "(not available)");
        assert_eq!(unit_bytes("Gib"), Some(1_073_741_824.0));
        assert_eq!(unit_bytes("xb"), None);
        assert_eq!(unit_bytes(""), None);
    }

    #[test]
    fn the_largest_share_comes_first() {
        let memory = json!({
            "code": 23_844_583,
            "reserved_unallocated": 77_123_584,
            "mnesia": 0,
            "strategy": "rss",
            "total": { "erlang": 65_182_320, "rss": 134_402_048 },
        });
        let shares = shares(&memory);
        let shares = shares.iter().map(|share| (share.name, share.percentage));
        let expected = [
            ("reserved_unallocated", 57.38),
            ("code", 17.74),
            ("mnesia", 0.0),
        ];
        assert_eq!(shares.collect::<Vec<_>>(), expected);
    }
}
