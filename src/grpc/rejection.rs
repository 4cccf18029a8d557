//! Rejections as gRPC answers.

use ::http::Response;
use tonic::Status;
use tower_layer::Layer;

use crate::{
    call::Rejected,
    http::rejection::{Answers, Rejection},
};

/// Turns rejections into gRPC answers, in a server and in a client alike.
///
/// An open circuit is `UNAVAILABLE`, with `grpc-retry-pushback-ms` where a time is known, and a timeout is
/// `DEADLINE_EXCEEDED`. It stands outside the layers whose rejections it answers. What is no rejection passes as it is.
///
/// Without it, a server of tonic's resets the stream, and a client of tonic's calls it `UNKNOWN`.
///
/// ```
/// use std::time::Duration;
/// use tonic::transport::{Channel, Server};
/// use tonic_health::pb::health_client::HealthClient;
/// use tower::ServiceBuilder;
/// use tower_reliability::{ReliabilityStack, circuit_breaker::CircuitBreakerConfig, grpc::*};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let stack = ReliabilityStack::builder()
///     .timeout(Duration::from_secs(10))
///     .circuit_breaker(CircuitBreakerConfig::new())
///     .classify(GrpcClassifier::new())
///     .deadlines(GrpcTimeout)
///     .build()?;
/// let channel = Channel::from_static("http://[::1]:50051").connect_lazy();
/// let client = HealthClient::new(ServiceBuilder::new().layer(GrpcRejectionLayer).layer(stack).service(channel));
///
/// let stack = ReliabilityStack::builder().timeout(Duration::from_secs(5)).deadlines(GrpcTimeout).build()?;
/// let server = Server::builder().layer(ServiceBuilder::new().layer(GrpcRejectionLayer).layer(stack).into_inner());
/// # let _ = (client, server);
/// # Ok(()) }
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct GrpcRejectionLayer;

impl<S> Layer<S> for GrpcRejectionLayer {
    type Service = GrpcRejection<S>;

    fn layer(&self, inner: S) -> Self::Service {
        GrpcRejection::new(inner)
    }
}

/// A service that answers in gRPC where the one below turns away.
pub type GrpcRejection<S> = Rejection<S, GrpcAnswers>;

/// A head and nothing else, which gRPC calls "trailers-only".
#[derive(Clone, Copy, Debug)]
pub struct GrpcAnswers;

impl<B: Default> Answers<B> for GrpcAnswers {
    fn answer(rejected: &Rejected) -> Response<B> {
        let mut response = Status::from(rejected.clone()).into_http();
        // For classifiers above, to whom this is still no verdict on the peer.
        response.extensions_mut().insert(rejected.clone());
        response
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;
    use crate::{
        call::{Classifier, Outcome, Reason},
        grpc::GrpcClassifier,
        telemetry::{Name, Trip},
    };

    #[test]
    fn the_answer_is_a_head_with_a_status_and_no_verdict_for_those_above() {
        let reason = Reason::CircuitOpen(Trip::ByHand);
        let answer: Response<String> = GrpcAnswers::answer(&Rejected::new(Name::new("b\u{e4}nk%"), reason));
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.headers()["content-type"], "application/grpc");
        assert_eq!(answer.headers()["grpc-status"], "14");
        assert!(!answer.headers().contains_key("grpc-retry-pushback-ms"));
        let message = answer.headers()["grpc-message"].to_str().expect("ascii");
        assert_eq!(message, "temporarily%20unavailable");
        assert!(answer.body().is_empty());
        let outcome = GrpcClassifier::new().classify(Ok::<_, &Infallible>(&answer));
        assert_eq!(outcome, Outcome::EndpointUnavailable);
    }
}
