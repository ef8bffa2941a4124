//! Users of other backends than the catalogue, who may have to be waited for.

use std::collections::{BTreeMap, VecDeque};

use leveret_broker::authority::{
    Authority, Backends, Identity, LoggedIn, Login, Question, Verdict,
};
use leveret_broker::mailbox::Mailbox;

use super::*;

/// Knows alice, an administrator when her password is `admin`, who may use `/` and what begins with `alice`; but says
/// nothing before it is told to.
#[derive(Debug, Default)]
struct Slow(Arc<Mutex<VecDeque<Waiting>>>);

enum Waiting {
    Login(Login, LoggedIn),
    Question(Arc<Alice>, String, bool),
}

impl std::fmt::Debug for Waiting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Waiting")
    }
}

/// What has been decided of her, each for once if it was a refusal; `None`: it has been asked.
#[derive(Debug)]
struct Alice {
    known: Mutex<BTreeMap<String, Option<bool>>>,
    mailbox: Arc<Mailbox>,
    waiting: Arc<Mutex<VecDeque<Waiting>>>,
    this: std::sync::Weak<Self>,
}

impl Backends for Slow {
    fn log_in(&self, login: Login, answer: LoggedIn) {
        self.0.lock().push_back(Waiting::Login(login, answer));
    }
}

impl Authority for Alice {
    fn decide(&self, question: Question<'_>) -> Verdict {
        let asked = format!("{question:?}");
        let mut known = self.known.lock();
        match known.get(&asked) {
            Some(Some(true)) => Verdict::Allow,
            Some(None) => Verdict::Wait,
            Some(Some(false)) => {
                known.remove(&asked);
                Verdict::Deny
            }
            None => {
                let allowed = match question {
                    Question::Vhost { vhost } => vhost == "/",
                    Question::Resource { name, .. } => name.starts_with("alice"),
                    Question::Topic { .. } => false,
                };
                let this = self.this.upgrade().unwrap();
                known.insert(asked.clone(), None);
                let waiting = Waiting::Question(this, asked, allowed);
                self.waiting.lock().push_back(waiting);
                Verdict::Wait
            }
        }
    }
}

impl Slow {
    /// Answers the oldest question; `false`: there is none.
    fn turn(&self) -> bool {
        let next = self.0.lock().pop_front();
        match next {
            None => return false,
            Some(Waiting::Login(login, answer)) => {
                let tags = match login.password.as_deref() {
                    Some("admin") => Some("administrator"),
                    Some("sesame") => Some("management"),
                    _ => None,
                };
                let alice = || {
                    Arc::new_cyclic(|this| Alice {
                        known: Mutex::default(),
                        mailbox: login.mailbox.clone(),
                        waiting: Arc::clone(&self.0),
                        this: this.clone(),
                    })
                };
                answer(tags.map(|tag| Identity {
                    name: "alice".into(),
                    tags: vec![tag.into()],
                    authority: Some(alice()),
                    expires: None,
                }));
            }
            Some(Waiting::Question(alice, asked, allowed)) => {
                alice.known.lock().insert(asked, Some(allowed));
                alice.mailbox.poke();
            }
        }
        true
    }
}

/// The answer, looked for again whenever the backend has said something, and how often that was.
fn ask(world: &World, slow: &Slow, request: &str, authorization: &str) -> (Seen, usize) {
    let mut words = request.splitn(3, ' ');
    let builder = Request::builder()
        .method(words.next().unwrap())
        .uri(words.next().unwrap())
        .header(header::AUTHORIZATION, authorization);
    let body = words.next().unwrap_or_default();
    let (head, ()) = builder.body(()).unwrap().into_parts();
    let visit = Arc::new(Visit::new(head, world.caller));
    let (mut admitted, mut turns) = (None, 0);
    loop {
        let answer = match &admitted {
            None => match world.management.admit(&visit, world.now) {
                Ok(found) => {
                    admitted = Some(found);
                    continue;
                }
                Err(answer) => *answer,
            },
            Some(admitted) => world
                .management
                .answer(admitted, body.as_bytes(), world.now),
        };
        if !answer.is_undecided {
            return (Seen::new(answer), turns);
        }
        assert!(slow.turn(), "{request}: undecided, and nobody was asked");
        turns += 1;
    }
}

fn world() -> (World, Slow) {
    let world = World::new();
    world.check(
        r#"
        PUT /api/vhosts/other {}
        201
        PUT /api/queues/%2F/bob {}
        201
        PUT /api/queues/other/hidden {}
        201
        "#,
    );
    let slow = Slow::default();
    let shared = Slow(Arc::clone(&slow.0));
    world.management.broker.use_backends(Arc::new(shared));
    (world, slow)
}

const SESAME: &str = "Basic YWxpY2U6c2VzYW1l";

#[test]
fn a_request_waits_for_backends_and_then_obeys_them() {
    let (world, slow) = world();
    let check = |request: &str, authorization: &str, turns: usize, expected: &str| {
        let (seen, turned) = ask(&world, &slow, request, authorization);
        let shown = format!("{} {}", seen.status, seen.body);
        assert!(shown.starts_with(expected), "{request}: {shown}");
        assert_eq!(turned, turns, "{request}");
    };
    let who = r#"200 {"is_internal_user":false,"name":"alice","tags":["management"]}"#;
    check("GET /api/whoami", SESAME, 1, who);
    check("GET /api/whoami", "Bearer sesame", 1, who);
    check("GET /api/whoami", "Bearer guess", 1, "401 ");
    check("GET /api/users", SESAME, 1, "401 ");
    check("GET /api/users", "Bearer admin", 1, "200 ");
    check("GET /api/queues/other", SESAME, 2, "401 ");
    check(
        "GET /api/queues?columns=name",
        SESAME,
        3,
        r#"200 [{"name":"bob"}]"#,
    );
    check("PUT /api/queues/%2F/alice {}", SESAME, 3, "201 ");
    check("PUT /api/queues/%2F/bobs {}", SESAME, 3, "401 ");
    let publish = r#"POST /api/exchanges/%2F/alices/publish {"properties":{},"routing_key":"","payload":"","payload_encoding":"string"}"#;
    check("PUT /api/exchanges/%2F/alices {}", SESAME, 3, "201 ");
    check(publish, SESAME, 3, r#"200 {"routed":false}"#);
}

#[test]
fn failed_tokens_are_slowed_down_like_passwords() {
    let (world, slow) = world();
    for wrong in ["Bearer guess", "Basic YWxpY2U6Z3Vlc3M="] {
        let (seen, _) = ask(&world, &slow, "GET /api/whoami", wrong);
        assert_eq!(seen.not_before, Some(world.now.plus_ms(3_000)), "{wrong}");
    }
}

#[test]
fn passwords_can_be_switched_off() {
    let world = World::with(|options| options.basic_authentication = false);
    world.check(
        r#"
        GET /api/whoami
        401 {"error":"not_authorised","reason":"HTTP access denied: basic auth disabled"}
        "#,
    );
}
