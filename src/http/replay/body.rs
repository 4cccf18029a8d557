//! The body.

use std::{
    fmt, mem,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project::pin_project;

use super::pass::{Pass, to_bytes};
use crate::call::{BoxError, Upload};

/// A request body that can be sent more than once.
///
/// It records the data that streams through it, for the [copies](Self::copy) taken of it. A copy starts at the
/// beginning with the recorded data. The rest follows when the earlier attempt has been dropped, or when the copy
/// [takes over](Self::take_over).
///
/// A body without a copy records and allocates nothing. A body larger than the cap streams on, and the recording is
/// dropped. A recording uses at most the cap in memory, whatever the sizes of the frames.
///
/// The error type is [`BoxError`]. It holds the error of the inner body, or
/// [`CannotReplay`](super::CannotReplay) where a copy cannot be read further.
///
/// # Cancellation
///
/// A dropped body leaves the rest of the inner body to its copies. The last copy drops the inner body.
#[pin_project]
pub struct ReplayBody<B> {
    #[pin]
    source: Source<B>,
    max_bytes: usize,
    /// Learns of each frame that this body yields.
    upload: Option<Upload>,
}

#[pin_project(project = SourceProjection)]
enum Source<B> {
    /// No copy was taken.
    Alone {
        #[pin]
        body: B,
        begun: bool,
    },
    /// A copy was taken.
    Shared(Pass<B>),
    /// The body was at its end when it was copied.
    Empty,
}

impl<B> ReplayBody<B> {
    /// A body that can be replayed up to a length of 64 KiB.
    pub const fn new(body: B) -> Self {
        Self { source: Source::Alone { body, begun: false }, max_bytes: MAX_BYTES, upload: None }
    }

    /// Limits the recorded bytes of data and trailers. A longer body is sent once.
    ///
    /// A larger cap lets longer uploads be retried, and costs up to that much memory per request in flight. It
    /// holds for copies taken afterwards. Range: any; 0 records nothing. Default: 64 KiB.
    #[must_use]
    pub const fn max_bytes(mut self, bytes: usize) -> Self {
        self.max_bytes = bytes;
        self
    }

    /// Whether this copy can be read to its end now, without taking the body from a running attempt.
    ///
    /// It can when the body is recorded to its end, or when the attempt that streamed it has been dropped. It
    /// cannot while an attempt streams, nor after the body has failed or has outgrown the cap.
    pub fn can_replay(&self) -> bool {
        match &self.source {
            Source::Alone { begun, .. } => !begun,
            Source::Shared(pass) => pass.can_replay(),
            Source::Empty => true,
        }
    }

    /// Whether this copy could be read to its end after [`take_over`](Self::take_over).
    ///
    /// It could not if the body has failed or has outgrown the cap, or if this copy has read past the recording.
    pub fn can_take_over(&self) -> bool {
        match &self.source {
            Source::Alone { begun, .. } => !begun,
            Source::Shared(pass) => pass.can_take_over(),
            Source::Empty => true,
        }
    }

    /// Takes the rest of the body from the attempt that streams it. Returns `false` if this copy stays unreadable.
    ///
    /// Call it when all earlier attempts are over. A transport may hold the body of a request that was answered
    /// early or given up until its task runs again. Its upload then breaks off with
    /// [`CannotReplay`](super::CannotReplay), so that no backend takes it for a whole body. Called before a wait, it
    /// also keeps that transport from reading on beyond the cap.
    ///
    /// ```
    /// use bytes::Bytes;
    /// use http_body_util::{BodyExt, Full};
    /// use tower_reliability::{BoxError, http::ReplayBody};
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), BoxError> {
    /// let mut body = ReplayBody::new(Full::new(Bytes::from("an order")));
    /// let mut copy = body.copy().ok_or("too large")?;
    ///
    /// assert!(copy.take_over());
    /// assert!(body.collect().await.is_err());
    /// assert_eq!(copy.collect().await?.to_bytes(), "an order");
    /// # Ok(()) }
    /// ```
    pub fn take_over(&mut self) -> bool {
        match &self.source {
            Source::Alone { begun, .. } => !begun,
            Source::Shared(pass) => pass.take_over(),
            Source::Empty => true,
        }
    }

    /// Lets this body report its progress to an upload.
    pub(crate) fn report_to(&mut self, upload: Option<Upload>) {
        self.upload = upload;
    }
}

impl<B: Body> ReplayBody<B> {
    /// A copy that reads the body from its beginning. Keep it while this body is sent.
    ///
    /// A copy can be copied too. `None` if the copy could never be read: the body announces a length above the cap,
    /// or its beginning was read and not recorded. A copy of an empty body is free.
    pub fn copy(&mut self) -> Option<Self> {
        match &self.source {
            Source::Alone { body, .. } if body.size_hint().lower() > self.max_bytes as u64 => None,
            _ => self.share(self.max_bytes),
        }
    }

    /// A copy for a request that must not be processed twice. It records nothing.
    ///
    /// The copy can be read only while the body is untouched, as after a refused connection. Otherwise as
    /// [`copy`](Self::copy).
    ///
    /// ```
    /// use bytes::Bytes;
    /// use http_body_util::{BodyExt, Full};
    /// use tower_reliability::{BoxError, http::ReplayBody};
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), BoxError> {
    /// let mut body = ReplayBody::new(Full::new(Bytes::from("an order")));
    /// let copy = body.copy_unread().ok_or("it was read")?;
    /// assert!(copy.can_take_over());
    ///
    /// body.collect().await?;
    /// assert!(!copy.can_take_over());
    /// # Ok(()) }
    /// ```
    pub fn copy_unread(&mut self) -> Option<Self> {
        self.share(0)
    }

    /// A copy. If it is the first, up to `recorded` bytes are recorded for it.
    fn share(&mut self, recorded: usize) -> Option<Self> {
        let source = match &mut self.source {
            Source::Alone { begun: true, .. } => return None,
            Source::Alone { body, .. } if body.is_end_stream() => Source::Empty,
            Source::Alone { .. } => {
                // The next lines put the same body back behind a pointer.
                let Source::Alone { body, .. } = mem::replace(&mut self.source, Source::Empty) else {
                    return None;
                };
                let mut pass = Pass::first(body, recorded);
                let copy = pass.copy();
                self.source = Source::Shared(pass);
                Source::Shared(copy?)
            }
            Source::Shared(pass) => Source::Shared(pass.copy()?),
            Source::Empty => Source::Empty,
        };
        Some(Self { source, max_bytes: self.max_bytes, upload: None })
    }

    /// Whether the body is at its end.
    pub(crate) fn is_at_end(&self) -> bool {
        match &self.source {
            Source::Alone { body, .. } => body.is_end_stream(),
            Source::Shared(pass) => pass.ahead().0,
            Source::Empty => true,
        }
    }
}

impl<B> Body for ReplayBody<B>
where
    B: Body,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let frame = match self.as_mut().project().source.project() {
            SourceProjection::Alone { body, begun } => {
                *begun = true;
                body.poll_frame(cx).map(|frame| frame.map(to_bytes))
            }
            SourceProjection::Shared(pass) => pass.poll_frame(cx),
            SourceProjection::Empty => Poll::Ready(None),
        };
        if let Some(upload) = &self.upload {
            match &frame {
                Poll::Pending => upload.wait_for_caller(),
                // A transport asks a body whether it has ended, and may never read the end.
                Poll::Ready(Some(Ok(_))) if self.is_at_end() => upload.complete(),
                Poll::Ready(Some(Ok(_))) => upload.progress(),
                Poll::Ready(Some(Err(_))) => {}
                Poll::Ready(None) => upload.complete(),
            }
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.is_at_end()
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Alone { body, .. } => body.size_hint(),
            Source::Shared(pass) => pass.ahead().1,
            Source::Empty => SizeHint::with_exact(0),
        }
    }
}

impl<B> fmt::Debug for ReplayBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shared = matches!(self.source, Source::Shared(_));
        f.debug_struct("ReplayBody")
            .field("max_bytes", &self.max_bytes)
            .field("shared", &shared)
            .finish_non_exhaustive()
    }
}

/// Large enough for most API calls, small enough to be kept for thousands of requests in flight.
pub(crate) const MAX_BYTES: usize = 64 * 1_024;
