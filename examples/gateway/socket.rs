//! The socket of a client, with limits for clients that read too slowly.

use std::{
    future::Future,
    io::{self, IoSlice},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf},
    net::TcpStream,
    time::{Instant, Sleep, timeout},
};
use tower_reliability::Deadline;

/// The work of a connection, as its service and its socket see it.
#[derive(Debug)]
pub(crate) struct Activity {
    began: Instant,
    /// The requests whose answers have not been given to the connection to their ends.
    open: AtomicUsize,
    /// The socket does not take the rest of an answer at the moment.
    blocked: AtomicBool,
    /// When the client must have taken the present answer, in milliseconds from the beginning, or `NEVER`.
    until: AtomicU64,
    /// The last request had a body.
    upload: AtomicBool,
}

/// A request without a whole answer. It counts until it is dropped.
#[derive(Debug)]
pub(crate) struct OpenRequest(Arc<Activity>);

impl Activity {
    pub(crate) fn new() -> Self {
        Self {
            began: Instant::now(),
            open: AtomicUsize::new(0),
            blocked: AtomicBool::new(false),
            until: AtomicU64::new(NEVER),
            upload: AtomicBool::new(false),
        }
    }

    /// Begins a request, with a body or without. Its answer has no time of its own yet.
    pub(crate) fn open(self: &Arc<Self>, upload: bool) -> OpenRequest {
        // Relaxed here and below: the numbers order no other memory.
        self.open.fetch_add(1, Ordering::Relaxed);
        self.until.store(NEVER, Ordering::Relaxed);
        self.upload.store(upload, Ordering::Relaxed);
        OpenRequest(Arc::clone(self))
    }

    /// Whether a client waits for an answer, or for the rest of one.
    pub(crate) fn is_answering(&self) -> bool {
        self.open.load(Ordering::Relaxed) > 0 || self.blocked.load(Ordering::Relaxed)
    }

    /// Whether the client may still send the body of its last request.
    pub(crate) fn had_upload(&self) -> bool {
        self.upload.load(Ordering::Relaxed)
    }

    /// Sets the moment at which the client must have taken the present answer.
    pub(crate) fn finish_by(&self, deadline: Deadline) {
        let until = deadline.instant().saturating_duration_since(self.began.into_std()).as_millis();
        self.until.store(until.try_into().unwrap_or(NEVER), Ordering::Relaxed);
    }

    fn until(&self) -> Option<Instant> {
        match self.until.load(Ordering::Relaxed) {
            NEVER => None,
            millis => self.began.checked_add(Duration::from_millis(millis)),
        }
    }
}

impl Drop for OpenRequest {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A socket that fails when its client takes nothing for a time, or takes too long for one answer.
///
/// hyper does not poll the body of an answer while the socket is full, so a deadline of the body is not noticed.
#[derive(Debug)]
pub(crate) struct ClientSocket {
    inner: TcpStream,
    /// The longest time in which the client may take nothing.
    limit: Duration,
    timer: Option<Pin<Box<Sleep>>>,
    activity: Arc<Activity>,
}

impl ClientSocket {
    pub(crate) const fn new(inner: TcpStream, limit: Duration, activity: Arc<Activity>) -> Self {
        Self { inner, limit, timer: None, activity }
    }

    /// Closes the connection, but discards what the client still sends for a moment.
    ///
    /// The kernel answers data for a closed socket with a reset, which destroys the last answer of the gateway unless the
    /// client has read it (RFC 9112, 9.6).
    pub(crate) async fn linger(mut self) {
        let discard = async {
            let _ = self.inner.shutdown().await;
            // Not an array, which would be in the future of each connection.
            let mut piece = vec![0; 8 * 1_024];
            while let Ok(Ok(1..)) = timeout(LINGER_SILENCE, self.inner.read(&mut piece)).await {}
        };
        let _ = timeout(LINGER, discard).await;
    }

    /// Fails in place of a write that has been pending for too long.
    fn limited<T>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            if self.timer.take().is_some() {
                self.activity.blocked.store(false, Ordering::Relaxed);
            }
            return written;
        }
        let (limit, activity) = (self.limit, &self.activity);
        let timer = self.timer.get_or_insert_with(|| {
            activity.blocked.store(true, Ordering::Relaxed);
            let silent = Instant::now() + limit;
            let until = activity.until().map_or(silent, |until| until.min(silent));
            Box::pin(tokio::time::sleep_until(until))
        });
        timer.as_mut().poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for ClientSocket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buf)
    }
}

impl AsyncWrite for ClientSocket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write(cx, buf);
        self.limited(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write_vectored(cx, bufs);
        self.limited(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

const NEVER: u64 = u64::MAX;
/// Enough for an upload on a long way to notice the answer.
const LINGER: Duration = Duration::from_secs(10);
/// A client that has noticed it sends no more.
const LINGER_SILENCE: Duration = Duration::from_secs(1);
