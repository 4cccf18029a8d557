//! Deadlines, and how layers read them from requests.

use std::time::{Duration, Instant};

use super::Upload;
use crate::{algo, rt::clock};

/// The instant after which the caller no longer waits for the answer.
///
/// It belongs to the whole call, not to one attempt. Each layer asks for the [remaining](Self::remaining) time, and may
/// hand on an earlier deadline, never a later one. It follows tokio's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Deadline(Instant);

impl Deadline {
    /// The deadline at this instant.
    #[must_use]
    pub const fn at(instant: Instant) -> Self {
        Self(instant)
    }

    /// The deadline `delay` from now.
    #[must_use]
    pub fn after(delay: Duration) -> Self {
        Self(algo::after(clock::now(), delay))
    }

    /// The instant of the deadline.
    #[must_use]
    pub const fn instant(self) -> Instant {
        self.0
    }

    /// The time that is left. Zero once the deadline has passed.
    #[must_use]
    pub fn remaining(self) -> Duration {
        self.0.saturating_duration_since(clock::now())
    }

    /// Whether the deadline has passed.
    #[must_use]
    pub fn is_expired(self) -> bool {
        self.remaining().is_zero()
    }

    /// The earlier of two deadlines. It holds where the caller and this side both set one.
    #[must_use]
    pub fn earlier(self, other: Self) -> Self {
        self.min(other)
    }
}

/// Reads from a request how long it may take, and hands the deadline on to inner layers.
///
/// Protocols carry deadlines in different places. [`NoDeadline`] finds none, a closure gives a limit per request, and
/// `http::RequestExtensions` uses the extensions of an HTTP request.
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
#[diagnostic::on_unimplemented(
    message = "`{Self}` reads no deadline from `{Req}`: name another source with `.deadlines(..)`, or `NoDeadline`",
    label = "needs a source of deadlines for the requests of the inner service",
    note = "a closure has to name the type of its argument: `.deadlines(|request: &Request| ..)`",
    note = "a stack that begins with `http::stack()` or `grpc::stack()` takes requests of that protocol"
)]
pub trait DeadlineSource<Req> {
    /// The deadline that came with the request.
    fn deadline(&self, _request: &Req) -> Option<Deadline> {
        None
    }

    /// A limit for this request, in place of the configured limit.
    fn timeout(&self, _request: &Req) -> Option<Duration> {
        None
    }

    /// The upload of this request. `None` if the request has no body, or if no wrapper watches the body.
    fn upload(&self, _request: &Req) -> Option<Upload> {
        None
    }

    /// Puts the deadline into the request, for inner layers.
    fn propagate(&self, _request: &mut Req, _deadline: Deadline) {}
}

/// Finds no deadline in any request. The default.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoDeadline;

impl<Req> DeadlineSource<Req> for NoDeadline {}

// Without the attribute, the compiler asks a source for another protocol to be a closure.
#[diagnostic::do_not_recommend]
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
    async fn the_remaining_time_shrinks_with_the_clock_and_stops_at_zero() {
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
