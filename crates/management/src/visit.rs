//! A request on its way through the door, and what others have said of whoever makes it.
//!
//! Who somebody is and what they may do may have to be asked over a network (`leveret_broker::authority`), and nobody waits
//! here for that. What is not known yet is asked for, the answer says that it is not one ([`Answer::is_undecided`]), and the
//! request is looked at again when [`Visit::poll_poked`] is ready. By then it knows more: answers are kept for its life.
//!
//! [`Answer::is_undecided`]: crate::Answer::is_undecided

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use http::header;
use http::request::Parts;
use leveret_broker::authority::{Identity, Login, Verdict};
use leveret_broker::broker::Broker;
use leveret_broker::mailbox::Mailbox;
use parking_lot::Mutex;

use crate::call::Caller;

/// See the module's page.
#[derive(Debug)]
pub struct Visit {
    pub(crate) head: Parts,
    pub(crate) caller: Caller,
    /// Poked when something is known that was asked for.
    mailbox: Arc<Mailbox>,
    /// Whose request it is.
    own: LogIn,
    /// Somebody else, whose password the request is about.
    other: LogIn,
    vhosts: Mutex<BTreeMap<String, bool>>,
    is_undecided: AtomicBool,
}

/// What became of a login; `None`: nobody has asked.
#[derive(Debug, Default)]
struct LogIn(Arc<Mutex<Option<Progress>>>);

#[derive(Debug, Clone)]
enum Progress {
    Awaited,
    /// `None`: they are not let in.
    Known(Option<Identity>),
}

/// Not known yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Undecided;

impl Visit {
    /// Whoever runs the node and yet says who they are counts as that user, on this machine.
    pub fn new(head: Parts, caller: Caller) -> Self {
        let named = head.headers.contains_key(header::AUTHORIZATION);
        let caller = match caller {
            Caller::Operator if named => Caller::At(Ipv4Addr::LOCALHOST.into()),
            caller => caller,
        };
        Self {
            head,
            caller,
            mailbox: Arc::default(),
            own: LogIn::default(),
            other: LogIn::default(),
            vhosts: Mutex::default(),
            is_undecided: AtomicBool::new(false),
        }
    }

    /// Ready when a request that was undecided should be looked at again.
    pub fn poll_poked(&self, context: &mut Context<'_>) -> Poll<()> {
        self.mailbox.poll_poked(context)
    }

    /// Who comes from `peer` with this name and password.
    pub(crate) fn log_in(
        &self,
        broker: &Broker,
        peer: IpAddr,
        credentials: (&str, &str),
    ) -> Result<Option<Identity>, Undecided> {
        self.ask(&self.own, broker, peer, credentials)
    }

    /// Whether somebody else has this password. One question for each request.
    pub(crate) fn try_password(
        &self,
        broker: &Broker,
        peer: IpAddr,
        credentials: (&str, &str),
    ) -> Result<Option<Identity>, Undecided> {
        self.ask(&self.other, broker, peer, credentials)
    }

    fn ask(
        &self,
        log_in: &LogIn,
        broker: &Broker,
        address: IpAddr,
        (user, password): (&str, &str),
    ) -> Result<Option<Identity>, Undecided> {
        let mut progress = log_in.0.lock();
        if progress.is_none() {
            *progress = Some(Progress::Awaited);
            // The answer may come while we are still asking.
            drop(progress);
            let login = Login {
                user: user.to_owned(),
                password: Some(password.to_owned()),
                address: address.to_canonical(),
                mailbox: Arc::clone(&self.mailbox),
            };
            let (slot, mailbox) = (Arc::clone(&log_in.0), Arc::clone(&self.mailbox));
            let answer = move |identity| {
                *slot.lock() = Some(Progress::Known(identity));
                mailbox.poke();
            };
            broker.find_out(login, Box::new(answer));
            progress = log_in.0.lock();
        }
        match &*progress {
            Some(Progress::Known(identity)) => Ok(identity.clone()),
            _ => Err(self.undecided()),
        }
    }

    /// Whether somebody may connect to a vhost; `None`: there is no such vhost.
    pub(crate) fn may_connect(
        &self,
        broker: &Broker,
        who: &Identity,
        vhost: &str,
    ) -> Result<Option<bool>, Undecided> {
        if let Some(known) = self.vhosts.lock().get(vhost) {
            return Ok(Some(*known));
        }
        let allowed = match broker.may_connect(who, vhost) {
            None => return Ok(None),
            Some(Verdict::Wait) => return Err(self.undecided()),
            Some(verdict) => verdict == Verdict::Allow,
        };
        // The catalogue decides at once, and anew each time. A backend that has said no would be asked again and again.
        if who.authority.is_some() {
            self.vhosts.lock().insert(vhost.to_owned(), allowed);
        }
        Ok(Some(allowed))
    }

    /// Notes that what is answered now does not count.
    pub(crate) fn undecided(&self) -> Undecided {
        self.is_undecided.store(true, Ordering::Release);
        Undecided
    }

    /// Whether anything was undecided since this was asked last.
    pub(crate) fn take_undecided(&self) -> bool {
        self.is_undecided.swap(false, Ordering::AcqRel)
    }

    pub(crate) fn mailbox(&self) -> &Arc<Mailbox> {
        &self.mailbox
    }
}
