//! The PROXY protocol, versions 1 and 2: a load balancer tells in the first bytes of a connection for whom it speaks
//! (`proxy_protocol = true`). Addresses in names, logs and the loopback rule are then those of the client.

use std::io;
use std::net::SocketAddr;

use ppp::{HeaderResult, v1, v2};
use tokio::io::{AsyncRead, AsyncReadExt};

/// Version 1 is a line of at most so many bytes (section 2.1 of its specification).
const LINE_MAX: usize = 107;
/// The shortest line there is, `PROXY UNKNOWN\r\n`, which is shorter than the fixed part of version 2.
const SHORTEST: usize = 15;
/// Version 2: signature, version and command, family, and the length of what follows (section 2.2).
const FIXED: usize = 16;
/// More addresses and extensions than any proxy sends. A length may be up to 64 KiB.
const REST_MAX: usize = 4096;

/// Who is connected to whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Endpoints {
    pub(crate) client: SocketAddr,
    pub(crate) server: SocketAddr,
}

/// Reads the header and not a byte more. `None`: the proxy speaks for itself, or for a client without an address.
pub(crate) async fn read(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<Endpoints>> {
    let mut bytes = vec![0; SHORTEST];
    stream.read_exact(&mut bytes).await?;
    if bytes.starts_with(v1::PROTOCOL_PREFIX.as_bytes()) {
        read_line(stream, &mut bytes).await?;
    } else if bytes.starts_with(v2::PROTOCOL_PREFIX) {
        read_rest(stream, &mut bytes).await?;
    } else {
        return Err(malformed("no PROXY header"));
    }
    match HeaderResult::parse(&bytes) {
        HeaderResult::V1(Ok(header)) => Ok(text_endpoints(header.addresses)),
        HeaderResult::V2(Ok(header)) if header.command == v2::Command::Local => Ok(None),
        HeaderResult::V2(Ok(header)) => Ok(binary_endpoints(header.addresses)),
        HeaderResult::V1(Err(error)) => Err(malformed(error)),
        HeaderResult::V2(Err(error)) => Err(malformed(error)),
    }
}

async fn read_line(stream: &mut (impl AsyncRead + Unpin), bytes: &mut Vec<u8>) -> io::Result<()> {
    while bytes.last() != Some(&b'\n') {
        if bytes.len() == LINE_MAX {
            return Err(malformed("a PROXY line without an end"));
        }
        bytes.push(stream.read_u8().await?);
    }
    Ok(())
}

async fn read_rest(stream: &mut (impl AsyncRead + Unpin), bytes: &mut Vec<u8>) -> io::Result<()> {
    bytes.push(stream.read_u8().await?);
    let len = usize::from(u16::from_be_bytes([bytes[FIXED - 2], bytes[FIXED - 1]]));
    if len > REST_MAX {
        return Err(malformed(format_args!("a PROXY header of {len} bytes")));
    }
    bytes.resize(FIXED + len, 0);
    stream.read_exact(&mut bytes[FIXED..]).await.map(drop)
}

fn text_endpoints(addresses: v1::Addresses) -> Option<Endpoints> {
    let (client, server) = match addresses {
        v1::Addresses::Tcp4(it) => (
            SocketAddr::new(it.source_address.into(), it.source_port),
            SocketAddr::new(it.destination_address.into(), it.destination_port),
        ),
        v1::Addresses::Tcp6(it) => (
            SocketAddr::new(it.source_address.into(), it.source_port),
            SocketAddr::new(it.destination_address.into(), it.destination_port),
        ),
        v1::Addresses::Unknown => return None,
    };
    Some(Endpoints { client, server })
}

fn binary_endpoints(addresses: v2::Addresses) -> Option<Endpoints> {
    let (client, server) = match addresses {
        v2::Addresses::IPv4(it) => (
            SocketAddr::new(it.source_address.into(), it.source_port),
            SocketAddr::new(it.destination_address.into(), it.destination_port),
        ),
        v2::Addresses::IPv6(it) => (
            SocketAddr::new(it.source_address.into(), it.source_port),
            SocketAddr::new(it.destination_address.into(), it.destination_port),
        ),
        v2::Addresses::Unspecified | v2::Addresses::Unix(_) => return None,
    };
    Some(Endpoints { client, server })
}

fn malformed(what: impl std::fmt::Display) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

    fn v2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let len = u16::try_from(rest.len()).unwrap().to_be_bytes();
        [SIGNATURE, &[command, family], &len, rest].concat()
    }

    /// Reads a header that AMQP's follows, which must be left in the stream.
    async fn check(header: &[u8], expected: Option<(&str, &str)>) {
        let bytes = [header, b"AMQP"].concat();
        let mut stream = bytes.as_slice();
        let endpoints = read(&mut stream).await.unwrap();
        let expected = expected.map(|(client, server)| Endpoints {
            client: client.parse().unwrap(),
            server: server.parse().unwrap(),
        });
        assert_eq!((endpoints, stream), (expected, b"AMQP".as_slice()));
    }

    #[tokio::test]
    async fn both_versions_name_the_client() {
        check(
            b"PROXY TCP4 192.0.2.1 192.0.2.9 40000 5672\r\n",
            Some(("192.0.2.1:40000", "192.0.2.9:5672")),
        )
        .await;
        check(
            b"PROXY TCP6 2001:db8::1 2001:db8::9 40000 5672\r\n",
            Some(("[2001:db8::1]:40000", "[2001:db8::9]:5672")),
        )
        .await;
        let four = [192, 0, 2, 1, 192, 0, 2, 9, 0x9c, 0x40, 0x16, 0x28];
        let expected = Some(("192.0.2.1:40000", "192.0.2.9:5672"));
        check(&v2(0x21, 0x11, &four), expected).await;
        // An extension behind the addresses.
        let extended = [&four[..], &[0x04, 0, 2, 7, 7]].concat();
        check(&v2(0x21, 0x11, &extended), expected).await;
    }

    #[tokio::test]
    async fn a_proxy_may_speak_for_nobody() {
        check(b"PROXY UNKNOWN\r\n", None).await;
        check(&v2(0x20, 0x00, &[]), None).await;
        check(&v2(0x21, 0x00, &[]), None).await;
    }

    #[tokio::test]
    async fn anything_else_is_refused() {
        let endless = [b"PROXY TCP4 ".as_slice(), &[b'1'; 200]].concat();
        let huge = v2(0x21, 0x11, &[0; REST_MAX + 1]);
        for bytes in [
            b"AMQP\0\0\x09\x01 and more of it".as_slice(),
            b"PROXY TCP4 nobody 192.0.2.9 1 2\r\n",
            b"PROXY TCP4 192",
            &endless,
            &huge,
            &v2(0x21, 0x11, &[1, 2, 3]),
            &v2(0x31, 0x11, &[0; 12]),
            SIGNATURE,
        ] {
            assert!(read(&mut &*bytes).await.is_err(), "{bytes:?}");
        }
    }
}
