//! What was given for each key, and where: for `leveret config effective`, and to tell what a reload changes.

use std::collections::BTreeMap;
use std::fmt;

use super::keys::{KEYS, Key};
use super::syntax::{Place, Setting};

/// What stands for the value of a key that is nobody's business.
pub(crate) const HIDDEN: &str = "(not shown)";

/// The settings that count: the last one for each key. By row of the table, then by the word that `*` stands for, numbers
/// in their order.
#[derive(Debug, Clone, Default)]
pub(crate) struct Given(BTreeMap<(usize, u32, String), Setting>);

/// A key with its value, given or by default.
pub(crate) struct Entry<'a> {
    key: &'static Key,
    /// With the word for `*`.
    name: String,
    value: Option<&'a str>,
    /// `None`: it is the default.
    place: Option<&'a Place>,
}

/// A key that has another value than before.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) name: String,
    /// `None`: there was no value.
    pub(crate) from: Option<String>,
    pub(crate) to: Option<String>,
    /// A running node can take it.
    pub(crate) live: bool,
}

impl Given {
    pub(super) fn note(&mut self, row: usize, word: &str, setting: &Setting) {
        for (other, key) in KEYS.iter().enumerate() {
            if KEYS[row].is_rival_of(key) {
                self.forget(other);
            }
        }
        let rank = word.parse().unwrap_or(u32::MAX);
        self.0.insert((row, rank, word.to_owned()), setting.clone());
    }

    /// What was given for this row does not count any more.
    pub(super) fn forget(&mut self, row: usize) {
        self.0.retain(|(own, ..), _| *own != row);
    }

    /// The keys that give an output or a category of the log a level of its own.
    pub(crate) fn log_levels(&self) -> Vec<String> {
        let all = self
            .0
            .keys()
            .map(|(row, _, word)| KEYS[*row].full_name(word));
        all.filter(|name| {
            let level = name
                .strip_prefix("log.")
                .and_then(|it| it.strip_suffix(".level"));
            level.is_some()
        })
        .collect()
    }

    /// Every key, in the table's order.
    pub(crate) fn entries(&self) -> Vec<Entry<'_>> {
        (0..KEYS.len()).flat_map(|row| self.row(row)).collect()
    }

    fn row(&self, row: usize) -> Vec<Entry<'_>> {
        let key = &KEYS[row];
        let given: Vec<_> = self.0.iter().filter(|((own, ..), _)| *own == row).collect();
        if !given.is_empty() {
            let entries = given.into_iter().map(|((_, _, word), setting)| Entry {
                key,
                name: key.full_name(word),
                value: Some(setting.value.as_str()),
                place: Some(&setting.place),
            });
            return entries.collect();
        }
        let default = |word: &str, value| Entry {
            key,
            name: key.full_name(word),
            value,
            place: None,
        };
        if self
            .0
            .keys()
            .any(|(other, ..)| key.is_rival_of(&KEYS[*other]))
        {
            return Vec::new();
        }
        if !key.entries.is_empty() {
            let entry = |&(word, value): &(&str, &'static str)| default(word, Some(value));
            return key.entries.iter().map(entry).collect();
        }
        vec![default(
            "*",
            Some(key.default).filter(|value| !value.is_empty()),
        )]
    }

    /// How `newer` differs from this one.
    pub(crate) fn changes(&self, newer: &Self) -> Vec<Change> {
        let mut all: BTreeMap<String, (&Key, Option<&str>, Option<&str>)> = BTreeMap::new();
        let (before, after) = (self.entries(), newer.entries());
        for entry in &before {
            all.entry(entry.name.clone())
                .or_insert((entry.key, None, None))
                .1 = entry.value;
        }
        for entry in &after {
            all.entry(entry.name.clone())
                .or_insert((entry.key, None, None))
                .2 = entry.value;
        }
        all.retain(|_, (_, from, to)| from != to);
        let change = |(name, (key, from, to)): (String, (&Key, Option<&str>, Option<&str>))| {
            let shown = |value: &str| if key.is_secret() { HIDDEN } else { value }.to_owned();
            Change {
                name,
                from: from.map(shown),
                to: to.map(shown),
                live: key.live,
            }
        };
        all.into_iter().map(change).collect()
    }
}

/// A line of a configuration file, with its origin as a comment. What is secret or not set is a comment as a whole, so
/// that the lines of all keys can be read as a file.
impl fmt::Display for Entry<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(value) = self.value else {
            return write!(f, "# {} is not set", self.name);
        };
        let line = if self.key.is_secret() {
            format!("# {} = {HIDDEN}", self.name)
        } else {
            format!("{} = {}", self.name, quoted(value))
        };
        match self.place {
            Some(place) => write!(f, "{line:<48} # {place}"),
            None => write!(f, "{line:<48} # default"),
        }
    }
}

fn quoted(value: &str) -> String {
    let plain =
        !value.contains(['#', '\n']) && !value.starts_with(['\'', '"']) && value.trim() == value;
    match value {
        value if plain => value.to_owned(),
        value if value.contains('\n') => format!("'''{value}'''"),
        value if value.contains('\'') => format!("\"{value}\""),
        value => format!("'{value}'"),
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |value: &Option<String>| value.clone().unwrap_or_else(|| "not set".to_owned());
        write!(
            f,
            "{}: {} -> {}",
            self.name,
            shown(&self.from),
            shown(&self.to)
        )
    }
}
