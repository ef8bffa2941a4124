//! JSON, written field by field. A field that no column asks for costs a comparison and no more.
//!
//! To order a list by a column, the same code is asked for one value of each row ([`value_at`]): then nothing is written.

use serde::Serialize;
use serde_json::Value;

/// Which fields of an object are wanted: paths into it (`columns=name,message_stats.publish`), or all.
#[derive(Debug, Clone, Default)]
pub(crate) struct Columns<'a>(Option<Vec<&'a [String]>>);

impl<'a> Columns<'a> {
    pub(crate) const ALL: Self = Self(None);

    pub(crate) fn new(paths: Option<&'a [Vec<String>]>) -> Self {
        Self(paths.map(|paths| paths.iter().map(Vec::as_slice).collect()))
    }

    fn want(&self, name: &str) -> bool {
        let is = |path: &&[String]| path.first().is_some_and(|first| first == name);
        self.0.as_ref().is_none_or(|paths| paths.iter().any(is))
    }

    /// What is wanted of the object in the field `name`.
    fn below(&self, name: &str) -> Self {
        let Some(paths) = &self.0 else {
            return Self::ALL;
        };
        let inner = paths.iter().filter_map(|path| match path.split_first() {
            Some((first, rest)) if first == name => Some(rest),
            _ => None,
        });
        let inner: Vec<_> = inner.collect();
        // `a` asks for the whole of it, whatever else is said about `a.b`.
        Self((!inner.iter().any(|path| path.is_empty())).then_some(inner))
    }
}

/// An object that is being told, field by field.
pub(crate) struct Object<'a>(To<'a>);

/// Where the fields go.
enum To<'a> {
    Text {
        out: &'a mut Vec<u8>,
        columns: Columns<'a>,
        is_empty: bool,
    },
    /// One value is wanted: the one at the end of the path.
    Value {
        path: &'a [String],
        found: &'a mut Option<Value>,
    },
}

impl Object<'_> {
    pub(crate) fn field<T: Serialize + ?Sized>(&mut self, name: &str, value: &T) {
        if !self.wants(name) {
            return;
        }
        self.begin(name);
        match &mut self.0 {
            To::Text { out, .. } => write(out, value),
            To::Value { path, found } => **found = at(&path[1..], value),
        }
    }

    /// The same, for a value that takes some work to tell.
    pub(crate) fn field_with<T: Serialize>(&mut self, name: &str, value: impl FnOnce() -> T) {
        if self.wants(name) {
            self.field(name, &value());
        }
    }

    /// Whether a field of that name would be written.
    pub(crate) fn wants(&self, name: &str) -> bool {
        match &self.0 {
            To::Text { columns, .. } => columns.want(name),
            To::Value { path, .. } => path.first().is_some_and(|first| first == name),
        }
    }

    pub(crate) fn object(&mut self, name: &str, fill: impl FnOnce(&mut Object<'_>)) {
        if !self.wants(name) {
            return;
        }
        self.begin(name);
        match &mut self.0 {
            To::Text { out, columns, .. } => object(out, columns.below(name), fill),
            // Objects are never compared as a whole.
            To::Value { path, found } => fill(&mut Object(To::Value {
                path: &path[1..],
                found,
            })),
        }
    }

    pub(crate) fn list<T>(
        &mut self,
        name: &str,
        items: impl IntoIterator<Item = T>,
        mut fill: impl FnMut(T, &mut Object<'_>),
    ) {
        if !self.wants(name) {
            return;
        }
        self.begin(name);
        let To::Text { out, columns, .. } = &mut self.0 else {
            return;
        };
        let columns = columns.below(name);
        out.push(b'[');
        for (index, item) in items.into_iter().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            object(out, columns.clone(), |object| fill(item, object));
        }
        out.push(b']');
    }

    /// Writes the name of a field that is wanted.
    fn begin(&mut self, name: &str) {
        let To::Text { out, is_empty, .. } = &mut self.0 else {
            return;
        };
        if !*is_empty {
            out.push(b',');
        }
        *is_empty = false;
        write(out, name);
        out.push(b':');
    }
}

/// Writes an object to the end of `out`.
pub(crate) fn object(out: &mut Vec<u8>, columns: Columns<'_>, fill: impl FnOnce(&mut Object<'_>)) {
    out.push(b'{');
    fill(&mut Object(To::Text {
        out,
        columns,
        is_empty: true,
    }));
    out.push(b'}');
}

/// The value at the end of a path into the object that `fill` tells. `None`: there is none, or it is an object.
pub(crate) fn value_at(path: &[String], fill: impl FnOnce(&mut Object<'_>)) -> Option<Value> {
    let mut found = None;
    fill(&mut Object(To::Value {
        path,
        found: &mut found,
    }));
    found
}

/// What is at the end of a path into a value.
fn at<T: Serialize + ?Sized>(path: &[String], value: &T) -> Option<Value> {
    let whole = serde_json::to_value(value).ok()?;
    path.iter().try_fold(whole, |value, name| match value {
        Value::Object(mut fields) => fields.remove(name),
        _ => None,
    })
}

/// Writes a value to the end of `out`.
pub(crate) fn write<T: Serialize + ?Sized>(out: &mut Vec<u8>, value: &T) {
    serde_json::to_writer(out, value)
        .expect("what we write has string keys, and a vector takes it");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(columns: Option<&[&[&str]]>, expected: &str) {
        let paths: Option<Vec<Vec<String>>> = columns.map(|paths| {
            let owned = |path: &&[&str]| path.iter().map(|&name| name.to_owned()).collect();
            paths.iter().map(owned).collect()
        });
        let mut out = Vec::new();
        object(&mut out, Columns::new(paths.as_deref()), |object| {
            object.field("a", &1);
            object.object("b", |object| {
                object.field("c", "x\"y");
                object.field("d", &true);
            });
            object.list("e", [1, 2], |item, object| {
                object.field("f", &item);
                object.field("g", &0);
            });
        });
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn columns_choose_fields_at_every_depth() {
        check(
            None,
            r#"{"a":1,"b":{"c":"x\"y","d":true},"e":[{"f":1,"g":0},{"f":2,"g":0}]}"#,
        );
        check(Some(&[]), "{}");
        check(Some(&[&["a"], &["nothing"]]), r#"{"a":1}"#);
        check(Some(&[&["b", "d"]]), r#"{"b":{"d":true}}"#);
        check(
            Some(&[&["b", "d"], &["b"]]),
            r#"{"b":{"c":"x\"y","d":true}}"#,
        );
        check(Some(&[&["e", "f"]]), r#"{"e":[{"f":1},{"f":2}]}"#);
        check(Some(&[&["a", "deeper"]]), r#"{"a":1}"#);
    }
}
