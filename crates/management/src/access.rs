//! Who may ask: a user by name and password, and what the tags allow.
//!
//! A wrong name costs as long as a wrong password, and both are answered after a while only.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use http::request::Parts;
use http::{HeaderMap, header};
use leveret_broker::time::Timestamp;
use leveret_broker::users::{PasswordHash, User, UserLimits};
use tracing::warn;

use crate::Management;
use crate::answer::{Answer, Failure};
use crate::call::{Admitted, Caller};
use crate::routes::{Endpoint, Parameters};

/// How long a failed log-in has to wait for its answer, ms.
const FAILED_LOGIN_MS: u64 = 3_000;

/// Who may use an endpoint. Administrators may use all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Who {
    /// Without a name.
    Anyone,
    /// A user with any tag of management.
    User,
    /// A user who may connect to the vhost in the path.
    Vhost,
    /// As `Vhost`, and with the tag `policymaker`.
    VhostPolicymaker,
    /// The tag `policymaker`.
    Policymaker,
    /// The tag `monitoring`.
    Monitoring,
    Administrator,
}

/// Log-ins that were tried.
#[derive(Debug, Default)]
pub(crate) struct Attempts {
    succeeded: AtomicU64,
    failed: AtomicU64,
}

impl Attempts {
    pub(crate) fn succeeded(&self) -> u64 {
        self.succeeded.load(Ordering::Relaxed)
    }

    pub(crate) fn failed(&self) -> u64 {
        self.failed.load(Ordering::Relaxed)
    }

    pub(crate) fn reset(&self) {
        self.succeeded.store(0, Ordering::Relaxed);
        self.failed.store(0, Ordering::Relaxed);
    }
}

pub(crate) fn is_administrator(user: &User) -> bool {
    user.has_tag("administrator")
}

pub(crate) fn is_monitor(user: &User) -> bool {
    is_administrator(user) || user.has_tag("monitoring")
}

pub(crate) fn is_policymaker(user: &User) -> bool {
    is_administrator(user) || user.has_tag("policymaker")
}

/// No tag of these: no HTTP API.
fn is_management_user(user: &User) -> bool {
    is_monitor(user) || is_policymaker(user) || user.has_tag("management")
}

impl Management {
    /// Lets a request to `endpoint` in, or says why not.
    pub(crate) fn enter(
        &self,
        head: &Parts,
        endpoint: &'static Endpoint,
        parameters: Parameters,
        caller: Caller,
        now: Timestamp,
    ) -> Result<Admitted, Box<Answer>> {
        let user = match (endpoint.who, caller) {
            (Who::Anyone, _) => None,
            (_, Caller::Operator) => Some(operator()),
            (_, Caller::At(peer)) => Some(self.log_in(&head.headers, peer, now)?),
        };
        if let Some(user) = user.as_ref().filter(|_| caller != Caller::Operator) {
            let vhost = vhost(head, &parameters);
            let allowed = self.check(endpoint.who, user, vhost);
            self.count(allowed.is_ok());
            allowed.map_err(|reason| refuse(user, reason))?;
        }
        let head = head.clone();
        Ok(Admitted {
            head,
            endpoint,
            parameters,
            user,
            caller,
        })
    }

    fn log_in(&self, headers: &HeaderMap, peer: IpAddr, now: Timestamp) -> Result<User, Failure> {
        let Some((name, password)) = credentials(headers) else {
            return Err(Failure::not_authenticated());
        };
        let loopback = peer.to_canonical().is_loopback();
        match self.broker.authenticate(&name, &password, loopback) {
            Some(user) => Ok(user),
            None => {
                self.count(false);
                warn!(user = name, %peer, "HTTP access denied");
                Err(Failure::not_authenticated().not_before(now.plus_ms(FAILED_LOGIN_MS)))
            }
        }
    }

    fn check(&self, who: Who, user: &User, vhost: Option<&str>) -> Result<(), &'static str> {
        if !is_management_user(user) {
            return Err("Not management user");
        }
        // A vhost that is not there is nobody's secret: the handler says so.
        let is_member =
            || vhost.is_none_or(|vhost| self.broker.has_access(user, vhost) != Some(false));
        let (allowed, otherwise) = match who {
            Who::Anyone | Who::User => (true, ""),
            Who::Vhost => (
                is_administrator(user) || is_member(),
                "User not authorised to access virtual host",
            ),
            Who::VhostPolicymaker => (
                is_administrator(user) || is_policymaker(user) && is_member(),
                "User not authorised to access object",
            ),
            Who::Policymaker => (is_policymaker(user), "User not authorised to access object"),
            Who::Monitoring => (is_monitor(user), "Not monitor user"),
            Who::Administrator => (is_administrator(user), "Not administrator user"),
        };
        if allowed { Ok(()) } else { Err(otherwise) }
    }

    fn count(&self, succeeded: bool) {
        let counter = match succeeded {
            true => &self.attempts.succeeded,
            false => &self.attempts.failed,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

fn refuse(user: &User, reason: &'static str) -> Failure {
    warn!(user = &*user.name, reason, "HTTP access denied");
    Failure::not_authorised(reason)
}

/// Whoever runs the node. RabbitMQ's tools act under this name.
fn operator() -> User {
    User {
        name: "rmq-cli".into(),
        password: PasswordHash::none(),
        tags: vec!["administrator".into()],
        limits: UserLimits::default(),
    }
}

/// The vhost that a request is about: in its path, or else in the header that the UI sends.
fn vhost<'a>(head: &'a Parts, parameters: &'a Parameters) -> Option<&'a str> {
    let in_path = parameters.iter().find(|(name, _)| *name == "vhost");
    let in_header = || head.headers.get("x-vhost")?.to_str().ok();
    in_path
        .map(|(_, vhost)| vhost.as_str())
        .or_else(in_header)
        .filter(|vhost| !vhost.is_empty())
}

/// Name and password of Basic authentication.
fn credentials(headers: &HeaderMap) -> Option<(String, String)> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, encoded) = value.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = BASE64.decode(encoded.trim()).ok()?;
    let text = String::from_utf8(decoded).ok()?;
    let (name, password) = text.split_once(':')?;
    Some((name.to_owned(), password.to_owned()))
}
