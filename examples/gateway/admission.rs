//! Limits on the requests in flight, each with a queue in front that serves them by priority.

use std::{
    convert::Infallible,
    future::Future,
    pin::{Pin, pin},
    task::{Context, Poll},
};

use axum::{
    body::{Body, Bytes, HttpBody},
    response::Response,
};
use hyper::body::{Frame, SizeHint};
use serde_json::{Value, json};
use tower::{Layer, Service, ServiceExt};
use tower_reliability::{
    Classifier, ConfigError, Deadline, DeadlineSource, Error, Outcome, PendingOutcome, Priority,
    PrioritySource,
    concurrency_limit::{ConcurrencyLimitConfig, ConcurrencyLimitLayer},
    http::RejectionLayer,
};

/// A limit on the requests in flight, or none. Clones share it.
///
/// A request is in flight until its answer has ended, so that a client that reads slowly counts.
#[derive(Clone, Debug)]
pub(crate) struct Admission(Option<ConcurrencyLimitLayer<UntilEnd, ByTicket, ByTicket>>);

/// The facts about a request by which a queue orders it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ticket {
    pub(crate) priority: Priority,
    /// The hash of its client.
    pub(crate) client: u64,
    pub(crate) deadline: Deadline,
}

impl Admission {
    /// A limit with this name in logs.
    pub(crate) fn new(config: Option<ConcurrencyLimitConfig>, name: String) -> Result<Self, ConfigError> {
        let layer = config.map(ConcurrencyLimitConfig::build).transpose()?;
        Ok(Self(
            layer.map(|layer| layer.classify(UntilEnd).priority(ByTicket).deadlines(ByTicket).named(name)),
        ))
    }

    /// Answers a request as soon as the limit allows it, or refuses it with 503.
    pub(crate) async fn admit<F>(&self, ticket: Ticket, answer: F) -> Response
    where
        F: Future<Output = Response>,
    {
        let Some(limit) = &self.0 else { return answer.await };
        // The layers move a call from one place to the next, and a pointer is cheaper to move than the call.
        let answer = pin!(async { Ok(answer.await) });
        let limited = RejectionLayer::new().layer(limit.layer(Serve));
        limited.oneshot(Admitted { ticket, answer }).await.unwrap_or_else(|never| match never {})
    }

    /// The state of the limit, for an operator.
    pub(crate) fn status(&self) -> Value {
        let Some(limit) = &self.0 else { return Value::Null };
        let snapshot = limit.handle().snapshot();
        let counts = snapshot.counts;
        let waiting = snapshot.waiting_by_class.into_iter().map(|(priority, calls)| {
            let name = format!("{priority:?}").to_ascii_lowercase();
            (name, calls.into())
        });
        json!({
            "limit": snapshot.limit,
            "in_flight": snapshot.in_flight,
            "waiting": Value::Object(waiting.collect()),
            "waited": counts.limited,
            "rejected": counts.rejected_full + counts.rejected_shed + counts.rejected_max_wait
                + counts.rejected_deadline,
        })
    }
}

/// A request and its answer to be.
struct Admitted<F> {
    ticket: Ticket,
    answer: F,
}

/// Answers a request. A closure would not do: its future could not be sent to another thread.
#[derive(Clone, Copy, Debug)]
struct Serve;

impl<F> Service<Admitted<F>> for Serve
where
    F: Future<Output = Result<Response, Error<Infallible>>>,
{
    type Response = Response;
    type Error = Error<Infallible>;
    type Future = F;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Admitted<F>) -> F {
        request.answer
    }
}

#[derive(Clone, Copy, Debug)]
struct ByTicket;

impl<F> PrioritySource<Admitted<F>> for ByTicket {
    fn priority(&self, request: &Admitted<F>) -> Priority {
        request.ticket.priority
    }

    fn queue_key(&self, request: &Admitted<F>) -> Option<u64> {
        Some(request.ticket.client)
    }
}

impl<F> DeadlineSource<Admitted<F>> for ByTicket {
    fn deadline(&self, request: &Admitted<F>) -> Option<Deadline> {
        Some(request.ticket.deadline)
    }
}

/// Keeps the permit of a request until its answer has ended.
#[derive(Clone, Copy, Debug)]
struct UntilEnd;

impl<E> Classifier<Response, E> for UntilEnd {
    fn classify(&self, answer: Result<&Response, &E>) -> Outcome {
        // The connection does not read a body that is empty.
        match answer {
            Ok(answer) if !answer.body().is_end_stream() => Outcome::Deferred,
            _ => Outcome::Success,
        }
    }

    fn defer(&self, answer: &mut Response, permit: PendingOutcome) -> Result<(), PendingOutcome> {
        let inner = std::mem::take(answer.body_mut());
        *answer.body_mut() = Body::new(LimitedBody { inner, _permit: permit });
        Ok(())
    }
}

/// The body of an answer. It has the permit of its request until it is dropped.
struct LimitedBody {
    inner: Body,
    _permit: PendingOutcome,
}

impl HttpBody for LimitedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.inner).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
