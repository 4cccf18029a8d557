//! Layers around a route of axum, which clones the service for each request and boxes its future.

use std::{
    convert::{Infallible, identity},
    future::Future,
    hint::black_box,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    extract::Request,
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::get,
};
use tower::{
    Service, ServiceBuilder,
    util::{MapErrLayer, MapResponseLayer},
};
use tower_governor::{GovernorLayer, governor::GovernorConfigBuilder, key_extractor::GlobalKeyExtractor};
use tower_reliability::{
    Error, ReliabilityStack,
    http::{HttpClassifier, RejectionLayer},
};
use tower_resilience::timelimiter::TimeLimiterLayer;

use crate::{
    backend::Once,
    breakers::{VALID, count},
    drive::{drive, drive_clone},
    other_crates, rate_limits,
    row::Table,
};

/// A router without a layer, with one that does nothing, and with layers that answer what they reject.
pub fn add<const PENDING: bool>(table: &mut Table<PENDING>) {
    let route = || Router::new().route("/", get(answer::<PENDING>));
    let drive = request_many::<PENDING>;
    table.driven_floor::<Request, _>("axum", route().with_state(()), drive);
    // `axum::serve` sets the state too. A router without a state makes its services anew for each request.
    let mut row = |name, router: Router| table.driven::<Request, _>(name, router.with_state(()), drive);
    row("axum, a layer that does nothing", route().layer(MapResponseLayer::new(identity::<Response>)));

    let ours = ReliabilityStack::builder()
        .timeout(LIMIT)
        .circuit_breaker(count())
        .classify(HttpClassifier::new())
        .build()
        .expect(VALID);
    row("ours, axum, timeout and breaker", route().layer((RejectionLayer::new(), ours)));

    let limiter = TimeLimiterLayer::builder().timeout_duration(LIMIT).build();
    let breaker = other_crates::tower_resilience()
        .sliding_window_size(100)
        .failure_classifier(|result: &Result<Response, _>| is_failure(result))
        .build()
        .expect(VALID);
    let resilience = ServiceBuilder::new().layer_fn(AnswerErrors).layer(limiter).layer(breaker);
    row("tower-resilience, axum, time limiter and breaker", route().layer(resilience));

    // A quota that no bench uses up.
    let quota = GovernorConfigBuilder::default()
        .per_nanosecond(1)
        .burst_size(u32::MAX)
        .key_extractor(GlobalKeyExtractor)
        .finish()
        .expect("the quota is above 0");
    let ours = rate_limits::quota().build().expect(VALID).keyed(|_: &Request| ());
    let flat = MapErrLayer::new(Error::<Infallible>::inner);
    row("ours, axum, keyed rate limit", route().layer((RejectionLayer::new(), ours, flat)));
    row("tower_governor, axum", route().layer(GovernorLayer::new(quota)));
}

async fn answer<const PENDING: bool>() {
    Once(PENDING).await;
}

fn is_failure(result: &Result<Response, Infallible>) -> bool {
    result.as_ref().is_ok_and(|response| response.status().is_server_error())
}

fn request_many<const PENDING: bool>(router: &mut Router, calls: u64) {
    for _ in 0..calls {
        let request = Request::new(Body::empty());
        let response = if PENDING { drive_clone(router, request) } else { drive(router, request) };
        let Ok(response) = black_box(response);
        assert_eq!(response.status(), StatusCode::OK);
    }
}

/// Answers errors. axum's `HandleErrorLayer` would box one more future.
#[derive(Clone, Debug)]
pub struct AnswerErrors<S>(S);

impl<S> Service<Request> for AnswerErrors<S>
where
    S: Service<Request, Response = Response, Future: Unpin>,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Answering<S::Future>;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.0.poll_ready(cx).map(|ready| {
            assert!(ready.is_ok(), "no layer of the bench fails before the call");
            Ok(())
        })
    }

    #[inline]
    fn call(&mut self, request: Request) -> Self::Future {
        Answering(self.0.call(request))
    }
}

/// The future of [`AnswerErrors`].
#[derive(Debug)]
pub struct Answering<F>(F);

impl<F: Future<Output = Result<Response, E>> + Unpin, E> Future for Answering<F> {
    type Output = Result<Response, Infallible>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let answer = Pin::new(&mut self.0).poll(cx);
        answer.map(|result| Ok(result.unwrap_or_else(|_| StatusCode::SERVICE_UNAVAILABLE.into_response())))
    }
}

const LIMIT: Duration = Duration::from_secs(10);
