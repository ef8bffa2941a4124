//! A client's byte stream, plain or encrypted.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

/// The TLS state is boxed: most connections have none, and theirs should stay small.
#[derive(Debug)]
pub(crate) enum Stream {
    Tcp(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
    /// The other end is a part of the node itself.
    Own(DuplexStream),
}

impl Stream {
    /// Reads into `buffer` what is there; 0 bytes at the end of the stream. Without any the context is woken when some
    /// arrive, and the buffer is not held meanwhile.
    pub(crate) fn poll_receive(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let mut buffer = ReadBuf::new(buffer);
        let read = match self {
            Self::Tcp(stream) => Pin::new(stream).poll_read(context, &mut buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(context, &mut buffer),
            Self::Own(stream) => Pin::new(stream).poll_read(context, &mut buffer),
        };
        read.map_ok(|()| buffer.filled().len())
    }

    pub(crate) fn poll_send(
        &mut self,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match (self, slices) {
            // The kernel takes a single slice more cheaply by itself.
            (Self::Tcp(stream), [slice]) => Pin::new(stream).poll_write(context, slice),
            (Self::Tcp(stream), _) => Pin::new(stream).poll_write_vectored(context, slices),
            (Self::Tls(stream), _) => Pin::new(stream).poll_write_vectored(context, slices),
            (Self::Own(stream), _) => Pin::new(stream).poll_write_vectored(context, slices),
        }
    }

    /// Hands on what encryption keeps back.
    pub(crate) fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(_) | Self::Own(_) => Poll::Ready(Ok(())),
            Self::Tls(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    /// Tells the other end that nothing more will come.
    pub(crate) fn poll_shutdown(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Own(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}
