//! The text format that Prometheus reads (exposition format 0.0.4):
//!
//! ```text
//! # HELP name what it counts
//! # TYPE name counter
//! name{label="value"} 1
//! ```

/// The content type of the format.
pub(crate) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Counter,
    Gauge,
    Untyped,
    Summary,
    Histogram,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Untyped => "untyped",
            Self::Summary => "summary",
            Self::Histogram => "histogram",
        }
    }
}

/// A label's name and value.
pub(crate) type Label<'a> = (&'a str, &'a str);

/// Text that is being written.
#[derive(Debug, Default)]
pub(crate) struct Text {
    pub(crate) out: Vec<u8>,
}

impl Text {
    /// Opens a family: its samples follow.
    pub(crate) fn family(&mut self, name: &str, kind: Kind, help: &str) {
        let kind = kind.name();
        self.push(format_args!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
    }

    pub(crate) fn sample(&mut self, name: &str, labels: &[Label<'_>], value: f64) {
        self.out.extend(name.as_bytes());
        for (index, (label, value)) in labels.iter().enumerate() {
            self.out.push(if index == 0 { b'{' } else { b',' });
            self.out.extend(label.as_bytes());
            self.out.extend(b"=\"");
            self.escaped(value);
            self.out.push(b'"');
        }
        if !labels.is_empty() {
            self.out.push(b'}');
        }
        // Whole numbers are printed as such, however large.
        self.push(format_args!(" {value}\n"));
    }

    /// Backslashes, quotes and line ends of a label's value.
    fn escaped(&mut self, value: &str) {
        for byte in value.bytes() {
            match byte {
                b'\\' => self.out.extend(b"\\\\"),
                b'"' => self.out.extend(b"\\\""),
                b'\n' => self.out.extend(b"\\n"),
                byte => self.out.push(byte),
            }
        }
    }

    fn push(&mut self, text: std::fmt::Arguments<'_>) {
        use std::io::Write;
        self.out.write_fmt(text).expect("a vector takes it");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_format() {
        let mut text = Text::default();
        text.family("queue_messages", Kind::Gauge, "Messages.");
        text.sample("queue_messages", &[], 3.0);
        let labels = [("vhost", "/"), ("queue", "a\"b\\c\nd")];
        text.sample("queue_messages", &labels, 0.25);
        assert_eq!(
            String::from_utf8(text.out).unwrap(),
            "# HELP queue_messages Messages.\n# TYPE queue_messages gauge\nqueue_messages 3\n\
             queue_messages{vhost=\"/\",queue=\"a\\\"b\\\\c\\nd\"} 0.25\n"
        );
    }
}
