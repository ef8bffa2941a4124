//! Terms of Erlang, as far as configurations have them: read from text, and from and to the external form that RabbitMQ
//! encrypts. (Erlang, "External Term Format".)

use std::fmt::{self, Write};

use serde_json::{Map, json};

/// The first octet of every term in external form.
const VERSION: u8 = 131;
/// Terms lie no deeper in one another than this; nobody's configuration does.
const DEPTH_MAX: usize = 64;

/// A term. A string is a list of code points, as in Erlang.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    Atom(String),
    Integer(i64),
    Float(f64),
    Binary(Vec<u8>),
    List(Vec<Self>),
    Tuple(Vec<Self>),
}

impl Value {
    /// Reads a term as it is written in Erlang, with or without a full stop behind it. Nothing for what is none, or one of
    /// another kind, such as a map.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut reader = Reader { rest: text };
        let value = reader.value(0)?;
        reader.take(".");
        reader.skip_space();
        reader.rest.is_empty().then_some(value)
    }

    /// Reads the external form of a term; nothing for what is none, or one of another kind.
    #[must_use]
    pub fn from_external(octets: &[u8]) -> Option<Self> {
        let (&VERSION, mut rest) = octets.split_first()? else {
            return None;
        };
        let value = decode(&mut rest, 0)?;
        rest.is_empty().then_some(value)
    }

    #[must_use]
    pub fn to_external(&self) -> Vec<u8> {
        let mut octets = vec![VERSION];
        encode(self, &mut octets);
        octets
    }

    /// The text that an atom, a binary or a string is.
    #[must_use]
    pub fn to_text(&self) -> Option<String> {
        match self {
            Self::Atom(name) => Some(name.clone()),
            Self::Binary(octets) => String::from_utf8(octets.clone()).ok(),
            Self::List(list) => list.iter().map(Self::character).collect(),
            _ => None,
        }
    }

    /// As RabbitMQ's tools show terms in JSON: lists of pairs are objects, and text is text, whichever way it is kept.
    pub(crate) fn to_json(&self) -> serde_json::Value {
        match self {
            Self::Integer(number) => json!(number),
            Self::Float(number) => json!(number),
            Self::Tuple(items) => items.iter().map(Self::to_json).collect(),
            Self::List(list) if list.is_empty() => json!([]),
            _ => match (self.to_text(), self) {
                (Some(text), _) => json!(text),
                (None, Self::List(list)) => {
                    let pairs = list.iter().map(Self::pair).collect::<Option<Map<_, _>>>();
                    match pairs {
                        Some(pairs) => pairs.into(),
                        None => list.iter().map(Self::to_json).collect(),
                    }
                }
                (None, _) => json!(self.to_string()),
            },
        }
    }

    fn pair(&self) -> Option<(String, serde_json::Value)> {
        match self {
            Self::Tuple(items) => match items.as_slice() {
                [key, value] => Some((key.to_text()?, value.to_json())),
                _ => None,
            },
            _ => None,
        }
    }

    fn character(&self) -> Option<char> {
        match self {
            Self::Integer(code) => u32::try_from(*code).ok().and_then(char::from_u32),
            _ => None,
        }
    }
}

/// Where a text is read.
struct Reader<'a> {
    rest: &'a str,
}

impl Reader<'_> {
    fn value(&mut self, depth: usize) -> Option<Value> {
        if depth > DEPTH_MAX {
            return None;
        }
        self.skip_space();
        let first = self.rest.chars().next()?;
        match first {
            '"' => Some(characters(&self.quoted('"')?)),
            '\'' => self.quoted('\'').and_then(atom),
            'a'..='z' => atom(self.word()),
            '0'..='9' | '-' | '+' => self.number(),
            '[' => Some(Value::List(self.items("[", "]", depth)?)),
            '{' => Some(Value::Tuple(self.items("{", "}", depth)?)),
            '<' => self.binary(depth),
            _ => None,
        }
    }

    fn skip_space(&mut self) {
        self.rest = self.rest.trim_start();
    }

    fn take(&mut self, token: &str) -> bool {
        self.skip_space();
        let rest = self.rest.strip_prefix(token);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn word(&mut self) -> String {
        let is_in = |c: char| c.is_alphanumeric() || c == '_' || c == '@';
        let end = self.rest.find(|c| !is_in(c)).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        word.to_owned()
    }

    fn number(&mut self) -> Option<Value> {
        let is_in = |c: char| c.is_ascii_digit() || matches!(c, '-' | '+' | '.' | 'e' | 'E');
        let end = self.rest.find(|c| !is_in(c)).unwrap_or(self.rest.len());
        // A full stop ends a term, and a number that has one has a digit behind it.
        let number = self.rest[..end].trim_end_matches('.');
        self.rest = &self.rest[number.len()..];
        if let Ok(integer) = number.parse() {
            return Some(Value::Integer(integer));
        }
        let float: f64 = number.parse().ok()?;
        (number.contains('.') && float.is_finite()).then_some(Value::Float(float))
    }

    fn items(&mut self, open: &str, close: &str, depth: usize) -> Option<Vec<Value>> {
        let mut items = Vec::new();
        if !self.take(open) {
            return None;
        }
        if self.take(close) {
            return Some(items);
        }
        loop {
            items.push(self.value(depth + 1)?);
            if self.take(close) {
                return Some(items);
            }
            if !self.take(",") {
                return None;
            }
        }
    }

    /// `<<"text">>`, whose characters are octets unless it says `/utf8`, or `<<1,2>>`.
    fn binary(&mut self, depth: usize) -> Option<Value> {
        if !self.take("<<") {
            return None;
        }
        self.skip_space();
        if self.rest.starts_with('"') {
            let text = self.quoted('"')?;
            let octets = match self.take("/utf8") {
                true => text.into_bytes(),
                false => text
                    .chars()
                    .map(|c| u8::try_from(u32::from(c)).ok())
                    .collect::<Option<_>>()?,
            };
            return self.take(">>").then_some(Value::Binary(octets));
        }
        if self.take(">>") {
            return Some(Value::Binary(Vec::new()));
        }
        let mut octets = Vec::new();
        loop {
            match self.value(depth + 1)? {
                Value::Integer(octet) => octets.push(u8::try_from(octet).ok()?),
                _ => return None,
            }
            if self.take(">>") {
                return Some(Value::Binary(octets));
            }
            if !self.take(",") {
                return None;
            }
        }
    }

    fn quoted(&mut self, quote: char) -> Option<String> {
        let mut text = String::new();
        let mut all = self.rest.chars();
        all.next();
        loop {
            match all.next()? {
                c if c == quote => break,
                '\\' => text.push(match all.next()? {
                    'n' => '\n',
                    'r' => '\r',
                    't' => '\t',
                    's' => ' ',
                    c if c.is_alphanumeric() => return None,
                    c => c,
                }),
                c => text.push(c),
            }
        }
        self.rest = all.as_str();
        Some(text)
    }
}

/// Erlang's own limit, and why a name's length has one or two octets.
fn atom(name: String) -> Option<Value> {
    (name.chars().count() <= 255).then_some(Value::Atom(name))
}

fn characters(text: &str) -> Value {
    let code = |c: char| Value::Integer(u32::from(c).into());
    Value::List(text.chars().map(code).collect())
}

const SMALL_INTEGER: u8 = 97;
const INTEGER: u8 = 98;
const SMALL_BIG: u8 = 110;
const NEW_FLOAT: u8 = 70;
const ATOM: u8 = 100;
const SMALL_ATOM: u8 = 115;
const ATOM_UTF8: u8 = 118;
const SMALL_ATOM_UTF8: u8 = 119;
const BINARY: u8 = 109;
const STRING: u8 = 107;
const NIL: u8 = 106;
const LIST: u8 = 108;
const SMALL_TUPLE: u8 = 104;
const LARGE_TUPLE: u8 = 105;

fn encode(value: &Value, to: &mut Vec<u8>) {
    match value {
        Value::Atom(name) => {
            let name = name.as_bytes();
            match u8::try_from(name.len()) {
                Ok(length) => to.extend([SMALL_ATOM_UTF8, length]),
                Err(_) => {
                    to.push(ATOM_UTF8);
                    to.extend((name.len() as u16).to_be_bytes());
                }
            }
            to.extend(name);
        }
        Value::Integer(number) => encode_integer(*number, to),
        Value::Float(number) => {
            to.push(NEW_FLOAT);
            to.extend(number.to_be_bytes());
        }
        Value::Binary(octets) => {
            to.push(BINARY);
            to.extend(length(octets));
            to.extend(octets);
        }
        Value::List(list) if list.is_empty() => to.push(NIL),
        Value::List(list) => match octets(list) {
            Some(octets) => {
                to.push(STRING);
                to.extend((octets.len() as u16).to_be_bytes());
                to.extend(octets);
            }
            None => {
                to.push(LIST);
                to.extend(length(list));
                list.iter().for_each(|item| encode(item, to));
                to.push(NIL);
            }
        },
        Value::Tuple(items) => {
            match u8::try_from(items.len()) {
                Ok(arity) => to.extend([SMALL_TUPLE, arity]),
                Err(_) => {
                    to.push(LARGE_TUPLE);
                    to.extend(length(items));
                }
            }
            items.iter().for_each(|item| encode(item, to));
        }
    }
}

fn encode_integer(number: i64, to: &mut Vec<u8>) {
    if let Ok(small) = u8::try_from(number) {
        to.extend([SMALL_INTEGER, small]);
    } else if let Ok(integer) = i32::try_from(number) {
        to.push(INTEGER);
        to.extend(integer.to_be_bytes());
    } else {
        to.extend([SMALL_BIG, 8, u8::from(number < 0)]);
        to.extend(number.unsigned_abs().to_le_bytes());
    }
}

/// A length in four octets. What is encoded here was read from a command line, which is shorter.
fn length<T>(items: &[T]) -> [u8; 4] {
    (items.len() as u32).to_be_bytes()
}

/// A list of octets, if it is one short enough for the form of a string.
fn octets(list: &[Value]) -> Option<Vec<u8>> {
    let octet = |item: &Value| match item {
        Value::Integer(number) => u8::try_from(*number).ok(),
        _ => None,
    };
    let is_short = u16::try_from(list.len()).is_ok();
    is_short.then(|| list.iter().map(octet).collect()).flatten()
}

fn decode(rest: &mut &[u8], depth: usize) -> Option<Value> {
    if depth > DEPTH_MAX {
        return None;
    }
    let [tag] = fixed(rest)?;
    Some(match tag {
        SMALL_INTEGER => Value::Integer(fixed::<1>(rest)?[0].into()),
        INTEGER => Value::Integer(i32::from_be_bytes(fixed(rest)?).into()),
        SMALL_BIG => decode_big(rest)?,
        NEW_FLOAT => {
            let number = f64::from_be_bytes(fixed(rest)?);
            number.is_finite().then_some(Value::Float(number))?
        }
        ATOM => Value::Atom(latin(sized::<2>(rest)?)),
        SMALL_ATOM => Value::Atom(latin(sized::<1>(rest)?)),
        ATOM_UTF8 => Value::Atom(String::from_utf8(sized::<2>(rest)?.to_vec()).ok()?),
        SMALL_ATOM_UTF8 => Value::Atom(String::from_utf8(sized::<1>(rest)?.to_vec()).ok()?),
        BINARY => Value::Binary(sized::<4>(rest)?.to_vec()),
        STRING => {
            let octets = sized::<2>(rest)?.iter();
            Value::List(octets.map(|&octet| Value::Integer(octet.into())).collect())
        }
        NIL => Value::List(Vec::new()),
        LIST => {
            let count = number(&fixed::<4>(rest)?);
            let list = decode_all(rest, count, depth)?;
            // What is not a list at its end is no list for a configuration.
            (fixed(rest)? == [NIL]).then_some(Value::List(list))?
        }
        SMALL_TUPLE => {
            let count = number(&fixed::<1>(rest)?);
            Value::Tuple(decode_all(rest, count, depth)?)
        }
        LARGE_TUPLE => {
            let count = number(&fixed::<4>(rest)?);
            Value::Tuple(decode_all(rest, count, depth)?)
        }
        _ => return None,
    })
}

fn decode_all(rest: &mut &[u8], count: usize, depth: usize) -> Option<Vec<Value>> {
    // Memory is taken as items come, not as they are announced.
    (0..count).map(|_| decode(rest, depth + 1)).collect()
}

fn decode_big(rest: &mut &[u8]) -> Option<Value> {
    let [count, sign] = fixed(rest)?;
    let (magnitude, behind) = rest.split_at_checked(usize::from(count))?;
    *rest = behind;
    let mut octets = [0; 8];
    octets
        .get_mut(..magnitude.len())?
        .copy_from_slice(magnitude);
    let magnitude = i128::from(u64::from_le_bytes(octets));
    let number = if sign == 0 { magnitude } else { -magnitude };
    i64::try_from(number).ok().map(Value::Integer)
}

fn fixed<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (octets, behind) = rest.split_first_chunk()?;
    *rest = behind;
    Some(*octets)
}

/// Octets behind their number, which takes `N` octets.
fn sized<'a, const N: usize>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let count = number(&fixed::<N>(rest)?);
    let (octets, behind) = rest.split_at_checked(count)?;
    *rest = behind;
    Some(octets)
}

fn number(octets: &[u8]) -> usize {
    octets
        .iter()
        .fold(0, |number, &octet| number << 8 | usize::from(octet))
}

fn latin(octets: &[u8]) -> String {
    octets.iter().copied().map(char::from).collect()
}

/// As Erlang writes it on one line. A binary of text beyond ASCII says that it is UTF-8.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Atom(name) if is_plain_atom(name) => f.write_str(name),
            Self::Atom(name) => quote(f, '\'', name),
            Self::Integer(number) => write!(f, "{number}"),
            Self::Float(number) => write!(f, "{number:?}"),
            Self::Binary(octets) => match std::str::from_utf8(octets) {
                Ok(text) if is_printable(text) => {
                    f.write_str("<<")?;
                    quote(f, '"', text)?;
                    f.write_str(if text.is_ascii() { ">>" } else { "/utf8>>" })
                }
                _ => {
                    let octets: Vec<String> = octets.iter().map(u8::to_string).collect();
                    write!(f, "<<{}>>", octets.join(","))
                }
            },
            Self::List(list) => match self.to_text() {
                Some(text) if !text.is_empty() && is_printable(&text) => quote(f, '"', &text),
                _ => join(f, '[', list, ']'),
            },
            Self::Tuple(items) => join(f, '{', items, '}'),
        }
    }
}

fn is_plain_atom(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_lowercase())
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '@')
}

fn is_printable(text: &str) -> bool {
    text.chars()
        .all(|c| !c.is_control() || matches!(c, '\n' | '\r' | '\t'))
}

fn quote(f: &mut fmt::Formatter<'_>, quote: char, text: &str) -> fmt::Result {
    f.write_char(quote)?;
    for c in text.chars() {
        match c {
            '\n' => f.write_str("\\n")?,
            '\r' => f.write_str("\\r")?,
            '\t' => f.write_str("\\t")?,
            c if c == quote || c == '\\' => write!(f, "\\{c}")?,
            c => f.write_char(c)?,
        }
    }
    f.write_char(quote)
}

fn join(f: &mut fmt::Formatter<'_>, open: char, items: &[Value], close: char) -> fmt::Result {
    f.write_char(open)?;
    for (place, item) in items.iter().enumerate() {
        let comma = if place == 0 { "" } else { "," };
        write!(f, "{comma}{item}")?;
    }
    f.write_char(close)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms_are_read_and_written_as_erlang_does() {
        let check = |text: &str, printed: &str, external: &[u8], json: serde_json::Value| {
            let value = Value::parse(text).unwrap_or_else(|| panic!("{text} is a term"));
            assert_eq!(value.to_string(), printed, "{text}");
            assert_eq!(value.to_external(), external, "{text}");
            assert_eq!(
                Value::from_external(external).as_ref(),
                Some(&value),
                "{text}"
            );
            assert_eq!(value.to_json(), json, "{text}");
        };
        check("v", "v", b"\x83w\x01v", json!("v"));
        check(" 'A b' . ", "'A b'", b"\x83w\x03A b", json!("A b"));
        check("\"v\"", "\"v\"", b"\x83k\0\x01v", json!("v"));
        check(
            r#""a\"b\n""#,
            r#""a\"b\n""#,
            b"\x83k\0\x04a\"b\n",
            json!("a\"b\n"),
        );
        check("\"\u{e4}\"", "\"\u{e4}\"", b"\x83k\0\x01\xe4", json!("ä"));
        check(
            "\"\u{20ac}\"",
            "\"\u{20ac}\"",
            b"\x83l\0\0\0\x01b\0\0\x20\xacj",
            json!("€"),
        );
        check("<<\"v\">>", "<<\"v\">>", b"\x83m\0\0\0\x01v", json!("v"));
        let umlaut = b"\x83m\0\0\0\x02\xc3\xa4";
        check("<<\"ä\"/utf8>>", "<<\"ä\"/utf8>>", umlaut, json!("ä"));
        check("<<>>", "<<\"\">>", b"\x83m\0\0\0\0", json!(""));
        check(
            "<<1, 200>>",
            "<<1,200>>",
            b"\x83m\0\0\0\x02\x01\xc8",
            json!("<<1,200>>"),
        );
        check("[]", "[]", b"\x83j", json!([]));
        check(
            "[1,2]",
            "[1,2]",
            b"\x83k\0\x02\x01\x02",
            json!("\u{1}\u{2}"),
        );
        check(
            "[{user,<<\"a\">>},{p,\"q\"}]",
            "[{user,<<\"a\">>},{p,\"q\"}]",
            b"\x83l\0\0\0\x02h\x02w\x04userm\0\0\0\x01ah\x02w\x01pk\0\x01qj",
            json!({"user": "a", "p": "q"}),
        );
        check(
            "{a, [x, 1]}",
            "{a,[x,1]}",
            b"\x83h\x02w\x01al\0\0\0\x02w\x01xa\x01j",
            json!(["a", ["x", 1]]),
        );
        check("12", "12", b"\x83a\x0c", json!(12));
        check("-1", "-1", b"\x83b\xff\xff\xff\xff", json!(-1));
        check(
            "5000000000.",
            "5000000000",
            b"\x83n\x08\0\0\xf2\x05\x2a\x01\0\0\0",
            json!(5_000_000_000_i64),
        );
        check("1.5", "1.5", b"\x83F\x3f\xf8\0\0\0\0\0\0", json!(1.5));
    }

    #[test]
    fn what_is_no_term_is_refused() {
        let deep = "[".repeat(100_000);
        for text in [
            "",
            "foo bar",
            "Var",
            "{a",
            "[1,]",
            "\"open",
            "'open",
            "<<\"a\"",
            "<<300>>",
            "<<\"€\">>",
            "#{}",
            "1e",
            "a.b",
            "\"\\x41\"",
            &deep,
        ] {
            assert_eq!(Value::parse(text), None, "{text}");
        }
        let deep = [&[VERSION][..], &[SMALL_TUPLE, 1].repeat(100_000)].concat();
        for octets in [
            &b""[..],
            b"\x83",
            b"\x82j",
            b"\x83jj",
            b"\x83m\0\0\0\x09a",
            b"\x83k\0\x02a",
            b"\x83l\xff\xff\xff\xffj",
            b"\x83w\x01\xff",
            b"\x83n\x09\0\0\0\0\0\0\0\0\0\x01",
            b"\x83l\0\0\0\x01a\x01a\x02",
            b"\x83t\0\0\0\0",
            &deep,
        ] {
            assert_eq!(Value::from_external(octets), None, "{octets:?}");
        }
    }

    #[test]
    fn other_forms_of_terms_are_read() {
        let check = |octets: &[u8], expected: &str| {
            let value = Value::from_external(octets).map(|value| value.to_string());
            assert_eq!(value.as_deref(), Some(expected), "{octets:?}");
        };
        check(b"\x83d\0\x01a", "a");
        check(b"\x83s\x01\xe4", "'ä'");
        check(b"\x83v\0\x01a", "a");
        check(b"\x83i\0\0\0\x01a\x05", "{5}");
        check(b"\x83n\x01\x01\x05", "-5");
    }
}
