//! What a query comes to. Whatever goes wrong is an error, and an error is a no, also below `not`.

use std::future::Future;
use std::pin::Pin;

use regex::Regex;

use super::names::Variables;
use super::query::{Branch, Query, Scope};

/// An object that a search has found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) dn: String,
    /// Of the one attribute that was asked for.
    pub(super) values: Vec<String>,
}

/// Which objects are looked for.
#[cfg_attr(
    not(feature = "ldap"),
    expect(dead_code, reason = "there is nobody to tell")
)]
#[derive(Debug, Clone, Copy)]
pub(super) struct Search<'a> {
    pub(super) base: &'a str,
    pub(super) scope: Scope,
    /// Attribute and value; `None`: all.
    pub(super) with: Option<(&'a str, &'a str)>,
    pub(super) wanted: &'a str,
}

/// Where objects are looked for.
pub(super) trait Directory: Send {
    fn search(
        &mut self,
        search: Search<'_>,
    ) -> impl Future<Output = Result<Vec<Entry>, String>> + Send;
}

/// Who wants to do what.
pub(super) struct Asker<'a> {
    pub(super) variables: &'a Variables,
    pub(super) user_dn: &'a str,
    /// Where groups of groups are looked for.
    pub(super) groups_base: Option<&'a str>,
}

/// What a query comes to: most are true or false, some a text, or several.
#[derive(Debug, PartialEq, Eq)]
enum Value {
    Truth(bool),
    Texts(Vec<String>),
}

/// Whether the query grants it.
pub(super) async fn is_true(
    query: &Query,
    asker: &Asker<'_>,
    directory: &mut impl Directory,
) -> Result<bool, String> {
    truth(evaluate(query, asker, directory).await?)
}

fn truth(value: Value) -> Result<bool, String> {
    match value {
        Value::Truth(truth) => Ok(truth),
        Value::Texts(_) => Err("a text is neither true nor false".to_owned()),
    }
}

fn texts(value: Value) -> Result<Vec<String>, String> {
    match value {
        Value::Texts(texts) => Ok(texts),
        Value::Truth(_) => Err("true and false are no texts".to_owned()),
    }
}

type Pending<'a> = Pin<Box<dyn Future<Output = Result<Value, String>> + Send + 'a>>;

fn evaluate<'a, D: Directory>(
    query: &'a Query,
    asker: &'a Asker<'_>,
    directory: &'a mut D,
) -> Pending<'a> {
    Box::pin(async move {
        let variables = asker.variables;
        let value = match query {
            Query::Constant(value) => *value,
            Query::For(branches) => {
                let chosen = choose(branches, variables)?;
                return evaluate(chosen, asker, directory).await;
            }
            Query::Exists(object) => {
                let base = variables.fill_dn(object);
                !directory.search(object_at(&base, None)).await?.is_empty()
            }
            Query::InGroup { group, attribute } => {
                let base = variables.fill_dn(group);
                let member = Some((attribute.as_str(), asker.user_dn));
                !directory.search(object_at(&base, member)).await?.is_empty()
            }
            Query::InGroupNested {
                group,
                attribute,
                scope,
            } => {
                let group = variables.fill_dn(group);
                is_in_nested(&group, attribute, *scope, asker, directory).await?
            }
            Query::Not(query) => !truth(evaluate(query, asker, directory).await?)?,
            Query::And(queries) => {
                for query in queries {
                    if !truth(evaluate(query, asker, directory).await?)? {
                        return Ok(Value::Truth(false));
                    }
                }
                true
            }
            Query::Or(queries) => return any(queries, asker, directory).await,
            Query::Equals(one, two) => {
                let one = texts(evaluate(one, asker, directory).await?)?;
                let two = texts(evaluate(two, asker, directory).await?)?;
                one == two || is_one_of(&one, &two) || is_one_of(&two, &one)
            }
            Query::Match(text, expression) => {
                let text = texts(evaluate(text, asker, directory).await?)?;
                let expression = texts(evaluate(expression, asker, directory).await?)?;
                matches(&text, &expression)
            }
            Query::Text(text) => return Ok(Value::Texts(vec![variables.fill(text)])),
            Query::Attribute { object, name } => {
                let base = variables.fill_dn(object);
                return attribute(&base, name, directory).await;
            }
        };
        Ok(Value::Truth(value))
    })
}

fn choose<'a>(branches: &'a [Branch], variables: &Variables) -> Result<&'a Query, String> {
    for branch in branches {
        let value = variables
            .find(&branch.variable)
            .ok_or_else(|| format!("'{}' is not known here", branch.variable))?;
        if value == branch.value {
            return Ok(&branch.query);
        }
    }
    Err("no branch of 'for' is meant".to_owned())
}

/// One that fails does not stand in the way of one that is true.
async fn any<D: Directory>(
    queries: &[Query],
    asker: &Asker<'_>,
    directory: &mut D,
) -> Result<Value, String> {
    let mut result = Ok(Value::Truth(false));
    for query in queries {
        match evaluate(query, asker, directory).await.and_then(truth) {
            Ok(true) => return Ok(Value::Truth(true)),
            Ok(false) => {}
            Err(error) => result = Err(error),
        }
    }
    result
}

fn object_at<'a>(base: &'a str, with: Option<(&'a str, &'a str)>) -> Search<'a> {
    Search {
        base,
        scope: Scope::Base,
        with,
        wanted: "objectClass",
    }
}

async fn attribute<D: Directory>(
    base: &str,
    name: &str,
    directory: &mut D,
) -> Result<Value, String> {
    let search = Search {
        wanted: name,
        scope: Scope::Subtree,
        ..object_at(base, None)
    };
    let found = directory.search(search).await?;
    let with_values = found.into_iter().find(|entry| !entry.values.is_empty());
    with_values
        .map(|entry| Value::Texts(entry.values))
        .ok_or_else(|| format!("'{base}' has no '{name}'"))
}

/// Groups above the user, those above these, and so on, each once.
async fn is_in_nested<D: Directory>(
    group: &str,
    attribute: &str,
    scope: Scope,
    asker: &Asker<'_>,
    directory: &mut D,
) -> Result<bool, String> {
    let base = asker
        .groups_base
        .ok_or("in_group_nested needs auth_ldap.group_lookup_base")?;
    let same = |a: &str, b: &str| a.to_lowercase() == b.to_lowercase();
    let mut seen: Vec<String> = vec![asker.user_dn.to_owned()];
    let mut next = 0;
    while let Some(member) = seen.get(next).cloned() {
        next += 1;
        let search = Search {
            base,
            scope,
            with: Some((attribute, &member)),
            wanted: "1.1",
        };
        for above in directory.search(search).await? {
            if same(&above.dn, group) {
                return Ok(true);
            }
            if !seen.iter().any(|dn| same(dn, &above.dn)) {
                seen.push(above.dn);
            }
        }
    }
    Ok(false)
}

fn is_one_of(one: &[String], all: &[String]) -> bool {
    matches!(one, [one] if all.contains(one))
}

/// Of either there may be several, as in RabbitMQ: then one that matches is enough.
fn matches(texts: &[String], expressions: &[String]) -> bool {
    let is_match = |text: &String, expression: &String| {
        Regex::new(expression).is_ok_and(|expression| expression.is_match(text))
    };
    match (texts, expressions) {
        ([text], all) => all.iter().any(|expression| is_match(text, expression)),
        (all, [expression]) => all.iter().any(|text| is_match(text, expression)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Objects with their attributes.
    struct Objects(Vec<(&'static str, Vec<(&'static str, &'static str)>)>);

    impl Directory for Objects {
        async fn search(&mut self, search: Search<'_>) -> Result<Vec<Entry>, String> {
            let is_there = |dn: &str| match search.scope {
                Scope::Base => dn == search.base,
                Scope::OneLevel | Scope::Subtree => dn.ends_with(search.base),
            };
            if !self.0.iter().any(|(dn, _)| is_there(dn)) {
                return Err("no such object".to_owned());
            }
            let found = self.0.iter().filter(|(dn, attributes)| {
                is_there(dn) && search.with.is_none_or(|pair| attributes.contains(&pair))
            });
            let entry = |(dn, attributes): &(&str, Vec<(&str, &str)>)| Entry {
                dn: (*dn).to_owned(),
                values: attributes
                    .iter()
                    .filter(|(name, _)| *name == search.wanted)
                    .map(|(_, value)| (*value).to_owned())
                    .collect(),
            };
            Ok(found.map(entry).collect())
        }
    }

    fn objects() -> Objects {
        let alice = ("member", "cn=alice,dc=x");
        Objects(vec![
            ("dc=x", vec![]),
            (
                "cn=alice,dc=x",
                vec![("mail", "a@x"), ("mail", "alice@x"), ("name", "Alice")],
            ),
            ("cn=users,dc=x", vec![alice]),
            (
                "cn=staff,dc=x",
                vec![("member", "cn=users,dc=x"), ("member", "cn=all,dc=x")],
            ),
            (
                "cn=all,dc=x",
                vec![("member", "CN=Staff,dc=x"), ("member", "cn=staff,dc=x")],
            ),
            ("cn=others,dc=x", vec![("member", "cn=bob,dc=x")]),
        ])
    }

    #[tokio::test]
    async fn queries_come_to_what_they_say() {
        let variables = Variables::of_user("alice")
            .with("user_dn", "cn=alice,dc=x")
            .with("name", "alice.orders")
            .with("permission", "read");
        let asker = Asker {
            variables: &variables,
            user_dn: "cn=alice,dc=x",
            groups_base: Some("dc=x"),
        };
        let asker = &asker;
        let check = async |text: &str, expected: Result<bool, ()>| {
            let query = Query::parse(text).unwrap();
            let result = is_true(&query, asker, &mut objects()).await;
            assert_eq!(result.map_err(|_| ()), expected, "{text}");
        };
        check("{constant, true}", Ok(true)).await;
        check("{exists, \"cn=${username},dc=x\"}", Ok(true)).await;
        check("{exists, \"cn=carol,dc=x\"}", Err(())).await;
        check("{in_group, \"cn=users,dc=x\"}", Ok(true)).await;
        check("{in_group, \"cn=staff,dc=x\"}", Ok(false)).await;
        check("{in_group, \"cn=users,dc=x\", \"owner\"}", Ok(false)).await;
        check("{in_group_nested, \"cn=Staff,dc=x\"}", Ok(true)).await;
        check("{in_group_nested, \"cn=all,dc=x\"}", Ok(true)).await;
        check("{in_group_nested, \"cn=others,dc=x\"}", Ok(false)).await;
        check("{'not', {constant, true}}", Ok(false)).await;
        check("{'not', {exists, \"cn=carol,dc=x\"}}", Err(())).await;
        let pair = |kind, one, two| format!("{{'{kind}', [{one}, {two}]}}");
        let (yes, no, wrong) = (
            "{constant, true}",
            "{constant, false}",
            "{exists, \"cn=c\"}",
        );
        check(&pair("and", yes, yes), Ok(true)).await;
        check(&pair("and", no, wrong), Ok(false)).await;
        check(&pair("and", yes, wrong), Err(())).await;
        check(&pair("or", wrong, yes), Ok(true)).await;
        check(&pair("or", wrong, no), Err(())).await;
        check(&pair("or", no, no), Ok(false)).await;
        check(
            "{for, [{permission, write, {constant, false}}, {permission, read, {constant, true}}]}",
            Ok(true),
        )
        .await;
        check("{for, [{permission, write, {constant, true}}]}", Err(())).await;
        check("{for, [{vhost, v, {constant, true}}]}", Err(())).await;
        check("{equals, \"${username}\", \"alice\"}", Ok(true)).await;
        check(
            "{equals, {attribute, \"${user_dn}\", \"mail\"}, \"alice@x\"}",
            Ok(true),
        )
        .await;
        check(
            "{equals, \"b@x\", {attribute, \"${user_dn}\", \"mail\"}}",
            Ok(false),
        )
        .await;
        check(
            "{equals, {attribute, \"${user_dn}\", \"phone\"}, \"1\"}",
            Err(()),
        )
        .await;
        check(
            "{match, {string, \"${name}\"}, {string, \"^${username}\\\\.\"}}",
            Ok(true),
        )
        .await;
        check(
            "{match, {string, \"${name}\"}, {string, \"^bob\"}}",
            Ok(false),
        )
        .await;
        check(
            "{match, {attribute, \"${user_dn}\", \"mail\"}, {string, \"^alice\"}}",
            Ok(true),
        )
        .await;
        check("{match, {string, \"${name}\"}, {string, \"(\"}}", Ok(false)).await;
        check("{string, \"true\"}", Err(())).await;
    }
}
