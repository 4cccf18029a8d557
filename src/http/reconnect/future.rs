//! The future of a request that may meet closed connections.

use std::{
    error::Error,
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use ::http::{Request, Response};
use http_body::Body;
use pin_project::pin_project;
use tower_service::Service;

use super::connector::{History, met_closed_connection};
use crate::{
    call::Upload,
    http::{replay::ReplayBody, resend::copy_within_attempt},
};

/// The client's response, from the first connection that was not closed.
///
/// # Cancellation
///
/// Dropping it drops the request that runs.
#[pin_project]
#[must_use = "futures do nothing unless polled"]
pub struct ResponseFuture<S, B>
where
    S: Service<Request<ReplayBody<B>>>,
{
    #[pin]
    phase: Phase<S::Future>,
    /// A client, and the request for a further connection. `None` where the request cannot be sent again.
    next: Option<(S, Request<ReplayBody<B>>)>,
    further: u8,
}

#[pin_project(project = PhaseProj)]
enum Phase<F> {
    Running(#[pin] F),
    Readying,
}

impl<S, B> ResponseFuture<S, B>
where
    S: Service<Request<ReplayBody<B>>>,
{
    pub(super) fn new(inner: S::Future, next: Option<(S, Request<ReplayBody<B>>)>) -> Self {
        Self { phase: Phase::Running(inner), next, further: 0 }
    }
}

impl<S, B, ResBody> Future for ResponseFuture<S, B>
where
    S: Service<Request<ReplayBody<B>>, Response = Response<ResBody>>,
    S::Error: Error + 'static,
    B: Body,
{
    type Output = Result<S::Response, S::Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        loop {
            let mut this = self.as_mut().project();
            match this.phase.as_mut().project() {
                // Running => Running | Readying | (returned)
                PhaseProj::Running(inner) => match ready!(inner.poll(cx)) {
                    Ok(mut response) => {
                        History::note_answer(response.extensions_mut());
                        return Poll::Ready(Ok(response));
                    }
                    Err(error) => {
                        let again = *this.further < MAX_FURTHER && met_closed_connection(&error);
                        // The connection's task may still hold the body.
                        let copy = this.next.as_mut().filter(|_| again);
                        if !copy.is_some_and(|(_, copy)| copy.body_mut().take_over()) {
                            return Poll::Ready(Err(error));
                        }
                        this.phase.set(Phase::Readying);
                    }
                },
                // Readying => Readying | Running | (returned)
                PhaseProj::Readying => {
                    let (mut client, mut request) = match this.next {
                        Some((client, _)) => {
                            ready!(client.poll_ready(cx))?;
                            this.next.take().expect("it was there in the line before")
                        }
                        None => unreachable!("the only way here goes past a copy"),
                    };
                    *this.further += 1;
                    let copy = copy_within_attempt(&mut request);
                    // The body is sent from its beginning, as the same upload.
                    if let Some(upload) = request.extensions().get::<Upload>() {
                        upload.progress();
                    }
                    this.phase.set(Phase::Running(client.call(request)));
                    *this.next = copy.map(|copy| (client, copy));
                }
            }
        }
    }
}

impl<S, B> fmt::Debug for ResponseFuture<S, B>
where
    S: Service<Request<ReplayBody<B>>>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").field("further", &self.further).finish_non_exhaustive()
    }
}

/// As many closed connections, one after the other, as a pool holds after a burst of a few parallel requests.
const MAX_FURTHER: u8 = 3;
