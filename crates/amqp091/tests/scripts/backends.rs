//! Logins and permissions that others decide, in their own time.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex};

use leveret_broker::authority::{
    Authority, Backends, Identity, LoggedIn, Login, Question, Verdict,
};
use leveret_broker::mailbox::Mailbox;
use leveret_broker::time::Timestamp;

use crate::world::check;

/// Answers when a script says so.
#[derive(Clone, Default)]
pub(crate) struct Later(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    logins: Vec<LoggedIn>,
    /// By the name of the resource.
    decided: BTreeMap<String, bool>,
    mailboxes: Vec<Arc<Mailbox>>,
}

impl fmt::Debug for Later {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Later")
    }
}

impl Later {
    /// `let NAME in [until MS]`, `refuse`, `decide RESOURCE yes` or `no`.
    pub(crate) fn play(&self, words: &[&str]) {
        let identity = |name: &str, expires| Identity {
            name: name.into(),
            tags: Vec::new(),
            authority: Some(Arc::new(self.clone())),
            expires,
        };
        match *words {
            ["let", name, "in"] => self.answer(Some(identity(name, None))),
            ["let", name, "in", "until", ms] => {
                let expires = Timestamp(ms.parse().unwrap());
                self.answer(Some(identity(name, Some(expires))));
            }
            ["refuse"] => self.answer(None),
            ["decide", resource, verdict] => {
                let mut state = self.0.lock().unwrap();
                state.decided.insert(resource.to_owned(), verdict == "yes");
                state.mailboxes.iter().for_each(|mailbox| mailbox.poke());
            }
            _ => panic!("backends {words:?}"),
        }
    }

    fn answer(&self, identity: Option<Identity>) {
        let login = self.0.lock().unwrap().logins.remove(0);
        login(identity);
    }
}

impl Backends for Later {
    fn log_in(&self, login: Login, answer: LoggedIn) {
        let mut state = self.0.lock().unwrap();
        state.logins.push(answer);
        state.mailboxes.push(login.mailbox);
    }
}

impl Authority for Later {
    fn decide(&self, question: Question<'_>) -> Verdict {
        let name = match question {
            Question::Vhost { .. } => return Verdict::Allow,
            Question::Resource { name, .. } => name,
            Question::Topic { exchange, .. } => exchange,
        };
        match self.0.lock().unwrap().decided.get(name) {
            None => Verdict::Wait,
            Some(true) => Verdict::Allow,
            Some(false) => Verdict::Deny,
        }
    }
}

#[test]
fn a_login_waits_for_its_answer_and_so_does_what_follows_it() {
    check(
        "
        backends
        a connects
        a header
          a connection.start ANONYMOUS AMQPLAIN PLAIN
        a start-ok alice sesame &
        a tune-ok &
        a open / &
        a channel
        backends let alice in
          a connection.tune 2047 131072 60
          a connection.open-ok
          a channel.open-ok
        ",
    );
}

#[test]
fn a_refused_login_is_refused_when_that_is_known() {
    check(
        "
        backends
        a connects
        a header
          a connection.start ANONYMOUS AMQPLAIN PLAIN
        a start-ok alice sesame authentication_failure_close
        backends refuse
          a connection.close 403 ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN. For details see the broker logfile. 0.0
        ",
    );
}

#[test]
fn a_login_that_is_never_answered_ends_with_the_handshake() {
    check(
        "
        backends
        a connects
        a header
          a connection.start ANONYMOUS AMQPLAIN PLAIN
        a start-ok alice sesame
        time 9999
        time 1
          a closed
        backends let alice in
        ",
    );
}

#[test]
fn what_is_not_decided_yet_is_done_later_and_in_order() {
    check(
        "
        backends
        a connects
        a header
          a connection.start ANONYMOUS AMQPLAIN PLAIN
        a start-ok alice sesame
        backends let alice in
          a connection.tune 2047 131072 60
        a tune-ok
        a open /
          a connection.open-ok
        a channel
          a channel.open-ok
        a queue q exclusive
        a queue r exclusive
        backends decide r no
        backends decide q yes
          a queue.declare-ok q 0 0
          a channel.close 403 ACCESS_REFUSED - configure access to queue 'r' in vhost '/' refused for user 'alice' 50.10
        a close-ok
        a channel
          a channel.open-ok
        a publish amq.fanout - hello mandatory
        backends decide amq.fanout yes
          a return 312 NO_ROUTE amq.fanout - hello
        ",
    );
}

/// C17.
#[test]
fn a_connection_ends_when_what_it_has_shown_does() {
    check(
        "
        backends
        a connects
        a header
          a connection.start ANONYMOUS AMQPLAIN PLAIN
        a start-ok alice sesame
        backends let alice in until 1005000
          a connection.tune 2047 131072 60
        a tune-ok heartbeat=0
        a open /
          a connection.open-ok
        time 4999
        time 1
          a connection.close 320 CONNECTION_FORCED - credential expired 0.0
        ",
    );
}
