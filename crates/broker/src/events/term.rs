//! Erlang terms as RabbitMQ prints them (`io_lib`'s `~p`), where an event has one in a text.

use std::fmt::Write as _;

/// `<<"text">>`, or its octets if some of them can't be printed.
pub(super) fn binary(text: &str) -> String {
    if text.is_empty() {
        return "<<>>".to_owned();
    }
    match text.bytes().map(printed).collect::<Option<String>>() {
        Some(printed) => format!("<<\"{printed}\">>"),
        None => {
            let octets: Vec<String> = text.bytes().map(|octet| octet.to_string()).collect();
            format!("<<{}>>", octets.join(","))
        }
    }
}

/// An octet is a character of Latin 1 to it.
fn printed(octet: u8) -> Option<String> {
    Some(match octet {
        b'"' => "\\\"".to_owned(),
        b'\\' => "\\\\".to_owned(),
        b'\n' => "\\n".to_owned(),
        b'\r' => "\\r".to_owned(),
        b'\t' => "\\t".to_owned(),
        b' '..=b'~' | 0xa0.. => char::from(octet).to_string(),
        _ => return None,
    })
}

/// `name`, in quotes where it could be read as something else.
pub(super) fn atom(name: &str) -> String {
    let starts_well = name.starts_with(|c: char| c.is_ascii_lowercase());
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_@".contains(c);
    if starts_well && name.chars().all(is_plain) {
        return name.to_owned();
    }
    let mut quoted = "'".to_owned();
    for c in name.chars() {
        match c {
            '\'' | '\\' => quoted.extend(['\\', c]),
            c if c.is_control() => _ = write!(quoted, "\\x{{{:X}}}", u32::from(c)),
            c => quoted.push(c),
        }
    }
    quoted + "'"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms_are_printed_as_erlang_does() {
        assert_eq!(binary(""), "<<>>");
        assert_eq!(binary("d \"1\""), "<<\"d \\\"1\\\"\">>");
        assert_eq!(binary("a\0"), "<<97,0>>");
        assert_eq!(atom("ab_1@x"), "ab_1@x");
        assert_eq!(atom("Ab"), "'Ab'");
        assert_eq!(atom("it's"), "'it\\'s'");
        assert_eq!(atom(""), "''");
    }
}
