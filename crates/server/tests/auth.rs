//! Authentication backends, against the real program: an HTTP backend and a token issuer of our own.
#![expect(clippy::unwrap_used, reason = "all of this file is test")]

mod api;
mod client;
mod process;

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread::JoinHandle;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use client::{Client, Event};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use leveret_amqp091::method::{BasicConsume, BasicPublish, QueueBind, QueueDeclare};
use process::{Directory, Node};
use serde_json::{Value, json};

type Parameters = BTreeMap<String, String>;
type Answer = Arc<dyn Fn(&str, &Parameters) -> String + Send + Sync>;

/// A web server on this machine, with a note of what it was asked.
struct Web {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<(String, Parameters)>>>,
    ending: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Web {
    fn start(answer: Answer) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (asked, ending) = (Arc::default(), Arc::new(AtomicBool::new(false)));
        let (note, end) = (Arc::clone(&asked), Arc::clone(&ending));
        let thread = std::thread::spawn(move || {
            for socket in listener.incoming() {
                if end.load(Ordering::Acquire) {
                    return;
                }
                // A client that breaks off is no reason to end.
                let _ = serve(&socket.unwrap(), &answer, &note);
            }
        });
        let thread = Some(thread);
        Self {
            address,
            asked,
            ending,
            thread,
        }
    }

    fn count(&self, path: &str) -> usize {
        let asked = self.asked.lock().unwrap();
        asked.iter().filter(|(asked, _)| asked == path).count()
    }
}

impl Drop for Web {
    fn drop(&mut self) {
        self.ending.store(true, Ordering::Release);
        drop(TcpStream::connect(self.address));
        self.thread.take().map(JoinHandle::join);
    }
}

fn serve(
    mut socket: &TcpStream,
    answer: &Answer,
    note: &Mutex<Vec<(String, Parameters)>>,
) -> io::Result<()> {
    let mut reader = BufReader::new(socket);
    let mut first = String::new();
    reader.read_line(&mut first)?;
    let mut body_len = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let line = line.trim_end().to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        if let Some(len) = line.strip_prefix("content-length:") {
            body_len = len.trim().parse().unwrap();
        }
    }
    let mut body = vec![0; body_len];
    reader.read_exact(&mut body)?;
    let target = first.split(' ').nth(1).unwrap();
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let form = if body.is_empty() {
        query.as_bytes()
    } else {
        &body
    };
    let parameters = form_urlencoded::parse(form).into_owned().collect();
    note.lock().unwrap().push((path.to_owned(), parameters));
    let parameters = note.lock().unwrap().last().unwrap().1.clone();
    let text = answer(path, &parameters);
    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", text.len());
    socket.write_all((head + &text).as_bytes())
}

/// Knows alice, whose password is `sesame`, and lets her use queues that are called like her or by the broker, and keys
/// that begin with `alice.`.
fn people() -> Web {
    Web::start(Arc::new(|path, asked| {
        let is = |name: &str, value: &str| asked.get(name).is_some_and(|v| v == value);
        let begins =
            |name: &str, start: &str| asked.get(name).is_some_and(|v| v.starts_with(start));
        let allowed = match path {
            "/user" => is("username", "alice") && is("password", "sesame"),
            "/vhost" => is("vhost", "/") && is("username", "alice") && is("ip", "127.0.0.1"),
            "/resource" if is("resource", "exchange") => !is("name", "amq.fanout"),
            "/resource" => begins("name", "alice") || begins("name", "amq.gen-"),
            "/topic" => begins("routing_key", "alice."),
            _ => false,
        };
        if allowed {
            "allow management".to_owned()
        } else {
            "deny".to_owned()
        }
    }))
}

fn asking(web: &Web) -> Vec<String> {
    ["user", "vhost", "resource", "topic"]
        .map(|name| format!("auth_http.{name}_path=http://{}/{name}", web.address))
        .to_vec()
}

fn start(directory: &Directory, settings: &[String]) -> Node {
    let program = Path::new(env!("CARGO_BIN_EXE_leveret"));
    let settings: Vec<&str> = settings.iter().map(String::as_str).collect();
    Node::start_with(program, &directory.0, &settings).unwrap()
}

fn declare(client: &mut Client, queue: &str) -> Result<(), u16> {
    let declare = QueueDeclare {
        queue,
        exclusive: true,
        ..Default::default()
    };
    client
        .call(declare)
        .unwrap()
        .map(|_| ())
        .map_err(|refusal| refusal.code)
}

fn refusal(result: io::Result<Client>) -> String {
    result.err().unwrap().to_string()
}

/// Sends a message of this size through an exchange and waits for it in the queue, or for the refusal.
fn send(client: &mut Client, exchange: &str, key: &str, size: usize) -> Result<usize, u16> {
    let publish = BasicPublish {
        exchange,
        routing_key: key.as_bytes(),
        ..Default::default()
    };
    client.publish(publish, &vec![7; size]);
    client.flush().unwrap();
    match client.next().unwrap() {
        Event::Delivery { body, .. } => Ok(body.len()),
        Event::Refused { code, .. } => Err(code),
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_http_backend_decides_who_comes_in_and_what_they_may_do() {
    for method in ["get", "post"] {
        let web = people();
        let mut settings = asking(&web);
        settings.push("auth_backends.1=http".to_owned());
        settings.push(format!("auth_http.http_method={method}"));
        let directory = Directory::new("auth");
        let node = start(&directory, &settings);

        let refused = refusal(Client::connect_as(node.address, "alice", "guess"));
        assert!(refused.contains("403 ACCESS_REFUSED"), "{refused}");
        assert!(
            Client::connect(node.address).is_err(),
            "the catalogue is not asked"
        );
        let mut alice = Client::connect_as(node.address, "alice", "sesame").unwrap();
        assert_eq!(declare(&mut alice, "bob"), Err(403));
        assert_eq!(declare(&mut alice, ""), Ok(()));
        assert_eq!(declare(&mut alice, "alice-q"), Ok(()));
        let consume = BasicConsume {
            queue: "alice-q",
            no_ack: true,
            ..Default::default()
        };
        alice.ask(consume).unwrap();
        let bind = |routing_key: &'static str| QueueBind {
            queue: "alice-q",
            exchange: "amq.topic",
            routing_key: routing_key.as_bytes(),
            ..Default::default()
        };
        alice.ask(bind("alice.#")).unwrap();
        assert_eq!(alice.call(bind("bob.#")).unwrap().unwrap_err().code, 403);
        // That has closed the channel, and its consumer is gone.
        alice.ask(consume_again()).unwrap();

        // Small ones lie in one block with their method; of large ones the content comes later, and only once.
        assert_eq!(send(&mut alice, "amq.topic", "alice.small", 10), Ok(10));
        assert_eq!(
            send(&mut alice, "amq.topic", "alice.large", 5_000_000),
            Ok(5_000_000)
        );
        let before = web.asked.lock().unwrap().len();
        for _ in 0..10 {
            assert_eq!(send(&mut alice, "amq.topic", "alice.small", 10), Ok(10));
        }
        assert_eq!(
            web.asked.lock().unwrap().len(),
            before,
            "what is granted is remembered"
        );
        assert_eq!(send(&mut alice, "amq.topic", "bob", 5_000_000), Err(403));
        assert_eq!(send(&mut alice, "amq.fanout", "", 10), Err(403));
        alice.close().unwrap();
        assert!(node.stop().unwrap().success());
    }
}

fn consume_again() -> BasicConsume<'static> {
    BasicConsume {
        queue: "alice-q",
        no_ack: true,
        ..Default::default()
    }
}

#[test]
fn clients_are_told_why_if_they_may_be() {
    for (disclosed, expected) in [
        (
            "true",
            " by backend rabbit_auth_backend_http: not on a Thursday",
        ),
        ("false", ""),
    ] {
        let web = Web::start(Arc::new(|path, asked| match path {
            "/resource" if asked["name"] == "q" => "deny not on a Thursday".to_owned(),
            _ => "allow".to_owned(),
        }));
        let mut settings = asking(&web);
        settings.push("auth_backends.1=http".to_owned());
        settings.push(format!(
            "auth_http.authorization_failure_disclosure={disclosed}"
        ));
        let directory = Directory::new("auth");
        let node = start(&directory, &settings);
        let mut alice = Client::connect_as(node.address, "alice", "sesame").unwrap();
        let declare = QueueDeclare {
            queue: "q",
            exclusive: true,
            ..Default::default()
        };
        let refusal = alice.call(declare).unwrap().unwrap_err();
        let text = format!(
            "ACCESS_REFUSED - configure access to queue 'q' in vhost '/' refused for user 'alice'{expected}"
        );
        assert_eq!((refusal.code, refusal.text), (403, text));
    }
}

#[test]
fn a_backend_that_is_away_lets_nobody_in() {
    let web = people();
    let mut settings = asking(&web);
    settings.push("auth_backends.1=http".to_owned());
    let directory = Directory::new("auth");
    let node = start(&directory, &settings);
    let mut alice = Client::connect_as(node.address, "alice", "sesame").unwrap();
    drop(web);
    assert_eq!(declare(&mut alice, "alice-q"), Err(403));
    let refused = refusal(Client::connect_as(node.address, "alice", "sesame"));
    assert!(refused.contains("403 ACCESS_REFUSED"), "{refused}");
}

#[test]
fn the_first_backend_of_the_chain_that_knows_a_client_decides() {
    let web = people();
    let mut settings = asking(&web);
    settings.extend(["auth_backends.1=internal", "auth_backends.2=http"].map(str::to_owned));
    let directory = Directory::new("auth");
    let node = start(&directory, &settings);
    let mut guest = Client::connect(node.address).unwrap();
    assert_eq!(declare(&mut guest, "bob"), Ok(()));
    let mut alice = Client::connect_as(node.address, "alice", "sesame").unwrap();
    assert_eq!(declare(&mut alice, "bob2"), Err(403));
    assert!(Client::connect_as(node.address, "guest", "sesame").is_err());
}

#[test]
fn the_catalogue_may_be_for_clients_of_this_machine_only() {
    let settings = [
        "auth_backends.1=internal_loopback",
        "auth_backends.2=dummy",
        "loopback_users=none",
        "proxy_protocol=true",
    ];
    let directory = Directory::new("auth");
    let node = start(&directory, &settings.map(str::to_owned));
    let connect = |from: &str| {
        let proxy = format!("PROXY TCP4 {from} 192.0.2.9 40000 5672\r\n");
        Client::connect_by(node.address, &proxy, "guest", "guest")
    };
    connect("127.0.0.1").unwrap();
    let refused = refusal(connect("192.0.2.1"));
    assert!(refused.contains("403 ACCESS_REFUSED"), "{refused}");
}

#[test]
fn a_backend_may_know_who_and_the_catalogue_what_they_may_do() {
    let web = Web::start(Arc::new(|_, asked| {
        let known = asked
            .get("password")
            .is_some_and(|password| password == "sesame");
        if known {
            "allow".to_owned()
        } else {
            "deny".to_owned()
        }
    }));
    let mut settings = asking(&web);
    settings.push("auth_backends.1.authn=http".to_owned());
    settings.push("auth_backends.1.authz=internal".to_owned());
    let directory = Directory::new("auth");
    let node = start(&directory, &settings);
    let mut guest = Client::connect_as(node.address, "guest", "sesame").unwrap();
    assert_eq!(declare(&mut guest, "any"), Ok(()));
    assert!(
        Client::connect(node.address).is_err(),
        "that is the catalogue's password"
    );
    assert!(
        Client::connect_as(node.address, "alice", "sesame").is_err(),
        "the catalogue does not know alice"
    );
    assert_eq!(web.count("/resource"), 0);
}

#[test]
fn answers_are_kept_for_a_while() {
    let web = people();
    let mut settings = asking(&web);
    settings.extend(["auth_backends.1=cache", "auth_cache.cached_backend=http"].map(str::to_owned));
    let directory = Directory::new("auth");
    let node = start(&directory, &settings);
    for _ in 0..3 {
        let mut alice = Client::connect_as(node.address, "alice", "sesame").unwrap();
        assert_eq!(declare(&mut alice, "alice-q"), Ok(()));
        alice.close().unwrap();
    }
    assert_eq!(
        (
            web.count("/user"),
            web.count("/vhost"),
            web.count("/resource")
        ),
        (1, 1, 1)
    );
    for _ in 0..2 {
        assert!(Client::connect_as(node.address, "alice", "guess").is_err());
    }
    assert_eq!(web.count("/user"), 3, "refusals are not kept");
    let forget = "DELETE /api/leveret/auth/cache";
    let forgotten = api::ask_as_operator(&directory.0, forget).unwrap();
    assert_eq!(forgotten.status, 204);
    Client::connect_as(node.address, "alice", "sesame").unwrap();
    assert_eq!(web.count("/user"), 4);
}

/// Signs tokens, and tells its key to who asks.
struct Issuer {
    key: EncodingKey,
    web: Web,
}

impl Issuer {
    fn start() -> Self {
        let pair = rcgen::KeyPair::generate().unwrap();
        let point = pair.public_key_raw().to_vec();
        let address = Arc::new(OnceLock::new());
        let own: Arc<OnceLock<SocketAddr>> = Arc::clone(&address);
        let answer = move |path: &str, _: &Parameters| {
            // An uncompressed point: 4, then both coordinates (SEC 1, 2.3.3).
            let coordinate = |range: std::ops::Range<usize>| url_base64(&point[range]);
            let jwk = json!({
                "kty": "EC", "crv": "P-256", "kid": "one", "alg": "ES256",
                "x": coordinate(1..33), "y": coordinate(33..65),
            });
            match path {
                "/keys" => json!({ "keys": [jwk] }).to_string(),
                "/.well-known/openid-configuration" | "/described" => {
                    let keys = format!("http://{}/keys", own.get().unwrap());
                    json!({ "jwks_uri": keys }).to_string()
                }
                _ => String::new(),
            }
        };
        let web = Web::start(Arc::new(answer));
        address.set(web.address).unwrap();
        Self {
            key: EncodingKey::from_ec_der(&pair.serialize_der()),
            web,
        }
    }

    fn token(&self, changes: Value) -> String {
        self.token_by("one", changes)
    }

    /// For alice, who may use queues that are called like her for the next hour; with other claims put in.
    fn token_by(&self, key: &str, changes: Value) -> String {
        let mut claims = json!({
            "sub": "alice",
            "aud": ["another", "rabbitmq"],
            "exp": now_s() + 3600,
            "scope": "rabbitmq.configure:*/alice* rabbitmq.read:*/alice* rabbitmq.write:*/* other.read:*/bob",
        });
        for (name, value) in changes.as_object().unwrap() {
            claims[name] = value.clone();
        }
        let mut header = Header::new(Algorithm::ES256);
        header.kid = Some(key.to_owned());
        encode(&header, &claims, &self.key).unwrap()
    }
}

fn now_s() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs()
}

/// RFC 4648, section 5, without padding.
fn url_base64(octets: &[u8]) -> String {
    const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::new();
    for chunk in octets.chunks(3) {
        let bits = chunk
            .iter()
            .fold(0_u32, |bits, octet| bits << 8 | u32::from(*octet));
        let bits = bits << (8 * (3 - chunk.len()));
        for place in 0..=chunk.len() {
            text.push(LETTERS[(bits >> (18 - 6 * place)) as usize & 63] as char);
        }
    }
    text
}

fn trusting(issuer: &Issuer) -> Vec<String> {
    vec![
        "auth_backends.1=oauth2".to_owned(),
        "auth_oauth2.resource_server_id=rabbitmq".to_owned(),
        format!("auth_oauth2.jwks_uri=http://{}/keys", issuer.web.address),
    ]
}

#[test]
fn a_token_says_who_comes_in_and_what_they_may_do() {
    let issuer = Issuer::start();
    let directory = Directory::new("auth");
    let node = start(&directory, &trusting(&issuer));
    let mut alice = Client::connect_as(node.address, "", &issuer.token(json!({}))).unwrap();
    assert_eq!(declare(&mut alice, "alice-q"), Ok(()));
    assert_eq!(declare(&mut alice, "bob"), Err(403));
    assert_eq!(issuer.web.count("/keys"), 1);

    let check = |changes: Value| {
        let token = issuer.token(changes.clone());
        let refused = refusal(Client::connect_as(node.address, "", &token));
        assert!(
            refused.contains("403 ACCESS_REFUSED"),
            "{changes}: {refused}"
        );
    };
    check(json!({ "exp": now_s() - 1 }));
    check(json!({ "exp": null }));
    check(json!({ "nbf": now_s() + 600 }));
    check(json!({ "aud": "another" }));
    check(json!({ "aud": null }));
    let stranger = Issuer::start();
    for token in [
        stranger.token(json!({})),
        issuer.token_by("two", json!({})),
        "guest".to_owned(),
        String::new(),
    ] {
        assert!(
            Client::connect_as(node.address, "alice", &token).is_err(),
            "{token}"
        );
    }
    // Whoever makes up names of keys does not make us ask for each.
    assert_eq!(issuer.web.count("/keys"), 1);
    let without = issuer.token(json!({ "scope": "" }));
    let refused = refusal(Client::connect_as(node.address, "", &without));
    assert!(
        refused.contains("530 NOT_ALLOWED - access to vhost '/' refused for user 'alice'"),
        "{refused}"
    );
}

#[test]
fn an_issuer_says_where_its_keys_are() {
    let issuer = Issuer::start();
    let check = |settings: &[String], path: &str| {
        let directory = Directory::new("auth");
        let mut all = vec![
            "auth_backends.1=oauth2".to_owned(),
            "auth_oauth2.resource_server_id=rabbitmq".to_owned(),
            format!("auth_oauth2.issuer=http://{}/", issuer.web.address),
        ];
        all.extend_from_slice(settings);
        let node = start(&directory, &all);
        let mut alice = Client::connect_as(node.address, "", &issuer.token(json!({}))).unwrap();
        assert_eq!(declare(&mut alice, "alice-q"), Ok(()));
        assert_eq!(issuer.web.count(path), 1);
    };
    check(&[], "/.well-known/openid-configuration");
    let described = [
        "auth_oauth2.discovery_endpoint_path=described",
        "auth_oauth2.discovery_endpoint_params.appid=7",
    ];
    check(&described.map(str::to_owned), "/described");
    let asked = issuer.web.asked.lock().unwrap();
    let asked = asked.iter().find(|(path, _)| path == "/described").unwrap();
    assert_eq!(asked.1["appid"], "7");
}

#[test]
fn scopes_may_be_written_in_other_ways() {
    let issuer = Issuer::start();
    let directory = Directory::new("auth");
    let mut settings = trusting(&issuer);
    settings.extend(
        [
            "auth_oauth2.additional_scopes_key=realm.roles",
            "auth_oauth2.scope_aliases.carrots=rabbitmq.configure:*/carrots rabbitmq.read:*/*",
            "auth_oauth2.scope_aliases.1.alias=urn:all/of it",
            "auth_oauth2.scope_aliases.1.scope=rabbitmq.configure:*/*",
            "auth_oauth2.resource_server_type=broker",
        ]
        .map(str::to_owned),
    );
    let node = start(&directory, &settings);
    let check = |changes: Value, queue: &str, expected: Result<(), u16>| {
        let token = issuer.token(changes.clone());
        let mut client = Client::connect_as(node.address, "", &token).unwrap();
        assert_eq!(declare(&mut client, queue), expected, "{changes}");
        // The next one has the name again.
        client.close().unwrap();
    };
    check(json!({ "scope": "carrots" }), "carrots", Ok(()));
    check(json!({ "scope": "carrots" }), "turnips", Err(403));
    check(json!({ "scope": ["urn:all/of it"] }), "turnips", Ok(()));
    let roles = json!({ "rabbitmq": ["configure:*/turnips"], "other": ["configure:*/*"] });
    check(
        json!({ "realm": { "roles": roles }, "scope": "" }),
        "turnips",
        Ok(()),
    );
    let requested = json!([{
        "type": "broker",
        "locations": ["cluster:rabbit*/vhost:*/queue:turnips"],
        "actions": ["configure", "read"],
    }]);
    let rich = json!({ "authorization_details": requested, "scope": "" });
    check(rich.clone(), "turnips", Ok(()));
    check(rich, "carrots", Err(403));
    check(
        json!({ "scope": "rabbitmq.configure:*/{sub}-{vhost}" }),
        "alice-/",
        Ok(()),
    );
    check(
        json!({ "scope": "rabbitmq.configure:*/{sub}-{vhost}" }),
        "bob-/",
        Err(403),
    );
}

#[test]
fn tokens_may_be_meant_for_several_names_and_come_from_several_issuers() {
    let (ours, theirs) = (Issuer::start(), Issuer::start());
    let directory = Directory::new("auth");
    let mut settings = trusting(&ours);
    settings.extend([
        format!(
            "auth_oauth2.oauth_providers.theirs.jwks_uri=http://{}/keys",
            theirs.web.address
        ),
        "auth_oauth2.resource_servers.field.id=field-broker".to_owned(),
        "auth_oauth2.resource_servers.field.oauth_provider_id=theirs".to_owned(),
        "auth_oauth2.resource_servers.field.scope_prefix=field.".to_owned(),
        "auth_oauth2.resource_servers.field.preferred_username_claims.1=name".to_owned(),
        "auth_oauth2.resource_servers.garden.oauth_provider_id=theirs".to_owned(),
    ]);
    let node = start(&directory, &settings);
    let connect = |token: &str| Client::connect_as(node.address, "", token);
    let field = json!({
        "aud": "field-broker",
        "name": "bob",
        "scope": "field.configure:*/bob* rabbitmq.configure:*/alice*",
    });
    let mut bob = connect(&theirs.token(field.clone())).unwrap();
    assert_eq!(declare(&mut bob, "bob"), Ok(()));
    assert_eq!(declare(&mut bob, "alice"), Err(403));
    let garden = json!({ "aud": ["garden"], "scope": "garden.configure:*/*" });
    let mut gardener = connect(&theirs.token(garden.clone())).unwrap();
    assert_eq!(declare(&mut gardener, "rose"), Ok(()));
    assert!(connect(&ours.token(json!({}))).is_ok());
    let refused = [
        ours.token(field),
        ours.token(garden),
        theirs.token(json!({})),
        ours.token(json!({ "aud": ["rabbitmq", "garden"] })),
        ours.token(json!({ "aud": "nobody" })),
    ];
    for token in refused {
        assert!(connect(&token).is_err(), "{token}");
    }
}

#[test]
fn a_narrower_token_ends_what_it_does_not_allow() {
    let issuer = Issuer::start();
    let directory = Directory::new("auth");
    let node = start(&directory, &trusting(&issuer));
    let mut consumer = Client::connect_as(node.address, "", &issuer.token(json!({}))).unwrap();
    assert_eq!(declare(&mut consumer, "alice-q"), Ok(()));
    consumer.ask(consume_again()).unwrap();
    let narrower = json!({ "scope": "rabbitmq.write:*/*" });
    consumer.update_secret(&issuer.token(narrower)).unwrap();
    assert_eq!(consumer.next().unwrap(), Event::Cancelled);
    let elsewhere = json!({ "scope": "rabbitmq.write:other/*" });
    let error = consumer
        .update_secret(&issuer.token(elsewhere))
        .unwrap_err();
    assert!(error.to_string().contains("530 NOT_ALLOWED"), "{error}");
}

#[test]
fn a_connection_ends_with_its_token_unless_there_is_a_newer_one() {
    let issuer = Issuer::start();
    let directory = Directory::new("auth");
    let node = start(&directory, &trusting(&issuer));
    let soon = || issuer.token(json!({ "exp": now_s() + 2 }));
    let mut idle = Client::connect_as(node.address, "", &soon()).unwrap();
    let mut renewed = Client::connect_as(node.address, "", &soon()).unwrap();
    let wider = json!({ "scope": ["rabbitmq.configure:*/bob*", "rabbitmq.read:*/*"] });
    renewed.update_secret(&issuer.token(wider)).unwrap();
    let mut refused = Client::connect_as(node.address, "", &issuer.token(json!({}))).unwrap();
    for secret in [issuer.token(json!({ "sub": "bob" })), "nonsense".to_owned()] {
        let error = refused.update_secret(&secret).unwrap_err().to_string();
        assert!(
            error.contains("530 NOT_ALLOWED - New secret was refused"),
            "{error}"
        );
        refused = Client::connect_as(node.address, "", &issuer.token(json!({}))).unwrap();
    }

    let end = idle.next().unwrap_err().to_string();
    assert!(
        end.contains("320 CONNECTION_FORCED - credential expired"),
        "{end}"
    );
    assert_eq!(declare(&mut renewed, "bob"), Ok(()));
    assert_eq!(declare(&mut renewed, "alice"), Err(403));
}

/// The status and the body of an answer.
fn over_http(node: &Node, authorization: &str, request: &str) -> (u16, String) {
    // The API is on every interface, and so is its address.
    let api = SocketAddr::new(std::net::Ipv4Addr::LOCALHOST.into(), node.api.port());
    let answer = api::ask(api, authorization, request).unwrap();
    (answer.status, answer.body)
}

/// Names with their passwords.
const GUEST: &str = "Basic Z3Vlc3Q6Z3Vlc3Q=";
const ALICE_SESAME: &str = "Basic YWxpY2U6c2VzYW1l";
const ALICE_GUESS: &str = "Basic YWxpY2U6Z3Vlc3M=";

#[test]
fn an_http_backend_decides_over_http_too() {
    let web = people();
    let mut settings = asking(&web);
    settings.extend(["auth_backends.1=internal", "auth_backends.2=http"].map(str::to_owned));
    let directory = Directory::new("auth");
    let node = start(&directory, &settings);
    let alice = ALICE_SESAME;
    let check = |who: &str, request: &str, status: u16, part: &str| {
        let (found, body) = over_http(&node, who, request);
        assert_eq!(found, status, "{request}: {body}");
        assert!(body.contains(part), "{request}: {body}");
    };
    let who = r#"{"is_internal_user":false,"name":"alice","tags":["management"]}"#;
    check(alice, "GET /api/whoami", 200, who);
    check(alice, "GET /api/users", 401, "Not administrator user");
    check(alice, "PUT /api/queues/%2F/alice-q {}", 201, "");
    check(alice, "PUT /api/queues/%2F/bob {}", 401, "Access refused.");
    check(alice, "GET /api/queues/%2F?columns=name", 200, "alice-q");
    let bind = r#"POST /api/bindings/%2F/e/amq.topic/q/alice-q {"routing_key":"#;
    check(alice, &format!(r#"{bind}"alice.#"}}"#), 201, "");
    check(alice, &format!(r#"{bind}"bob"}}"#), 401, "Access refused.");
    let publish = r##"POST /api/exchanges/%2F/amq.topic/publish {"properties":{},"payload":"hello","payload_encoding":"string","routing_key":"##;
    check(
        alice,
        &format!(r#"{publish}"alice.1"}}"#),
        200,
        r#"{"routed":true}"#,
    );
    check(
        alice,
        &format!(r#"{publish}"bob"}}"#),
        401,
        "Access refused.",
    );
    let get = r#"POST /api/queues/%2F/alice-q/get {"count":1,"ackmode":"ack_requeue_false","encoding":"auto"}"#;
    check(alice, get, 200, r#""payload":"hello""#);
    check(GUEST, "GET /api/users", 200, "guest");
    let form = "POST /api/login username=alice&password=sesame";
    check("", form, 200, r#""type":"basic""#);

    let before = web.count("/user");
    check(ALICE_GUESS, "GET /api/whoami", 401, "not_authorized");
    assert_eq!(web.count("/user"), before + 1);
}

#[test]
fn a_token_opens_the_http_api() {
    let issuer = Issuer::start();
    let directory = Directory::new("auth");
    let mut settings = trusting(&issuer);
    settings.extend(
        [
            "management.oauth_enabled=true",
            "management.oauth_client_id=pages",
            "management.oauth_provider_url=https://issuer.example",
        ]
        .map(str::to_owned),
    );
    let node = start(&directory, &settings);
    let check = |scope: &str, request: &str, status: u16, part: &str| {
        let scope = format!("{scope} rabbitmq.configure:%2F/alice* rabbitmq.read:%2F/alice*");
        let token = issuer.token(json!({ "scope": scope }));
        let (found, body) = over_http(&node, &format!("Bearer {token}"), request);
        assert_eq!(found, status, "{request}: {body}");
        assert!(body.contains(part), "{request}: {body}");
    };
    let (none, user, administrator) = ("", "rabbitmq.tag:management", "rabbitmq.tag:administrator");
    check(none, "GET /api/whoami", 401, "Not management user");
    let who = r#"{"is_internal_user":false,"name":"alice","tags":["management"]}"#;
    check(user, "GET /api/whoami", 200, who);
    check(user, "GET /api/users", 401, "Not administrator user");
    check(administrator, "GET /api/users", 200, "guest");
    check(administrator, "PUT /api/vhosts/other {}", 201, "");
    check(user, "PUT /api/queues/%2F/alice {}", 201, "");
    check(user, "PUT /api/queues/%2F/bob {}", 401, "Access refused.");
    check(
        user,
        "PUT /api/queues/other/alice {}",
        401,
        "User not authorised to access virtual host",
    );
    check(
        user,
        "GET /api/vhosts?columns=name",
        200,
        r#"[{"name":"/"}]"#,
    );

    let stranger = Issuer::start().token(json!({ "scope": administrator }));
    let (status, _) = over_http(&node, &format!("Bearer {stranger}"), "GET /api/whoami");
    assert_eq!(status, 401);
    let expired = issuer.token(json!({ "scope": administrator, "exp": now_s() - 1 }));
    let (status, _) = over_http(&node, &format!("Bearer {expired}"), "GET /api/whoami");
    assert_eq!(status, 401);
    let (_, settings) = over_http(&node, "", "GET /api/auth");
    let settings: Value = serde_json::from_str(&settings).unwrap();
    assert_eq!(settings["oauth_client_id"], "pages");
    assert_eq!(
        settings["oauth_resource_servers"]["rabbitmq"]["oauth_provider_url"],
        "https://issuer.example"
    );
}

/// Tries every way in with these.
fn knock(node: &Node, user: &str, secret: &str, is_let_in: bool) {
    let client = Client::connect_as(node.address, user, secret);
    assert_eq!(client.is_ok(), is_let_in, "{user}");
    if let Err(error) = client {
        assert!(!error.to_string().contains(secret), "{error}");
    }
    let credentials = BASE64_STANDARD.encode(format!("{user}:{secret}"));
    for authorization in [format!("Basic {credentials}"), format!("Bearer {secret}")] {
        let answer = api::ask(node.api, &authorization, "GET /api/whoami").unwrap();
        assert!(!answer.body.contains(secret), "{}", answer.body);
    }
}

/// At the level that says most, by every way in, right and wrong.
#[test]
fn log_ins_are_logged_and_what_is_secret_is_not() {
    let (web, issuer) = (people(), Issuer::start());
    let mut settings = trusting(&issuer);
    settings.extend(asking(&web));
    settings.extend(
        [
            "auth_backends.2=http",
            "auth_backends.3=internal",
            "default_pass=sesame-of-guest",
            "log.console=false",
            "log.level=debug",
            "log.file=node.log",
        ]
        .map(str::to_owned),
    );
    let directory = Directory::new("auth");
    let logs = directory.0.join("text");
    settings.push(format!("log.dir={}", logs.display()));
    let node = start(&directory, &settings);
    let token = issuer.token(json!({ "scope": "rabbitmq.configure:*/*" }));
    let expired = issuer.token(json!({ "exp": now_s() - 1 }));
    let mut renewing = Client::connect_as(node.address, "", &token).unwrap();
    renewing.update_secret(&token).unwrap();
    let attempts = [
        ("guest", "sesame-of-guest", true),
        ("guest", "guessed-wrongly", false),
        ("alice", "sesame", true),
        ("alice", "guessed-wrongly", false),
        ("nobody", "guessed-wrongly", false),
        ("token", &token, true),
        ("token", &expired, false),
    ];
    // At the same time: whoever is refused is kept waiting.
    std::thread::scope(|scope| {
        for (user, secret, is_let_in) in attempts {
            let node = &node;
            scope.spawn(move || knock(node, user, secret, is_let_in));
        }
    });
    let credentials = BASE64_STANDARD.encode("guest:sesame-of-guest");
    let authorization = format!("Basic {credentials}");
    let request = r#"PUT /api/users/carol {"password": "sesame-of-carol", "tags": "management"}"#;
    assert_eq!(
        api::ask(node.api, &authorization, request).unwrap().status,
        201
    );
    renewing.close().unwrap();
    assert!(node.stop().unwrap().success());

    let log = std::fs::read_to_string(logs.join("node.log")).unwrap();
    let lines_of = |word: &str| log.lines().filter(|line| line.contains(word)).count();
    assert!(
        lines_of("guest") > 0 && lines_of("alice") > 0 && lines_of("nobody") > 0,
        "{log}"
    );
    assert!(lines_of("carol") > 0, "what an administrator did is logged");
    let signature = token.rsplit('.').next().unwrap();
    for secret in [
        "sesame",
        "guessed-wrongly",
        signature,
        &credentials,
        &expired,
    ] {
        assert!(!log.contains(secret), "{secret} in {log}");
    }
}
