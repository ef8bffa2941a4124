//! Names filled into patterns such as `cn=${username},ou=people`. What is filled into a distinguished name is escaped, so
//! that nobody becomes somebody else by their choice of a name.

/// What the variables of a pattern stand for.
#[derive(Debug, Clone, Default)]
pub(super) struct Variables(Vec<(&'static str, String)>);

impl Variables {
    /// Of a user: `username` and, of a name like `DOMAIN\user`, `ad_domain` and `ad_user`.
    pub(super) fn of_user(user: &str) -> Self {
        let mut all = vec![("username", user.to_owned())];
        if let Some((domain, own)) = split_domain(user) {
            all.push(("ad_domain", domain.to_owned()));
            all.push(("ad_user", own.to_owned()));
        }
        Self(all)
    }

    pub(super) fn with(mut self, name: &'static str, value: &str) -> Self {
        self.0.push((name, value.to_owned()));
        self
    }

    pub(super) fn find(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(own, _)| *own == name);
        found.map(|(_, value)| value.as_str())
    }

    /// A pattern that is no distinguished name.
    pub(super) fn fill(&self, pattern: &str) -> String {
        fill(pattern, |name| self.find(name).map(str::to_owned))
    }

    /// A pattern that is one. `user_dn` is a whole name and stays as it is.
    pub(super) fn fill_dn(&self, pattern: &str) -> String {
        let domain = self.find("username").and_then(safe_domain);
        fill(pattern, |name| match (name, domain) {
            ("user_dn", _) => self.find(name).map(str::to_owned),
            ("username", Some((domain, own))) => {
                Some(format!("{}\\{}", escaped(domain), escaped(own)))
            }
            ("ad_domain" | "ad_user", None) => None,
            _ => self.find(name).map(escaped),
        })
    }
}

/// One pass, so that a name with `${…}` in it is not filled again. Unknown variables stay.
fn fill(pattern: &str, value: impl Fn(&str) -> Option<String>) -> String {
    let mut out = String::with_capacity(pattern.len());
    let mut rest = pattern;
    while let Some((before, after)) = rest.split_once("${") {
        out.push_str(before);
        let known = after
            .split_once('}')
            .and_then(|(name, behind)| Some((value(name)?, behind)));
        match known {
            Some((value, behind)) => {
                out.push_str(&value);
                rest = behind;
            }
            None => {
                out.push_str("${");
                rest = after;
            }
        }
    }
    out + rest
}

/// Domain and user of a Windows name.
fn split_domain(user: &str) -> Option<(&str, &str)> {
    let (domain, own) = user.split_once('\\')?;
    (!domain.is_empty() && !own.is_empty()).then_some((domain, own))
}

/// The same, unless the backslash between them could be taken for one that escapes.
fn safe_domain(user: &str) -> Option<(&str, &str)> {
    let (domain, own) = split_domain(user)?;
    (!own.contains('\\') && !escaped(own).starts_with('\\')).then_some((domain, own))
}

/// RFC 4514, section 2.4.
fn escaped(value: &str) -> String {
    let last = value.chars().count().saturating_sub(1);
    let mut text = String::with_capacity(value.len());
    for (index, c) in value.chars().enumerate() {
        let edge = (index == 0 && " #".contains(c)) || (index == last && c == ' ');
        match c {
            '\0' => text.push_str("\\00"),
            c if edge || ",+\"\\<>;=".contains(c) => text.extend(['\\', c]),
            c => text.push(c),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_names() {
        let check = |user: &str, pattern: &str, expected: &str| {
            let variables = Variables::of_user(user).with("user_dn", "cn=x,dc=y");
            assert_eq!(variables.fill_dn(pattern), expected, "{user}");
        };
        check("alice", "cn=${username},ou=people", "cn=alice,ou=people");
        check(
            "a,ou=admins",
            "cn=${username},ou=people",
            "cn=a\\,ou\\=admins,ou=people",
        );
        check("#a ", "cn=${username}", "cn=\\#a\\ ");
        check("a\0b", "cn=${username}", "cn=a\\00b");
        check("${user_dn}", "cn=${username}", "cn=${user_dn}");
        check("alice", "${user_dn}", "cn=x,dc=y");
        check("alice", "cn=${other},${", "cn=${other},${");
        check("CORP\\alice", "${username}", "CORP\\alice");
        check(
            "CORP\\alice",
            "cn=${ad_user},dc=${ad_domain}",
            "cn=alice,dc=CORP",
        );
        // Its backslash would make one of the pattern's own characters out of the comma.
        check("CORP\\,alice", "${username}", "CORP\\\\\\,alice");
        check("CORP\\,alice", "cn=${ad_user}", "cn=${ad_user}");
        check("\\alice", "${username}", "\\\\alice");
    }

    #[test]
    fn plain_patterns_are_filled_as_they_are() {
        let variables = Variables::of_user("CORP\\al,ice").with("vhost", "/");
        let filled = variables.fill("${ad_user}@${ad_domain} in ${vhost} by ${username}");
        assert_eq!(filled, "al,ice@CORP in / by CORP\\al,ice");
    }
}
