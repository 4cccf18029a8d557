//! A rejection as tonic's `Status`.

use std::sync::Arc;

use tonic::{Code, Status};

use super::pushback::PUSHBACK;
use crate::{
    algo::whole_millis_up,
    call::{Reason, Rejected},
};

/// What a gRPC caller is told of a call that was turned away.
///
/// An open circuit is `UNAVAILABLE` and a timeout `DEADLINE_EXCEEDED`. Where a time is known, `grpc-retry-pushback-ms`
/// says when to come back, rounded up. The rejection is the status's source.
///
/// So a service whose error is a [`Status`] can stand under every layer as it is:
///
/// ```
/// use tonic::{Code, Status};
/// use tower::{ServiceBuilder, ServiceExt, service_fn};
/// use tower_reliability::circuit_breaker::CircuitBreakerConfig;
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let breaker = CircuitBreakerConfig::new().build()?;
/// breaker.handle().force_open();
/// let service = ServiceBuilder::new().layer(breaker).service(service_fn(|()| async { Ok::<_, Status>(()) }));
/// assert_eq!(service.oneshot(()).await.unwrap_err().code(), Code::Unavailable);
/// # Ok(()) }
/// ```
impl From<Rejected> for Status {
    fn from(rejected: Rejected) -> Self {
        let mut status = Self::new(code(rejected.reason()), rejected.to_string());
        if let Some(delay) = rejected.retry_after() {
            status.metadata_mut().insert(PUSHBACK, whole_millis_up(delay).into());
        }
        status.set_source(Arc::new(rejected));
        status
    }
}

const fn code(reason: Reason) -> Code {
    match reason {
        Reason::CircuitOpen(_) | Reason::ProbesTaken | Reason::Ramping => Code::Unavailable,
        Reason::Timeout { .. } | Reason::DeadlineExceeded => Code::DeadlineExceeded,
        Reason::UploadStalled { .. } => Code::Cancelled,
    }
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

    #[tokio::test(start_paused = true)]
    async fn an_open_circuit_is_unavailable_and_says_when_to_come_back_rounded_up() {
        let rejected =
            Rejected::new(Name::new("payments"), Reason::CircuitOpen(Trip::ConsecutiveFailures(5)));
        let status = Status::from(rejected.clone().after(Duration::from_micros(4_000_001)));
        assert_eq!(status.code(), Code::Unavailable);
        assert_eq!(status.metadata().get(PUSHBACK).expect("a time"), "4001");
        assert!(status.message().starts_with("payments: circuit open (5 calls in a row failed)"));
        assert_eq!(GrpcClassifier::new().outcome_of_status(&status), Outcome::EndpointUnavailable);

        let over = Status::from(rejected.after(Duration::ZERO));
        assert_eq!(over.metadata().get(PUSHBACK).expect("a time"), "1");
    }

    #[test]
    fn a_timeout_names_no_time_and_is_the_source() {
        let limit = Duration::from_secs(1);
        let status = Status::from(Rejected::new(Name::new("timeout"), Reason::Timeout { limit }));
        assert_eq!(status.code(), Code::DeadlineExceeded);
        assert!(status.metadata().get(PUSHBACK).is_none());
        assert!(status.source().and_then(|source| source.downcast_ref::<Rejected>()).is_some());
    }
}
