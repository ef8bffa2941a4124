//! The web pages: the files below `ui/`, which are part of the program. There is nothing to install beside it, and the
//! pages are always those of the API that they talk to.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hasher};
use std::io::Write;
use std::sync::OnceLock;

use flate2::Compression;
use flate2::write::GzEncoder;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};

use crate::answer::{Answer, Body};
use crate::options::Oauth;

/// The pages load nothing from elsewhere, run no script but the files here, and can't be framed by another site. They ask
/// nobody but this node, and where OAuth 2 is on its provider for a token.
fn policy(oauth: Option<&Oauth>) -> String {
    let urls = oauth.into_iter().flat_map(|it| {
        let metadata = it.metadata_url.iter();
        metadata.chain([&it.provider_url])
    });
    let origins: BTreeSet<_> = urls.filter_map(|url| origin(url)).collect();
    let mut policy = "default-src 'none'; script-src 'self'; style-src 'self'; \
                      img-src 'self' data:; form-action 'none'; base-uri 'none'; \
                      frame-ancestors 'none'; connect-src 'self'"
        .to_owned();
    for origin in origins {
        policy.push(' ');
        policy.push_str(&origin);
    }
    policy
}

/// Scheme, host and port of a URL.
fn origin(url: &str) -> Option<String> {
    let url: Uri = url.parse().ok()?;
    Some(format!("{}://{}", url.scheme_str()?, url.authority()?))
}

/// One of the files.
pub struct File {
    path: &'static str,
    bytes: &'static [u8],
    made: OnceLock<Made>,
}

/// What is made of a file when somebody asks for it first.
struct Made {
    bytes: Cow<'static, [u8]>,
    gzip: Vec<u8>,
    etag: String,
}

impl File {
    const fn new(path: &'static str, bytes: &'static [u8]) -> Self {
        Self {
            path,
            bytes,
            made: OnceLock::new(),
        }
    }

    pub fn bytes(&self) -> &[u8] {
        &self.made().bytes
    }

    /// The bytes, compressed.
    pub fn gzip(&self) -> &[u8] {
        &self.made().gzip
    }

    /// Changes with the bytes. It is weak, since it is the same for both encodings.
    pub fn etag(&self) -> &str {
        &self.made().etag
    }

    pub fn content_type(&self) -> &'static str {
        match self.path.rsplit('.').next() {
            Some("html") => "text/html; charset=utf-8",
            Some("css") => "text/css; charset=utf-8",
            Some("js") => "text/javascript; charset=utf-8",
            Some("svg") => "image/svg+xml",
            _ => "application/octet-stream",
        }
    }

    /// Whether the page itself imports it. Where a provider sends its users back to is a page of its own.
    fn is_module(&self) -> bool {
        self.path.ends_with(".js") && !self.path.starts_with("js/oidc-oauth/")
    }

    fn made(&self) -> &Made {
        self.made.get_or_init(|| {
            let bytes = match self.path {
                "index.html" => Cow::Owned(page(self.bytes)),
                _ => Cow::Borrowed(self.bytes),
            };
            let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
            let written = encoder.write_all(&bytes);
            let gzip = written.and_then(|()| encoder.finish());
            Made {
                gzip: gzip.expect("writing to memory does not fail"),
                etag: format!("W/\"{:016x}\"", hash([&*bytes])),
                bytes,
            }
        })
    }
}

/// The page as it is sent. It names its files below their release, which a browser keeps without asking again, and all
/// modules at once: otherwise each is found only when the one that imports it has been read.
fn page(template: &[u8]) -> Vec<u8> {
    let mut text = String::from_utf8_lossy(template).into_owned();
    for path in ["app.css", "js/main.js"] {
        text = text.replace(&format!("\"{path}\""), &format!("\"{}/{path}\"", release()));
    }
    let modules = FILES.iter().filter(|file| file.is_module());
    let links = modules.map(|file| {
        let (release, path) = (release(), file.path);
        format!("  <link rel=\"modulepreload\" href=\"{release}/{path}\">\n")
    });
    let links: String = links.collect();
    text.replace("</head>", &format!("{links}</head>"))
        .into_bytes()
}

/// A folder that exists by name only: the same files, under a path that changes when one of them does.
fn release() -> &'static str {
    static RELEASE: OnceLock<String> = OnceLock::new();
    RELEASE.get_or_init(|| format!("{RELEASES}{:016x}", hash(FILES.iter().map(|it| it.bytes))))
}

/// How names of releases begin. Those of other versions lead here too: the nodes behind one address may differ.
const RELEASES: &str = "release-";

/// For a year, which is as long as a browser believes.
const KEPT: &str = "public, max-age=31536000, immutable";

fn hash<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> u64 {
    let mut hasher = DefaultHasher::new();
    for part in parts {
        hasher.write(part);
    }
    hasher.finish()
}

macro_rules! files {
    ($($path:literal,)*) => {
        [$(File::new($path, include_bytes!(concat!("../ui/", $path)))),*]
    };
}

static FILES: [File; 56] = files![
    "app.css",
    "favicon.svg",
    "index.html",
    "js/api.js",
    "js/arguments.js",
    "js/components/chart.js",
    "js/components/dialog.js",
    "js/components/form.js",
    "js/components/parts.js",
    "js/components/table.js",
    "js/components/toast.js",
    "js/definitions.js",
    "js/format.js",
    "js/graph.js",
    "js/limits.js",
    "js/login.js",
    "js/main.js",
    "js/messages.js",
    "js/oauth.js",
    "js/oidc-oauth/login-callback.html",
    "js/oidc-oauth/login-callback.js",
    "js/pages.js",
    "js/pages/audit.js",
    "js/pages/certificates.js",
    "js/pages/channels.js",
    "js/pages/cluster.js",
    "js/pages/common.js",
    "js/pages/configuration.js",
    "js/pages/connections.js",
    "js/pages/consumers.js",
    "js/pages/definitions.js",
    "js/pages/exchanges.js",
    "js/pages/first-steps.js",
    "js/pages/get-messages.js",
    "js/pages/limits.js",
    "js/pages/log.js",
    "js/pages/messages.js",
    "js/pages/node.js",
    "js/pages/overview.js",
    "js/pages/parameters.js",
    "js/pages/permissions.js",
    "js/pages/policies.js",
    "js/pages/queue.js",
    "js/pages/queues.js",
    "js/pages/shovels.js",
    "js/pages/topology.js",
    "js/pages/users.js",
    "js/pages/vhosts.js",
    "js/policies.js",
    "js/router.js",
    "js/routing.js",
    "js/screen.js",
    "js/search.js",
    "js/shell.js",
    "js/sweep.js",
    "js/view.js",
];

/// The file at a path such as `js/main.js`; the empty path is the page itself.
pub fn file(path: &str) -> Option<&'static File> {
    let path = if path.is_empty() { "index.html" } else { path };
    FILES.iter().find(|file| file.path == path)
}

/// The answer to a request for `path`, which begins after the prefix of all paths; none if there is no such file.
pub(crate) fn answer(head: &Parts, path: &str, oauth: Option<&Oauth>) -> Option<Answer> {
    if head.method != Method::GET && head.method != Method::HEAD {
        return None;
    }
    if path.is_empty() {
        // The page's own links are relative, so that its address has to end in a slash.
        let to = HeaderValue::from_str(&format!("{}/", head.uri.path())).ok()?;
        let moved = Answer::empty(StatusCode::MOVED_PERMANENTLY);
        return Some(moved.with(header::LOCATION, to));
    }
    let path = path.strip_prefix('/')?;
    let (folder, path) = match path.split_once('/') {
        Some((folder, path)) if folder.starts_with(RELEASES) => (folder, path),
        _ => ("", path),
    };
    let file = file(path)?;
    let etag = HeaderValue::from_str(file.etag()).ok()?;
    let answer = match is_known(&head.headers, file.etag()) {
        true => Answer::empty(StatusCode::NOT_MODIFIED),
        false => whole(file, &head.headers),
    };
    // What a path without a release leads to is asked for again each time, as every other answer is.
    let answer = match folder == release() {
        true => answer.with(header::CACHE_CONTROL, HeaderValue::from_static(KEPT)),
        false => answer,
    };
    let answer = answer
        .with(header::ETAG, etag)
        .with(header::VARY, HeaderValue::from_static("accept-encoding"))
        .with(
            header::CONTENT_SECURITY_POLICY,
            HeaderValue::from_str(&policy(oauth)).ok()?,
        )
        .with(
            header::REFERRER_POLICY,
            HeaderValue::from_static("no-referrer"),
        );
    Some(answer)
}

fn whole(file: &File, headers: &HeaderMap) -> Answer {
    if takes_gzip(headers) {
        return Answer::text(file.content_type(), Body::Whole(file.gzip().to_vec()))
            .with(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    Answer::text(file.content_type(), Body::Whole(file.bytes().to_vec()))
}

fn is_known(headers: &HeaderMap, etag: &str) -> bool {
    words(headers, header::IF_NONE_MATCH).any(|word| word == etag || word == "*")
}

fn takes_gzip(headers: &HeaderMap) -> bool {
    words(headers, header::ACCEPT_ENCODING).any(|word| match word.split_once(';') {
        Some((name, weight)) => name.trim() == "gzip" && !is_zero(weight),
        None => word == "gzip",
    })
}

/// Whether a `q=` says "not this one" (RFC 9110, 12.4.2).
fn is_zero(weight: &str) -> bool {
    let value = weight.trim().strip_prefix("q=").unwrap_or("1");
    value.trim().parse().is_ok_and(|value: f32| value == 0.0)
}

/// The members of a header that is a list with commas.
fn words(headers: &HeaderMap, name: header::HeaderName) -> impl Iterator<Item = &str> {
    let values = headers.get_all(name).into_iter();
    let texts = values.filter_map(|value| value.to_str().ok());
    texts.flat_map(|text| text.split(',')).map(str::trim)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use http::Request;

    use super::*;
    use crate::tests::World;

    /// Paths of the files below `folder`, from `ui/`.
    fn collect(folder: &Path, prefix: &str, into: &mut Vec<String>) {
        for entry in fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            let path = format!("{prefix}{}", entry.file_name().to_str().unwrap());
            match entry.file_type().unwrap().is_dir() {
                true => collect(&entry.path(), &format!("{path}/"), into),
                false => into.push(path),
            }
        }
    }

    #[test]
    fn the_table_is_the_folder() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("ui");
        let mut found = Vec::new();
        collect(&folder, "", &mut found);
        // The server for development is for development.
        found.retain(|path| !path.starts_with("dev/"));
        found.sort();
        let listed: Vec<_> = FILES.iter().map(|file| file.path).collect();
        assert_eq!(listed, found);
    }

    /// One request; the answer's status, its encoding and how many bytes it has.
    fn check(request: http::request::Builder, expected: Option<(u16, &str, usize)>) {
        let (head, ()) = request.body(()).unwrap().into_parts();
        let path = head.uri.path().strip_prefix("/mq").unwrap();
        let seen = answer(&head, path, None).map(|answer| {
            let headers = answer.response.headers();
            let encoding = headers.get(header::CONTENT_ENCODING);
            let encoding = encoding.map_or("", |value| value.to_str().unwrap());
            let Body::Whole(body) = answer.response.body() else {
                panic!("a file is whole");
            };
            let status = answer.response.status().as_u16();
            (status, encoding.to_owned(), body.len())
        });
        let expected = expected.map(|(status, encoding, len)| (status, encoding.to_owned(), len));
        assert_eq!(seen, expected, "{head:?}");
    }

    #[test]
    fn files_whole_packed_and_known() {
        let page = file("").unwrap();
        let get = |path: &str| Request::get(path);
        let plain = Some((200, "", page.bytes().len()));
        let packed = Some((200, "gzip", page.gzip().len()));
        let accepts = |value| get("/mq/").header(header::ACCEPT_ENCODING, value);
        let knows = |value: &str| get("/mq/").header(header::IF_NONE_MATCH, value);
        check(get("/mq/"), plain);
        check(get("/mq/index.html"), plain);
        check(Request::head("/mq/"), plain);
        check(get("/mq"), Some((301, "", 0)));
        check(accepts("br, gzip;q=0.5"), packed);
        check(accepts("gzip"), packed);
        check(accepts("gzip;q=0, br"), plain);
        check(accepts("gzipped"), plain);
        check(knows(page.etag()), Some((304, "", 0)));
        check(
            knows(&format!("\"other\", {}", page.etag())),
            Some((304, "", 0)),
        );
        check(knows("W/\"0\""), plain);
        check(Request::post("/mq/"), None);
        check(get("/mq/js/nothing.js"), None);
        check(get("/mq//index.html"), None);
        check(get("/mq/../Cargo.toml"), None);
    }

    #[test]
    fn the_page_names_every_module_of_its_release() {
        let page = file("").unwrap();
        let text = String::from_utf8(page.bytes().to_vec()).unwrap();
        let links = |path: &str| text.contains(&format!("\"{}/{path}\"", release()));
        for file in FILES.iter().filter(|file| file.path != "index.html") {
            let expected = file.is_module() || file.path == "app.css";
            assert_eq!(links(file.path), expected, "{}", file.path);
        }
    }

    #[test]
    fn files_of_this_release_are_kept() {
        let check = |path: &str, expected: Option<Option<&str>>| {
            let request = Request::get(path).body(()).unwrap();
            let found = answer(&request.into_parts().0, path, None);
            let seen = found.map(|answer| {
                let kept = answer.response.headers().get(header::CACHE_CONTROL);
                kept.map(|value| value.to_str().unwrap().to_owned())
            });
            assert_eq!(seen, expected.map(|it| it.map(str::to_owned)), "{path}");
        };
        check(&format!("/{}/js/main.js", release()), Some(Some(KEPT)));
        check("/release-of-another-node/js/main.js", Some(None));
        check("/js/main.js", Some(None));
        check("/other/js/main.js", None);
        check(&format!("/{}/js/nothing.js", release()), None);
    }

    #[test]
    fn anybody_may_have_the_pages() {
        let world = World {
            user: None,
            ..World::new()
        };
        let seen = world.ask("GET /");
        assert_eq!(seen.status, 200);
        assert_eq!(
            seen.headers[header::CONTENT_TYPE],
            "text/html; charset=utf-8"
        );
        assert_eq!(
            seen.headers[header::CONTENT_SECURITY_POLICY],
            policy(None).as_str()
        );
        let vary: Vec<_> = seen.headers.get_all(header::VARY).iter().collect();
        assert_eq!(vary, ["accept-encoding", "origin"]);
        assert!(seen.body.contains("js/main.js"));
    }

    #[test]
    fn pages_may_ask_the_provider() {
        let check = |provider: &str, metadata: Option<&str>, expected: &str| {
            let oauth = Oauth {
                provider_url: provider.to_owned(),
                metadata_url: metadata.map(str::to_owned),
                ..Oauth::default()
            };
            let policy = policy(Some(&oauth));
            let (_, connect) = policy.split_once("; connect-src ").unwrap();
            assert_eq!(connect, expected, "{provider} {metadata:?}");
        };
        let one = "https://id.example.org:8443/realms/a b";
        check(
            "https://id.example.org:8443/realms/a",
            None,
            "'self' https://id.example.org:8443",
        );
        check(
            "https://id.example.org",
            Some("https://id.example.org/x"),
            "'self' https://id.example.org",
        );
        check(
            "https://a.example",
            Some("http://b.example/x"),
            "'self' http://b.example https://a.example",
        );
        // What is no URL adds nothing, also no directive.
        check(one, None, "'self'");
        check("/here; script-src *", None, "'self'");
    }

    #[test]
    fn what_is_packed_is_the_same() {
        for file in &FILES {
            let mut unpacked = Vec::new();
            let mut decoder = flate2::read::GzDecoder::new(file.gzip());
            std::io::Read::read_to_end(&mut decoder, &mut unpacked).unwrap();
            assert_eq!(unpacked, file.bytes(), "{}", file.path);
        }
    }
}
