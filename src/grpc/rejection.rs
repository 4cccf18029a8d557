//! Rejections as gRPC answers.

use std::time::Duration;

use ::http::Response;
use tower_layer::Layer;

use super::status::status_of;
use crate::{
    call::Rejected,
    http::rejection::{Answers, Jitter, Rejection},
};

/// Turns rejections into gRPC answers, in a server and in a client.
///
/// An open circuit or a concurrency limit without a permit is `UNAVAILABLE`, with `grpc-retry-pushback-ms` if the
/// rejection knows a time. A drain is `UNAVAILABLE` without a time, a timeout is `DEADLINE_EXCEEDED`, and a caught panic is
/// `INTERNAL`. A rate limit is `RESOURCE_EXHAUSTED`, and a cost that it never lets pass is `INVALID_ARGUMENT`. The message
/// is one fixed sentence per code; [`detailed`](Self::detailed) adds the reason. Any other error passes unchanged.
///
/// Put the layer around the layers whose rejections it answers. The compiler does not ask for it. Without it, a server of
/// tonic resets the stream, which its caller sees as `INTERNAL`, and a client of tonic reports `UNKNOWN`.
///
/// ```
/// use std::time::Duration;
/// use tonic::transport::{Channel, Server};
/// use tonic_health::pb::health_client::HealthClient;
/// use tower::ServiceBuilder;
/// use tower_reliability::{circuit_breaker::CircuitBreakerConfig, grpc::{self, *}};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let stack = grpc::stack()
///     .timeout(Duration::from_secs(10))
///     .circuit_breaker(CircuitBreakerConfig::new())
///     .build()?;
/// let channel = Channel::from_static("http://[::1]:50051").connect_lazy();
/// let answers = GrpcRejectionLayer::new().detailed();
/// let layers = ServiceBuilder::new().layer(answers).layer(stack);
/// let client = HealthClient::new(layers.service(channel));
///
/// let stack = grpc::stack().timeout(Duration::from_secs(5)).build()?;
/// let layers = ServiceBuilder::new().layer(GrpcRejectionLayer::new()).layer(stack);
/// let server = Server::builder().layer(layers.into_inner());
/// # let _ = (client, server);
/// # Ok(()) }
/// ```
///
/// # Runtime, panics and clones
///
/// The layer needs no runtime and does not panic. It has no state that clones could share.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GrpcRejectionLayer {
    jitter: Jitter,
}

impl GrpcRejectionLayer {
    /// Answers without details: fit for remote callers.
    #[must_use]
    pub const fn new() -> Self {
        Self { jitter: Jitter::DEFAULT }
    }

    /// Lets clients wait up to this much longer than the rejection says, as a ratio of the wait.
    ///
    /// See [`RejectionLayer::retry_jitter`](crate::http::RejectionLayer::retry_jitter). 0 to 1; a ratio out of range
    /// becomes the nearest one. Default: 0.25.
    #[must_use]
    pub const fn retry_jitter(self, ratio: f64) -> Self {
        Self { jitter: Jitter::new(ratio) }
    }

    /// Puts the whole rejection into `grpc-message`: the name of the layer, the reason, counts and times.
    ///
    /// For callers inside the same trust boundary only: a name may contain an address. Default: off.
    #[must_use]
    pub const fn detailed(self) -> DetailedGrpcRejectionLayer {
        DetailedGrpcRejectionLayer { jitter: self.jitter }
    }
}

impl Default for GrpcRejectionLayer {
    fn default() -> Self {
        Self::new()
    }
}

impl<S> Layer<S> for GrpcRejectionLayer {
    type Service = GrpcRejection<S>;

    fn layer(&self, inner: S) -> Self::Service {
        GrpcRejection::new(inner, self.jitter)
    }
}

/// A [`GrpcRejectionLayer`] with the whole rejection in its answers. Made by [`GrpcRejectionLayer::detailed`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DetailedGrpcRejectionLayer {
    jitter: Jitter,
}

impl<S> Layer<S> for DetailedGrpcRejectionLayer {
    type Service = GrpcRejection<S, DetailedGrpcAnswers>;

    fn layer(&self, inner: S) -> Self::Service {
        GrpcRejection::new(inner, self.jitter)
    }
}

/// Answers the rejections of the inner service in gRPC. See [`GrpcRejectionLayer`].
pub type GrpcRejection<S, A = GrpcAnswers> = Rejection<S, A>;

/// Answers with a head alone, which gRPC calls "trailers-only", and a fixed message per code.
#[derive(Clone, Copy, Debug)]
pub struct GrpcAnswers;

impl<B: Default> Answers<B> for GrpcAnswers {
    const STEP: Duration = MILLISECOND;

    fn answer(rejected: &Rejected) -> Response<B> {
        answer(rejected, false)
    }
}

/// As [`GrpcAnswers`], with the whole rejection as the message.
#[derive(Clone, Copy, Debug)]
pub struct DetailedGrpcAnswers;

impl<B: Default> Answers<B> for DetailedGrpcAnswers {
    const STEP: Duration = MILLISECOND;

    fn answer(rejected: &Rejected) -> Response<B> {
        answer(rejected, true)
    }
}

fn answer<B: Default>(rejected: &Rejected, detailed: bool) -> Response<B> {
    let mut response = status_of(rejected, detailed).into_http();
    // Outer classifiers find it: the answer says nothing about the backend. Extensions stay inside the process.
    response.extensions_mut().insert(rejected.clone());
    response
}

const MILLISECOND: Duration = Duration::from_millis(1);

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;
    use crate::{
        call::{Classifier, Outcome, Reason},
        grpc::GrpcClassifier,
        telemetry::{Name, Trip},
    };

    fn rejected() -> Rejected {
        let reason = Reason::CircuitOpen(Trip::ConsecutiveFailures(5678));
        Rejected::new(Name::new("b\u{e4}nk%"), reason).after(Duration::from_millis(90))
    }

    #[tokio::test(start_paused = true)]
    async fn the_answer_is_a_head_with_a_status_and_says_nothing_about_the_backend() {
        let answer: Response<String> = GrpcAnswers::answer(&rejected());
        assert_eq!((answer.status().as_u16(), answer.body().as_str()), (200, ""));
        assert_eq!(answer.headers()["content-type"], "application/grpc");
        assert_eq!(answer.headers()["grpc-status"], "14");
        assert_eq!(answer.headers()["grpc-retry-pushback-ms"], "90");
        let outcome = GrpcClassifier::new().classify(Ok::<_, &Infallible>(&answer));
        assert_eq!(outcome, Outcome::EndpointUnavailable);
    }

    #[tokio::test(start_paused = true)]
    async fn case_74_an_answer_discloses_details_on_request_only() {
        let message = |answer: Response<()>| answer.headers()["grpc-message"].clone();
        assert_eq!(message(GrpcAnswers::answer(&rejected())), "temporarily%20unavailable");
        let detailed = message(DetailedGrpcAnswers::answer(&rejected()));
        let detailed = detailed.to_str().expect("ascii");
        assert!(detailed.starts_with("b%C3%A4nk%25:%20circuit%20open"), "{detailed}");
    }
}
