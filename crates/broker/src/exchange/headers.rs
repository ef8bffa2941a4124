//! Headers exchanges: the arguments of a binding are compared with the headers of the message.
//!
//! A binding is filed under a hash of one header that it needs, or of each one that would do, and a route looks only at
//! what is filed under the headers of its message. Whatever it finds there is compared in full, so a collision of
//! hashes does no harm.

use std::hash::{BuildHasher, Hasher};

use foldhash::fast::FixedState;
use hashbrown::HashMap;

use super::set::IndexedSet;
use super::{Binding, Destination, RouterError};
use crate::table::{Entries, Table, Value, ValueRef};

const SEED: FixedState = FixedState::with_seed(0);
const MATCH: &str = "x-match";

#[derive(Debug, Default)]
pub(super) struct Headers {
    patterns: Vec<Option<Pattern>>,
    /// Places in `patterns` that are free.
    free: Vec<u32>,
    /// The pattern of a destination and its canonical arguments, for unbinding.
    places: HashMap<(Destination, Box<[u8]>), u32, FixedState>,
    /// The patterns to look at for a message with a certain header ([`Wanted::probe`]).
    filed: HashMap<u64, IndexedSet<u32>, FixedState>,
    /// Those that match whatever the headers are.
    unconditional: IndexedSet<u32>,
}

/// What a binding asks for.
#[derive(Debug)]
struct Pattern {
    destination: Destination,
    mode: Mode,
    wanted: Box<[Wanted]>,
    /// What it is filed under.
    probes: Box<[u64]>,
    /// Bindings that differ in their routing key alone share a pattern.
    bindings: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    All,
    Any,
}

/// A header that a binding asks for.
#[derive(Debug)]
struct Wanted {
    name: Box<str>,
    value: WantedValue,
}

/// The value it has to have. RabbitMQ compares the values of terms without their types: the width of a number does not
/// count, nor whether octets are a string or binary, but an integer is not a float, nor a string that reads the same.
/// (RabbitMQ 4 multiplies a timestamp in a message by 1000 and leaves the one in the binding alone, so that they are
/// never equal; here they compare as they are, as before 4.0.)
#[derive(Debug)]
enum WantedValue {
    /// Its presence is enough.
    Any,
    Octets(Box<[u8]>),
    Integer(i64),
    Float(f64),
    Other(Value),
}

/// Checks `x-match`.
pub(super) fn check(arguments: &Table) -> Result<(), RouterError> {
    match arguments.get(MATCH) {
        None => Ok(()),
        Some(value) => match value.as_str() {
            Some("all" | "any" | "all-with-x" | "any-with-x") => Ok(()),
            _ => Err(RouterError::x_match(value)),
        },
    }
}

impl Headers {
    pub(super) fn insert(&mut self, binding: &Binding) {
        if let Some(&place) = self.places.get(&place_key(binding)) {
            self.pattern_mut(place).bindings += 1;
            return;
        }
        let mut pattern = Pattern::new(binding.destination, &binding.arguments);
        pattern.probes = self.probes(&pattern);
        let place = self.free.pop().unwrap_or_else(|| {
            self.patterns.push(None);
            u32::try_from(self.patterns.len() - 1).expect("fewer than 2^32 bindings fit in memory")
        });
        if pattern.is_unconditional() {
            self.unconditional.insert(place);
        }
        for &probe in &pattern.probes {
            self.filed.entry(probe).or_default().insert(place);
        }
        self.patterns[place as usize] = Some(pattern);
        self.places.insert(place_key(binding), place);
    }

    pub(super) fn remove(&mut self, binding: &Binding) {
        let key = place_key(binding);
        let Some(&place) = self.places.get(&key) else {
            return;
        };
        self.pattern_mut(place).bindings -= 1;
        if self.pattern_mut(place).bindings > 0 {
            return;
        }
        self.places.remove(&key);
        let pattern = self.patterns[place as usize].take();
        for probe in pattern.expect("places hold patterns").probes {
            let filed = self
                .filed
                .get_mut(&probe)
                .expect("a pattern is filed under its probes");
            filed.remove(place);
            if filed.is_empty() {
                self.filed.remove(&probe);
            }
        }
        self.unconditional.remove(place);
        self.free.push(place);
    }

    /// Appends the destinations of all bindings that match; one that several bindings lead to, several times.
    ///
    /// `headers` is the table in its wire form.
    pub(super) fn route(&self, headers: &[u8], out: &mut Vec<Destination>) {
        let headers = Sorted::read(headers);
        let unconditional = self.unconditional.as_slice().iter();
        out.extend(unconditional.map(|&place| self.pattern(place).destination));
        for &(name, value) in &headers.0 {
            self.look_under(probe_presence(name), &headers, out);
            self.look_under(probe_value(name, value), &headers, out);
        }
    }

    fn look_under(&self, probe: u64, headers: &Sorted<'_>, out: &mut Vec<Destination>) {
        let Some(filed) = self.filed.get(&probe) else {
            return;
        };
        for &place in filed.as_slice() {
            let pattern = self.pattern(place);
            if pattern.matches(headers) {
                out.push(pattern.destination);
            }
        }
    }

    /// What to file `pattern` under: if one header is enough, each of them; if all are needed, the one with the fewest
    /// patterns so far, so that a header which all bindings share does not gather them all in one place.
    fn probes(&self, pattern: &Pattern) -> Box<[u64]> {
        let probes = pattern.wanted.iter().map(Wanted::probe);
        match pattern.mode {
            Mode::Any => probes.collect(),
            Mode::All => probes
                .min_by_key(|probe| self.filed.get(probe).map_or(0, IndexedSet::len))
                .into_iter()
                .collect(),
        }
    }

    fn pattern(&self, place: u32) -> &Pattern {
        self.patterns[place as usize]
            .as_ref()
            .expect("places hold patterns")
    }

    fn pattern_mut(&mut self, place: u32) -> &mut Pattern {
        self.patterns[place as usize]
            .as_mut()
            .expect("places hold patterns")
    }
}

fn place_key(binding: &Binding) -> (Destination, Box<[u8]>) {
    (binding.destination, binding.canonical_arguments().into())
}

/// The headers of a message by name, the first of each name: a message that repeats one name thousands of times must
/// not make a route thousands of times longer.
struct Sorted<'a>(Vec<(&'a str, ValueRef<'a>)>);

impl<'a> Sorted<'a> {
    /// What follows an entry that can't be read is left out.
    fn read(headers: &'a [u8]) -> Self {
        let mut entries: Vec<_> = Entries::new(headers).map_while(Result::ok).collect();
        entries.sort_by_key(|(name, _)| *name);
        entries.dedup_by_key(|(name, _)| *name);
        Self(entries)
    }

    fn get(&self, name: &str) -> Option<ValueRef<'a>> {
        let at = self.0.binary_search_by_key(&name, |(name, _)| name).ok()?;
        Some(self.0[at].1)
    }
}

impl Pattern {
    fn new(destination: Destination, arguments: &Table) -> Self {
        let (mode, with_x) = match arguments.get(MATCH).and_then(Value::as_str) {
            Some("any") => (Mode::Any, false),
            Some("any-with-x") => (Mode::Any, true),
            Some("all-with-x") => (Mode::All, true),
            _ => (Mode::All, false),
        };
        let counts = |name: &str| name != MATCH && (with_x || !name.starts_with("x-"));
        let wanted = arguments.iter().filter(|(name, _)| counts(name));
        let wanted = wanted.map(|(name, value)| Wanted {
            name: name.into(),
            value: WantedValue::new(value),
        });
        Self {
            destination,
            mode,
            wanted: wanted.collect(),
            probes: Box::default(),
            bindings: 1,
        }
    }

    /// `all` of nothing; `any` of nothing never matches.
    fn is_unconditional(&self) -> bool {
        self.mode == Mode::All && self.wanted.is_empty()
    }

    fn matches(&self, headers: &Sorted<'_>) -> bool {
        let mut wanted = self.wanted.iter();
        match self.mode {
            Mode::All => wanted.all(|wanted| wanted.is_in(headers)),
            Mode::Any => wanted.any(|wanted| wanted.is_in(headers)),
        }
    }
}

impl Wanted {
    fn is_in(&self, headers: &Sorted<'_>) -> bool {
        let found = headers.get(&self.name);
        found.is_some_and(|value| self.value.is(value))
    }

    fn probe(&self) -> u64 {
        match &self.value {
            WantedValue::Any => probe_presence(&self.name),
            WantedValue::Octets(octets) => probe_value(&self.name, ValueRef::Bytes(octets)),
            WantedValue::Integer(integer) => probe_value(&self.name, ValueRef::I64(*integer)),
            WantedValue::Float(_) | WantedValue::Other(_) => probe_other(&self.name),
        }
    }
}

impl WantedValue {
    fn new(value: &Value) -> Self {
        match value {
            Value::Void => Self::Any,
            Value::String(octets) | Value::Bytes(octets) => Self::Octets(octets.clone()),
            Value::F32(float) => Self::Float(f64::from(*float)),
            Value::F64(float) => Self::Float(*float),
            other => other
                .as_i64()
                .map_or_else(|| Self::Other(other.clone()), Self::Integer),
        }
    }

    fn is(&self, found: ValueRef<'_>) -> bool {
        match (self, found) {
            (Self::Any, _) => true,
            (Self::Octets(wanted), ValueRef::String(found) | ValueRef::Bytes(found)) => {
                **wanted == *found
            }
            (Self::Integer(wanted), found) => integer(found) == Some(*wanted),
            (Self::Float(wanted), ValueRef::F32(found)) => *wanted == f64::from(found),
            (Self::Float(wanted), ValueRef::F64(found)) => *wanted == found,
            (Self::Other(wanted), found) => found.to_owned().is_ok_and(|found| found == *wanted),
            (Self::Octets(_) | Self::Float(_), _) => false,
        }
    }
}

fn integer(value: ValueRef<'_>) -> Option<i64> {
    match value {
        ValueRef::I8(n) => Some(n.into()),
        ValueRef::U8(n) => Some(n.into()),
        ValueRef::I16(n) => Some(n.into()),
        ValueRef::U16(n) => Some(n.into()),
        ValueRef::I32(n) => Some(n.into()),
        ValueRef::U32(n) => Some(n.into()),
        ValueRef::I64(n) => Some(n),
        _ => None,
    }
}

/// A hash of the fact that there is a header of this name.
fn probe_presence(name: &str) -> u64 {
    hash(name, 0, b"")
}

/// A hash of a header, the same for values that compare as equal.
fn probe_value(name: &str, value: ValueRef<'_>) -> u64 {
    match value {
        ValueRef::String(octets) | ValueRef::Bytes(octets) => hash(name, 1, octets),
        other => match integer(other) {
            Some(integer) => hash(name, 2, &integer.to_ne_bytes()),
            None => probe_other(name),
        },
    }
}

/// Other values are rare as something to match on: one hash for all of them under a name.
fn probe_other(name: &str) -> u64 {
    hash(name, 3, b"")
}

fn hash(name: &str, what: u8, value: &[u8]) -> u64 {
    let mut hasher = SEED.build_hasher();
    hasher.write(name.as_bytes());
    hasher.write_u8(what);
    hasher.write(value);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::QueueId;

    fn bindings() -> Vec<Binding> {
        let arguments = |n: i64| Table::from_iter([("shared", 0.into()), ("own", n.into())]);
        let to = |n: i64| Destination::Queue(QueueId(n.try_into().unwrap()));
        let bindings = 0..100;
        bindings
            .map(|n| Binding::new(to(n), b"", &arguments(n)))
            .collect()
    }

    #[test]
    fn a_shared_header_gathers_no_crowd() {
        let mut headers = Headers::default();
        bindings()
            .iter()
            .for_each(|binding| headers.insert(binding));
        assert_eq!(headers.filed.values().map(IndexedSet::len).max(), Some(1));
    }

    #[test]
    fn nothing_is_left_of_bindings_that_are_gone() {
        let mut headers = Headers::default();
        for _ in 0..2 {
            bindings()
                .iter()
                .for_each(|binding| headers.insert(binding));
            assert_eq!(headers.patterns.len(), 100);
            bindings()
                .iter()
                .for_each(|binding| headers.remove(binding));
            assert!(headers.filed.is_empty() && headers.places.is_empty());
        }
    }
}
