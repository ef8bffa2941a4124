//! A client's byte stream, plain or encrypted.

use std::io::{self, IoSlice, IoSliceMut, Read};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, Interest, ReadBuf};
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

    /// As [`Self::poll_receive`], and what does not fit into `first` goes into `second`. What is encrypted, or comes from
    /// the node itself, may be left for the next read instead.
    pub(crate) fn poll_receive_into(
        &mut self,
        context: &mut Context<'_>,
        first: &mut [u8],
        second: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let Self::Tcp(stream) = self else {
            return self.poll_receive(context, first);
        };
        let room = first.len() + second.len();
        loop {
            ready!(stream.poll_read_ready(context))?;
            let mut read = None;
            let tried = stream.try_io(Interest::READABLE, || {
                let mut slices = [IoSliceMut::new(first), IoSliceMut::new(second)];
                let n = (&*SockRef::from(&*stream)).read_vectored(&mut slices)?;
                read = Some(n);
                // What was less than there was room for has emptied the socket. To say so saves a read that finds nothing.
                if n == 0 || n == room {
                    return Ok(());
                }
                Err(io::ErrorKind::WouldBlock.into())
            });
            match (read, tried) {
                (Some(n), _) => return Poll::Ready(Ok(n)),
                (None, Err(error)) if error.kind() != io::ErrorKind::WouldBlock => {
                    return Poll::Ready(Err(error));
                }
                (None, _) => {}
            }
        }
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
