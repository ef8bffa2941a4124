//! What a value may be. Each function gives the value or says what would have been allowed.

use std::fmt::Display;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::str::FromStr;

use super::effective::{Address, Watermark};

type Parsed<T> = Result<T, String>;

fn expected<T>(value: &str, what: impl Display) -> Parsed<T> {
    Err(format!("'{value}' is not {what}"))
}

pub(crate) fn integer<T>(value: &str, range: RangeInclusive<T>) -> Parsed<T>
where
    T: FromStr + PartialOrd + Display,
{
    match value.parse() {
        Ok(number) if range.contains(&number) => Ok(number),
        _ => expected(
            value,
            format_args!("an integer from {} to {}", range.start(), range.end()),
        ),
    }
}

/// A limit that need not be there.
pub(crate) fn integer_or_infinity<T>(value: &str, range: RangeInclusive<T>) -> Parsed<Option<T>>
where
    T: FromStr + PartialOrd + Display,
{
    if value == "infinity" {
        return Ok(None);
    }
    integer(value, range)
        .map(Some)
        .map_err(|reason| reason + " or infinity")
}

pub(crate) fn flag(value: &str) -> Parsed<bool> {
    match value {
        "true" | "on" => Ok(true),
        "false" | "off" => Ok(false),
        _ => expected(value, "true or false"),
    }
}

pub(crate) fn one_of<T: Copy>(value: &str, choices: &[(&str, T)]) -> Parsed<T> {
    match choices.iter().find(|(name, _)| *name == value) {
        Some((_, choice)) => Ok(*choice),
        None => {
            let names: Vec<_> = choices.iter().map(|(name, _)| *name).collect();
            expected(value, format_args!("one of {}", names.join(", ")))
        }
    }
}

pub(crate) fn text(value: &str) -> Parsed<String> {
    if value.is_empty() {
        return Err("must not be empty".to_owned());
    }
    if value.starts_with("encrypted:") {
        return Err("only passwords can be encrypted".to_owned());
    }
    Ok(value.to_owned())
}

/// Bytes: a number, alone or with a unit. `k`, `Ki`, `KiB` are 1024 bytes, `kB` is 1000, and so on up to `P`.
pub(crate) fn size(value: &str, range: RangeInclusive<u64>) -> Parsed<u64> {
    let digits = value
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(value.len());
    let (number, unit) = value.split_at(digits);
    let bytes = || number.parse::<u64>().ok()?.checked_mul(unit_bytes(unit)?);
    match bytes() {
        Some(bytes) if range.contains(&bytes) => Ok(bytes),
        _ => expected(
            value,
            format_args!(
                "a size from {} to {} bytes, such as 64MiB",
                range.start(),
                range.end()
            ),
        ),
    }
}

fn unit_bytes(unit: &str) -> Option<u64> {
    let unit = unit.to_ascii_lowercase();
    let Some(prefix) = unit.chars().next().filter(|c| *c != 'b') else {
        return matches!(unit.as_str(), "" | "b").then_some(1);
    };
    let power = "kmgtp".find(prefix)? as u32 + 1;
    match &unit[1..] {
        "" | "i" | "ib" => Some(1024_u64.pow(power)),
        "b" => Some(1000_u64.pow(power)),
        _ => None,
    }
}

/// A part of the whole; more than the whole makes sense for disk space (`1.5` times the memory).
pub(crate) fn relative(value: &str, max: f64) -> Parsed<Watermark> {
    match value.parse::<f64>() {
        Ok(part) if (0.0..=max).contains(&part) => Ok(Watermark::Relative(part)),
        _ => expected(value, format_args!("a number from 0.0 to {max:.1}")),
    }
}

pub(crate) fn ip(value: &str) -> Parsed<IpAddr> {
    let parsed = value.parse();
    parsed.or_else(|_| expected(value, "an IP address"))
}

/// A part of something.
pub(crate) fn part(value: &str) -> Parsed<f64> {
    match value.parse::<f64>() {
        Ok(part) if (0.0..=1.0).contains(&part) => Ok(part),
        _ => expected(value, "a number from 0.0 to 1.0"),
    }
}

/// Where to listen: a port on every interface, or one address with a port.
pub(crate) fn address(value: &str) -> Parsed<Address> {
    if let Ok(port) = value.parse() {
        return Ok(Address::Everywhere(port));
    }
    let parsed = value.rsplit_once(':').and_then(|(host, port)| {
        let port: u16 = port.parse().ok()?;
        if host == "localhost" {
            return Some(Address::Loopback(port));
        }
        let host = host
            .strip_prefix('[')
            .and_then(|h| h.strip_suffix(']'))
            .unwrap_or(host);
        Some(Address::At(SocketAddr::new(
            host.parse::<IpAddr>().ok()?,
            port,
        )))
    });
    parsed.map_or_else(|| expected(value, "a port or IP:port"), Ok)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        let check = |value, bytes: Option<u64>| {
            assert_eq!(size(value, 0..=u64::MAX).ok(), bytes, "{value}");
        };
        check("0", Some(0));
        check("512", Some(512));
        check("512b", Some(512));
        check("2k", Some(2048));
        check("2kB", Some(2000));
        check("2KiB", Some(2048));
        check("64MiB", Some(64 << 20));
        check("1GB", Some(1_000_000_000));
        check("1T", Some(1 << 40));
        check("", None);
        check("MB", None);
        check("1.5GB", None);
        check("-1", None);
        check("1XB", None);
        check("1kBB", None);
        check("99999999999999999P", None);
    }

    #[test]
    fn addresses() {
        let at = |text: &str| Some(Address::At(text.parse().unwrap()));
        let check = |value, expected| assert_eq!(address(value).ok(), expected, "{value}");
        check("5672", Some(Address::Everywhere(5672)));
        check("127.0.0.1:5673", at("127.0.0.1:5673"));
        check("::1:5672", at("[::1]:5672"));
        check("[::1]:5672", at("[::1]:5672"));
        check("localhost:1", Some(Address::Loopback(1)));
        check("70000", None);
        check("127.0.0.1", None);
        check("example.com:5672", None);
        check("unix:/run/leveret.socket:0", None);
    }
}
