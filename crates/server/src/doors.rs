//! All sockets that a node listens on, and the certificates that those with TLS show.

use std::net::SocketAddr;

use leveret_management::ListenerFacts;
use tracing::warn;

use crate::certificates::{Certificates, Entry, Section};
use crate::config::Effective;
use crate::config::effective::{HttpListener, HttpsListener, SocketOptions};
use crate::listener::Bound;
use crate::tls::Tls;

/// RabbitMQ's ports of the HTTP API, without and with TLS.
const MANAGEMENT_PORTS: (u16, u16) = (15672, 15671);
/// RabbitMQ's ports of the metrics.
const PROMETHEUS_PORTS: (u16, u16) = (15692, 15691);

/// See the module's page.
pub(crate) struct Doors {
    pub(crate) amqp: Vec<Bound>,
    pub(crate) api: Vec<(Bound, HttpListener)>,
    pub(crate) metrics: Vec<(Bound, HttpListener)>,
    pub(crate) certificates: Certificates,
}

impl Doors {
    /// Takes the ports that are configured.
    pub(crate) fn open(config: &Effective) -> Result<Self, String> {
        let mut certified = Vec::new();
        let (management, prometheus) = (&config.management, &config.prometheus);
        let doors = Self {
            amqp: open_amqp(config, &mut certified)?,
            api: open_http_and_https(
                (&management.tcp, &management.ssl),
                MANAGEMENT_PORTS,
                ("https", |config| &config.management.ssl.options),
                &mut certified,
            )?,
            metrics: open_http_and_https(
                (&prometheus.tcp, &prometheus.ssl),
                PROMETHEUS_PORTS,
                ("https/prometheus", |config| &config.prometheus.ssl.options),
                &mut certified,
            )?,
            certificates: Certificates::default(),
        };
        Ok(Self {
            certificates: Certificates::new(certified),
            ..doors
        })
    }

    /// Where the node listens, by RabbitMQ's names of protocols.
    pub(crate) fn facts(&self) -> Vec<ListenerFacts> {
        let fact = |listener: &Bound, (plain, encrypted): (&'static str, &'static str)| {
            let protocol = if listener.is_tls() { encrypted } else { plain };
            ListenerFacts {
                protocol,
                ip: listener.address().ip().to_string(),
                port: listener.address().port(),
            }
        };
        let amqp = self.amqp.iter().map(|it| fact(it, ("amqp", "amqp/ssl")));
        let api = self.api.iter().map(|(it, _)| fact(it, ("http", "https")));
        let metrics = self.metrics.iter();
        let metrics = metrics.map(|(it, _)| fact(it, ("http/prometheus", "https/prometheus")));
        amqp.chain(api).chain(metrics).collect()
    }
}

fn addresses(listeners: &[Bound]) -> Vec<SocketAddr> {
    listeners.iter().map(Bound::address).collect()
}

fn open_amqp(config: &Effective, certified: &mut Vec<Entry>) -> Result<Vec<Bound>, String> {
    let mut listeners = Vec::new();
    for address in config.tcp.values() {
        listeners.extend(Bound::open(*address, &config.socket, None)?);
    }
    if config.ssl.is_empty() {
        return Ok(listeners);
    }
    let tls = Tls::new(&config.ssl_options)?;
    let mut encrypted = Vec::new();
    for address in config.ssl.values() {
        encrypted.extend(Bound::open(*address, &config.socket, Some(&tls))?);
    }
    certified.push(Entry {
        protocol: "amqp/ssl",
        addresses: addresses(&encrypted),
        section: |config| &config.ssl_options,
        tls,
    });
    listeners.extend(encrypted);
    Ok(listeners)
}

/// Who asks for TLS and says nothing of plain HTTP gets only what was asked for, as in RabbitMQ.
fn open_http_and_https(
    (plain, https): (&HttpListener, &HttpsListener),
    (port, https_port): (u16, u16),
    (protocol, section): (&'static str, Section),
    certified: &mut Vec<Entry>,
) -> Result<Vec<(Bound, HttpListener)>, String> {
    let mut all = Vec::new();
    if !https.is_configured() || !plain.is_default() {
        let opened = open_http(plain, port)?;
        all.extend(opened.into_iter().map(|it| (it, plain.clone())));
    }
    if https.is_configured() {
        let tls = Tls::new(&https.options).map_err(|error| format!("{protocol}: {error}"))?;
        let address = https.listener.address(https_port);
        let opened = Bound::open(address, &SocketOptions::http(), Some(&tls))?;
        certified.push(Entry {
            protocol,
            addresses: addresses(&opened),
            section,
            tls,
        });
        all.extend(opened.into_iter().map(|it| (it, https.listener.clone())));
    }
    Ok(all)
}

/// A port that nobody asked for may be another node's on the same machine: that is no reason not to start.
fn open_http(listener: &HttpListener, default_port: u16) -> Result<Vec<Bound>, String> {
    let opened = Bound::open(listener.address(default_port), &SocketOptions::http(), None);
    match opened {
        Err(error) if listener.is_default() => {
            warn!(%error, "going on without this listener, which nobody has configured");
            Ok(Vec::new())
        }
        opened => opened,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_taken_port_stops_only_a_node_that_was_told_to_use_it() {
        let other = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = other.local_addr().unwrap().port();
        let unsaid = HttpListener::default();
        assert!(open_http(&unsaid, port).unwrap().is_empty());
        let said = HttpListener {
            ip: Some(std::net::Ipv4Addr::LOCALHOST.into()),
            port: Some(port),
            ..unsaid
        };
        let refused = open_http(&said, 0).err().unwrap();
        assert!(refused.contains(&port.to_string()), "{refused}");
    }
}
