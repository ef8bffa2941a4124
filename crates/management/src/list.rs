//! Lists: chosen, ordered and cut to a page as RabbitMQ does it, and written as the client takes them.
//!
//! Rows come in the default order. Only the rows of the page are put in order and written whole; to sort by a column, its
//! value is asked of every row, unless it is known.

use std::cmp::Ordering;
use std::ops::Range;
use std::sync::Arc;

use serde_json::Value;

use crate::answer::{Answer, Reply};
use crate::json::{self, Columns, Object};
use crate::query::{Page, Query};

/// A list that has no pages is handed out in pieces of about so many bytes.
const PIECE_BYTES: usize = 64 * 1024;

/// How one row becomes JSON.
pub(crate) type Write<T> = Box<dyn Fn(&T, &mut Object<'_>) + Send>;

/// The rows of a list, and how to read them.
pub(crate) struct List<T> {
    /// In the default order.
    rows: Arc<[T]>,
    /// Which rows the list has, by their places.
    chosen: Vec<u32>,
    /// What the filter `name` looks at.
    name: fn(&T) -> &str,
    keys: SortKeys<T>,
    write: Write<T>,
}

/// How the value of the column that rows are sorted by is found without writing it.
pub(crate) type SortKey<T> = Box<dyn Fn(&T) -> Value + Send>;

/// How the values of the column that rows are sorted by are found.
pub(crate) enum SortKeys<T> {
    /// By writing that column of each row.
    Written,
    /// Of each row that is chosen.
    Of(SortKey<T>),
    /// They are known, of all rows.
    Known(Arc<[Value]>),
}

impl<T: Send + Sync + 'static> List<T> {
    /// Rows in the default order.
    pub(crate) fn new(
        rows: Vec<T>,
        name: fn(&T) -> &str,
        write: impl Fn(&T, &mut Object<'_>) + Send + 'static,
    ) -> Self {
        let all = 0..rows.len();
        Self::of(rows.into(), all, name, write)
    }

    /// Some of the rows that others have, too.
    pub(crate) fn of(
        rows: Arc<[T]>,
        chosen: Range<usize>,
        name: fn(&T) -> &str,
        write: impl Fn(&T, &mut Object<'_>) + Send + 'static,
    ) -> Self {
        let place = |at| u32::try_from(at).expect("a node has fewer than 2^32 objects");
        Self {
            rows,
            chosen: chosen.map(place).collect(),
            name,
            keys: SortKeys::Written,
            write: Box::new(write),
        }
    }

    /// Leaves out the rows that `is_meant` does not admit.
    pub(crate) fn retain(mut self, is_meant: impl Fn(&T) -> bool) -> Self {
        let rows = &self.rows;
        self.chosen.retain(|&at| is_meant(&rows[at as usize]));
        self
    }

    /// How `query` has to find what it sorts by, if there is a better way than to write it.
    pub(crate) fn sorted_by(self, keys: SortKeys<T>) -> Self {
        Self { keys, ..self }
    }

    /// The list as `query` wants it: a page of it, or all.
    pub(crate) fn reply(mut self, query: &Query) -> Reply {
        let page = query.page()?;
        let total = self.chosen.len();
        if let Some(page) = &page {
            let name = self.name;
            self = self.retain(|row| page.name.admits(name(row)));
        }
        let filtered = self.chosen.len();
        let range = page
            .as_ref()
            .map_or(Ok(0..filtered), |page| page.range(filtered))?;
        self.put_in_order(query, range);
        match page {
            Some(page) => Ok(self.page(&page, [total, filtered], query)),
            None => Ok(self.all(query)),
        }
    }

    /// Leaves the rows of `range`: by the column `sort`, then in the default order; `sort_reverse` turns all of it around.
    fn put_in_order(&mut self, query: &Query, range: Range<usize>) {
        let is_reverse = query.is_true("sort_reverse");
        let mut chosen = std::mem::take(&mut self.chosen);
        let Some(path) = query.sort() else {
            if is_reverse {
                chosen.reverse();
            }
            self.chosen = chosen[range].to_vec();
            return;
        };
        let keys = self.sort_keys(&chosen, &path);
        let key = |at: &u32| &keys[*at as usize];
        let order = |left: &u32, right: &u32| {
            let by_key = compare(key(left), key(right));
            by_key.then_with(|| left.cmp(right))
        };
        if is_reverse {
            keep_in_order(&mut chosen, range, |left, right| order(right, left));
        } else {
            keep_in_order(&mut chosen, range, order);
        }
        self.chosen = chosen;
    }

    /// By the places of the rows; of those that are not chosen it may be anything.
    fn sort_keys(&self, chosen: &[u32], path: &[String]) -> Arc<[Value]> {
        let find: &dyn Fn(&T) -> Value = match &self.keys {
            SortKeys::Known(keys) => return keys.clone(),
            SortKeys::Of(find) => find,
            SortKeys::Written => &|row| written(path, |object| (self.write)(row, object)),
        };
        let mut keys = vec![Value::Null; self.rows.len()];
        for &at in chosen {
            keys[at as usize] = find(&self.rows[at as usize]);
        }
        keys.into()
    }

    fn page(self, page: &Page, [total, filtered]: [usize; 2], query: &Query) -> Answer {
        let mut out = Vec::new();
        json::object(&mut out, Columns::ALL, |object| {
            object.field("filtered_count", &filtered);
            object.field("item_count", &self.chosen.len());
            object.field("page", &page.number);
            object.field("page_count", &filtered.div_ceil(page.size));
            object.field("page_size", &page.size);
            object.field("total_count", &total);
        });
        out.pop();
        out.extend(b",\"items\":[");
        for (index, &at) in self.chosen.iter().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            let columns = Columns::new(query.columns());
            let row = &self.rows[at as usize];
            json::object(&mut out, columns, |object| (self.write)(row, object));
        }
        out.extend(b"]}");
        Answer::json(out)
    }

    fn all(self, query: &Query) -> Answer {
        let columns = query.columns().map(<[_]>::to_vec);
        let (rows, write) = (self.rows, self.write);
        let mut chosen = self.chosen.into_iter();
        let mut is_first = true;
        let mut is_over = false;
        Answer::pieces(std::iter::from_fn(move || {
            if is_over {
                return None;
            }
            let mut piece = Vec::with_capacity(PIECE_BYTES);
            if is_first {
                piece.push(b'[');
            }
            while piece.len() < PIECE_BYTES && !is_over {
                let Some(at) = chosen.next() else {
                    piece.push(b']');
                    is_over = true;
                    break;
                };
                if !is_first {
                    piece.push(b',');
                }
                is_first = false;
                let columns = Columns::new(columns.as_deref());
                let row = &rows[at as usize];
                json::object(&mut piece, columns, |object| write(row, object));
            }
            Some(piece)
        }))
    }
}

/// A value of a row as it would be shown. What is not there counts as 0.
pub(crate) fn written(path: &[String], fill: impl FnOnce(&mut Object<'_>)) -> Value {
    json::value_at(path, fill).unwrap_or_else(|| Value::from(0))
}

/// Leaves the items that would be in `range` if all were in order, in order.
fn keep_in_order<T>(
    items: &mut Vec<T>,
    range: Range<usize>,
    order: impl Fn(&T, &T) -> Ordering + Copy,
) {
    if range.end < items.len() {
        items.select_nth_unstable_by(range.end, order);
        items.truncate(range.end);
    }
    if range.start > 0 && range.start < items.len() {
        items.select_nth_unstable_by(range.start, order);
    }
    items.drain(..range.start);
    items.sort_unstable_by(order);
}

/// One object, with the columns that `query` wants.
pub(crate) fn reply_one(query: &Query, fill: impl FnOnce(&mut Object<'_>)) -> Reply {
    let mut out = Vec::new();
    json::object(&mut out, Columns::new(query.columns()), fill);
    Ok(Answer::json(out))
}

/// The order of Erlang's terms, which is what RabbitMQ sorts by: numbers, then words, then objects, lists and texts.
fn compare(left: &Value, right: &Value) -> Ordering {
    let rank = |value: &Value| match value {
        Value::Number(_) => 0,
        Value::Null | Value::Bool(_) => 1,
        Value::Object(_) => 2,
        Value::Array(_) => 3,
        Value::String(_) => 4,
    };
    match (left, right) {
        (Value::Number(left), Value::Number(right)) => {
            let float = |number: &serde_json::Number| number.as_f64().unwrap_or_default();
            match (left.as_i64(), right.as_i64()) {
                (Some(left), Some(right)) => left.cmp(&right),
                _ => float(left).total_cmp(&float(right)),
            }
        }
        (Value::Bool(left), Value::Bool(right)) => left.cmp(right),
        (Value::String(left), Value::String(right)) => left.cmp(right),
        (Value::Array(left), Value::Array(right)) => left
            .iter()
            .zip(right)
            .map(|(left, right)| compare(left, right))
            .find(|order| order.is_ne())
            .unwrap_or_else(|| left.len().cmp(&right.len())),
        _ => rank(left).cmp(&rank(right)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::answer::Body;

    fn ask(names: &[&str], query: &str) -> Result<String, String> {
        let rows: Vec<(String, usize)> = names
            .iter()
            .map(|name| ((*name).to_owned(), name.len()))
            .collect();
        let list = List::new(
            rows,
            |row| &row.0,
            |row, object| {
                object.field("name", &row.0);
                object.object("in", |object| object.field("length", &row.1));
            },
        );
        let text = |answer: Answer| {
            let bytes = match answer.response.into_body() {
                Body::Whole(bytes) => bytes,
                Body::Pieces(pieces) => pieces.flatten().collect(),
                Body::Events => Vec::new(),
            };
            String::from_utf8(bytes).unwrap()
        };
        let reply = list.reply(&Query::parse(query));
        reply.map(text).map_err(|failure| text(failure.into()))
    }

    fn check(query: &str, expected: &str) {
        let answer = ask(&["a", "bbb", "Cc", "dddd"], query);
        let answer = answer.unwrap_or_else(|error| error);
        assert_eq!(answer, expected, "{query}");
    }

    #[test]
    fn columns_and_order() {
        check(
            "columns=name",
            r#"[{"name":"a"},{"name":"bbb"},{"name":"Cc"},{"name":"dddd"}]"#,
        );
        check(
            "columns=name&sort=in.length",
            r#"[{"name":"a"},{"name":"Cc"},{"name":"bbb"},{"name":"dddd"}]"#,
        );
        check(
            "columns=in.length&sort=in.length&sort_reverse=true",
            r#"[{"in":{"length":4}},{"in":{"length":3}},{"in":{"length":2}},{"in":{"length":1}}]"#,
        );
        check(
            "columns=name&sort=nothing&sort_reverse=true",
            r#"[{"name":"dddd"},{"name":"Cc"},{"name":"bbb"},{"name":"a"}]"#,
        );
    }

    #[test]
    fn pages() {
        check(
            "columns=name&page=2&page_size=3",
            r#"{"filtered_count":4,"item_count":1,"page":2,"page_count":2,"page_size":3,"total_count":4,"items":[{"name":"dddd"}]}"#,
        );
        check(
            "columns=name&page=1&name=C",
            r#"{"filtered_count":1,"item_count":1,"page":1,"page_count":1,"page_size":100,"total_count":4,"items":[{"name":"Cc"}]}"#,
        );
        check(
            "columns=name&page=1&name=%5E(a%7Cb)&use_regex=true",
            r#"{"filtered_count":2,"item_count":2,"page":1,"page_count":1,"page_size":100,"total_count":4,"items":[{"name":"a"},{"name":"bbb"}]}"#,
        );
        check(
            "page=3&page_size=2",
            r#"{"filtered_count":4,"item_count":0,"page":3,"page_count":2,"page_size":2,"total_count":4,"items":[]}"#,
        );
        check(
            "page=4&page_size=2",
            r#"{"error":"page_out_of_range","reason":"Page out of range, page: 4 page size: 2, len: 4"}"#,
        );
        check(
            "page=1&page_size=501",
            r#"{"error":"invalid_pagination_parameters","reason":"Invalid pagination parameters: page number 1, page size 501"}"#,
        );
        check(
            "page=x",
            r#"{"error":"bad_request","reason":"Pagination parameters are invalid"}"#,
        );
    }

    #[test]
    fn an_expensive_regular_expression_is_refused() {
        let name = "(a%7B1000%7D)%7B1000%7D";
        let error = ask(&["a"], &format!("page=1&use_regex=true&name={name}")).unwrap_err();
        assert!(error.contains("invalid name filter"), "{error}");
    }

    #[test]
    fn a_long_list_comes_in_pieces() {
        let names: Vec<String> = (0..20_000)
            .map(|number| format!("queue-{number}"))
            .collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let text = ask(&names, "columns=name").unwrap();
        let parsed: Vec<Value> = serde_json::from_str(&text).unwrap();
        assert_eq!(parsed.len(), names.len());
        assert_eq!(parsed[19_999]["name"], "queue-19999");
    }
}
