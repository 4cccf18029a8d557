//! The status of tonic that stands for a rejection.

use std::sync::Arc;

use tonic::{Code, Status};

use super::pushback::PUSHBACK;
use crate::{
    algo::whole_millis_up,
    call::{Reason, Rejected},
};

/// The status of a rejected call.
///
/// An open circuit is `UNAVAILABLE`, a call beyond a rate limit is `RESOURCE_EXHAUSTED`, a timeout is
/// `DEADLINE_EXCEEDED`, and a caught panic is `INTERNAL`. If the rejection knows a time,
/// `grpc-retry-pushback-ms` carries it, rounded up.
///
/// The message is one fixed sentence per code. A handler may return the status to a remote caller, so names,
/// addresses and counts stay inside the process. The [`Rejected`] with all details is the source of the status.
///
/// A service whose error is a [`Status`] needs no wrapper inside a layer:
///
/// ```
/// use tonic::{Code, Status};
/// use tower::{ServiceBuilder, ServiceExt, service_fn};
/// use tower_reliability::circuit_breaker::CircuitBreakerConfig;
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let breaker = CircuitBreakerConfig::new().build()?;
/// breaker.handle().force_open();
/// let service = ServiceBuilder::new()
///     .layer(breaker)
///     .service(service_fn(|()| async { Ok::<_, Status>(()) }));
/// let status = service.oneshot(()).await.unwrap_err();
/// assert_eq!(status.code(), Code::Unavailable);
/// assert_eq!(status.message(), "temporarily unavailable");
/// # Ok(()) }
/// ```
impl From<Rejected> for Status {
    fn from(rejected: Rejected) -> Self {
        status_of(&rejected, false)
    }
}

/// The status of a rejected call, with the whole rejection as its message if `detailed`.
pub(super) fn status_of(rejected: &Rejected, detailed: bool) -> Status {
    let (code, plain) = match rejected.reason() {
        Reason::CircuitOpen(_)
        | Reason::ProbesTaken
        | Reason::Ramping
        | Reason::ConcurrencyLimited { .. }
        | Reason::QueueFull
        | Reason::QueueTimeout { .. }
        | Reason::Shed
        | Reason::NoEndpoint
        | Reason::NoHealthyEndpoint
        | Reason::Draining => (Code::Unavailable, "temporarily unavailable"),
        Reason::RateLimited => (Code::ResourceExhausted, "too many requests"),
        Reason::CostTooHigh { .. } => (Code::InvalidArgument, "request asks for too much at once"),
        Reason::Timeout { .. } | Reason::DeadlineExceeded => (Code::DeadlineExceeded, "deadline exceeded"),
        Reason::Panicked | Reason::NoRuntime => (Code::Internal, "internal error"),
        Reason::UploadStalled { .. } => (Code::Cancelled, "request body stalled"),
    };
    let mut status =
        if detailed { Status::new(code, rejected.to_string()) } else { Status::new(code, plain) };
    if let Some(delay) = rejected.retry_after() {
        status.metadata_mut().insert(PUSHBACK, whole_millis_up(delay).into());
    }
    status.set_source(Arc::new(rejected.clone()));
    status
}

#[cfg(test)]
mod tests {
    use std::{error::Error, time::Duration};

    use super::*;
    use crate::{
        call::Outcome,
        grpc::GrpcClassifier,
        telemetry::{Name, Trip},
    };

    fn rejections() -> [Rejected; 16] {
        let limit = Duration::from_millis(1234);
        [
            Reason::CircuitOpen(Trip::ConsecutiveFailures(5678)),
            Reason::ProbesTaken,
            Reason::Ramping,
            Reason::ConcurrencyLimited { limit: 5678 },
            Reason::QueueFull,
            Reason::QueueTimeout { max_wait: limit },
            Reason::Shed,
            Reason::Draining,
            Reason::NoEndpoint,
            Reason::NoHealthyEndpoint,
            Reason::Panicked,
            Reason::NoRuntime,
            Reason::RateLimited,
            Reason::CostTooHigh { cost: 9012, most: 5678 },
            Reason::Timeout { limit },
            Reason::DeadlineExceeded,
        ]
        .map(|reason| Rejected::new(Name::new("db-7.internal:9012"), reason).after(limit))
    }

    #[tokio::test(start_paused = true)]
    async fn case_74_a_status_discloses_no_name_address_or_count() {
        for rejected in rejections() {
            let message = Status::from(rejected).message().to_owned();
            let plain = [
                "deadline exceeded",
                "internal error",
                "temporarily unavailable",
                "too many requests",
                "request asks for too much at once",
            ];
            assert!(plain.contains(&message.as_str()), "{message}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn details_come_on_request() {
        for rejected in rejections() {
            assert_eq!(status_of(&rejected, true).message(), rejected.to_string());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_open_circuit_is_unavailable_and_its_pushback_is_rounded_up() {
        let rejected =
            Rejected::new(Name::new("payments"), Reason::CircuitOpen(Trip::ConsecutiveFailures(5)));
        let status = Status::from(rejected.clone().after(Duration::from_micros(4_000_001)));
        assert_eq!(status.code(), Code::Unavailable);
        assert_eq!(status.metadata().get(PUSHBACK).expect("a time"), "4001");
        assert_eq!(GrpcClassifier::new().outcome_of_status(&status), Outcome::EndpointUnavailable);

        let over = Status::from(rejected.after(Duration::ZERO));
        assert_eq!(over.metadata().get(PUSHBACK).expect("a time"), "1");
    }

    #[tokio::test(start_paused = true)]
    async fn case_33_a_call_beyond_the_rate_is_exhausted_with_a_pushback_rounded_up() {
        let rejected = Rejected::new(Name::new("limit"), Reason::RateLimited).after(Duration::from_micros(1));
        let status = Status::from(rejected);
        assert_eq!(status.code(), Code::ResourceExhausted);
        assert_eq!(status.metadata().get(PUSHBACK).expect("a time"), "1");
        assert_eq!(GrpcClassifier::new().outcome_of_status(&status), Outcome::EndpointUnavailable);
    }

    #[test]
    fn a_timeout_has_no_pushback_and_is_the_source() {
        let limit = Duration::from_secs(1);
        let status = Status::from(Rejected::new(Name::new("timeout"), Reason::Timeout { limit }));
        assert_eq!(status.code(), Code::DeadlineExceeded);
        assert!(status.metadata().get(PUSHBACK).is_none());
        assert!(status.source().and_then(|source| source.downcast_ref::<Rejected>()).is_some());
    }
}
