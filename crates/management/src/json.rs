//! JSON, written field by field. A field that no column asks for costs a comparison and no more.

use serde::Serialize;

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

/// An object that is being written.
pub(crate) struct Object<'a> {
    out: &'a mut Vec<u8>,
    columns: Columns<'a>,
    is_empty: bool,
}

impl Object<'_> {
    pub(crate) fn field<T: Serialize + ?Sized>(&mut self, name: &str, value: &T) {
        if self.begin(name) {
            write(self.out, value);
        }
    }

    /// Whether a field of that name would be written.
    pub(crate) fn wants(&self, name: &str) -> bool {
        self.columns.want(name)
    }

    /// Whether the field `inner` of the object in the field `name` would be written.
    pub(crate) fn wants_in(&self, name: &str, inner: &str) -> bool {
        self.columns.want(name) && self.columns.below(name).want(inner)
    }

    pub(crate) fn object(&mut self, name: &str, fill: impl FnOnce(&mut Object<'_>)) {
        if self.begin(name) {
            let columns = self.columns.below(name);
            object(self.out, columns, fill);
        }
    }

    pub(crate) fn list<T>(
        &mut self,
        name: &str,
        items: impl IntoIterator<Item = T>,
        mut fill: impl FnMut(T, &mut Object<'_>),
    ) {
        if !self.begin(name) {
            return;
        }
        let columns = self.columns.below(name);
        self.out.push(b'[');
        for (index, item) in items.into_iter().enumerate() {
            if index > 0 {
                self.out.push(b',');
            }
            object(self.out, columns.clone(), |object| fill(item, object));
        }
        self.out.push(b']');
    }

    /// Writes the name of a field that is wanted.
    fn begin(&mut self, name: &str) -> bool {
        if !self.columns.want(name) {
            return false;
        }
        if !self.is_empty {
            self.out.push(b',');
        }
        self.is_empty = false;
        write(self.out, name);
        self.out.push(b':');
        true
    }
}

/// Writes an object to the end of `out`.
pub(crate) fn object(out: &mut Vec<u8>, columns: Columns<'_>, fill: impl FnOnce(&mut Object<'_>)) {
    out.push(b'{');
    fill(&mut Object {
        out,
        columns,
        is_empty: true,
    });
    out.push(b'}');
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
