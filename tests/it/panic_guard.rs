//! Panics of a service become rejections.

use std::{
    future::{Future, Ready, ready},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    task::{Context, Poll},
};

use axum::{Router, body::Body, routing::get};
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn};
use tower_reliability::{
    BoxError, Error, Event, EventKind, Reason, Rejected, Severity,
    concurrency_limit::ConcurrencyLimitConfig,
    drain::DrainConfig,
    grpc::GrpcRejectionLayer,
    http::RejectionLayer,
    panic_guard::{PanicGuard, PanicGuardLayer},
};

use crate::peers::serve;

fn reason(result: Result<u32, BoxError>) -> Reason {
    let error = result.expect_err("it is rejected");
    error.downcast_ref::<Rejected>().expect("by the guard").reason()
}

/// The place of the panic.
#[derive(Clone, Copy, PartialEq)]
enum Place {
    Call,
    Future,
    /// The value of the panic panics in its drop.
    Payload,
    None,
}

struct PanicsInDrop;

impl Drop for PanicsInDrop {
    fn drop(&mut self) {
        panic!("in the drop");
    }
}

async fn work(place: Place) -> Result<u32, BoxError> {
    ready(()).await;
    match place {
        Place::Future => panic!("in the future"),
        Place::Payload => std::panic::panic_any(PanicsInDrop),
        _ => Ok(1),
    }
}

#[tokio::test]
async fn case_08_a_panic_anywhere_in_a_call_is_a_rejection_and_the_next_call_works() {
    let heard = Arc::new(AtomicU32::new(0));
    let guard = PanicGuardLayer::new().listen({
        let heard = Arc::clone(&heard);
        move |event: &Event| {
            assert_eq!((event.kind, event.severity()), (EventKind::Panicked, Severity::Error));
            heard.fetch_add(1, Ordering::Relaxed);
        }
    });
    let limit = ConcurrencyLimitConfig::new(1).build().expect("valid");
    let (panics, permits) = (guard.handle(), limit.handle());
    let mut service = ServiceBuilder::new().layer(guard).layer(limit).service(service_fn(|place: Place| {
        assert!(place != Place::Call, "in the call");
        work(place)
    }));
    for (number, place) in (1..).zip([Place::Call, Place::Future, Place::Payload]) {
        assert_eq!(reason(service.ready().await.expect("ready").call(place).await), Reason::Panicked);
        assert_eq!((panics.snapshot().panicked, permits.snapshot().in_flight), (number, 0));
        assert_eq!(service.ready().await.expect("ready").call(Place::None).await.expect("it passes"), 1);
    }
    assert_eq!(heard.load(Ordering::Relaxed), 3);
}

#[tokio::test]
async fn a_call_whose_drop_panics_after_its_panic_is_one_rejection() {
    struct Panics(PanicsInDrop);
    impl Future for Panics {
        type Output = Result<u32, BoxError>;

        fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
            panic!("in the poll")
        }
    }
    let mut service = PanicGuardLayer::new().layer(service_fn(|()| Panics(PanicsInDrop)));
    assert_eq!(reason(service.call(()).await), Reason::Panicked);
}

#[tokio::test]
async fn a_panic_of_readiness_is_its_error() {
    struct Panics;
    impl Service<()> for Panics {
        type Response = u32;
        type Error = BoxError;
        type Future = Ready<Result<u32, BoxError>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
            panic!("in readiness")
        }

        fn call(&mut self, (): ()) -> Self::Future {
            ready(Ok(1))
        }
    }
    assert_eq!(reason(PanicGuardLayer::new().layer(Panics).oneshot(()).await), Reason::Panicked);
}

#[tokio::test]
async fn case_74_a_panic_is_500_without_its_text_and_the_connection_goes_on() {
    async fn boom() -> &'static str {
        panic!("secret: database password")
    }
    let (guard, drain) = (PanicGuardLayer::new(), DrainConfig::new().build().expect("valid"));
    let (panics, drained) = (guard.handle(), drain.handle());
    let app = Router::new().route("/", get(boom)).route("/fine", get(|| async { "fine" })).layer(
        ServiceBuilder::new().layer(RejectionLayer::new()).layer(guard).layer(drain).map_err(Error::inner),
    );
    let address = serve(app).await;
    let client = reqwest::Client::new();
    for _ in 0..3 {
        let response = client.get(format!("http://{address}/")).send().await.expect("an answer");
        assert_eq!(response.status(), 500);
        let text = response.text().await.expect("a body");
        assert!(!text.contains("secret") && !text.contains("panic"), "{text}");
    }
    let fine = client.get(format!("http://{address}/fine")).send().await.expect("an answer");
    assert_eq!(fine.status(), 200);
    assert_eq!((panics.snapshot().panicked, drained.snapshot().in_flight), (3, 0));
}

#[tokio::test]
async fn a_panic_is_internal_over_grpc() {
    let service = ServiceBuilder::new()
        .layer(GrpcRejectionLayer::new())
        .layer(PanicGuardLayer::new())
        .service(service_fn(|()| async { panic!("secret") as Result<http::Response<Body>, BoxError> }));
    let answer = service.oneshot(()).await.expect("an answer");
    assert_eq!(
        (&answer.headers()["grpc-status"], &answer.headers()["grpc-message"]),
        (
            &"13".parse::<http::HeaderValue>().expect("text"),
            &"internal%20error".parse::<http::HeaderValue>().expect("text"),
        )
    );
}

#[test]
fn a_guard_is_send_exactly_when_the_inner_service_is() {
    fn send_and_sync<T: Send + Sync + Clone + 'static>() {}
    send_and_sync::<(PanicGuardLayer, PanicGuard<u8>)>();
}
