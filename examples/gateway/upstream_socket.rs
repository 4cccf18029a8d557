//! The socket of a server, which hands out an answer that came before the server hung up.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll},
};

use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::{
    client::legacy::connect::{Connected, Connection},
    rt::TokioIo,
};
use tokio::net::TcpStream;

/// A socket whose failed writes are pending, so that only its reads end the connection.
///
/// A server that refuses a large body answers, and closes the connection while the body is still on its way. The next
/// write fails, and hyper would drop the answer that the kernel still holds. The reads find the answer, and behind it the
/// end of the connection: a write only fails on a dead socket, so no read waits for more. nginx reads on in the same way.
#[derive(Debug)]
pub(crate) struct UpstreamSocket(TokioIo<TcpStream>);

impl UpstreamSocket {
    pub(crate) const fn new(socket: TokioIo<TcpStream>) -> Self {
        Self(socket)
    }
}

impl Connection for UpstreamSocket {
    fn connected(&self) -> Connected {
        self.0.connected()
    }
}

impl Read for UpstreamSocket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buffer)
    }
}

impl Write for UpstreamSocket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        leave_to_reads(Pin::new(&mut self.0).poll_write(cx, bytes))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        leave_to_reads(Pin::new(&mut self.0).poll_write_vectored(cx, slices))
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

/// The connection polls its reads before its writes, so a read wakes it.
fn leave_to_reads<T>(written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
    match written {
        Poll::Ready(Err(_)) => Poll::Pending,
        written => written,
    }
}
