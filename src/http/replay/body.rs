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
use crate::call::BoxError;

/// A body that can be sent again: it keeps what streams through it for the [copies](Self::copy) taken of it.
///
/// A copy starts at the beginning, with what was recorded, and goes on with the rest of the body where an earlier
/// attempt was dropped, or where the copy [takes it over](Self::take_over). Nothing is recorded, and nothing allocated,
/// before there is a copy; nor when no copy is left. A body larger than the cap streams on as it is, and what was recorded
/// is dropped.
///
/// Its error is a [`BoxError`]: that of the body inside as it is, or [`CannotReplay`](super::CannotReplay) for one that
/// was relieved, or that was read although it [could not](Self::can_replay) be replayed.
///
/// # Cancellation
///
/// Dropping it gives the rest of the body inside to the copies; dropping the last of them drops that body.
#[pin_project]
pub struct ReplayBody<B> {
    #[pin]
    source: Source<B>,
    max_bytes: usize,
}

#[pin_project(project = SourceProjection)]
enum Source<B> {
    /// There is no copy.
    Alone {
        #[pin]
        body: B,
        begun: bool,
    },
    /// There is one, or has been.
    Shared(Pass<B>),
    /// A copy of a body with nothing in it.
    Empty,
}

impl<B> ReplayBody<B> {
    /// A body that can be replayed if it is no longer than 64 KiB.
    pub const fn new(body: B) -> Self {
        Self { source: Source::Alone { body, begun: false }, max_bytes: MAX_BYTES }
    }

    /// How many bytes are kept, of data and trailers; a longer body cannot be replayed. It is to be set before the
    /// first copy is taken. Default: 64 KiB.
    ///
    /// A body of more than 4,096 frames cannot be replayed either.
    #[must_use]
    pub const fn max_bytes(mut self, bytes: usize) -> Self {
        self.max_bytes = bytes;
        self
    }

    /// Whether the whole body can be read from this copy now, without taking it from anybody.
    ///
    /// The body has been recorded to its end, or the attempt that streamed it has been dropped, so that the copy goes on
    /// where it stopped. While an attempt still streams, and after the body has failed or has grown larger than the
    /// cap, it is `false`, and reading the copy is an error.
    pub fn can_replay(&self) -> bool {
        match &self.source {
            Source::Alone { begun, .. } => !begun,
            Source::Shared(pass) => pass.can_replay(),
            Source::Empty => true,
        }
    }

    /// Whether the whole body could be read from this copy if it [took over](Self::take_over).
    ///
    /// It is `false` only where there is nothing to be had: the body has failed, or has grown larger than the cap, or
    /// this copy has itself been read beyond what was recorded.
    pub fn can_take_over(&self) -> bool {
        match &self.source {
            Source::Alone { begun, .. } => !begun,
            Source::Shared(pass) => pass.can_take_over(),
            Source::Empty => true,
        }
    }

    /// Takes the rest of the body from whoever streams it. `false` if this copy cannot be replayed even so.
    ///
    /// It is for when all earlier attempts are over: a transport learns of that late, and holds the body of a request
    /// that was answered early, or given up, until its task runs again. What it still sends of it breaks off with
    /// [`CannotReplay`](super::CannotReplay), which no peer takes for an end. Taken over before a wait, the body does not
    /// grow above the cap in the meantime.
    ///
    /// ```
    /// use bytes::Bytes;
    /// use http_body_util::{BodyExt, Full};
    /// use tower_reliability::http::ReplayBody;
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), tower_reliability::BoxError> {
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
}

impl<B: Body> ReplayBody<B> {
    /// A copy that reads the body from its beginning, to be kept while this one is sent. Copies can be copied too.
    ///
    /// `None` if it could never be replayed: the body says that it is larger than the cap, or what was read of it is
    /// gone. An empty body is copied for free.
    pub fn copy(&mut self) -> Option<Self> {
        let max_bytes = self.max_bytes;
        let source = match &mut self.source {
            Source::Alone { begun: true, .. } => return None,
            Source::Alone { body, .. } if body.is_end_stream() => Source::Empty,
            Source::Alone { body, .. } if body.size_hint().lower() > max_bytes as u64 => return None,
            Source::Alone { .. } => {
                // It is put back in the next line, as the same body behind a pointer.
                let Source::Alone { body, .. } = mem::replace(&mut self.source, Source::Empty) else {
                    return None;
                };
                let mut pass = Pass::first(body, max_bytes);
                let copy = pass.copy();
                self.source = Source::Shared(pass);
                Source::Shared(copy?)
            }
            Source::Shared(pass) => Source::Shared(pass.copy()?),
            Source::Empty => Source::Empty,
        };
        Some(Self { source, max_bytes })
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
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match self.project().source.project() {
            SourceProjection::Alone { body, begun } => {
                *begun = true;
                body.poll_frame(cx).map(|frame| frame.map(to_bytes))
            }
            SourceProjection::Shared(pass) => pass.poll_frame(cx),
            SourceProjection::Empty => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::Alone { body, .. } => body.is_end_stream(),
            Source::Shared(pass) => pass.ahead().0,
            Source::Empty => true,
        }
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

/// Large enough for nearly all calls of an API, small enough to be kept for each of thousands in flight.
pub(super) const MAX_BYTES: usize = 64 * 1_024;
