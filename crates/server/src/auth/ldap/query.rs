//! What an LDAP server is asked before somebody may do something: the queries of `auth_ldap.queries.*`, written as Erlang
//! terms as in RabbitMQ (E06), such as `{in_group, "cn=${vhost}-users,ou=groups,dc=example,dc=com"}`.

use leveret_ctl::erlang::Value;

/// One query. Texts are templates: `${username}` and its like are filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Query {
    Constant(bool),
    /// The first branch whose variable has its value.
    For(Vec<Branch>),
    Exists(String),
    InGroup {
        group: String,
        attribute: String,
    },
    InGroupNested {
        group: String,
        attribute: String,
        scope: Scope,
    },
    Not(Box<Self>),
    And(Vec<Self>),
    Or(Vec<Self>),
    Equals(Box<Self>, Box<Self>),
    /// The second is a regular expression.
    Match(Box<Self>, Box<Self>),
    Text(String),
    Attribute {
        object: String,
        name: String,
    },
}

/// `{permission, read, Query}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Branch {
    pub(super) variable: String,
    pub(super) value: String,
    pub(super) query: Query,
}

/// How far below its base a search looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    Base,
    OneLevel,
    Subtree,
}

impl Query {
    /// Reads a query; the full stop at its end may be left out.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        Self::from_term(&term(text)?)
    }

    /// Reads the list of `auth_ldap.queries.tags`: each tag with the query that grants it.
    pub(crate) fn parse_tags(text: &str) -> Result<Vec<(String, Self)>, String> {
        let Value::List(items) = term(text)? else {
            return Err("a list of {tag, query} is expected".to_owned());
        };
        let tag = |item: &Value| match item {
            Value::Tuple(parts) => match parts.as_slice() {
                [Value::Atom(tag), query] => Ok((tag.clone(), Self::from_term(query)?)),
                _ => Err(unknown(item)),
            },
            _ => Err(unknown(item)),
        };
        items.iter().map(tag).collect()
    }

    fn from_term(term: &Value) -> Result<Self, String> {
        let Value::Tuple(parts) = term else {
            return text(term).map(Self::Text).ok_or_else(|| unknown(term));
        };
        let [Value::Atom(kind), rest @ ..] = parts.as_slice() else {
            return Err(unknown(term));
        };
        Self::of_kind(kind, rest)?.ok_or_else(|| unknown(term))
    }

    fn of_kind(kind: &str, rest: &[Value]) -> Result<Option<Self>, String> {
        let boxed = |term| Self::from_term(term).map(Box::new);
        let all = |terms: &[Value]| terms.iter().map(Self::from_term).collect::<Result<_, _>>();
        Ok(Some(match (kind, rest) {
            ("constant", [Value::Atom(value)]) if value == "true" => Self::Constant(true),
            ("constant", [Value::Atom(value)]) if value == "false" => Self::Constant(false),
            ("for", [Value::List(branches)]) => {
                Self::For(branches.iter().map(branch).collect::<Result<_, _>>()?)
            }
            ("not", [query]) => Self::Not(boxed(query)?),
            ("and", [Value::List(queries)]) => Self::And(all(queries)?),
            ("or", [Value::List(queries)]) => Self::Or(all(queries)?),
            ("equals", [one, two]) => Self::Equals(boxed(one)?, boxed(two)?),
            ("match", [text, expression]) => Self::Match(boxed(text)?, boxed(expression)?),
            (kind, rest) => return Ok(Self::of_texts(kind, rest)),
        }))
    }

    /// The kinds that hold texts, and how far to look.
    fn of_texts(kind: &str, rest: &[Value]) -> Option<Self> {
        let (scope, texts) = match rest {
            [texts @ .., Value::Atom(scope)] => (scope_named(scope)?, texts),
            texts => (Scope::Subtree, texts),
        };
        let has_scope = texts.len() < rest.len();
        let texts: Vec<String> = texts.iter().map(text).collect::<Option<_>>()?;
        let attribute = || {
            texts
                .get(1)
                .map_or_else(|| "member".to_owned(), Clone::clone)
        };
        let group = texts.first()?.clone();
        Some(match (kind, texts.as_slice()) {
            ("in_group_nested", [_] | [_, _]) => Self::InGroupNested {
                attribute: attribute(),
                group,
                scope,
            },
            _ if has_scope => return None,
            ("in_group", [_] | [_, _]) => Self::InGroup {
                attribute: attribute(),
                group,
            },
            ("exists", [object]) => Self::Exists(object.clone()),
            ("string", [text]) => Self::Text(text.clone()),
            ("attribute", [object, name]) => Self::Attribute {
                object: object.clone(),
                name: name.clone(),
            },
            _ => return None,
        })
    }
}

fn branch(term: &Value) -> Result<Branch, String> {
    let Value::Tuple(parts) = term else {
        return Err(unknown(term));
    };
    let [Value::Atom(variable), value, query] = parts.as_slice() else {
        return Err(unknown(term));
    };
    Ok(Branch {
        variable: variable.clone(),
        value: value.to_text().ok_or_else(|| unknown(term))?,
        query: Query::from_term(query)?,
    })
}

fn scope_named(name: &str) -> Option<Scope> {
    match name {
        "subtree" => Some(Scope::Subtree),
        "singlelevel" | "single_level" | "onelevel" | "one_level" => Some(Scope::OneLevel),
        _ => None,
    }
}

fn term(text: &str) -> Result<Value, String> {
    Value::parse(text).ok_or_else(|| format!("'{text}' is no Erlang term"))
}

/// The text that a string of Erlang is, which is a list of characters. Names are atoms, and no texts here.
fn text(term: &Value) -> Option<String> {
    match term {
        Value::List(_) => term.to_text(),
        _ => None,
    }
}

fn unknown(term: &Value) -> String {
    format!("{term} is not a query")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(name: &str) -> Query {
        Query::InGroup {
            group: name.to_owned(),
            attribute: "member".to_owned(),
        }
    }

    #[test]
    fn queries_are_read_as_erlang_writes_them() {
        let check = |text: &str, expected: Query| {
            assert_eq!(Query::parse(text), Ok(expected), "{text}");
        };
        check("{constant, true}", Query::Constant(true));
        check(" {constant,false}. ", Query::Constant(false));
        check("{in_group, \"cn=a\"}", group("cn=a"));
        check(
            "{in_group, \"cn=a\", \"uniqueMember\"}",
            Query::InGroup {
                group: "cn=a".to_owned(),
                attribute: "uniqueMember".to_owned(),
            },
        );
        let nested = |attribute: &str, scope| Query::InGroupNested {
            group: "cn=a".to_owned(),
            attribute: attribute.to_owned(),
            scope,
        };
        check(
            "{in_group_nested, \"cn=a\"}",
            nested("member", Scope::Subtree),
        );
        check(
            "{in_group_nested, \"cn=a\", \"m\"}",
            nested("m", Scope::Subtree),
        );
        check(
            "{in_group_nested, \"cn=a\", \"m\", onelevel}",
            nested("m", Scope::OneLevel),
        );
        check("{exists, \"ou=\\\"x\"}", Query::Exists("ou=\"x".to_owned()));
        check(
            "{'not', {'and', [{constant, true}, {in_group, \"cn=a\"}]}}",
            Query::Not(Box::new(Query::And(vec![
                Query::Constant(true),
                group("cn=a"),
            ]))),
        );
        check("{'or', []}", Query::Or(vec![]));
        check(
            "{for, [{permission, write, {match, {string, \"${name}\"}, \"^x\"}},\n {resource, queue, {constant, true}}]}",
            Query::For(vec![
                Branch {
                    variable: "permission".to_owned(),
                    value: "write".to_owned(),
                    query: Query::Match(
                        Box::new(Query::Text("${name}".to_owned())),
                        Box::new(Query::Text("^x".to_owned())),
                    ),
                },
                Branch {
                    variable: "resource".to_owned(),
                    value: "queue".to_owned(),
                    query: Query::Constant(true),
                },
            ]),
        );
        check(
            "{equals, {attribute, \"${user_dn}\", \"mail\"}, \"a@b\"}",
            Query::Equals(
                Box::new(Query::Attribute {
                    object: "${user_dn}".to_owned(),
                    name: "mail".to_owned(),
                }),
                Box::new(Query::Text("a@b".to_owned())),
            ),
        );
    }

    #[test]
    fn what_is_no_query_is_refused() {
        for text in [
            "",
            "true",
            "{constant, maybe}",
            "{constant}",
            "{in_group}",
            "{in_group, \"a\", \"b\", subtree}",
            "{in_group_nested, \"a\", \"b\", deep}",
            "{in_group, \"a\"",
            "{in_group, \"a}",
            "{in_group, \"a\"} {constant, true}",
            "{'and', {constant, true}}",
            "{for, [{permission, {constant, true}}]}",
            "{own, \"a\"}",
            "42",
        ] {
            assert!(Query::parse(text).is_err(), "{text}");
        }
        assert!(Query::parse(&"{'not',".repeat(10_000)).is_err(), "too deep");
    }

    #[test]
    fn tags_are_a_list() {
        let tags = Query::parse_tags(
            "[{administrator, {constant, false}}, {management, {in_group, \"cn=a\"}}]",
        );
        let expected = vec![
            ("administrator".to_owned(), Query::Constant(false)),
            ("management".to_owned(), group("cn=a")),
        ];
        assert_eq!(tags, Ok(expected));
        assert!(Query::parse_tags("{constant, true}").is_err());
        assert!(Query::parse_tags("[{constant, true, false}]").is_err());
    }
}
