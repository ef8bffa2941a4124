//! Requests to other people's HTTP servers: authentication backends and the keys of token issuers. One connection for each
//! request; whoever asks often keeps the answers.

use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::header::{CONNECTION, CONTENT_TYPE, HOST};
use hyper::{Method, Request, Uri};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;

use crate::tls::outgoing::ClientTls;

/// No answer that we ask for is longer.
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// See the module's page.
pub(crate) struct HttpClient {
    tls: TlsConnector,
    timeout: Duration,
}

impl HttpClient {
    /// The error says which file of `tls` is wrong and how.
    pub(crate) fn new(tls: &ClientTls, timeout: Duration) -> Result<Self, String> {
        let tls = TlsConnector::from(tls.config()?);
        Ok(Self { tls, timeout })
    }

    /// The body of an answer of 200; everything else is an error, which never quotes the request.
    pub(crate) async fn get(&self, url: &str) -> Result<Bytes, String> {
        self.ask(Method::GET, url, String::new()).await
    }

    /// The same, with the parameters of a form.
    pub(crate) async fn post(&self, url: &str, form: String) -> Result<Bytes, String> {
        self.ask(Method::POST, url, form).await
    }

    async fn ask(&self, method: Method, url: &str, form: String) -> Result<Bytes, String> {
        let uri: Uri = url.parse().map_err(|_| "not a URL".to_owned())?;
        let host = uri.host().ok_or("the URL names no host")?.to_owned();
        match timeout(self.timeout, self.exchange(method, &uri, &host, form)).await {
            Ok(Ok(body)) => Ok(body),
            Ok(Err(why)) => Err(format!("{host}: {why}")),
            Err(_) => Err(format!("{host}: no answer in time")),
        }
    }

    async fn exchange(
        &self,
        method: Method,
        uri: &Uri,
        host: &str,
        form: String,
    ) -> Result<Bytes, String> {
        let request = request(method, uri, form)?;
        let encrypted = uri.scheme_str() == Some("https");
        let port = uri.port_u16().unwrap_or(if encrypted { 443 } else { 80 });
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let socket = TcpStream::connect((bare, port))
            .await
            .map_err(|error| error.to_string())?;
        if !encrypted {
            return converse(socket, request).await;
        }
        let name = ServerName::try_from(bare.to_owned()).map_err(|error| error.to_string())?;
        let socket = self.tls.connect(name, socket).await;
        converse(socket.map_err(|error| error.to_string())?, request).await
    }
}

fn request(method: Method, uri: &Uri, form: String) -> Result<Request<Full<Bytes>>, String> {
    let target = uri.path_and_query().map_or("/", |target| target.as_str());
    let host = uri.authority().map_or("", |authority| authority.as_str());
    // Without a name and password that the URL may carry.
    let host = host.rsplit('@').next().unwrap_or_default();
    Request::builder()
        .method(method)
        .uri(target)
        .header(HOST, host)
        .header(CONNECTION, "close")
        .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
        .body(Full::new(form.into()))
        .map_err(|error| error.to_string())
}

async fn converse<S>(socket: S, request: Request<Full<Bytes>>) -> Result<Bytes, String>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let failed = |error: hyper::Error| error.to_string();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(socket))
        .await
        .map_err(failed)?;
    let answer = async {
        let response = sender.send_request(request).await.map_err(failed)?;
        if response.status() != hyper::StatusCode::OK {
            return Err(format!("it answered {}", response.status()));
        }
        let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect();
        Ok(body.await.map_err(|error| error.to_string())?.to_bytes())
    };
    tokio::pin!(answer);
    tokio::select! {
        biased;
        answer = &mut answer => answer,
        _ = connection => answer.await,
    }
}
