//! The server stack around an axum server, over real sockets.

use std::{
    convert::Infallible,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    body::{Body, Bytes},
    http::{HeaderName, Request, StatusCode},
    routing::get,
};
use futures::{StreamExt, stream};
use tokio::{
    sync::Semaphore,
    task::JoinHandle,
    time::{sleep, timeout},
};
use tower::service_fn;
use tower_reliability::{
    Deadline, DeadlineSource, EventKind, Priority,
    concurrency_limit::ConcurrencyLimitConfig,
    drain::DrainConfig,
    http::{self, PriorityHeader, TimeoutHeader},
    rate_limit::RateLimitConfig,
    stack::server::ServerConfig,
    timeout::TimeoutConfig,
    wait_queue::WaitQueueConfig,
};

use crate::peers::serve;

const HOUR: Duration = Duration::from_secs(60 * 60);
const PATIENCE: Duration = Duration::from_secs(10);
const TIMEOUT: HeaderName = HeaderName::from_static("x-request-timeout");
const CLIENT: HeaderName = HeaderName::from_static("x-client");

/// A client of one server.
#[derive(Clone)]
struct Visitor {
    client: reqwest::Client,
    address: String,
}

impl Visitor {
    async fn of(app: Router) -> Self {
        // A test fails rather than hangs.
        let client = reqwest::Client::builder().timeout(PATIENCE).build().expect("a client");
        Self { client, address: serve(app).await }
    }

    async fn send(&self, path: &str, header: Option<(HeaderName, &str)>) -> reqwest::Response {
        let mut request = self.client.get(format!("http://{}{path}", self.address));
        if let Some((name, value)) = header {
            request = request.header(name, value);
        }
        request.send().await.expect("an answer")
    }

    async fn status(&self, path: &str, header: Option<(HeaderName, &str)>) -> u16 {
        let response = self.send(path, header).await;
        let status = response.status().as_u16();
        response.bytes().await.expect("a whole body");
        status
    }

    fn spawn(&self, path: &'static str, header: (HeaderName, &'static str)) -> JoinHandle<u16> {
        let visitor = self.clone();
        tokio::spawn(async move { visitor.status(path, Some(header)).await })
    }
}

/// Waits until the condition holds.
async fn until(holds: impl Fn() -> bool) {
    timeout(PATIENCE, async {
        while !holds() {
            sleep(Duration::from_millis(1)).await;
        }
    })
    .await
    .expect("it holds in time");
}

/// The client that a request names.
fn client_of(request: &Request<Body>) -> String {
    request.headers().get(CLIENT).and_then(|it| it.to_str().ok()).unwrap_or_default().to_owned()
}

#[tokio::test]
async fn case_59_a_rejected_request_takes_nothing_of_an_inner_stage() {
    let calls = Arc::new(AtomicU32::new(0));
    let handler = {
        let calls = Arc::clone(&calls);
        async move || {
            calls.fetch_add(1, Ordering::Relaxed);
            sleep(Duration::from_millis(300)).await;
        }
    };
    let server = http::server()
        .timeout(Duration::from_millis(200))
        .concurrency_limit(ConcurrencyLimitConfig::new(1).queue(WaitQueueConfig::none()))
        .rate_limit(RateLimitConfig::per(1, HOUR).burst(3))
        .deadlines(TimeoutHeader::seconds(TIMEOUT))
        .drain(DrainConfig::new())
        .build()
        .expect("valid");
    let visitor = Visitor::of(Router::new().route("/", get(handler)).layer(server.clone())).await;
    let tokens = || server.rate_limit().snapshot().tokens;
    let limited = || server.concurrency_limit().snapshot().counts.limited;
    let calls = || calls.load(Ordering::Relaxed);

    assert_eq!(visitor.status("/", Some((TIMEOUT, "0"))).await, 504);
    assert_eq!((server.expired(), tokens(), limited(), calls()), (1, Some(3), 0, 0), "an expired deadline");

    let slow = visitor.spawn("/", (TIMEOUT, "5"));
    until(|| calls() == 1).await;
    assert_eq!(visitor.status("/", None).await, 503);
    assert_eq!((tokens(), limited(), calls()), (Some(1), 1, 1), "no permit");
    assert_eq!(slow.await.expect("no panic"), 504);
    assert_eq!(server.timeout().snapshot().timed_out, 1);

    assert_eq!(visitor.status("/", None).await, 504);
    let response = visitor.send("/", None).await;
    assert_eq!((response.status().as_u16(), response.headers().contains_key("retry-after")), (429, true));
    assert_eq!((tokens(), limited(), calls()), (Some(0), 1, 2), "no token");

    server.drain().begin();
    assert_eq!(visitor.status("/", Some((TIMEOUT, "0"))).await, 503);
    assert_eq!((server.expired(), server.drain().snapshot().rejected), (1, 1), "a drain");
}

#[tokio::test]
async fn a_panic_is_answered_and_returns_every_place() {
    let panics = Arc::new(AtomicU32::new(0));
    let server = http::server()
        .drain(DrainConfig::new())
        .concurrency_limit(ConcurrencyLimitConfig::new(1).queue(WaitQueueConfig::none()))
        .named("shop")
        .listen({
            let panics = Arc::clone(&panics);
            move |event: &tower_reliability::Event| {
                let is_panic = matches!(event.kind, EventKind::Panicked);
                assert!(!is_panic || event.layer.as_str() == "shop.panic_guard");
                panics.fetch_add(is_panic.into(), Ordering::Relaxed);
            }
        })
        .build()
        .expect("valid");
    let broken = get(async || -> &'static str { panic!("a defect") });
    let app = Router::new().route("/", get(async || "fine")).route("/broken", broken).layer(server.clone());
    let visitor = Visitor::of(app).await;
    for _ in 0..3 {
        let response = visitor.send("/broken", None).await;
        assert_eq!(response.status().as_u16(), 500);
        let text = response.text().await.expect("a body");
        assert!(!text.contains("defect") && !text.contains("shop"), "{text}");
        assert_eq!(visitor.status("/", None).await, 200);
    }
    assert_eq!((server.panic_guard().snapshot().panicked, panics.load(Ordering::Relaxed)), (3, 3));
    until(|| server.concurrency_limit().snapshot().in_flight == 0).await;
    until(|| server.drain().snapshot().in_flight == 0).await;
}

#[tokio::test]
async fn case_08_a_panic_in_the_callers_own_code_inside_a_stage_is_answered_too() {
    let server = http::server()
        .drain(DrainConfig::new())
        .deadlines(Panicking)
        .priority(|_: &Request<Body>| -> Priority { panic!("a defect") })
        .rate_limit(RateLimitConfig::per(1, HOUR).burst(2))
        .concurrency_limit(ConcurrencyLimitConfig::new(1))
        .build()
        .expect("valid");
    let gate = Arc::new(Semaphore::new(0));
    let handler = {
        let gate = Arc::clone(&gate);
        async move || gate.acquire().await.expect("it is not closed").forget()
    };
    let visitor = Visitor::of(Router::new().route("/", get(handler)).layer(server.clone())).await;
    assert_eq!(visitor.status("/", Some((TIMEOUT, "5"))).await, 500, "the source of deadlines panics");
    let in_flight = || server.concurrency_limit().snapshot().in_flight;
    let first = visitor.spawn("/", (CLIENT, "any"));
    until(|| in_flight() == 1).await;
    assert_eq!(visitor.status("/", None).await, 500, "the source of priorities panics");
    gate.add_permits(1);
    assert_eq!(first.await.expect("no panic"), 200);
    until(|| in_flight() == 0 && server.drain().snapshot().in_flight == 0).await;
    assert_eq!(server.panic_guard().snapshot().panicked, 2);
}

/// A source of deadlines that panics on each header.
#[derive(Clone)]
struct Panicking;

impl<B> DeadlineSource<Request<B>> for Panicking {
    fn deadline(&self, request: &Request<B>) -> Option<Deadline> {
        assert!(!request.headers().contains_key(TIMEOUT), "a defect");
        None
    }
}

#[tokio::test]
async fn case_63_a_drain_waits_for_the_body_and_readiness_stands_outside() {
    let server = http::server()
        .drain(DrainConfig::new())
        .concurrency_limit(ConcurrencyLimitConfig::new(1).queue(WaitQueueConfig::none()))
        .build()
        .expect("valid");
    let parts = Arc::new(Semaphore::new(1));
    let streamed = {
        let parts = Arc::clone(&parts);
        async move || {
            Body::from_stream(stream::iter(0..2).then(move |_| {
                let parts = Arc::clone(&parts);
                async move {
                    parts.acquire().await.expect("it is not closed").forget();
                    Ok::<_, Infallible>(Bytes::from_static(b"part"))
                }
            }))
        }
    };
    let drain = server.drain();
    let ready = {
        let drain = drain.clone();
        get(async move || if drain.is_draining() { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK })
    };
    let app = Router::new().route("/", get(streamed)).layer(server.clone()).route("/ready", ready);
    let visitor = Visitor::of(app).await;
    let response = visitor.send("/", None).await;
    assert_eq!((response.status().as_u16(), visitor.status("/ready", None).await), (200, 200));
    assert_eq!(visitor.status("/", None).await, 503, "the body holds the permit");

    let report = tokio::spawn({
        let drain = drain.clone();
        async move { drain.drain().await }
    });
    until(|| drain.is_draining()).await;
    let rejected = visitor.send("/", None).await;
    assert_eq!(
        (rejected.status().as_u16(), rejected.headers()["connection"].as_bytes()),
        (503, &b"close"[..])
    );
    assert_eq!(visitor.status("/ready", None).await, 503);
    assert!(!report.is_finished());
    parts.add_permits(1);
    assert_eq!(response.text().await.expect("a whole body"), "partpart");
    let report = timeout(PATIENCE, report).await.expect("it ends").expect("no panic");
    assert_eq!((report.finished, report.left), (1, 0));
}

#[tokio::test]
async fn the_queue_serves_by_priority_and_no_wait_outlasts_the_deadline() {
    let order = Arc::new(Mutex::new(Vec::new()));
    let gate = Arc::new(Semaphore::new(0));
    let handler = {
        let (order, gate) = (Arc::clone(&order), Arc::clone(&gate));
        async move |request: Request<Body>| {
            order
                .lock()
                .expect("no panic")
                .push(request.headers()["priority"].to_str().expect("ASCII").to_owned());
            gate.acquire().await.expect("it is not closed").forget();
        }
    };
    let queue = WaitQueueConfig::new().max_wait(Duration::from_secs(20)).without_shedding();
    let server = http::server()
        .priority(PriorityHeader::new().trusted())
        .deadlines(TimeoutHeader::millis(TIMEOUT))
        .concurrency_limit(ConcurrencyLimitConfig::new(1).queue(queue))
        .build()
        .expect("valid");
    let visitor = Visitor::of(Router::new().route("/", get(handler)).layer(server.clone())).await;
    let priority = HeaderName::from_static("priority");
    let waiting = || server.concurrency_limit().snapshot().waiting;
    let mut answers = vec![visitor.spawn("/", (priority.clone(), "u=3"))];
    until(|| order.lock().expect("no panic").len() == 1).await;
    for (before, urgency) in (0..).zip(["u=7", "u=0", "u=1"]) {
        answers.push(visitor.spawn("/", (priority.clone(), urgency)));
        until(|| waiting() == before + 1).await;
    }
    assert_eq!(visitor.status("/", Some((TIMEOUT, "50"))).await, 504);
    let counts = server.concurrency_limit().snapshot().counts;
    assert_eq!((counts.rejected_deadline, waiting(), server.expired()), (1, 3, 0));
    gate.add_permits(4);
    for answer in answers {
        assert_eq!(answer.await.expect("no panic"), 200);
    }
    assert_eq!(*order.lock().expect("no panic"), ["u=3", "u=0", "u=1", "u=7"]);
}

#[tokio::test]
async fn a_greedy_client_leaves_the_polite_client_its_share() {
    let server = http::server()
        .rate_limit(RateLimitConfig::per(1, HOUR).burst(5).per_header(CLIENT))
        .build()
        .expect("valid");
    let visitor = Visitor::of(Router::new().route("/", get(async || "hello")).layer(server.clone())).await;
    let greedy = tokio::spawn({
        let visitor = visitor.clone();
        async move {
            let mut passed = 0;
            for _ in 0..100 {
                passed += u32::from(visitor.status("/", Some((CLIENT, "greedy"))).await == 200);
            }
            passed
        }
    });
    for _ in 0..5 {
        assert_eq!(visitor.status("/", Some((CLIENT, "polite"))).await, 200);
    }
    assert_eq!(greedy.await.expect("no panic"), 5);
    let snapshot = server.rate_limit().snapshot();
    assert_eq!((snapshot.keys, snapshot.rejected), (2, 95));
}

#[tokio::test]
async fn a_greedy_client_takes_no_permit_of_the_polite_client() {
    let limit = ConcurrencyLimitConfig::new(2).queue(WaitQueueConfig::none());
    let server = http::server()
        .drain(DrainConfig::new())
        .concurrency_limit(limit.per_key(client_of))
        .build()
        .expect("valid");
    let gate = Arc::new(Semaphore::new(0));
    let handler = {
        let gate = Arc::clone(&gate);
        async move |request: Request<Body>| {
            if client_of(&request) == "greedy" {
                gate.acquire().await.expect("it is not closed").forget();
            }
        }
    };
    let visitor = Visitor::of(Router::new().route("/", get(handler)).layer(server.clone())).await;
    let of = |client: &str| {
        let limit = server.concurrency_limit().get(&client.to_owned());
        limit.map_or((0, 0), |limit| (limit.snapshot().in_flight, limit.snapshot().counts.limited))
    };
    let held: Vec<_> = (0..2).map(|_| visitor.spawn("/", (CLIENT, "greedy"))).collect();
    until(|| of("greedy").0 == 2).await;
    for _ in 0..10 {
        assert_eq!(visitor.status("/", Some((CLIENT, "greedy"))).await, 503);
        assert_eq!(visitor.status("/", Some((CLIENT, "polite"))).await, 200);
    }
    assert_eq!((of("greedy"), of("polite").1), ((2, 10), 0));
    gate.add_permits(2);
    for call in held {
        assert_eq!(call.await.expect("no panic"), 200);
    }
    until(|| of("greedy").0 == 0 && server.drain().snapshot().in_flight == 0).await;
    assert_eq!(visitor.status("/", Some((CLIENT, "polite"))).await, 200);
}

#[tokio::test]
async fn case_84_a_file_makes_the_same_stack_and_absent_stages_let_all_pass() {
    let text = "timeout = '60s'\n[drain]\n[rate_limit]\nper = { calls = 1, period = '1h' }\n[concurrency_limit]\nlimit = 7";
    let config: ServerConfig = toml::from_str(text).expect("valid");
    let server = http::server_from(config).build().expect("valid");
    let limit = ConcurrencyLimitConfig::new(7);
    assert_eq!(server.concurrency_limit().map(|handle| handle.config()), Some(limit));
    assert_eq!(server.rate_limit().map(|handle| handle.config()), Some(RateLimitConfig::per(1, HOUR)));
    assert_eq!(server.timeout().map(|handle| handle.limit()), Some(Duration::from_secs(60)));
    let drain = DrainConfig::new().limit(Duration::from_secs(61));
    assert_eq!(server.drain().map(|handle| handle.config()), Some(drain), "the default has adapted");
    let checked = config.checked().expect("valid");
    assert_eq!((checked.drain, checked.timeout), (Some(drain), config.timeout));
    let by_setters = http::server()
        .concurrency_limit(limit)
        .drain(DrainConfig::new())
        .timeout(TimeoutConfig::new(Duration::from_secs(60)))
        .rate_limit(RateLimitConfig::per(1, HOUR))
        .build()
        .expect("valid");
    assert_eq!(by_setters.drain().config(), drain);

    let per_client = || config.rate_limit.map(|limit| limit.per_header(CLIENT));
    let keyed = http::server_from(config).rate_limit(per_client()).build().expect("valid");
    assert_eq!(keyed.rate_limit().map(|limit| limit.snapshot().max_keys), Some(100_000));
    let absent = http::server_from(ServerConfig::default());
    let absent = absent.rate_limit(per_client().filter(|_| false)).build().expect("valid");
    let all = (absent.drain(), absent.rate_limit(), absent.concurrency_limit(), absent.timeout());
    assert!(matches!(all, (None, None, None, None)));
    let visitor = Visitor::of(Router::new().route("/", get(async || "hello")).layer(absent)).await;
    for _ in 0..20 {
        assert_eq!(visitor.status("/", Some((TIMEOUT, "0"))).await, 200);
    }
    for (text, expected) in [
        ("[drain]\nlimit = '1s'\n[concurrency_limit]\nlimit = 0", "concurrency_limit.limit must be"),
        ("timeout = '2s'\n[drain]\nlimit = '1s'", "drain.limit must be at least timeout"),
    ] {
        let config: ServerConfig = toml::from_str(text).expect("valid");
        let error = http::server_from(config).build().expect_err(expected).to_string();
        assert!(error.starts_with(expected), "{error}");
    }
    assert!(toml::from_str::<ServerConfig>("retry = {}").is_err());
}

/// In paused time: the layers of the stack share one reading of the clock, and one timer wakes the call.
#[tokio::test(start_paused = true)]
async fn the_handler_has_its_whole_time_after_a_wait() {
    use tower::{Layer, Service, ServiceExt};
    use tower_reliability::{Deadline, http::RejectionLayer};

    let queue = WaitQueueConfig::new().max_wait(Duration::from_millis(900)).without_shedding();
    let server = http::server()
        .answers(RejectionLayer::new().detailed())
        .concurrency_limit(ConcurrencyLimitConfig::new(1).queue(queue))
        .timeout(Duration::from_secs(1))
        .build()
        .expect("valid");
    let slow = service_fn(async |request: Request<()>| {
        let wait = *request.extensions().get::<Duration>().expect("set below");
        sleep(wait).await;
        Ok::<_, Infallible>(axum::response::Response::new(Body::empty()))
    });
    let service = server.layer(slow);
    let call = |wait, deadline: Option<u64>| {
        let mut request = Request::new(());
        request.extensions_mut().insert(Duration::from_millis(wait));
        if let Some(deadline) = deadline {
            request.extensions_mut().insert(Deadline::after(Duration::from_millis(deadline)));
        }
        let mut service = service.clone();
        async move {
            let response = service.ready().await.expect("ready").call(request).await.expect("an answer");
            response.status().as_u16()
        }
    };
    let statuses = tokio::join!(call(800, None), call(900, None), call(800, Some(1_900)));
    assert_eq!(statuses, (200, 200, 503), "the third would wait for 1.7 s");
    let statuses = tokio::join!(call(800, None), call(900, Some(1_000)));
    assert_eq!(statuses, (200, 504), "the deadline ends the handler");
}
