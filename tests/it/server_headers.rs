//! Headers by which clients tell a server how long they wait and how important they are, over real sockets.

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    http::{HeaderMap, HeaderName, Request, StatusCode},
    routing::get,
};
use tokio::{
    sync::Semaphore,
    time::{Instant, sleep},
};
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn};
use tower_reliability::{
    BoxError, Error, Reason, Rejected, ReliabilityStack,
    circuit_breaker::CircuitBreakerConfig,
    concurrency_limit::ConcurrencyLimitConfig,
    http::{HttpClassifier, PriorityHeader, RejectionLayer, TimeoutHeader},
    rate_limit::RateLimitConfig,
    timeout::TimeoutConfig,
};

use crate::peers::serve;

const HEADER: HeaderName = HeaderName::from_static("x-request-timeout");

#[tokio::test]
async fn an_expired_request_is_rejected_before_the_handler() {
    let calls = Arc::new(AtomicU32::new(0));
    let stack = ReliabilityStack::builder()
        .timeout(Duration::from_secs(5))
        .deadlines(TimeoutHeader::seconds(HEADER))
        .build()
        .expect("valid");
    let timeouts = stack.timeout();
    let handler = {
        let calls = Arc::clone(&calls);
        async move |headers: HeaderMap| {
            calls.fetch_add(1, Ordering::Relaxed);
            headers[HEADER].to_str().expect("ASCII").to_owned()
        }
    };
    let address = serve(Router::new().route("/", get(handler)).layer((RejectionLayer::new(), stack))).await;
    let client = reqwest::Client::new();
    let send = async |value: &str| {
        let request = client.get(format!("http://{address}/")).header(HEADER, value);
        let response = request.send().await.expect("an answer");
        (response.status().as_u16(), response.text().await.expect("a body"))
    };
    assert_eq!(send("0").await.0, 504);
    assert_eq!((calls.load(Ordering::Relaxed), timeouts.snapshot().deadline_exceeded), (0, 1));
    let (status, left) = send("2").await;
    assert!(status == 200 && (1.0..=2.0).contains(&left.parse::<f64>().expect("a number")), "{left}");
    // The limit of the server is shorter.
    for long in ["3600", "99999999999999999999", "soon"] {
        let (status, left) = send(long).await;
        assert!(status == 200 && (4.0..=5.0).contains(&left.parse::<f64>().expect("a number")), "{left}");
    }
}

/// The second of two requests, which has a second, waits for 0.9 s, and so does the handler.
async fn assert_waits_within_its_time<S>(service: S)
where
    S: Service<Request<()>, Response = (), Error = BoxError, Future: Send + 'static> + Clone + Send + 'static,
{
    let first = tokio::spawn(service.clone().oneshot(Request::new(())));
    tokio::task::yield_now().await;
    let begin = Instant::now();
    let request = Request::get("/").header(HEADER, "1").body(()).expect("a request");
    let error = service.oneshot(request).await.expect_err("its time is over");
    assert_eq!(begin.elapsed(), Duration::from_secs(1));
    let rejected = error.downcast_ref::<Rejected>().expect("by the timeout");
    assert_eq!((rejected.layer().as_str(), rejected.reason()), ("timeout", Reason::DeadlineExceeded));
    first.await.expect("no panic").expect("it is served");
}

#[tokio::test(start_paused = true)]
async fn case_41_the_wait_for_a_limit_is_part_of_the_time_in_the_header() {
    const TAKES: Duration = Duration::from_millis(900);
    let header = TimeoutHeader::seconds(HEADER);
    let handler = service_fn(|_: Request<()>| async {
        sleep(TAKES).await;
        Ok::<_, BoxError>(())
    });
    let timeout = TimeoutConfig::new(Duration::from_secs(5)).build().expect("valid");
    let inner = timeout.deadlines(header.clone()).layer(handler);
    let limit = ConcurrencyLimitConfig::new(1).build().expect("valid").deadlines(header.clone());
    assert_waits_within_its_time(limit.layer(inner.clone())).await;
    let limit = RateLimitConfig::per(1, TAKES).max_wait(2 * TAKES).build().expect("valid");
    assert_waits_within_its_time(limit.deadlines(header).layer(inner)).await;
}

#[tokio::test]
async fn a_client_lowers_its_requests_and_raises_none() {
    let gate = Arc::new(Semaphore::new(0));
    let order = Arc::new(Mutex::new(Vec::new()));
    let limit = ConcurrencyLimitConfig::new(1).build().expect("valid").priority(PriorityHeader::new());
    let handle = limit.handle();
    let handler = {
        let (gate, order) = (Arc::clone(&gate), Arc::clone(&order));
        async move |headers: HeaderMap| {
            let name = headers.get("priority").map(|value| value.to_str().expect("ASCII").to_owned());
            order.lock().expect("no panic").push(name.unwrap_or_default());
            gate.acquire().await.expect("open").forget();
        }
    };
    let layers = ServiceBuilder::new().layer(RejectionLayer::new()).layer(limit).map_err(Error::inner);
    let address = serve(Router::new().route("/", get(handler)).layer(layers)).await;
    let client = reqwest::Client::new();
    let mut calls = Vec::new();
    for (waiting, priority) in (0..).zip(["u=3", "u=7, i", "", "u=0", "u=1"]) {
        let mut request = client.get(format!("http://{address}/"));
        if !priority.is_empty() {
            request = request.header("priority", priority);
        }
        calls.push(tokio::spawn(request.send()));
        while handle.snapshot().in_flight == 0 || handle.snapshot().waiting < waiting {
            sleep(Duration::from_millis(1)).await;
        }
    }
    gate.add_permits(5);
    for call in calls {
        assert_eq!(call.await.expect("no panic").expect("an answer").status(), 200);
    }
    let expected = ["u=3", "", "u=0", "u=1", "u=7, i"];
    assert_eq!(*order.lock().expect("no panic"), expected);
}

#[tokio::test]
async fn case_33_rejected_clients_are_told_different_times() {
    let stack = ReliabilityStack::builder()
        .circuit_breaker(
            CircuitBreakerConfig::consecutive(1).open_for(Duration::from_secs(20)).open_jitter(0.0),
        )
        .classify(HttpClassifier::new())
        .build()
        .expect("valid");
    let handler = get(async || StatusCode::INTERNAL_SERVER_ERROR);
    let address = serve(Router::new().route("/", handler).layer((RejectionLayer::new(), stack))).await;
    let client = reqwest::Client::new();
    let mut waits = BTreeSet::new();
    for number in 0..40 {
        let response = client.get(format!("http://{address}/")).send().await.expect("an answer");
        assert_eq!(response.status(), if number == 0 { 500 } else { 503 });
        let wait =
            response.headers().get("retry-after").map(|value| value.to_str().expect("ASCII").to_owned());
        waits.extend(wait.map(|wait| wait.parse::<u32>().expect("a number")));
    }
    assert!(waits.len() >= 4 && waits.iter().all(|wait| (19..=26).contains(wait)), "{waits:?}");
}
