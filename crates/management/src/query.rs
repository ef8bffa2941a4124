//! The query string, and what it says about lists: columns, order, pages, samples.

use std::cell::OnceCell;
use std::ops::Range;

use percent_encoding::percent_decode_str;
use regex::{Regex, RegexBuilder};

use crate::answer::Failure;

/// Items of a page when nobody says how many, and at most.
const PAGE_SIZE: usize = 100;
const PAGE_SIZE_MAX: usize = 500;
/// The compiled form of a name filter may take this much, bytes.
const REGEX_BYTES_MAX: usize = 1 << 20;

/// The decoded pairs of a query string. What is not UTF-8 is replaced.
#[derive(Debug, Default)]
pub(crate) struct Query {
    pairs: Vec<(String, String)>,
    columns: OnceCell<Option<Vec<Vec<String>>>>,
}

impl Query {
    pub(crate) fn parse(text: &str) -> Self {
        let decode = |part: &str| {
            let spaced = part.replace('+', " ");
            let decoded = percent_decode_str(&spaced).decode_utf8_lossy();
            decoded.into_owned()
        };
        let pairs = text.split('&').filter(|pair| !pair.is_empty());
        let pairs = pairs.map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(name), decode(value))
        });
        Self {
            pairs: pairs.collect(),
            columns: OnceCell::new(),
        }
    }

    /// All of it.
    pub(crate) fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        let pairs = self.pairs.iter();
        pairs.map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The first value of that name.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.all(name).next()
    }

    /// Every value of that name.
    pub(crate) fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        let found = self.pairs.iter().filter(move |(key, _)| key == name);
        found.map(|(_, value)| value.as_str())
    }

    pub(crate) fn is_true(&self, name: &str) -> bool {
        self.get(name) == Some("true")
    }

    /// `columns=a,b.c`, as paths; `None`: all of them.
    pub(crate) fn columns(&self) -> Option<&[Vec<String>]> {
        let parse = || {
            let tokens = |text: &str, separator| -> Vec<String> {
                let tokens = text.split(separator).filter(|token| !token.is_empty());
                tokens.map(str::to_owned).collect()
            };
            let columns = tokens(self.get("columns")?, ',');
            let paths = columns.iter().map(|column| tokens(column, '.'));
            Some(paths.filter(|path| !path.is_empty()).collect())
        };
        self.columns.get_or_init(parse).as_deref()
    }

    /// `sort`: the path of the column to sort by.
    pub(crate) fn sort(&self) -> Option<Vec<String>> {
        let path = self.get("sort").filter(|path| !path.is_empty())?;
        let tokens = path.split('.').filter(|token| !token.is_empty());
        Some(tokens.map(str::to_owned).collect())
    }

    /// `page`, `page_size`, `name` and `use_regex`; `None`: the list as a whole.
    pub(crate) fn page(&self) -> Result<Option<Page>, Failure> {
        let number = |name| {
            let parse = |text: &str| text.parse::<i64>().map_err(|_| invalid());
            self.get(name).map(parse).transpose()
        };
        let (page, size) = (number("page")?, number("page_size")?);
        let Some(page) = page else {
            return Ok(None);
        };
        let counts = |number: i64| usize::try_from(number).ok().filter(|&number| number > 0);
        let size_wanted = size.map_or(Some(PAGE_SIZE), counts);
        match (counts(page), size_wanted) {
            (Some(number), Some(size)) if size <= PAGE_SIZE_MAX => Ok(Some(Page {
                number,
                size,
                name: self.name_filter()?,
            })),
            _ => {
                let size = size.map_or_else(|| "undefined".to_owned(), |size| size.to_string());
                Err(Failure::new(
                    http::StatusCode::BAD_REQUEST,
                    "invalid_pagination_parameters",
                    format!("Invalid pagination parameters: page number {page}, page size {size}"),
                ))
            }
        }
    }

    fn name_filter(&self) -> Result<NameFilter, Failure> {
        let Some(name) = self.get("name").filter(|name| !name.is_empty()) else {
            return Ok(NameFilter::All);
        };
        let part = regex::escape(name);
        let pattern = match self.is_true("use_regex") {
            true => name,
            false => &part,
        };
        let regex = RegexBuilder::new(pattern)
            .case_insensitive(true)
            .size_limit(REGEX_BYTES_MAX)
            .build();
        regex
            .map(NameFilter::Matches)
            .map_err(|error| Failure::bad_request(format!("invalid name filter: {error}")))
    }
}

fn invalid() -> Failure {
    Failure::bad_request("Pagination parameters are invalid")
}

/// A page of a list.
#[derive(Debug)]
pub(crate) struct Page {
    /// From 1.
    pub(crate) number: usize,
    pub(crate) size: usize,
    pub(crate) name: NameFilter,
}

impl Page {
    /// The rows of the page, out of so many.
    pub(crate) fn range(&self, count: usize) -> Result<Range<usize>, Failure> {
        let start = (self.number - 1).saturating_mul(self.size);
        if start > count {
            let (number, size) = (self.number, self.size);
            return Err(Failure::new(
                http::StatusCode::BAD_REQUEST,
                "page_out_of_range",
                format!("Page out of range, page: {number} page size: {size}, len: {count}"),
            ));
        }
        Ok(start..count.min(start + self.size))
    }
}

/// Which names a page has.
#[derive(Debug)]
pub(crate) enum NameFilter {
    All,
    Matches(Regex),
}

impl NameFilter {
    pub(crate) fn admits(&self, name: &str) -> bool {
        match self {
            Self::All => true,
            Self::Matches(regex) => regex.is_match(name),
        }
    }
}
