//! Users: who they are, how a password is checked, and what they may do where.

use std::sync::Arc;

use md5::Md5;
use regex::Regex;
use sha2::{Digest, Sha256, Sha512};
use subtle::ConstantTimeEq;

/// How a password was hashed; RabbitMQ's `hashing_algorithm`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hashing {
    Sha256,
    Sha512,
    /// Of old definitions.
    Md5,
}

impl Hashing {
    /// RabbitMQ's name for it in definitions.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "rabbit_password_hashing_sha256",
            Self::Sha512 => "rabbit_password_hashing_sha512",
            Self::Md5 => "rabbit_password_hashing_md5",
        }
    }

    /// The algorithm of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Sha256, Self::Sha512, Self::Md5]
            .into_iter()
            .find(|hashing| hashing.name() == name)
    }

    fn digest(self, salt: &[u8], password: &str) -> Vec<u8> {
        fn of<D: Digest>(salt: &[u8], password: &str) -> Vec<u8> {
            let digest = D::new().chain_update(salt).chain_update(password);
            digest.finalize().to_vec()
        }
        match self {
            Self::Sha256 => of::<Sha256>(salt, password),
            Self::Sha512 => of::<Sha512>(salt, password),
            Self::Md5 => of::<Md5>(salt, password),
        }
    }
}

/// A password as it is kept: four octets of salt, then the digest of salt and password.
/// Empty: nobody can log in with a password.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash {
    pub hashing: Hashing,
    pub salted: Box<[u8]>,
}

impl std::fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PasswordHash")
            .field("hashing", &self.hashing)
            .finish_non_exhaustive()
    }
}

const SALT: usize = 4;

impl PasswordHash {
    /// The hash of `password`. Every password wants its own random `salt`.
    pub fn new(password: &str, salt: [u8; SALT]) -> Self {
        Self::with(Hashing::Sha256, password, salt)
    }

    /// The same by another algorithm.
    pub fn with(hashing: Hashing, password: &str, salt: [u8; SALT]) -> Self {
        let mut salted = salt.to_vec();
        salted.extend(hashing.digest(&salt, password));
        Self {
            hashing,
            salted: salted.into(),
        }
    }

    /// That of a user who can't log in with a password.
    pub fn none() -> Self {
        Self {
            hashing: Hashing::Sha256,
            salted: Box::default(),
        }
    }

    /// Whether it is that.
    pub fn is_none(&self) -> bool {
        self.salted.is_empty()
    }

    /// Whether `password` is the one. Takes as long for a wrong one as for the right one. A blank password never is.
    pub fn matches(&self, password: &str) -> bool {
        if password.is_empty() || self.salted.len() <= SALT {
            return false;
        }
        let (salt, digest) = self.salted.split_at(SALT);
        self.hashing.digest(salt, password).ct_eq(digest).into()
    }
}

/// What new passwords have to be (RabbitMQ: `credential_validator.*`).
#[derive(Debug, Clone)]
pub enum PasswordRule {
    Anything,
    /// Octets.
    MinLength(usize),
    /// An unanchored regular expression.
    Matching(Pattern),
}

impl PasswordRule {
    /// The error is RabbitMQ's explanation.
    pub fn check(&self, password: &str) -> Result<(), String> {
        match self {
            Self::MinLength(least) if password.len() < *least => {
                Err(format!("minimum required password length is {least}"))
            }
            Self::Matching(pattern) if !pattern.matches(password) => {
                Err("provided password does not match the validator regular expression".to_owned())
            }
            _ => Ok(()),
        }
    }
}

/// A user of the internal database.
#[derive(Debug, Clone, PartialEq)]
pub struct User {
    pub name: Arc<str>,
    pub password: PasswordHash,
    /// `administrator`, `monitoring`, …, `impersonator`.
    pub tags: Vec<Box<str>>,
    pub limits: UserLimits,
}

/// Limits of a user over all vhosts. Negative: none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct UserLimits {
    pub connections_max: Option<i64>,
    pub channels_max: Option<i64>,
}

impl User {
    pub fn has_tag(&self, tag: &str) -> bool {
        self.tags.iter().any(|own| &**own == tag)
    }
}

/// The three operations that permissions tell apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Access {
    Configure,
    Write,
    Read,
}

impl Access {
    /// The word in RabbitMQ's refusals.
    pub fn name(self) -> &'static str {
        match self {
            Self::Configure => "configure",
            Self::Write => "write",
            Self::Read => "read",
        }
    }
}

/// What a user may do in a vhost: a pattern of resource names per operation.
#[derive(Debug, Clone, PartialEq)]
pub struct Permissions {
    pub configure: Pattern,
    pub write: Pattern,
    pub read: Pattern,
}

impl Permissions {
    /// Everything.
    pub fn full() -> Self {
        Self {
            configure: Pattern::new(".*"),
            write: Pattern::new(".*"),
            read: Pattern::new(".*"),
        }
    }

    /// Whether `access` to the resource `name` is allowed.
    pub fn allow(&self, access: Access, name: &str) -> bool {
        match access {
            Access::Configure => self.configure.matches(name),
            Access::Write => self.write.matches(name),
            Access::Read => self.read.matches(name),
        }
    }
}

/// Which routing keys a user may use with a topic exchange.
#[derive(Debug, Clone, PartialEq)]
pub struct TopicPermissions {
    pub write: Pattern,
    pub read: Pattern,
}

/// An unanchored regular expression over names. The empty one matches the empty name only; one that is no regular
/// expression matches nothing. (RabbitMQ, "Access Control": how permissions work.)
#[derive(Debug, Clone)]
pub struct Pattern {
    source: Box<str>,
    compiled: Compiled,
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}

#[derive(Debug, Clone)]
enum Compiled {
    Everything,
    Expression(Regex),
    Nothing,
}

impl Pattern {
    /// The same, if it is a regular expression.
    pub fn checked(source: &str) -> Result<Self, regex::Error> {
        Regex::new(source).map(|_| Self::new(source))
    }

    pub fn new(source: &str) -> Self {
        let expression = if source.is_empty() { "^$" } else { source };
        let compiled = match expression {
            ".*" | "^.*$" | "" => Compiled::Everything,
            other => Regex::new(other).map_or(Compiled::Nothing, Compiled::Expression),
        };
        Self {
            source: source.into(),
            compiled,
        }
    }

    /// As it was written.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Matches a routing key after `{username}` and `{vhost}` in the pattern have been put in, taken literally (E15).
    pub fn matches_for(&self, user: &str, vhost: &str, key: &str) -> bool {
        if !self.source.contains('{') {
            return self.matches(key);
        }
        let source = self.source.replace("{username}", &regex::escape(user));
        Self::new(&source.replace("{vhost}", &regex::escape(vhost))).matches(key)
    }

    pub fn matches(&self, name: &str) -> bool {
        match &self.compiled {
            Compiled::Everything => true,
            Compiled::Expression(regex) => regex.is_match(name),
            Compiled::Nothing => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The worked sample of RabbitMQ's page "Passwords": salt 908DC60A, password test12.
    #[test]
    fn password_hashes_are_rabbitmqs() {
        let hash = PasswordHash::new("test12", [0x90, 0x8D, 0xC6, 0x0A]);
        let hex: String = hash
            .salted
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        assert_eq!(
            hex,
            "908dc60aa5b924b3096b8897d65a3b5f80fa5db62a94b83122cdf4f8fead10d515d8f391"
        );
        assert!(hash.matches("test12"));
        assert!(!hash.matches("test13"));
        assert!(!hash.matches(""));
    }

    #[test]
    fn every_algorithm_knows_its_own_hashes() {
        for hashing in [Hashing::Sha256, Hashing::Sha512, Hashing::Md5] {
            assert_eq!(Hashing::from_name(hashing.name()), Some(hashing));
            let hash = PasswordHash::with(hashing, "test12", [1, 2, 3, 4]);
            assert!(hash.matches("test12") && !hash.matches("test13"));
        }
        // RFC 1321's digest of `abc`, whose `a` is taken for the last octet of the salt here.
        let digest = Hashing::Md5.digest(b"a", "bc");
        let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "900150983cd24fb0d6963f7d28e17f72");
    }

    #[test]
    fn new_passwords_are_held_to_the_rule() {
        let check = |rule: &PasswordRule, password: &str, expected: Option<&str>| {
            let error = rule.check(password).err();
            assert_eq!(error.as_deref(), expected, "{rule:?} {password}");
        };
        check(&PasswordRule::Anything, "", None);
        let short = Some("minimum required password length is 5");
        let rule = PasswordRule::MinLength(5);
        check(&rule, "four", short);
        check(&rule, "fünf", None);
        let wrong = Some("provided password does not match the validator regular expression");
        let rule = PasswordRule::Matching(Pattern::new("^[a-z]+[0-9]"));
        check(&rule, "abc", wrong);
        check(&rule, "abc1!", None);
    }

    #[test]
    fn patterns_are_unanchored_and_fail_closed() {
        let check = |pattern: &str, name: &str, expected: bool| {
            assert_eq!(
                Pattern::new(pattern).matches(name),
                expected,
                "{pattern} on {name}"
            );
        };
        check("", "", true);
        check("", "q", false);
        check("order", "my-orders", true);
        check("^order$", "my-orders", false);
        check(".*", "anything", true);
        check("(", "(", false);
    }
}
