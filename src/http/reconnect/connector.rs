//! Connections that remember whether they have carried an answer.

use std::{
    error::Error,
    future::Future,
    io::{self, IoSlice},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use ::http::{Extensions, Uri};
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::{
    self,
    connect::{Connected, Connection},
};
use pin_project::pin_project;
use tower_service::Service;

use crate::{
    call::chain,
    http::errors::closed_without_answer,
    rt::sync::{AtomicBool, Ordering},
};

/// A connector of hyper-util whose connections remember whether they have carried an answer.
///
/// [`ReconnectLayer`](super::ReconnectLayer) needs it, to tell a reused connection from a new one.
///
/// # Clone
///
/// Clones share nothing but the inner connector's own state.
///
/// # Panics
///
/// It does not panic, and adds no runtime needs to those of the inner connector.
#[derive(Clone, Copy, Debug)]
pub struct TrackedConnector<C> {
    inner: C,
}

impl<C> TrackedConnector<C> {
    /// Tracks the connections of this connector.
    pub const fn new(inner: C) -> Self {
        Self { inner }
    }
}

impl<C: Service<Uri>> Service<Uri> for TrackedConnector<C> {
    type Response = TrackedConnection<C::Response>;
    type Error = C::Error;
    type Future = Connecting<C::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), C::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        Connecting { inner: self.inner.call(uri) }
    }
}

/// The future of a tracked connection.
///
/// # Cancellation
///
/// Dropping it drops the inner connector's future.
#[pin_project]
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct Connecting<F> {
    #[pin]
    inner: F,
}

impl<F, T, E> Future for Connecting<F>
where
    F: Future<Output = Result<T, E>>,
{
    type Output = Result<TrackedConnection<T>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let connection = ready!(self.project().inner.poll(cx));
        Poll::Ready(connection.map(|inner| TrackedConnection { inner, history: History::default() }))
    }
}

/// A connection that remembers whether it has carried an answer.
#[pin_project]
#[derive(Debug)]
pub struct TrackedConnection<T> {
    #[pin]
    inner: T,
    history: History,
}

/// Whether a connection has carried an answer. hyper-util puts it into responses and into errors.
#[derive(Clone, Debug, Default)]
pub(super) struct History(Arc<AtomicBool>);

impl History {
    /// Takes it out of the extensions of an answer and notes the answer.
    pub(super) fn note_answer(extensions: &mut Extensions) {
        if let Some(Self(answered)) = extensions.remove() {
            // Relaxed: no other memory depends on it.
            answered.store(true, Ordering::Relaxed);
        }
    }
}

/// Whether a connection that had carried an answer before was closed without an answer to this request.
pub(super) fn met_closed_connection(error: &(dyn Error + 'static)) -> bool {
    let client = chain(error).find_map(|error| error.downcast_ref::<legacy::Error>());
    let Some(info) = client.and_then(legacy::Error::connect_info) else { return false };
    let mut extras = Extensions::new();
    info.get_extras(&mut extras);
    let reused = extras.get().is_some_and(|History(answered)| answered.load(Ordering::Relaxed));
    reused && closed_without_answer(error)
}

impl<T: Connection> Connection for TrackedConnection<T> {
    fn connected(&self) -> Connected {
        let connected = self.inner.connected();
        // Over HTTP/2 many requests share a connection, so an earlier answer says nothing about a race on reuse.
        if connected.is_negotiated_h2() { connected } else { connected.extra(self.history.clone()) }
    }
}

impl<T: Read> Read for TrackedConnection<T> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        self.project().inner.poll_read(cx, buffer)
    }
}

impl<T: Write> Write for TrackedConnection<T> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.project().inner.poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.project().inner.poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.project().inner.poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.project().inner.poll_write_vectored(cx, slices)
    }
}
