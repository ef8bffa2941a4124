//! Who may ask: somebody with a name and password or with a token, and what the tags allow.
//!
//! Who they are is decided by the same backends as for AMQP. A wrong name costs as long as a wrong password, and both are
//! answered after a while only.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use http::request::Parts;
use http::{HeaderMap, StatusCode, header};
use leveret_broker::authority::Identity;
use leveret_broker::time::Timestamp;
use tracing::warn;

use crate::Management;
use crate::answer::Failure;
use crate::call::{Admitted, Caller};
use crate::cross_site;
use crate::routes::{Endpoint, Parameters};
use crate::visit::{Undecided, Visit};

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

pub(crate) fn is_administrator(user: &Identity) -> bool {
    user.has_tag("administrator")
}

pub(crate) fn is_monitor(user: &Identity) -> bool {
    is_administrator(user) || user.has_tag("monitoring")
}

pub(crate) fn is_policymaker(user: &Identity) -> bool {
    is_administrator(user) || user.has_tag("policymaker")
}

/// No tag of these: no HTTP API.
pub(crate) fn is_management_user(user: &Identity) -> bool {
    is_monitor(user) || is_policymaker(user) || user.has_tag("management")
}

impl Management {
    /// Lets a request to `endpoint` in, or says why not.
    pub(crate) fn enter(
        &self,
        visit: &Arc<Visit>,
        endpoint: &'static Endpoint,
        parameters: Parameters,
        now: Timestamp,
    ) -> Result<Admitted, Failure> {
        if endpoint.who != Who::Anyone && cross_site::is_forged(&visit.head, &self.options.cors) {
            return Err(refuse_page(&visit.head));
        }
        let user = match (endpoint.who, visit.caller) {
            (Who::Anyone, _) => None,
            (_, Caller::Operator) => Some(operator()),
            (who, Caller::At(peer)) => {
                let user = self.log_in(visit, peer, now)?;
                let allowed = self.check(visit, who, &user, vhost(&visit.head, &parameters))?;
                self.count(peer, &user.name, allowed.is_ok());
                allowed.map_err(|reason| refuse(&user, reason))?;
                Some(user)
            }
        };
        Ok(Admitted {
            visit: Arc::clone(visit),
            endpoint,
            parameters,
            user,
        })
    }

    fn log_in(&self, visit: &Visit, peer: IpAddr, now: Timestamp) -> Result<Identity, Failure> {
        let found = credentials(&visit.head.headers);
        let (name, password) = match &found {
            Some(Credentials::Basic(..)) if !self.options.basic_authentication => {
                return Err(Failure::not_authorised(
                    "HTTP access denied: basic auth disabled",
                ));
            }
            Some(Credentials::Basic(name, password)) => (name.as_str(), password.as_str()),
            // What the client calls itself matters only to backends that know no tokens, and they know nobody of that name.
            Some(Credentials::Bearer(token)) => ("", token.as_str()),
            None => return Err(self.not_authenticated()),
        };
        let known = visit.log_in(&self.broker, peer, (name, password))?;
        let known = known.filter(|user| !self.is_tricked(visit, peer, user));
        known.ok_or_else(|| self.refuse_password(name, peer, now))
    }

    /// Whether a page elsewhere may have a browser on this machine log in as somebody who can from here alone.
    fn is_tricked(&self, visit: &Visit, peer: IpAddr, user: &Identity) -> bool {
        let options = &self.broker.options;
        let (_, host) = options.node_name.rsplit_once('@').unwrap_or_default();
        peer.to_canonical().is_loopback()
            && options.loopback_users.iter().any(|it| **it == *user.name)
            && cross_site::may_be_rebound(&visit.head, host)
    }

    /// A wrong name or password: counted, told to operators, and told to the client after a while.
    pub(crate) fn refuse_password(&self, name: &str, peer: IpAddr, now: Timestamp) -> Failure {
        self.count(peer, name, false);
        warn!(user = name, %peer, "HTTP access denied");
        let failure = self.not_authenticated();
        failure.not_before(now.plus_ms(FAILED_LOGIN_MS))
    }

    /// A browser is asked for name and password where these may count.
    fn not_authenticated(&self) -> Failure {
        match self.options.oauth.is_some() {
            true => Failure::new(StatusCode::UNAUTHORIZED, "not_authorized", "Not_Authorized"),
            false => Failure::not_authenticated(),
        }
    }

    fn check(
        &self,
        visit: &Visit,
        who: Who,
        user: &Identity,
        vhost: Option<&str>,
    ) -> Result<Result<(), &'static str>, Undecided> {
        if !is_management_user(user) {
            return Ok(Err("Not management user"));
        }
        // A vhost that is not there is nobody's secret: the handler says so.
        let is_member = || match vhost {
            None => Ok(true),
            Some(vhost) => {
                let access = visit.may_connect(&self.broker, user, vhost)?;
                Ok(access != Some(false))
            }
        };
        let (allowed, otherwise) = match who {
            Who::Anyone | Who::User => (true, ""),
            Who::Vhost => (
                is_administrator(user) || is_member()?,
                "User not authorised to access virtual host",
            ),
            Who::VhostPolicymaker => (
                is_administrator(user) || is_policymaker(user) && is_member()?,
                "User not authorised to access object",
            ),
            Who::Policymaker => (is_policymaker(user), "User not authorised to access object"),
            Who::Monitoring => (is_monitor(user), "Not monitor user"),
            Who::Administrator => (is_administrator(user), "Not administrator user"),
        };
        Ok(if allowed { Ok(()) } else { Err(otherwise) })
    }

    pub(crate) fn count(&self, peer: IpAddr, user: &str, succeeded: bool) {
        self.broker
            .login_sources
            .note("http", peer, user, succeeded);
        let counter = match succeeded {
            true => &self.attempts.succeeded,
            false => &self.attempts.failed,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

fn refuse_page(head: &Parts) -> Failure {
    warn!(origin = ?head.headers.get(header::ORIGIN), "a request of another site's page is refused");
    Failure::new(
        StatusCode::FORBIDDEN,
        "forbidden",
        "pages of other origins may not send forms here",
    )
}

fn refuse(user: &Identity, reason: &'static str) -> Failure {
    warn!(user = &*user.name, reason, "HTTP access denied");
    Failure::not_authorised(reason)
}

/// Whoever runs the node. RabbitMQ's tools act under this name.
fn operator() -> Identity {
    Identity {
        name: "rmq-cli".into(),
        tags: vec!["administrator".into()],
        authority: None,
        expires: None,
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

/// What a client shows of itself.
enum Credentials {
    /// Name and password.
    Basic(String, String),
    /// A token of OAuth 2 (RFC 6750, section 2.1).
    Bearer(String),
}

fn credentials(headers: &HeaderMap) -> Option<Credentials> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, shown) = value.split_once(' ')?;
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(Credentials::Bearer(shown.trim().to_owned()));
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = BASE64.decode(shown.trim()).ok()?;
    let text = String::from_utf8(decoded).ok()?;
    let (name, password) = text.split_once(':')?;
    Some(Credentials::Basic(name.to_owned(), password.to_owned()))
}
