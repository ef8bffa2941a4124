//! Whether clients of AMQP are let in: their listeners, which operators close and open while the node runs.
//!
//! ```text
//!              suspend_listeners, drain          stop_app
//!      ┌──────┐ ─────────────────────▶ ┌───────────┐ ────▶ ┌─────────┐
//!      │ open │                        │ suspended │       │ stopped │ reset
//!      └──────┘ ◀───────────────────── └───────────┘       └─────────┘
//!          ▲    resume_listeners, revive                        │
//!          └────────────────────────────────────────────────────┘ start_app
//! ```
//!
//! Listeners that are closed are gone for the operating system, so that whoever looks for a node that takes clients (as
//! Kubernetes does) finds none here.

use std::sync::Arc;

use leveret_management::{Change, ListenerFacts, Service};
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tracing::info;

use crate::io_thread::IoThreads;
use crate::listener::{Bound, Listener, Place};

/// Changes on their way. One is made at a time.
const CHANGES_MAX: usize = 4;

type Answer = Result<(), String>;

/// For whoever wants to know, or to change it.
#[derive(Clone)]
pub(crate) struct ServiceHandle {
    shared: Arc<Shared>,
    changes: mpsc::Sender<(Change, oneshot::Sender<Answer>)>,
}

struct Shared {
    service: Mutex<Service>,
    /// Where AMQP is spoken when listeners are open.
    facts: Vec<ListenerFacts>,
}

/// See the module's page.
pub(crate) struct ClientListeners {
    shared: Arc<Shared>,
    changes: mpsc::Receiver<(Change, oneshot::Sender<Answer>)>,
    places: Vec<Place>,
    /// Those that have their ports and do not listen yet.
    bound: Vec<Bound>,
    threads: Arc<IoThreads>,
    accepting: JoinSet<()>,
}

impl ServiceHandle {
    pub(crate) fn service(&self) -> Service {
        *self.shared.service.lock()
    }

    /// Where clients are let in just now.
    pub(crate) fn listeners(&self) -> Vec<ListenerFacts> {
        match self.service().is_open() {
            true => self.shared.facts.clone(),
            false => Vec::new(),
        }
    }

    /// Makes a change and waits for it. Not to be called on the thread that listens.
    pub(crate) fn change(&self, change: Change) -> Answer {
        let (answer, answered) = oneshot::channel();
        let ended = |_| "the node stops".to_owned();
        self.changes
            .blocking_send((change, answer))
            .map_err(|_| ended(()))?;
        answered.blocking_recv().map_err(|_| ended(()))?
    }
}

impl ClientListeners {
    /// Lets nobody in before [`Self::open`].
    pub(crate) fn new(
        bound: Vec<Bound>,
        facts: Vec<ListenerFacts>,
        threads: Arc<IoThreads>,
    ) -> (Self, ServiceHandle) {
        let (sender, changes) = mpsc::channel(CHANGES_MAX);
        let shared = Arc::new(Shared {
            service: Mutex::default(),
            facts,
        });
        let this = Self {
            shared: Arc::clone(&shared),
            changes,
            places: bound.iter().map(Bound::place).collect(),
            bound,
            threads,
            accepting: JoinSet::new(),
        };
        let handle = ServiceHandle {
            shared,
            changes: sender,
        };
        (this, handle)
    }

    /// Lets clients in.
    pub(crate) fn open(&mut self) -> Answer {
        let bound = std::mem::take(&mut self.bound);
        self.accept(bound.into_iter().map(Bound::listen))
    }

    /// Makes the changes that are asked for, until one of the listeners fails.
    pub(crate) async fn run(&mut self) -> String {
        loop {
            tokio::select! {
                Some((change, answer)) = self.changes.recv() => {
                    // Who asked may have gone.
                    let _ = answer.send(self.make(change).await);
                }
                Some(task) = self.accepting.join_next() => return format!("{task:?}"),
            }
        }
    }

    /// Lets nobody in any more.
    pub(crate) async fn close(mut self) {
        self.accepting.shutdown().await;
    }

    async fn make(&mut self, change: Change) -> Answer {
        let before = *self.shared.service.lock();
        let after = next(before, change)?;
        match (before.is_open(), after.is_open()) {
            (true, false) => self.accepting.shutdown().await,
            // All of them or none.
            (false, true) => self.accept(self.places.clone().iter().map(Place::open))?,
            _ => {}
        }
        *self.shared.service.lock() = after;
        info!(?change, open = after.is_open(), "listeners changed");
        Ok(())
    }

    /// Accepts at `listeners`, which open as they come; at none when one does not.
    fn accept(&mut self, listeners: impl Iterator<Item = Result<Listener, String>>) -> Answer {
        let runtime = self.threads.acceptor();
        let entered = runtime.enter();
        let listeners = listeners.collect::<Result<Vec<_>, _>>()?;
        drop(entered);
        for listener in listeners {
            let threads = Arc::clone(&self.threads);
            self.accepting
                .spawn_on(listener.accept_all(threads), runtime);
        }
        Ok(())
    }
}

/// What comes of a change; saying the same again changes nothing.
fn next(service: Service, change: Change) -> Result<Service, String> {
    Ok(match change {
        Change::StopApp => Service {
            is_stopped: true,
            ..service
        },
        Change::StartApp if service.is_stopped => Service::default(),
        Change::StartApp => service,
        Change::Reset if service.is_stopped => service,
        Change::Reset => return Err("the node has to be stopped by stop_app first".to_owned()),
        Change::SuspendListeners => Service {
            is_suspended: true,
            ..service
        },
        Change::ResumeListeners => Service {
            is_suspended: false,
            ..service
        },
        Change::Drain => Service {
            is_suspended: true,
            is_drained: true,
            ..service
        },
        Change::Revive => Service {
            is_suspended: false,
            is_drained: false,
            ..service
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Makes the changes; gives what is true then, or that the last is refused.
    fn check(changes: &[Change], expected: &str) {
        let (last, before) = changes.split_last().unwrap();
        let mut service = Service::default();
        for change in before {
            service = next(service, *change).unwrap();
        }
        let shown = match next(service, *last) {
            Err(_) => "refused".to_owned(),
            Ok(service) => {
                let names = [
                    (service.is_open(), "open"),
                    (service.is_suspended, "suspended"),
                    (service.is_drained, "drained"),
                    (service.is_stopped, "stopped"),
                ];
                let names = names.into_iter().filter(|(is, _)| *is);
                names.map(|(_, name)| name).collect::<Vec<_>>().join(" ")
            }
        };
        assert_eq!(shown, expected, "{changes:?}");
    }

    #[test]
    fn operators_close_and_open() {
        use Change::{Drain, Reset, ResumeListeners, Revive, StartApp, StopApp, SuspendListeners};
        check(&[SuspendListeners], "suspended");
        check(
            &[SuspendListeners, SuspendListeners, ResumeListeners],
            "open",
        );
        check(&[Drain], "suspended drained");
        check(&[Drain, Revive], "open");
        check(&[Drain, ResumeListeners], "open drained");
        check(&[StopApp], "stopped");
        check(&[StopApp, ResumeListeners], "stopped");
        check(&[StopApp, StartApp], "open");
        check(&[Drain, StopApp, StartApp], "open");
        check(&[Drain, StartApp], "suspended drained");
        check(&[Reset], "refused");
        check(&[Drain, Reset], "refused");
        check(&[StopApp, Reset], "stopped");
    }
}
