//! The instant by which an answer is wanted, and how a layer learns it from a request.

use std::time::{Duration, Instant};

use super::Upload;
use crate::{algo, rt::clock};

/// An absolute point in time after which nobody waits for the answer any more.
///
/// It belongs to the whole call, not to one attempt: every layer asks what [remains](Self::remaining), and a
/// deadline handed on can only get earlier. It follows tokio's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Deadline(Instant);

impl Deadline {
    /// The deadline at an instant.
    #[must_use]
    pub const fn at(instant: Instant) -> Self {
        Self(instant)
    }

    /// The deadline `delay` from now.
    #[must_use]
    pub fn after(delay: Duration) -> Self {
        Self(algo::after(clock::now(), delay))
    }

    /// The instant itself.
    #[must_use]
    pub const fn instant(self) -> Instant {
        self.0
    }

    /// How much time is left; zero once it has passed.
    #[must_use]
    pub fn remaining(self) -> Duration {
        self.0.saturating_duration_since(clock::now())
    }

    /// Whether it has passed.
    #[must_use]
    pub fn is_expired(self) -> bool {
        self.remaining().is_zero()
    }

    /// The earlier of the two: what holds where a caller and this side both set one.
    #[must_use]
    pub fn earlier(self, other: Self) -> Self {
        self.min(other)
    }
}

/// How a layer learns from a request how long it may take, and tells those below.
///
/// Requests of different protocols carry it in different places. [`NoDeadline`] looks nowhere, a closure gives a
/// limit per request, and `http::RequestExtensions` uses the extensions of an HTTP request.
///
/// ```
/// use std::time::Duration;
/// use tower_reliability::timeout::TimeoutConfig;
///
/// struct Query { heavy: bool }
/// let layer = TimeoutConfig::new(Duration::from_secs(2)).build()?
///     .deadlines(|query: &Query| query.heavy.then_some(Duration::from_secs(30)));
/// # Ok::<(), tower_reliability::ConfigError>(())
/// ```
pub trait DeadlineSource<Req> {
    /// The deadline that came with the request.
    fn deadline(&self, _request: &Req) -> Option<Deadline> {
        None
    }

    /// A limit for this one request, in place of the configured one.
    fn timeout(&self, _request: &Req) -> Option<Duration> {
        None
    }

    /// How far the body of this request has been sent; `None` if it has no body, or if nothing watches its body.
    fn upload(&self, _request: &Req) -> Option<Upload> {
        None
    }

    /// Leaves the deadline in the request, for the layers below.
    fn propagate(&self, _request: &mut Req, _deadline: Deadline) {}
}

/// Finds no limits in any request. The default.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoDeadline;

impl<Req> DeadlineSource<Req> for NoDeadline {}

impl<Req, F> DeadlineSource<Req> for F
where
    F: Fn(&Req) -> Option<Duration>,
{
    fn timeout(&self, request: &Req) -> Option<Duration> {
        self(request)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_remains_shrinks_with_the_clock_and_stops_at_zero() {
        let deadline = Deadline::after(Duration::from_secs(2));
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(deadline.remaining(), Duration::from_secs(1));
        tokio::time::advance(Duration::from_secs(2)).await;
        assert!(deadline.is_expired());
    }

    #[tokio::test(start_paused = true)]
    async fn the_earlier_of_two_holds() {
        let (soon, late) = (Deadline::after(Duration::from_secs(2)), Deadline::after(Duration::MAX));
        assert_eq!(late.earlier(soon), soon);
    }
}
