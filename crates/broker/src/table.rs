//! Field tables: the named, typed values of message headers, of the arguments of queues, exchanges, bindings and
//! consumers, and of the properties of clients and servers.
//!
//! The type letters are RabbitMQ's, which are not those of the AMQP 0-9-1 text (there `s` is a short string):
//!
//! ```text
//! table   u32 length | entry …            entry   short string key | value
//! array   u32 length | value …            value   letter | octets
//!
//! t bool    b i8   B u8   s i16   u u16   I i32   i u32   l i64 (L is read as l)   f f32   d f64
//! D decimal: u8 scale, u32 value    S long string    x binary    T u64 timestamp    A array    F table    V void
//! ```
//!
//! [`Table`] owns its values. [`Entries`], [`Items`], [`find`] and [`check`] read the wire form in place and allocate
//! nothing: that is what a publish needs.

use std::fmt;

use thiserror::Error;

use crate::wire::{Reader, Truncated, put_long_string, put_prefixed, put_short_string};

/// How deep tables and arrays may lie in one another, the outermost table counted. Decoding recurses.
pub const DEPTH_MAX: u32 = 32;

/// Why bytes are not a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum TableError {
    /// A length points past the end, or the bytes end inside a value.
    #[error("table ends inside a value")]
    Truncated,
    /// A key is not UTF-8.
    #[error("table key is not UTF-8")]
    Key,
    /// No such type letter.
    #[error("unknown field type {0:#04x} in a table")]
    Type(u8),
    /// Deeper than [`DEPTH_MAX`].
    #[error("tables nested deeper than {DEPTH_MAX}")]
    Depth,
}

impl From<Truncated> for TableError {
    fn from(_: Truncated) -> Self {
        Self::Truncated
    }
}

/// A typed value of a table or an array.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    Void,
    Bool(bool),
    I8(i8),
    U8(u8),
    I16(i16),
    U16(u16),
    I32(i32),
    U32(u32),
    I64(i64),
    F32(f32),
    F64(f64),
    Decimal { scale: u8, value: u32 },
    String(Box<[u8]>),
    Bytes(Box<[u8]>),
    Timestamp(u64),
    Array(Vec<Self>),
    Table(Table),
}

impl Value {
    /// The value of any of the integer types.
    pub fn as_i64(&self) -> Option<i64> {
        match *self {
            Self::I8(n) => Some(n.into()),
            Self::U8(n) => Some(n.into()),
            Self::I16(n) => Some(n.into()),
            Self::U16(n) => Some(n.into()),
            Self::I32(n) => Some(n.into()),
            Self::U32(n) => Some(n.into()),
            Self::I64(n) => Some(n),
            _ => None,
        }
    }

    /// A long string, if it is UTF-8.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(bytes) => std::str::from_utf8(bytes).ok(),
            _ => None,
        }
    }

    /// A boolean.
    pub fn as_bool(&self) -> Option<bool> {
        match *self {
            Self::Bool(yes) => Some(yes),
            _ => None,
        }
    }

    /// A table.
    pub fn as_table(&self) -> Option<&Table> {
        match self {
            Self::Table(table) => Some(table),
            _ => None,
        }
    }

    /// The values of an array.
    pub fn as_array(&self) -> Option<&[Self]> {
        match self {
            Self::Array(values) => Some(values),
            _ => None,
        }
    }

    /// The type's name in RabbitMQ's error texts and HTTP API.
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::Void => "void",
            Self::Bool(_) => "bool",
            Self::I8(_) => "byte",
            Self::U8(_) => "unsignedbyte",
            Self::I16(_) => "short",
            Self::U16(_) => "unsignedshort",
            Self::I32(_) => "signedint",
            Self::U32(_) => "unsignedint",
            Self::I64(_) => "long",
            Self::F32(_) => "float",
            Self::F64(_) => "double",
            Self::Decimal { .. } => "decimal",
            Self::String(_) => "longstr",
            Self::Bytes(_) => "binary",
            Self::Timestamp(_) => "timestamp",
            Self::Array(_) => "array",
            Self::Table(_) => "table",
        }
    }

    /// Whether RabbitMQ takes the two for the same argument: integers of any width, and floats of both, by value.
    pub fn equivalent(&self, other: &Self) -> bool {
        if let (Some(a), Some(b)) = (self.as_i64(), other.as_i64()) {
            return a == b;
        }
        if let (Some(a), Some(b)) = (self.as_f64(), other.as_f64()) {
            return a == b;
        }
        self == other
    }

    /// The value as RabbitMQ prints it in its error texts.
    pub fn text(&self) -> String {
        self.to_string()
    }

    fn as_f64(&self) -> Option<f64> {
        match *self {
            Self::F32(n) => Some(n.into()),
            Self::F64(n) => Some(n),
            _ => None,
        }
    }

    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Void => out.push(b'V'),
            Self::Bool(yes) => out.extend_from_slice(&[b't', u8::from(*yes)]),
            Self::I8(n) => put(out, b'b', &n.to_be_bytes()),
            Self::U8(n) => put(out, b'B', &n.to_be_bytes()),
            Self::I16(n) => put(out, b's', &n.to_be_bytes()),
            Self::U16(n) => put(out, b'u', &n.to_be_bytes()),
            Self::I32(n) => put(out, b'I', &n.to_be_bytes()),
            Self::U32(n) => put(out, b'i', &n.to_be_bytes()),
            Self::I64(n) => put(out, b'l', &n.to_be_bytes()),
            Self::F32(n) => put(out, b'f', &n.to_be_bytes()),
            Self::F64(n) => put(out, b'd', &n.to_be_bytes()),
            Self::Timestamp(n) => put(out, b'T', &n.to_be_bytes()),
            Self::Decimal { scale, value } => {
                put(out, b'D', &[*scale]);
                out.extend_from_slice(&value.to_be_bytes());
            }
            Self::String(bytes) => {
                out.push(b'S');
                put_long_string(out, bytes);
            }
            Self::Bytes(bytes) => {
                out.push(b'x');
                put_long_string(out, bytes);
            }
            Self::Array(values) => {
                out.push(b'A');
                put_prefixed(out, |out| values.iter().for_each(|value| value.encode(out)));
            }
            Self::Table(table) => {
                out.push(b'F');
                table.encode(out);
            }
        }
    }
}

fn put(out: &mut Vec<u8>, letter: u8, octets: &[u8]) {
    out.push(letter);
    out.extend_from_slice(octets);
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::String(text.as_bytes().into())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::String(text.into_bytes().into())
    }
}

impl From<bool> for Value {
    fn from(yes: bool) -> Self {
        Self::Bool(yes)
    }
}

impl From<i32> for Value {
    fn from(n: i32) -> Self {
        Self::I32(n)
    }
}

impl From<i64> for Value {
    fn from(n: i64) -> Self {
        Self::I64(n)
    }
}

impl From<Table> for Value {
    fn from(table: Table) -> Self {
        Self::Table(table)
    }
}

/// A string prints as it is, everything else as the Erlang term that RabbitMQ holds it in.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::String(bytes) | Self::Bytes(bytes) => {
                f.write_str(&String::from_utf8_lossy(bytes))
            }
            _ => self.term(f),
        }
    }
}

impl Value {
    fn term(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Void => f.write_str("undefined"),
            Self::Bool(yes) => write!(f, "{yes}"),
            Self::I8(n) => write!(f, "{n}"),
            Self::U8(n) => write!(f, "{n}"),
            Self::I16(n) => write!(f, "{n}"),
            Self::U16(n) => write!(f, "{n}"),
            Self::I32(n) => write!(f, "{n}"),
            Self::U32(n) => write!(f, "{n}"),
            Self::I64(n) => write!(f, "{n}"),
            Self::F32(n) => write!(f, "{:?}", f64::from(*n)),
            Self::F64(n) => write!(f, "{n:?}"),
            Self::Timestamp(n) => write!(f, "{n}"),
            Self::Decimal { scale, value } => write!(f, "{{{scale},{value}}}"),
            Self::String(bytes) | Self::Bytes(bytes) => write_binary(f, bytes),
            Self::Array(values) => write_list(f, values, |f, value| {
                write!(f, "{{{},", value.type_name())?;
                value.term(f)?;
                f.write_str("}")
            }),
            Self::Table(table) => write_list(f, &table.entries, |f, (key, value)| {
                f.write_str("{")?;
                write_binary(f, key.as_bytes())?;
                write!(f, ",{},", value.type_name())?;
                value.term(f)?;
                f.write_str("}")
            }),
        }
    }
}

fn write_list<T>(
    f: &mut fmt::Formatter<'_>,
    items: &[T],
    write: impl Fn(&mut fmt::Formatter<'_>, &T) -> fmt::Result,
) -> fmt::Result {
    f.write_str("[")?;
    for (n, item) in items.iter().enumerate() {
        if n > 0 {
            f.write_str(",")?;
        }
        write(f, item)?;
    }
    f.write_str("]")
}

/// An Erlang binary: quoted when it is printable, its octets otherwise.
fn write_binary(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    match std::str::from_utf8(bytes) {
        Ok("") => f.write_str("<<>>"),
        Ok(text) if !text.chars().any(char::is_control) => {
            let utf8 = if text.is_ascii() { "" } else { "/utf8" };
            let quoted = text.replace('\\', "\\\\").replace('"', "\\\"");
            write!(f, "<<\"{quoted}\"{utf8}>>")
        }
        _ => {
            let octets: Vec<String> = bytes.iter().map(u8::to_string).collect();
            write!(f, "<<{}>>", octets.join(","))
        }
    }
}

/// Named values in the order they came. A key that came twice is kept twice, and the first one counts.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Table {
    entries: Vec<(Box<str>, Value)>,
}

impl Table {
    /// An empty table.
    pub fn new() -> Self {
        Self::default()
    }

    /// The value under `key`.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.iter()
            .find(|(name, _)| *name == key)
            .map(|(_, value)| value)
    }

    /// Puts `value` under `key`: in the place of the one that is there, else at the end. A key has at most 255 octets,
    /// more do not reach the wire.
    pub fn insert(&mut self, key: impl Into<Box<str>>, value: Value) {
        let key = key.into();
        match self.entries.iter_mut().find(|(name, _)| *name == key) {
            Some((_, old)) => *old = value,
            None => self.entries.push((key, value)),
        }
    }

    /// Gives back memory that was kept for more entries: for tables that stay.
    pub fn shrink_to_fit(&mut self) {
        self.entries.shrink_to_fit();
    }

    /// Puts `value` under `key` at the front, and takes away what was under it.
    pub fn insert_first(&mut self, key: impl Into<Box<str>>, value: Value) {
        let key = key.into();
        self.remove(&key);
        self.entries.insert(0, (key, value));
    }

    /// Takes away what is under `key`; gives the value that counted.
    pub fn remove(&mut self, key: &str) -> Option<Value> {
        let at = self.entries.iter().position(|(name, _)| &**name == key)?;
        let (_, value) = self.entries.remove(at);
        self.entries.retain(|(name, _)| &**name != key);
        Some(value)
    }

    /// All entries in order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&str, &Value)> + ExactSizeIterator {
        self.entries.iter().map(|(key, value)| (&**key, value))
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Reads a table from its octets, which do not include its length.
    pub fn decode(bytes: &[u8]) -> Result<Self, TableError> {
        Self::decode_within(bytes, DEPTH_MAX)
    }

    /// Reads a table behind its length off the front of `bytes`; gives the rest.
    pub fn decode_prefixed(bytes: &[u8]) -> Result<(Self, &[u8]), TableError> {
        let mut reader = Reader::new(bytes);
        let table = Self::decode(reader.long_string()?)?;
        Ok((table, reader.rest()))
    }

    fn decode_within(bytes: &[u8], depth: u32) -> Result<Self, TableError> {
        let inner = depth.checked_sub(1).ok_or(TableError::Depth)?;
        let entries = Entries::new(bytes).map(|entry| {
            let (key, value) = entry?;
            Ok((key.into(), value.to_value(inner)?))
        });
        Ok(Self {
            entries: entries.collect::<Result<_, TableError>>()?,
        })
    }

    /// Writes the table behind its length.
    pub fn encode(&self, out: &mut Vec<u8>) {
        put_prefixed(out, |out| {
            for (key, value) in &self.entries {
                put_short_string(out, key.as_bytes());
                value.encode(out);
            }
        });
    }
}

impl<K: Into<Box<str>>> FromIterator<(K, Value)> for Table {
    fn from_iter<I: IntoIterator<Item = (K, Value)>>(entries: I) -> Self {
        Self {
            entries: entries
                .into_iter()
                .map(|(key, value)| (key.into(), value))
                .collect(),
        }
    }
}

/// A value read in place. Arrays and tables are the octets behind their length, checked when they are read in turn.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum ValueRef<'a> {
    Void,
    Bool(bool),
    I8(i8),
    U8(u8),
    I16(i16),
    U16(u16),
    I32(i32),
    U32(u32),
    I64(i64),
    F32(f32),
    F64(f64),
    Decimal { scale: u8, value: u32 },
    String(&'a [u8]),
    Bytes(&'a [u8]),
    Timestamp(u64),
    Array(&'a [u8]),
    Table(&'a [u8]),
}

impl<'a> ValueRef<'a> {
    /// A long string.
    pub fn as_bytes(self) -> Option<&'a [u8]> {
        match self {
            Self::String(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// The values of an array.
    pub fn as_items(self) -> Option<Items<'a>> {
        match self {
            Self::Array(bytes) => Some(Items::new(bytes)),
            _ => None,
        }
    }

    /// The entries of a table.
    pub fn as_entries(self) -> Option<Entries<'a>> {
        match self {
            Self::Table(bytes) => Some(Entries::new(bytes)),
            _ => None,
        }
    }

    /// The same value, owned.
    pub fn to_owned(self) -> Result<Value, TableError> {
        self.to_value(DEPTH_MAX - 1)
    }

    /// `depth`: how many more levels of tables and arrays may follow.
    fn to_value(self, depth: u32) -> Result<Value, TableError> {
        Ok(match self {
            Self::Void => Value::Void,
            Self::Bool(yes) => Value::Bool(yes),
            Self::I8(n) => Value::I8(n),
            Self::U8(n) => Value::U8(n),
            Self::I16(n) => Value::I16(n),
            Self::U16(n) => Value::U16(n),
            Self::I32(n) => Value::I32(n),
            Self::U32(n) => Value::U32(n),
            Self::I64(n) => Value::I64(n),
            Self::F32(n) => Value::F32(n),
            Self::F64(n) => Value::F64(n),
            Self::Decimal { scale, value } => Value::Decimal { scale, value },
            Self::String(bytes) => Value::String(bytes.into()),
            Self::Bytes(bytes) => Value::Bytes(bytes.into()),
            Self::Timestamp(n) => Value::Timestamp(n),
            Self::Array(bytes) => {
                let inner = depth.checked_sub(1).ok_or(TableError::Depth)?;
                let values = Items::new(bytes).map(|item| item?.to_value(inner));
                Value::Array(values.collect::<Result<_, TableError>>()?)
            }
            Self::Table(bytes) => Value::Table(Table::decode_within(bytes, depth)?),
        })
    }

    fn read(reader: &mut Reader<'a>) -> Result<Self, TableError> {
        Ok(match reader.u8()? {
            b't' => Self::Bool(reader.u8()? != 0),
            b'b' => Self::I8(reader.u8()?.cast_signed()),
            b'B' => Self::U8(reader.u8()?),
            b's' => Self::I16(reader.u16()?.cast_signed()),
            b'u' => Self::U16(reader.u16()?),
            b'I' => Self::I32(reader.u32()?.cast_signed()),
            b'i' => Self::U32(reader.u32()?),
            b'l' | b'L' => Self::I64(reader.u64()?.cast_signed()),
            b'f' => Self::F32(f32::from_bits(reader.u32()?)),
            b'd' => Self::F64(f64::from_bits(reader.u64()?)),
            b'D' => Self::Decimal {
                scale: reader.u8()?,
                value: reader.u32()?,
            },
            b'S' => Self::String(reader.long_string()?),
            b'x' => Self::Bytes(reader.long_string()?),
            b'T' => Self::Timestamp(reader.u64()?),
            b'A' => Self::Array(reader.long_string()?),
            b'F' => Self::Table(reader.long_string()?),
            b'V' => Self::Void,
            letter => return Err(TableError::Type(letter)),
        })
    }
}

/// The entries of a table in its wire form (without its length), read in place. Ends after the first error.
#[derive(Debug, Clone)]
pub struct Entries<'a> {
    reader: Reader<'a>,
}

impl<'a> Entries<'a> {
    /// Reads from the front of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self {
            reader: Reader::new(bytes),
        }
    }

    fn read(&mut self) -> Result<(&'a str, ValueRef<'a>), TableError> {
        let key = self.reader.short_string()?;
        let key = std::str::from_utf8(key).map_err(|_| TableError::Key)?;
        Ok((key, ValueRef::read(&mut self.reader)?))
    }
}

impl<'a> Iterator for Entries<'a> {
    type Item = Result<(&'a str, ValueRef<'a>), TableError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.reader.is_empty() {
            return None;
        }
        Some(self.read().inspect_err(|_| self.reader = Reader::new(&[])))
    }
}

/// The values of an array in its wire form (without its length), read in place. Ends after the first error.
#[derive(Debug, Clone)]
pub struct Items<'a> {
    reader: Reader<'a>,
}

impl<'a> Items<'a> {
    /// Reads from the front of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self {
            reader: Reader::new(bytes),
        }
    }
}

impl<'a> Iterator for Items<'a> {
    type Item = Result<ValueRef<'a>, TableError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.reader.is_empty() {
            return None;
        }
        Some(ValueRef::read(&mut self.reader).inspect_err(|_| self.reader = Reader::new(&[])))
    }
}

/// Checks a table in its wire form (without its length) to its depths: what passes can be [decoded](Table::decode).
/// Headers are forwarded as they came, so whoever lets them in looks, lest a consumer's client stumbles over them.
pub fn check(raw: &[u8]) -> Result<(), TableError> {
    check_table(raw, DEPTH_MAX)
}

fn check_table(raw: &[u8], depth: u32) -> Result<(), TableError> {
    let inner = depth.checked_sub(1).ok_or(TableError::Depth)?;
    Entries::new(raw).try_for_each(|entry| check_value(entry?.1, inner))
}

fn check_value(value: ValueRef<'_>, depth: u32) -> Result<(), TableError> {
    match value {
        ValueRef::Table(bytes) => check_table(bytes, depth),
        ValueRef::Array(bytes) => {
            let inner = depth.checked_sub(1).ok_or(TableError::Depth)?;
            Items::new(bytes).try_for_each(|item| check_value(item?, inner))
        }
        _ => Ok(()),
    }
}

/// The value under `key` in a table in its wire form (without its length). Nothing behind it is looked at.
pub fn find<'a>(raw: &'a [u8], key: &str) -> Result<Option<ValueRef<'a>>, TableError> {
    for entry in Entries::new(raw) {
        let (name, value) = entry?;
        if name == key {
            return Ok(Some(value));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests;
