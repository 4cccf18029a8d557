//! A backend that returns the result that each request names.

use std::{
    fmt,
    future::pending,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures::future::BoxFuture;
use tokio::time::sleep;
use tower::Service;
use tower_reliability::{
    Error, ErrorClass, Name, Outcome, Reason, Rejected,
    fallback::{FallbackBuilder, FallbackConfig},
};

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Say {
    /// From 500, a response is a failure.
    Number(u32),
    Slowly(u32),
    Fail(ErrorClass),
    /// A request that no backend has seen.
    Refuse,
    /// An error that says nothing about the backend.
    Unrelated,
    TurnAway(Reason),
    Hang,
}

impl fmt::Display for Say {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

impl std::error::Error for Say {}

pub(crate) type Answer = Result<u32, Error<Say>>;

pub(crate) const TIMEOUT: Reason = Reason::Timeout { limit: Duration::from_secs(1) };
pub(crate) const DOWN: Say = Say::Fail(ErrorClass::Server);

pub(crate) fn rejected(reason: Reason) -> Error<Say> {
    Error::Rejected(Rejected::new(Name::new("inner"), reason))
}

pub(crate) async fn say(what: Say) -> Answer {
    match what {
        Say::Number(number) => Ok(number),
        Say::Slowly(number) => {
            sleep(Duration::from_secs(1)).await;
            Ok(number)
        }
        Say::Fail(_) | Say::Refuse | Say::Unrelated => Err(Error::Inner(what)),
        Say::TurnAway(reason) => Err(rejected(reason)),
        Say::Hang => pending().await,
    }
}

pub(crate) fn by_number(result: Result<&u32, &Error<Say>>) -> Outcome {
    match result {
        Ok(500..) => Outcome::failure(ErrorClass::Server),
        Ok(_) => Outcome::Success,
        Err(Error::Inner(Say::Fail(class))) => Outcome::failure(*class),
        Err(Error::Inner(Say::Refuse)) => Outcome::failure(ErrorClass::Connection).unprocessed(),
        Err(Error::Inner(_)) => Outcome::Ignored,
        Err(Error::Rejected(rejected)) => rejected.outcome(),
    }
}

/// A fallback that still needs its answer.
pub(crate) fn layer(config: FallbackConfig) -> FallbackBuilder {
    config.build().expect("in range")
}

/// The backend as a service, which may not become ready. Clones share the count.
#[derive(Clone, Debug, Default)]
pub(crate) struct Peer {
    pub(crate) unready: Option<Error<Say>>,
    pub(crate) calls: Arc<AtomicUsize>,
}

impl Peer {
    pub(crate) fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }
}

impl Service<Say> for Peer {
    type Response = u32;
    type Error = Error<Say>;
    type Future = BoxFuture<'static, Answer>;

    fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> std::task::Poll<Result<(), Error<Say>>> {
        std::task::Poll::Ready(self.unready.clone().map_or(Ok(()), Err))
    }

    fn call(&mut self, what: Say) -> Self::Future {
        self.calls.fetch_add(1, Ordering::SeqCst);
        Box::pin(say(what))
    }
}
