//! The text of a configuration file: one `key = value` per line, `#` begins a comment, a value may stand in quotes (and
//! then hold a `#`) or, over several lines, in three of them (`'''`), `$(NAME)` is the value of an environment variable. Keys
//! are dotted words.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use super::Environment;

/// One `key = value`, and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Setting {
    pub(crate) key: String,
    pub(crate) value: String,
    pub(crate) place: Place,
}

/// Where a setting was made, for messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    File {
        path: PathBuf,
        line: usize,
    },
    Environment(&'static str),
    CommandLine,
    /// Said to the running node, which forgets it when it stops.
    Operator,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, line } => write!(f, "{}:{line}", path.display()),
            Self::Environment(name) => write!(f, "environment variable {name}"),
            Self::CommandLine => f.write_str("--set"),
            Self::Operator => f.write_str("set while the node runs"),
        }
    }
}

/// A line that could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SyntaxError {
    pub(crate) place: Place,
    pub(crate) reason: String,
}

/// Reads a whole file: its settings in order, and every line that is wrong.
pub(crate) fn parse(
    text: &str,
    path: &Path,
    environment: Environment<'_>,
) -> (Vec<Setting>, Vec<SyntaxError>) {
    let (mut settings, mut errors) = (Vec::new(), Vec::new());
    for (line, text) in lines(text) {
        let path = path.to_owned();
        let place = Place::File { path, line };
        match parse_line(&text, environment) {
            Ok(Some((key, value))) => settings.push(Setting { key, value, place }),
            Ok(None) => {}
            Err(reason) => errors.push(SyntaxError { place, reason }),
        }
    }
    (settings, errors)
}

/// What stands around a value of several lines.
const BLOCK: &str = "'''";

/// Each line with its number, from 1; those of a value in three quotes are one.
fn lines(text: &str) -> Vec<(usize, String)> {
    let mut all: Vec<(usize, String)> = Vec::new();
    let mut is_open = false;
    for (index, line) in text.lines().enumerate() {
        match all.last_mut() {
            Some((_, block)) if is_open => {
                *block += "\n";
                *block += line;
                is_open = !line.contains(BLOCK);
            }
            _ => {
                let value = line.split_once('=').map(|(_, value)| value.trim_start());
                let opened = value.and_then(|value| value.strip_prefix(BLOCK));
                let is_comment = line.trim_start().starts_with('#');
                is_open = !is_comment && opened.is_some_and(|rest| !rest.contains(BLOCK));
                all.push((index + 1, line.to_owned()));
            }
        }
    }
    all
}

/// Reads `rabbitmq-env.conf`: one `NAME=value` per line, where the `RABBITMQ_` of the name may be left out. What else a
/// shell could do there is refused.
pub(crate) fn parse_variables(
    text: &str,
    path: &Path,
) -> (BTreeMap<String, String>, Vec<SyntaxError>) {
    let (mut variables, mut errors) = (BTreeMap::new(), Vec::new());
    for (index, line) in text.lines().enumerate() {
        match parse_variable(line.trim()) {
            Ok(variable) => variables.extend(variable),
            Err(reason) => {
                let (path, line) = (path.to_owned(), index + 1);
                let place = Place::File { path, line };
                errors.push(SyntaxError { place, reason });
            }
        }
    }
    (variables, errors)
}

fn parse_variable(line: &str) -> Result<Option<(String, String)>, String> {
    if line.is_empty() || line.starts_with('#') {
        return Ok(None);
    }
    let line = line.strip_prefix("export ").unwrap_or(line).trim_start();
    let (name, value) = line
        .split_once('=')
        .ok_or_else(|| format!("'{line}' is not `NAME=value`"))?;
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let value = parse_value(value)?;
    if name.is_empty() || !name.chars().all(plain) || value.contains(['$', '`']) {
        return Err(format!(
            "'{line}' is not `NAME=value` without any expansion"
        ));
    }
    let name = match name.strip_prefix("RABBITMQ_") {
        Some(_) => name.to_owned(),
        None => format!("RABBITMQ_{name}"),
    };
    Ok(Some((name, value.to_owned())))
}

/// Reads `key = value` (or `key=value`); nothing in an empty line or one of comment.
pub(crate) fn parse_line(
    line: &str,
    environment: Environment<'_>,
) -> Result<Option<(String, String)>, String> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return Ok(None);
    }
    let (key, rest) = line
        .split_once('=')
        .ok_or_else(|| format!("'{line}' is not `key = value`"))?;
    let key = parse_key(key.trim())?;
    let value = interpolate(parse_value(rest.trim())?, environment)?;
    Ok(Some((key, value)))
}

fn parse_key(key: &str) -> Result<String, String> {
    let plain = |c: char| c.is_alphanumeric() || "._-:/\\".contains(c);
    let words_are_there = key.split('.').all(|word| !word.is_empty());
    if words_are_there && key.chars().all(plain) {
        Ok(key.to_owned())
    } else {
        Err(format!(
            "'{key}' is not a key: words of letters, digits, _ and - joined by dots"
        ))
    }
}

fn parse_value(rest: &str) -> Result<&str, String> {
    let Some(quote) = rest.chars().next().filter(|c| matches!(c, '\'' | '"')) else {
        let end = rest.find('#').unwrap_or(rest.len());
        return Ok(rest[..end].trim_end());
    };
    let (value, after) = match rest.strip_prefix(BLOCK) {
        Some(block) => block
            .split_once(BLOCK)
            .map(|(value, after)| (value.trim(), after))
            .ok_or_else(|| format!("no closing {BLOCK} after the value"))?,
        None => rest[1..]
            .split_once(quote)
            .ok_or_else(|| format!("no closing {quote} after the value"))?,
    };
    let after = after.trim_start();
    if after.is_empty() || after.starts_with('#') {
        Ok(value)
    } else {
        Err(format!("'{after}' after the closing {quote}"))
    }
}

fn interpolate(value: &str, environment: Environment<'_>) -> Result<String, String> {
    let mut out = String::with_capacity(value.len());
    let mut rest = value;
    while let Some((before, after)) = rest.split_once("$(") {
        let (name, after) = after
            .split_once(')')
            .ok_or_else(|| "no closing ) after $(".to_owned())?;
        let inserted = environment(name)
            .ok_or_else(|| format!("the environment variable {name} is not set"))?;
        out.push_str(before);
        out.push_str(&inserted);
        rest = after;
    }
    out.push_str(rest);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(name: &str) -> Option<String> {
        (name == "SECRET").then(|| "s#3 = 'x'".to_owned())
    }

    fn check(line: &str, expected: Result<Option<(&str, &str)>, &str>) {
        let actual = parse_line(line, &environment);
        let actual = actual
            .as_ref()
            .map(|o| o.as_ref().map(|(k, v)| (k.as_str(), v.as_str())));
        assert_eq!(actual.map_err(String::as_str), expected, "{line}");
    }

    #[test]
    fn lines() {
        check("", Ok(None));
        check("   # heartbeat = 10", Ok(None));
        check("heartbeat = 10", Ok(Some(("heartbeat", "10"))));
        check("heartbeat=10\r", Ok(Some(("heartbeat", "10"))));
        check(
            "  a.b.c =  two words  # why",
            Ok(Some(("a.b.c", "two words"))),
        );
        check("a = ", Ok(Some(("a", ""))));
        check("a = ''", Ok(Some(("a", ""))));
        check("a = 'x#y' # why", Ok(Some(("a", "x#y"))));
        check("a = \"it's\"", Ok(Some(("a", "it's"))));
        check("a = b = c", Ok(Some(("a", "b = c"))));
        check("a = <$(SECRET)>", Ok(Some(("a", "<s#3 = 'x'>"))));
        check("heartbeat 10", Err("'heartbeat 10' is not `key = value`"));
        check(
            "a..b = 1",
            Err("'a..b' is not a key: words of letters, digits, _ and - joined by dots"),
        );
        check(
            "[section] = 1",
            Err("'[section]' is not a key: words of letters, digits, _ and - joined by dots"),
        );
        check("a = 'open", Err("no closing ' after the value"));
        check("a = 'x' y", Err("'y' after the closing '"));
        check("a = $(SECRET", Err("no closing ) after $("));
        check(
            "a = $(NOWHERE)",
            Err("the environment variable NOWHERE is not set"),
        );
    }

    #[test]
    fn values_in_three_quotes_take_several_lines() {
        let text = "a = '''\n  {'and', [\n  # no comment\n  ]}\n''' # why\nb = '''x'''\n# c = '''\nd = 1\ne = '''\nopen";
        let (settings, errors) = parse(text, Path::new("some.conf"), &environment);
        let found: Vec<_> = settings
            .iter()
            .map(|setting| (setting.key.as_str(), setting.value.as_str()))
            .collect();
        let value = "{'and', [\n  # no comment\n  ]}";
        assert_eq!(found, [("a", value), ("b", "x"), ("d", "1")]);
        assert_eq!(settings[2].place.to_string(), "some.conf:8");
        assert_eq!(errors[0].place.to_string(), "some.conf:9");
        assert_eq!(errors[0].reason, "no closing ''' after the value");
    }

    #[test]
    fn variables() {
        let check = |line, expected: Result<Option<(&str, &str)>, ()>| {
            let actual = parse_variable(line).map_err(|_| ());
            let own = |(a, b): (&str, &str)| (a.to_owned(), b.to_owned());
            assert_eq!(actual, expected.map(|e| e.map(own)), "{line}");
        };
        check("", Ok(None));
        check("# NODENAME=x", Ok(None));
        check("NODENAME=hare@a", Ok(Some(("RABBITMQ_NODENAME", "hare@a"))));
        check(
            "export RABBITMQ_NODE_PORT='1'",
            Ok(Some(("RABBITMQ_NODE_PORT", "1"))),
        );
        check("NODENAME=hare@$(hostname)", Err(()));
        check("if true", Err(()));
        check("A B=c", Err(()));
    }

    #[test]
    fn errors_name_file_and_line() {
        let (settings, errors) = parse(
            "heartbeat = 1\n\nbroken\n",
            Path::new("some/rabbitmq.conf"),
            &environment,
        );
        assert_eq!(settings[0].place.to_string(), "some/rabbitmq.conf:1");
        assert_eq!(errors.len(), 1);
        assert_eq!(errors[0].place.to_string(), "some/rabbitmq.conf:3");
    }
}
