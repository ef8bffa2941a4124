//! Requests to other people's HTTP servers: authentication backends and the keys of token issuers. One connection for each
//! request; whoever asks often keeps the answers.

use std::path::Path;
use std::sync::Arc;
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
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// No answer that we ask for is longer.
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// See the module's page.
pub(crate) struct HttpClient {
    tls: TlsConnector,
    timeout: Duration,
}

impl HttpClient {
    /// Trusts the authorities in `ca_cert_file`, or those of the system.
    pub(crate) fn new(ca_cert_file: Option<&Path>, timeout: Duration) -> Result<Self, String> {
        let mut roots = RootCertStore::empty();
        match ca_cert_file {
            Some(file) => {
                let read = CertificateDer::pem_file_iter(file)
                    .and_then(Iterator::collect::<Result<Vec<_>, _>>)
                    .map_err(|error| format!("{}: {error}", file.display()))?;
                roots.add_parsable_certificates(read);
            }
            None => {
                roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            }
        }
        let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let tls = TlsConnector::from(Arc::new(config));
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
