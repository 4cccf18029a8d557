//! Clients that a struct names, over real sockets: hyper's, reqwest's, tonic's, and any other service.

use std::{
    convert::Infallible,
    error::Error as _,
    future::pending,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use axum::{Json, Router, extract::State, routing};
use futures::FutureExt;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt;
use hyper_util::{client::legacy, rt::TokioExecutor};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tonic::Code;
use tonic_health::pb::health_client::HealthClient;
use tower::{Layer, ServiceExt, layer::util::Identity, limit::GlobalConcurrencyLimitLayer, service_fn};
use tower_reliability::{
    CircuitState, Error, Reason, Rejected, ReliabilityStack,
    circuit_breaker::CircuitBreakerConfig,
    fallback::FallbackConfig,
    grpc::{self, GrpcChannel, GrpcClassifier, GrpcResend},
    hedge::HedgeConfig,
    http::{self as reliable, HttpClient, HttpResend, ReqwestClient},
    retry::{Jitter, RetryConfig},
    retry_budget::RetryBudget,
    stack::Client,
};

use crate::{
    grpc_flaky::{Flaky, down},
    grpc_peers::{Scripted, ask, channel, serve as serve_grpc},
    peers::{no_listener, serve},
};

/// The struct that an application writes: every client has a name, without a type parameter to fill in.
#[derive(Clone, Debug)]
struct Api {
    http: HttpClient,
    reqwest: ReqwestClient,
    health: HealthClient<GrpcChannel>,
    articles: Client<u32, String, Error<Infallible>>,
}

const AT_ONCE: RetryConfig = RetryConfig::fixed(Duration::from_millis(1)).jitter(Jitter::None);
const SECOND: Duration = Duration::from_secs(1);
/// Opens at once and stays open for the test.
const TOUCHY: CircuitBreakerConfig = CircuitBreakerConfig::consecutive(1).open_for(SECOND);

fn hyper_client<B>() -> legacy::Client<legacy::connect::HttpConnector, B>
where
    B: http_body::Body<Data: Send> + Send,
{
    legacy::Client::builder(TokioExecutor::new()).build_http()
}

fn reqwest_client() -> reqwest::Client {
    let own = reqwest::redirect::Policy::none();
    reqwest::Client::builder().retry(reqwest::retry::never()).redirect(own).build().expect("a client")
}

/// A server that fails its first two requests, and counts them. It then answers with the JSON that it was sent.
async fn flaky() -> (String, Arc<AtomicU32>) {
    let asked = Arc::new(AtomicU32::new(0));
    let answer = async |State(asked): State<Arc<AtomicU32>>, body: Option<Json<Value>>| match asked
        .fetch_add(1, Ordering::Relaxed)
    {
        ..2 => Err(StatusCode::INTERNAL_SERVER_ERROR),
        _ => Ok(Json(body.map_or(Value::Null, |Json(value)| value))),
    };
    let app = Router::new().route("/", routing::any(answer)).with_state(asked.clone());
    (format!("http://{}/", serve(app).await), asked)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_tasks_share_a_struct_of_clients() {
    let http = format!("http://{}/", serve(Router::new().route("/", routing::get(async || "tea"))).await);
    let grpc = serve_grpc(Scripted::default(), Identity::new()).await;
    let stack = reliable::stack()
        .timeout(SECOND * 10)
        .retry(AT_ONCE)
        .circuit_breaker(CircuitBreakerConfig::new())
        .attempt_timeout(SECOND * 2)
        .build()
        .expect("in range");
    let calls = grpc::stack().timeout(SECOND * 10).retry(AT_ONCE).build().expect("in range");
    let any = ReliabilityStack::builder().timeout(SECOND).build().expect("in range");
    let api = Api {
        http: stack.client(hyper_client()),
        reqwest: stack.reqwest(reqwest_client()),
        health: HealthClient::new(calls.channel(channel(&grpc))),
        articles: any.service(service_fn(|n: u32| async move { Ok::<_, Infallible>(n.to_string()) })),
    };
    let mut tasks = JoinSet::new();
    let api = Arc::new(api);
    for n in 0..50 {
        let (api, http) = (api.clone(), http.clone());
        tasks.spawn(async move {
            let request = Request::get(&http).body(String::new()).expect("a request");
            let response = api.http.send(request).await.expect("it is up");
            assert_eq!(response.into_body().collect().await.expect("a body").to_bytes(), "tea");
            let response = api.reqwest.get(&http).send().await.expect("it is up");
            assert_eq!(response.text().await.expect("a text"), "tea");
            api.health.clone().check(ask("")).await.expect("it is up");
            assert_eq!(api.articles.call(n).await.expect("it cannot fail"), n.to_string());
        });
    }
    let done = tasks.join_all().await.len();
    assert_eq!((done, stack.retry().snapshot().counts.succeeded), (50, 100));
}

#[tokio::test]
async fn a_client_sends_the_whole_body_with_every_attempt_that_is_safe() {
    let stack = reliable::stack().retry(AT_ONCE).build().expect("in range");
    let client = stack.client(hyper_client());
    let post = async |key: Option<&str>| {
        let (url, asked) = flaky().await;
        let mut request = Request::post(url).header("content-type", "application/json");
        if let Some(key) = key {
            request = request.header("idempotency-key", key);
        }
        let request = request.body(json!({ "tea": 2 }).to_string()).expect("a request");
        let response = client.send(request).await.expect("it answers");
        let (status, body) = (response.status(), response.into_body().collect().await.expect("a body"));
        (status.as_u16(), body.to_bytes(), asked.load(Ordering::Relaxed))
    };
    assert_eq!(post(None).await, (500, "".into(), 1));
    assert_eq!(post(Some("7")).await, (200, r#"{"tea":2}"#.into(), 3));
}

#[tokio::test]
async fn a_body_above_the_cap_is_sent_once() {
    let client = reliable::stack().retry(AT_ONCE).build().expect("in range").client(hyper_client());
    let put = async |client: &HttpClient| {
        let (url, asked) = flaky().await;
        let request = Request::put(url).header("content-type", "application/json");
        let request = request.body(json!({ "tea": 2 }).to_string()).expect("a request");
        client.send(request).await.expect("it answers");
        asked.load(Ordering::Relaxed)
    };
    assert_eq!(put(&client).await, 3);
    assert_eq!(put(&client.clone().max_replay_bytes(8)).await, 1);
}

#[tokio::test]
async fn reqwest_keeps_its_habits_and_posts_twice_only_when_that_is_safe() {
    // Many of these few attempts fail, so the health of the backend must not end the retries.
    let budget = RetryBudget::unlimited();
    let stack = reliable::stack().retry(AT_ONCE).retry_budget(budget).build().expect("in range");
    let client = stack.reqwest(reqwest_client());
    let (url, asked) = flaky().await;
    let response = client.get(&url).query(&[("page", 1)]).bearer_auth("secret").send().await;
    assert_eq!((response.expect("it answers").status().as_u16(), asked.load(Ordering::Relaxed)), (200, 3));

    let (url, asked) = flaky().await;
    let response = client.post(&url).json(&json!({ "tea": 2 })).send().await.expect("it answers");
    assert_eq!((response.status().as_u16(), asked.load(Ordering::Relaxed)), (500, 1));

    let (url, asked) = flaky().await;
    let request = client.post(&url).json(&json!({ "tea": 2 })).header("idempotency-key", "7");
    let response = client.execute(request.build().expect("a request")).await.expect("it answers");
    assert_eq!(response.json::<Value>().await.expect("JSON"), json!({ "tea": 2 }));
    assert_eq!(asked.load(Ordering::Relaxed), 3);
}

#[tokio::test]
async fn a_request_that_reqwest_cannot_build_is_its_error() {
    let client = reliable::stack().retry(AT_ONCE).build().expect("in range").reqwest(reqwest_client());
    let error = client.get("no address").send().await.expect_err("it has no host");
    assert!(matches!(&error, Error::Inner(error) if error.is_builder()), "{error:?}");
}

#[tokio::test]
async fn a_refused_post_is_sent_again_by_a_client_that_follows_no_redirects() {
    let url = format!("http://{}/", no_listener().await);
    for (resend, retries) in [(HttpResend::new(), 0), (HttpResend::new().no_redirects(), 2)] {
        let stack = reliable::stack().retry(AT_ONCE).resend(resend).build().expect("in range");
        let error = stack.reqwest(reqwest_client()).post(&url).send().await.expect_err("refused");
        assert!(matches!(error, Error::Inner(_)));
        assert_eq!(stack.retry().snapshot().counts.retries, retries);
    }
}

#[tokio::test]
async fn every_stage_fits_around_reqwest() {
    let fallback = FallbackConfig::new().build().expect("in range");
    let stale = |_: Result<&reqwest::Response, &Error<reqwest::Error>>| {
        Some(reqwest::Response::from(http::Response::new("stale")))
    };
    let stack = reliable::stack()
        .fallback(fallback.with(stale))
        .timeout(SECOND)
        .retry(AT_ONCE)
        .hedge(HedgeConfig::on_failure())
        .circuit_breaker(TOUCHY)
        .attempt_timeout(SECOND / 2)
        .build()
        .expect("in range");
    let client = stack.reqwest(reqwest_client());
    let url = format!("http://{}/", no_listener().await);
    assert!(client.get(&url).send().await.is_err());
    let response = client.get(&url).send().await.expect("the circuit is open");
    assert_eq!(response.text().await.expect("a text"), "stale");
}

#[tokio::test]
async fn a_dropped_call_gives_back_what_it_took() {
    let hangs = Router::new()
        .route("/hangs", routing::get(async || pending::<()>().await))
        .route("/down", routing::get(async || StatusCode::INTERNAL_SERVER_ERROR))
        .route("/", routing::get(async || "tea"));
    let url = format!("http://{}/", serve(hangs).await);
    let breaker =
        TOUCHY.open_jitter(0.0).open_for(Duration::from_millis(1)).half_open_probes(1).half_open_successes(1);
    let stack = reliable::stack().retry(AT_ONCE).circuit_breaker(breaker).build().expect("in range");
    let (client, circuit) = (stack.client(hyper_client()), stack.circuit_breaker());
    let get = |path| Request::get(format!("{url}{path}")).body(String::new()).expect("a request");
    let _ = client.send(get("down")).await;
    while circuit.state() != CircuitState::HalfOpen {
        tokio::task::yield_now().await;
    }
    let mut probe = client.send(get("hangs"));
    assert!((&mut probe).now_or_never().is_none());
    let second = client.send(get("")).await.expect_err("the only probe is out");
    assert!(matches!(second, Error::Rejected(rejected) if rejected.reason() == Reason::ProbesTaken));
    drop(probe);
    assert_eq!(client.send(get("")).await.expect("the place is free").status(), StatusCode::OK);
    assert_eq!(stack.retry().snapshot().counts.abandoned, 1);
}

#[tokio::test(start_paused = true)]
async fn a_client_waits_until_its_service_is_ready_and_no_longer_than_the_timeout() {
    let stack = ReliabilityStack::builder().timeout(SECOND).build().expect("in range");
    let slow = service_fn(|time: Duration| async move {
        tokio::time::sleep(time).await;
        Ok::<_, Infallible>(())
    });
    let limited = GlobalConcurrencyLimitLayer::new(1).layer(slow);
    let client = stack.service(limited.clone());
    let (first, second) = tokio::join!(client.call(SECOND / 3), client.call(SECOND / 3));
    assert!(first.is_ok() && second.is_ok());

    let (first, second) = tokio::join!(limited.oneshot(SECOND * 3), client.call(SECOND / 3));
    assert!(first.is_ok());
    let Err(Error::Rejected(rejected)) = second else { panic!("it waited for too long") };
    assert!(matches!(rejected.reason(), Reason::Timeout { .. }), "{rejected}");
    assert!(client.call(SECOND / 3).await.is_ok(), "the call that gave up holds no place");
}

#[tokio::test]
async fn a_channel_retries_and_tells_the_server_of_the_attempts_before() {
    let (server, address, _told) = Flaky::serve([down(), down()]).await;
    let stack =
        grpc::stack().retry(AT_ONCE).resend(GrpcResend::new().idempotent()).build().expect("in range");
    let health = HealthClient::new(stack.channel(channel(&address)));
    assert_eq!(health.clone().check(ask("")).await.expect("it recovers").into_inner().status, 1);
    let numbers = server.seen("grpc-previous-rpc-attempts");
    assert_eq!(numbers, [None, Some("1".to_owned()), Some("2".to_owned())]);
}

#[tokio::test]
async fn a_rejection_reaches_the_caller_of_a_channel_as_a_status_with_its_source() {
    let stack = grpc::stack().named("db-7").circuit_breaker(TOUCHY).build().expect("in range");
    let mut health = HealthClient::new(stack.channel(channel(&no_listener().await)));
    let refused = health.check(ask("")).await.expect_err("refused");
    assert_eq!(refused.code(), Code::Unavailable);
    let open = health.check(ask("")).await.expect_err("the circuit is open");
    assert_eq!((open.code(), open.message()), (Code::Unavailable, "temporarily unavailable"));
    let rejected = open.source().and_then(|error| error.downcast_ref::<Rejected>()).expect("a rejection");
    assert!(rejected.to_string().starts_with("db-7.circuit_breaker"), "{rejected}");
    assert!(open.metadata().get("grpc-retry-pushback-ms").is_some());
}

#[tokio::test]
async fn a_channel_tells_a_deferred_breaker_how_its_streams_ended() {
    let address = serve_grpc(Scripted::default(), Identity::new()).await;
    let deferred = GrpcClassifier::new().deferred();
    let stack = grpc::stack().circuit_breaker(TOUCHY).classify(deferred).build().expect("in range");
    let mut health = HealthClient::new(stack.channel(channel(&address)));
    let mut stream = health.watch(ask("breaks")).await.expect("a good head").into_inner();
    while let Ok(Some(_)) = stream.message().await {}
    assert_eq!(stack.circuit_breaker().state(), CircuitState::Open);
}

#[tokio::test]
async fn a_client_is_a_service_for_other_layers() {
    let (url, asked) = flaky().await;
    let inner = reliable::stack().attempt_timeout(SECOND).build().expect("in range").client(hyper_client());
    let outer = reliable::stack().retry(AT_ONCE).build().expect("in range").client(inner);
    let response = outer.send(Request::get(url).body(String::new()).expect("a request")).await;
    assert_eq!((response.expect("it recovers").status(), asked.load(Ordering::Relaxed)), (StatusCode::OK, 3));
}

#[tokio::test]
async fn a_client_may_run_over_a_service_of_another_body() {
    let app = Router::new().route(
        "/",
        routing::post(async |headers: HeaderMap, body: String| {
            format!("{body} by attempt {:?}", headers.get("x-retry-attempt"))
        }),
    );
    let stack = reliable::stack().retry(AT_ONCE).build().expect("in range");
    let client: HttpClient<axum::body::Body, Error<Infallible>> = stack.client(app);
    let request = Request::post("/").body("tea".to_owned()).expect("a request");
    let body = client.send(request).await.expect("it cannot fail").into_body();
    assert_eq!(body.collect().await.expect("a body").to_bytes(), "tea by attempt None");
}
