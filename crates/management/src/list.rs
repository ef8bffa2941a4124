//! Lists: chosen, ordered and cut to a page as RabbitMQ does it, and written as the client takes them.
//!
//! Rows come in the default order, or say what it is. Only the rows of the page are put in order and written whole; to
//! sort by a column, its value is asked of every row.

use std::cmp::Ordering;
use std::ops::Range;

use serde_json::Value;

use crate::answer::{Answer, Reply};
use crate::json::{self, Columns, Object};
use crate::query::{Page, Query};

/// A list that has no pages is handed out in pieces of about so many bytes.
const PIECE_BYTES: usize = 64 * 1024;

/// How one row becomes JSON.
pub(crate) type Write<T> = Box<dyn Fn(&T, &mut Object<'_>) + Send>;

/// How the value of the column that rows are sorted by is found.
pub(crate) type SortKey<T> = Box<dyn Fn(&T) -> Value + Send>;

/// The rows of a list, and how to read them.
pub(crate) struct List<T> {
    rows: Vec<T>,
    /// What the filter `name` looks at.
    name: fn(&T) -> &str,
    /// The default order, as far as the rows are not in it.
    order: fn(&T, &T) -> Ordering,
    sort_key: Option<SortKey<T>>,
    write: Write<T>,
}

/// A row on its way to its place: the value of the column that rows are sorted by, and where it stood.
struct Placed<T> {
    key: Option<Value>,
    index: usize,
    row: T,
}

impl<T: Send + 'static> List<T> {
    /// Rows in the default order.
    pub(crate) fn new(
        rows: Vec<T>,
        name: fn(&T) -> &str,
        write: impl Fn(&T, &mut Object<'_>) + Send + 'static,
    ) -> Self {
        Self {
            rows,
            name,
            order: |_, _| Ordering::Equal,
            sort_key: None,
            write: Box::new(write),
        }
    }

    /// The rows are in no order, and this is the default one: of very many, only those that are shown are put in it.
    pub(crate) fn ordered_by(self, order: fn(&T, &T) -> Ordering) -> Self {
        Self { order, ..self }
    }

    /// The column that `query` sorts by is known, and can be had without asking for the row; `None`: it is not.
    pub(crate) fn sorted_by(self, sort_key: Option<SortKey<T>>) -> Self {
        Self { sort_key, ..self }
    }

    /// The list as `query` wants it: a page of it, or all.
    pub(crate) fn reply(mut self, query: &Query) -> Reply {
        let page = query.page()?;
        let total = self.rows.len();
        if let Some(page) = &page {
            self.rows.retain(|row| page.name.admits((self.name)(row)));
        }
        let filtered = self.rows.len();
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
        let path = query.sort();
        let rows = std::mem::take(&mut self.rows).into_iter().enumerate();
        let mut rows: Vec<Placed<T>> = rows
            .map(|(index, row)| Placed {
                key: path.as_deref().map(|path| self.sort_key(&row, path)),
                index,
                row,
            })
            .collect();
        let order = |left: &Placed<T>, right: &Placed<T>| {
            let by_key = match (&left.key, &right.key) {
                (Some(left), Some(right)) => compare(left, right),
                _ => Ordering::Equal,
            };
            by_key
                .then_with(|| (self.order)(&left.row, &right.row))
                .then_with(|| left.index.cmp(&right.index))
        };
        if query.is_true("sort_reverse") {
            keep_in_order(&mut rows, range, |left, right| order(right, left));
        } else {
            keep_in_order(&mut rows, range, order);
        }
        self.rows = rows.into_iter().map(|placed| placed.row).collect();
    }

    /// What is not there counts as 0.
    fn sort_key(&self, row: &T, path: &[String]) -> Value {
        if let Some(sort_key) = &self.sort_key {
            return sort_key(row);
        }
        let found = json::value_at(path, |object| (self.write)(row, object));
        found.unwrap_or_else(|| Value::from(0))
    }

    fn page(self, page: &Page, [total, filtered]: [usize; 2], query: &Query) -> Answer {
        let mut out = Vec::new();
        json::object(&mut out, Columns::ALL, |object| {
            object.field("filtered_count", &filtered);
            object.field("item_count", &self.rows.len());
            object.field("page", &page.number);
            object.field("page_count", &filtered.div_ceil(page.size));
            object.field("page_size", &page.size);
            object.field("total_count", &total);
        });
        out.pop();
        out.extend(b",\"items\":[");
        self.write_rows(&mut out, &self.rows, query);
        out.extend(b"]}");
        Answer::json(out)
    }

    fn write_rows(&self, out: &mut Vec<u8>, rows: &[T], query: &Query) {
        for (index, row) in rows.iter().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            let columns = Columns::new(query.columns());
            json::object(out, columns, |object| (self.write)(row, object));
        }
    }

    fn all(self, query: &Query) -> Answer {
        let columns = query.columns().map(<[_]>::to_vec);
        let mut rows = self.rows.into_iter();
        let write = self.write;
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
                let Some(row) = rows.next() else {
                    piece.push(b']');
                    is_over = true;
                    break;
                };
                if !is_first {
                    piece.push(b',');
                }
                is_first = false;
                let columns = Columns::new(columns.as_deref());
                json::object(&mut piece, columns, |object| write(&row, object));
            }
            Some(piece)
        }))
    }
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
