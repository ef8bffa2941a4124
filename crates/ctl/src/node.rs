//! The node at the other end: requests to its HTTP API, and what its refusals mean.

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;

use crate::call::Call;
use crate::failure::Failure;
use crate::http::{self, Request, Response, Target};

/// The socket in the node's data directory. Who can open it is the user that runs the node, and may do everything.
const CONTROL_SOCKET: &str = "control.sock";
/// The data directory of the service that the package installs.
const SERVICE_FOLDER: &str = "/var/lib/leveret";
const HTTP_PORT: u16 = 15672;

/// Where the node is, and who asks it.
pub(crate) struct Node {
    target: Target,
    /// The value of `Authorization`; none on the control socket.
    authorization: Option<String>,
    timeout: Option<Duration>,
    name: OnceCell<String>,
}

/// A refusal by the node.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) status: u16,
    /// In RabbitMQ's words.
    pub(crate) reason: String,
}

/// Why a request did not do what was asked.
#[derive(Debug)]
pub(crate) enum Refused {
    /// There is no such object, or no such path.
    NotFound(String),
    /// The node said no.
    Refusal(Refusal),
    /// It did not come to an answer.
    Failure(Failure),
}

impl From<Refused> for Failure {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::NotFound(reason) => Self::error(reason),
            Refused::Refusal(Refusal { reason, .. }) => Self::error(reason),
            Refused::Failure(failure) => failure,
        }
    }
}

impl Refused {
    /// This failure where the object is not there, and the usual one otherwise.
    pub(crate) fn or_not_found(self, failure: impl FnOnce() -> Failure) -> Failure {
        match self {
            Self::NotFound(_) => failure(),
            other => other.into(),
        }
    }
}

impl Node {
    /// The node that this call means: `--host` or another machine's `--node`, `LEVERET_CTL_URL`, or the control socket of a
    /// data directory on this machine.
    ///
    /// # Errors
    /// `LEVERET_CTL_URL` is not a URL.
    pub(crate) fn of(
        call: &Call<'_>,
        environment: &dyn Fn(&str) -> Option<String>,
        this_host: &str,
    ) -> Result<Self, Failure> {
        let timeout = call.timeout();
        // The name in the environment is that of the node on this machine, whatever the host in it.
        let this_node = environment("RABBITMQ_NODENAME");
        let other_host = call
            .value("node")
            .filter(|&node| this_node.as_deref() != Some(node))
            .and_then(|node| node.split_once('@'))
            .map(|(_, host)| host)
            .filter(|host| ![this_host, "localhost"].contains(host));
        let url = environment("LEVERET_CTL_URL");
        let asked_for_http = ["host", "port", "user", "password"];
        let by_options = asked_for_http
            .iter()
            .any(|name| call.connection(name).is_some());

        if let Some(url) = url.filter(|_| !by_options && other_host.is_none()) {
            let (target, authorization) = parse_url(&url).ok_or_else(|| {
                Failure::usage("LEVERET_CTL_URL is not of the form http://user:password@host:port")
            })?;
            return Ok(Self::new(target, Some(authorization), timeout));
        }
        if by_options || other_host.is_some() {
            let host = call
                .connection("host")
                .or(other_host)
                .unwrap_or("localhost");
            let port = call
                .number("port")
                .map_or(Ok(HTTP_PORT), u16::try_from)
                .map_err(|_| Failure::argument("port is not a port number"))?;
            let host = host.trim_matches(['[', ']']).to_owned();
            let user = call.connection("user").unwrap_or("guest");
            let password = call.connection("password").unwrap_or("guest");
            let authorization = basic(user, password);
            return Ok(Self::new(
                Target::Tcp { host, port },
                Some(authorization),
                timeout,
            ));
        }
        let folder = call
            .value("data-dir")
            .or_else(|| call.value("mnesia-dir"))
            .map(PathBuf::from)
            .or_else(|| folder_in(environment, this_host))
            .unwrap_or_else(usual_folder);
        let socket = Target::Socket(folder.join(CONTROL_SOCKET));
        Ok(Self::new(socket, None, timeout))
    }

    fn new(target: Target, authorization: Option<String>, timeout: Option<Duration>) -> Self {
        Self {
            target,
            authorization,
            timeout,
            name: OnceCell::new(),
        }
    }

    /// The name that the node has in its own API.
    pub(crate) fn name(&self) -> Result<&str, Refused> {
        if let Some(name) = self.name.get() {
            return Ok(name);
        }
        let overview = self.get("/api/overview?columns=node")?;
        let name = overview["node"].as_str().unwrap_or_default().to_owned();
        Ok(self.name.get_or_init(|| name))
    }

    /// The host to try the node's ports on.
    pub(crate) fn host(&self) -> &str {
        match &self.target {
            Target::Socket(_) => "localhost",
            Target::Tcp { host, .. } => host,
        }
    }

    pub(crate) fn get(&self, path: &str) -> Result<Value, Refused> {
        let response = self.ask("GET", path, None, &[])?;
        parse(&response)
    }

    /// The body as it came.
    pub(crate) fn get_raw(&self, path: &str) -> Result<Vec<u8>, Refused> {
        Ok(self.ask("GET", path, None, &[])?.body)
    }

    /// A list, which is empty if what it is of is not there.
    pub(crate) fn list(&self, path: &str) -> Result<Vec<Value>, Refused> {
        match self.get(path) {
            Ok(Value::Array(list)) => Ok(list),
            Ok(_) | Err(Refused::NotFound(_)) => Ok(Vec::new()),
            Err(refused) => Err(refused),
        }
    }

    /// Gives `line` each line of an answer that goes on for as long as the node likes: until it ends, `line` has enough, or
    /// the time is over.
    pub(crate) fn follow(
        &self,
        path: &str,
        duration: Option<Duration>,
        line: &mut dyn FnMut(&[u8]) -> ControlFlow<()>,
    ) -> Result<(), Refused> {
        let headers: Vec<_> = self.headers().collect();
        let request = Request {
            method: "GET",
            path,
            headers: &headers,
            body: None,
        };
        match http::follow(&self.target, &request, duration, line) {
            Ok(response) => refuse(response).map(drop),
            Err(error) if error.kind() == io::ErrorKind::TimedOut && duration.is_some() => Ok(()),
            Err(error) => Err(Refused::Failure(self.unreachable(&error))),
        }
    }

    fn headers(&self) -> impl Iterator<Item = (&str, &str)> {
        let authorization = self.authorization.as_deref();
        authorization
            .map(|value| ("Authorization", value))
            .into_iter()
    }

    pub(crate) fn put(&self, path: &str, body: &Value) -> Result<(), Refused> {
        self.ask("PUT", path, Some(body.to_string().as_bytes()), &[])?;
        Ok(())
    }

    /// A POST, and its answer; null if there is none.
    pub(crate) fn post(&self, path: &str, body: &Value) -> Result<Value, Refused> {
        let response = self.ask("POST", path, Some(body.to_string().as_bytes()), &[])?;
        parse(&response)
    }

    pub(crate) fn delete(&self, path: &str) -> Result<(), Refused> {
        self.ask("DELETE", path, None, &[])?;
        Ok(())
    }

    pub(crate) fn delete_with_body(&self, path: &str, body: &Value) -> Result<(), Refused> {
        self.ask("DELETE", path, Some(body.to_string().as_bytes()), &[])?;
        Ok(())
    }

    /// A DELETE that tells those it concerns why.
    pub(crate) fn delete_because(&self, path: &str, reason: &str) -> Result<(), Refused> {
        self.ask("DELETE", path, None, &[("X-Reason", reason)])?;
        Ok(())
    }

    /// Sends a large body, and tells `sent` how far it is.
    pub(crate) fn upload(
        &self,
        path: &str,
        body: &[u8],
        sent: &mut dyn FnMut(usize),
    ) -> Result<Value, Refused> {
        let response = self.send("POST", path, Some(body), &[], sent)?;
        parse(&refuse(response)?)
    }

    /// Whether this user has this password, as the node sees it. The reason why not is the node's.
    pub(crate) fn authenticate(&self, user: &str, password: &str) -> Result<(), Refused> {
        let body = serde_json::json!({ "username": user, "password": password });
        match self.post("/api/leveret/authenticate", &body) {
            Err(Refused::NotFound(_)) => self.authenticate_by_login(user, password),
            answer => answer.map(|_| ()),
        }
    }

    /// RabbitMQ's API has no such question: but who may not log in to it is told so only with the right password.
    fn authenticate_by_login(&self, user: &str, password: &str) -> Result<(), Refused> {
        let as_user = Self::new(
            self.target.clone(),
            Some(basic(user, password)),
            self.timeout,
        );
        match as_user.get("/api/whoami") {
            Err(Refused::Refusal(refusal)) if refusal.reason == "Not management user" => Ok(()),
            Err(Refused::Refusal(Refusal { status: 401, .. })) => Err(Refused::Refusal(Refusal {
                status: 401,
                reason: format!("user '{user}' - invalid credentials"),
            })),
            answer => answer.map(|_| ()),
        }
    }

    /// Whether anything answers at this path, and with which status: for checks, whose answer is a refusal.
    pub(crate) fn check(&self, path: &str) -> Result<(u16, Value), Refused> {
        let response = self.send("GET", path, None, &[], &mut |_| ())?;
        let value = serde_json::from_slice(&response.body).unwrap_or_default();
        Ok((response.status, value))
    }

    fn ask(
        &self,
        method: &str,
        path: &str,
        body: Option<&[u8]>,
        headers: &[(&str, &str)],
    ) -> Result<Response, Refused> {
        refuse(self.send(method, path, body, headers, &mut |_| ())?)
    }

    fn send(
        &self,
        method: &str,
        path: &str,
        body: Option<&[u8]>,
        headers: &[(&str, &str)],
        sent: &mut dyn FnMut(usize),
    ) -> Result<Response, Refused> {
        let mut headers = headers.to_vec();
        headers.extend(self.headers());
        let request = Request {
            method,
            path,
            headers: &headers,
            body,
        };
        http::exchange(&self.target, &request, self.timeout, sent)
            .map_err(|error| Refused::Failure(self.unreachable(&error)))
    }

    fn unreachable(&self, error: &io::Error) -> Failure {
        if error.kind() == io::ErrorKind::TimedOut {
            return Failure::TimedOut;
        }
        let place = match &self.target {
            Target::Socket(path) => format!("control socket {}", path.display()),
            Target::Tcp { host, port } => format!("HTTP API at {host}:{port}"),
        };
        Failure::Unreachable(format!("{place}: {error}"))
    }
}

/// The data directory that the environment means, as a node that starts in it finds it.
fn folder_in(environment: &dyn Fn(&str) -> Option<String>, this_host: &str) -> Option<PathBuf> {
    if let Some(folder) = environment("RABBITMQ_MNESIA_DIR") {
        return Some(PathBuf::from(folder));
    }
    let base = PathBuf::from(environment("RABBITMQ_MNESIA_BASE")?);
    let name = environment("RABBITMQ_NODENAME").unwrap_or_else(|| "rabbit".to_owned());
    Some(match name.contains('@') {
        true => base.join(name),
        false => base.join(format!("{name}@{this_host}")),
    })
}

/// Where a node keeps its data that is told nothing; if there is none here, that of the service.
fn usual_folder() -> PathBuf {
    let [here, service] = [Path::new("data"), Path::new(SERVICE_FOLDER)];
    let elsewhere = !here.is_dir() && service.is_dir();
    if elsewhere { service } else { here }.to_owned()
}

/// `user:password` of a URL are percent-encoded, as they are anywhere else.
fn parse_url(url: &str) -> Option<(Target, String)> {
    let rest = url.strip_prefix("http://")?.trim_end_matches('/');
    let (credentials, place) = rest.rsplit_once('@').unwrap_or(("guest:guest", rest));
    let (user, password) = credentials.split_once(':')?;
    let (host, port) = match place.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port.parse().ok()?),
        _ => (place, HTTP_PORT),
    };
    let host = host.trim_matches(['[', ']']).to_owned();
    let authorization = basic(&decoded(user)?, &decoded(password)?);
    (!host.is_empty()).then_some((Target::Tcp { host, port }, authorization))
}

fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, behind)) = rest.split_first() {
        rest = behind;
        if byte == b'%' {
            let digits = std::str::from_utf8(rest.get(..2)?).ok()?;
            bytes.push(u8::from_str_radix(digits, 16).ok()?);
            rest = &rest[2..];
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}

fn basic(user: &str, password: &str) -> String {
    format!(
        "Basic {}",
        BASE64_STANDARD.encode(format!("{user}:{password}"))
    )
}

/// A path below `/api`, of these segments, each percent-encoded: `/` in a name is `%2F`.
pub(crate) fn path<const N: usize>(segments: [&str; N]) -> String {
    let mut path = String::from("/api");
    for segment in segments {
        path.push('/');
        path.push_str(&encoded(segment));
    }
    path
}

pub(crate) fn encoded(segment: &str) -> String {
    let mut text = String::with_capacity(segment.len());
    for byte in segment.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                text.push(char::from(byte));
            }
            _ => text.push_str(&format!("%{byte:02X}")),
        }
    }
    text
}

fn refuse(response: Response) -> Result<Response, Refused> {
    let status = response.status;
    if (200..300).contains(&status) {
        return Ok(response);
    }
    let body: Value = serde_json::from_slice(&response.body).unwrap_or_default();
    let reason = reason(&body["reason"]).unwrap_or_else(|| format!("HTTP status {status}"));
    // RabbitMQ says 405 of paths that it does not know.
    Err(if status == 404 || status == 405 {
        Refused::NotFound(reason)
    } else {
        Refused::Refusal(Refusal { status, reason })
    })
}

/// The reason of a refusal. Some of RabbitMQ's are Erlang terms in which text is a list of characters.
fn reason(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Null => None,
        other => Some(terms(other)),
    }
}

fn terms(value: &Value) -> String {
    let characters = |list: &Vec<Value>| {
        let codes = list.iter().map(|item| {
            let code = u32::try_from(item.as_u64()?).ok()?;
            char::from_u32(code).filter(|c| !c.is_control())
        });
        codes.collect::<Option<String>>()
    };
    match value {
        Value::Array(list) => match characters(list) {
            Some(text) if !text.is_empty() => format!("\"{text}\""),
            _ => {
                let items: Vec<String> = list.iter().map(terms).collect();
                format!("{{{}}}", items.join(", "))
            }
        },
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn parse(response: &Response) -> Result<Value, Refused> {
    if response.body.is_empty() {
        return Ok(Value::Null);
    }
    serde_json::from_slice(&response.body).map_err(|error| {
        let text = format!("the node's answer is not JSON: {error}");
        Refused::Failure(Failure::Unreachable(text))
    })
}

/// Objects by one of their fields.
pub(crate) fn by_field<'a>(objects: &'a [Value], field: &str) -> BTreeMap<&'a str, &'a Value> {
    let name = |object: &'a Value| Some((object[field].as_str()?, object));
    objects.iter().filter_map(name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands;
    use crate::tool::Tool;
    use serde_json::json;

    fn node(options: &str, url: Option<&str>) -> Result<Node, Failure> {
        let words: Vec<String> = options.split_whitespace().map(str::to_owned).collect();
        let command = commands::find(Tool::Ctl, "list_users").unwrap();
        let call = Call::parse(Tool::Ctl, command, &words, "rabbit@here").unwrap();
        let environment = |name: &str| match name {
            "LEVERET_CTL_URL" => url.map(str::to_owned),
            "RABBITMQ_NODENAME" => Some("rabbit@pod.service".to_owned()),
            _ => None,
        };
        Node::of(&call, &environment, "here")
    }

    #[test]
    fn the_environment_says_where_the_data_is() {
        let check = |variables: &[(&str, &str)], expected: Option<&str>| {
            let environment = |name: &str| {
                let found = variables.iter().find(|(known, _)| *known == name);
                found.map(|(_, value)| (*value).to_owned())
            };
            let folder = folder_in(&environment, "here");
            assert_eq!(folder, expected.map(PathBuf::from), "{variables:?}");
        };
        let base = ("RABBITMQ_MNESIA_BASE", "/base");
        check(&[], None);
        check(&[base], Some("/base/rabbit@here"));
        check(
            &[base, ("RABBITMQ_NODENAME", "hare")],
            Some("/base/hare@here"),
        );
        check(
            &[base, ("RABBITMQ_NODENAME", "rabbit@pod.service")],
            Some("/base/rabbit@pod.service"),
        );
        check(&[base, ("RABBITMQ_MNESIA_DIR", "/dir")], Some("/dir"));
    }

    #[test]
    fn the_node_is_where_the_call_says() {
        let check = |options: &str, url, target: Target, credentials: Option<&str>| {
            let node = node(options, url).unwrap();
            assert_eq!(node.target, target, "{options}");
            let expected =
                credentials.map(|text| format!("Basic {}", BASE64_STANDARD.encode(text)));
            assert_eq!(node.authorization, expected, "{options}");
        };
        let tcp = |host: &str, port| Target::Tcp {
            host: host.to_owned(),
            port,
        };
        let socket = |path: &str| Target::Socket(PathBuf::from(path));
        check("", None, socket("data/control.sock"), None);
        check("-n rabbit@here", None, socket("data/control.sock"), None);
        check(
            "-n rabbit@pod.service",
            None,
            socket("data/control.sock"),
            None,
        );
        check(
            "--data-dir /var/x",
            None,
            socket("/var/x/control.sock"),
            None,
        );
        check(
            "-n rabbit@there",
            None,
            tcp("there", 15672),
            Some("guest:guest"),
        );
        check(
            "--port 15680",
            None,
            tcp("localhost", 15680),
            Some("guest:guest"),
        );
        check(
            "--host ::1 --user u --password p",
            None,
            tcp("::1", 15672),
            Some("u:p"),
        );
        check(
            "",
            Some("http://ann:s%3Acret@[::1]:15680/"),
            tcp("::1", 15680),
            Some("ann:s:cret"),
        );
        check(
            "",
            Some("http://host"),
            tcp("host", 15672),
            Some("guest:guest"),
        );
        check(
            "--host a",
            Some("http://host"),
            tcp("a", 15672),
            Some("guest:guest"),
        );
        assert!(node("", Some("host:15672")).is_err());
        assert!(node("", Some("http://a%zz:b@host")).is_err());
        assert!(node("--port 70000", None).is_err());
    }

    #[test]
    fn segments_are_encoded() {
        assert_eq!(
            path(["queues", "/", "a b%é"]),
            "/api/queues/%2F/a%20b%25%C3%A9"
        );
    }

    #[test]
    fn reasons_are_text() {
        let check = |body: Value, expected: &str| {
            let response = Response {
                status: 400,
                body: body.to_string().into_bytes(),
            };
            let Err(Refused::Refusal(refusal)) = refuse(response) else {
                panic!("{body} is a refusal");
            };
            assert_eq!(refusal.reason, expected);
        };
        check(json!({"reason": "vhost_not_found"}), "vhost_not_found");
        let missing = "missing closing parenthesis".bytes().collect::<Vec<_>>();
        check(
            json!({"reason": ["invalid_regexp", [40], [missing, 1]]}),
            "{invalid_regexp, \"(\", {\"missing closing parenthesis\", 1}}",
        );
        check(json!("no object"), "HTTP status 400");
    }
}
