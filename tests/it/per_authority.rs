//! State per host in a stack: a dead host harms no other host, and many hosts exceed no bound.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use axum::{Router, routing};
use futures::poll;
use http::{Request, Response, StatusCode};
use hyper_util::{client::legacy, rt::TokioExecutor};
use tonic_health::pb::health_client::HealthClient;
use tower::{layer::util::Identity, service_fn, util::BoxCloneSyncService};
use tower_reliability::{
    CircuitState, CloneRequest, Error, Event, EventKind, Reason, ReliabilityStack,
    circuit_breaker::CircuitBreakerConfig,
    grpc,
    http::{self as reliable, Authority, HttpClient},
    retry::{Jitter, RetryConfig},
    retry_budget::{RetryBudget, RetryBudgetConfig},
    stack::StackConfig,
};

use crate::{
    grpc_peers::{Scripted, ask, channel, serve as serve_grpc},
    peers::{no_listener, serve},
};

const AT_ONCE: RetryConfig = RetryConfig::fixed(Duration::from_millis(1)).jitter(Jitter::None);
const HOUR: Duration = Duration::from_secs(3_600);
/// Opens at once, and stays open for the test.
const TOUCHY: CircuitBreakerConfig = CircuitBreakerConfig::consecutive(1).open_for(HOUR).max_open_for(HOUR);

fn authority(text: &str) -> Authority {
    text.parse().expect("an authority")
}

fn hyper_client<B>() -> legacy::Client<legacy::connect::HttpConnector, B>
where
    B: http_body::Body<Data: Send> + Send,
{
    legacy::Client::builder(TokioExecutor::new()).build_http()
}

async fn get(client: &HttpClient, address: &str) -> Result<StatusCode, Error<legacy::Error>> {
    let request = Request::get(format!("http://{address}/")).body(String::new()).expect("a request");
    client.send(request).await.map(|response| response.status())
}

/// A server that fails every second request, and its address.
async fn shaky() -> String {
    let asked = Arc::new(AtomicU32::new(0));
    let answer = async move || match asked.fetch_add(1, Ordering::Relaxed) % 2 {
        0 => StatusCode::INTERNAL_SERVER_ERROR,
        _ => StatusCode::OK,
    };
    serve(Router::new().route("/", routing::get(answer))).await
}

#[tokio::test]
async fn the_standard_stack_lets_no_dead_host_block_another() {
    let healthy = serve(Router::new().route("/", routing::get(async || "tea"))).await;
    let dead = no_listener().await;
    let stack = reliable::standard().retry(AT_ONCE.per_authority()).build().expect("in range");
    let client = stack.client(hyper_client());
    for _ in 0..100 {
        assert!(get(&client, &dead).await.is_err());
        assert_eq!(get(&client, &healthy).await.expect("it is healthy"), StatusCode::OK);
    }
    let circuits = stack.circuit_breaker();
    let state = |address: &str| circuits.get(&authority(address)).expect("it was called").state();
    assert_eq!((state(&dead), state(&healthy)), (CircuitState::Open, CircuitState::Closed));
    assert_eq!(circuits.get(&authority(&healthy)).expect("a circuit").snapshot().counts.rejected, 0);
}

#[tokio::test]
async fn a_dead_host_uses_up_no_retry_of_another() {
    let (shaky, dead) = (shaky().await, no_listener().await);
    let stack = reliable::stack().retry(AT_ONCE.per_authority()).build().expect("in range");
    let client = stack.client(hyper_client());
    for _ in 0..50 {
        assert!(get(&client, &dead).await.is_err());
    }
    let retries = stack.retry();
    let of = |address: &str| retries.get(&authority(address)).expect("it was called").snapshot();
    assert!(of(&dead).counts.rejected_by_health + of(&dead).counts.rejected_by_ratio > 20, "{:?}", of(&dead));
    assert_eq!(get(&client, &shaky).await.expect("it answers"), StatusCode::OK);
    assert_eq!((of(&shaky).counts.recovered, of(&shaky).budget.spent), (1, 1));
    assert_eq!(retries.others().snapshot().counts.retries, 0);
}

#[tokio::test]
async fn reqwest_has_state_per_host_too() {
    let (healthy, dead) =
        (serve(Router::new().route("/", routing::get(async || "tea"))).await, no_listener().await);
    let stack = reliable::standard().circuit_breaker(TOUCHY.per_authority()).build().expect("in range");
    let client =
        stack.reqwest(reqwest::Client::builder().retry(reqwest::retry::never()).build().expect("ok"));
    let url = |address: &str| format!("http://{address}/");
    assert!(matches!(client.get(url(&dead)).send().await, Err(Error::Inner(_))));
    assert!(matches!(client.get(url(&dead)).send().await, Err(Error::Rejected(_))));
    assert_eq!(client.get(url(&healthy)).send().await.expect("it is healthy").status(), StatusCode::OK);
    assert_eq!(stack.circuit_breaker().len(), 2);
}

#[tokio::test]
async fn a_redirect_of_reqwest_counts_for_the_host_of_the_url() {
    let dead = no_listener().await;
    let target = format!("http://{dead}/");
    let redirect = async move || axum::response::Redirect::temporary(&target);
    let healthy = serve(Router::new().route("/", routing::get(redirect))).await;
    for (policy, answers) in
        [(reqwest::redirect::Policy::default(), false), (reqwest::redirect::Policy::none(), true)]
    {
        let stack = reliable::stack().circuit_breaker(TOUCHY.per_authority()).build().expect("in range");
        let client = reqwest::Client::builder().redirect(policy).retry(reqwest::retry::never());
        let client = stack.reqwest(client.build().expect("a client"));
        assert_eq!(client.get(format!("http://{healthy}/")).send().await.is_ok(), answers);
        let circuits = stack.circuit_breaker();
        let opened = circuits.get(&authority(&healthy)).expect("it was called").state();
        assert_eq!(opened == CircuitState::Closed, answers, "{opened}");
        assert!(circuits.get(&authority(&dead)).is_none(), "the stack does not see reqwest's redirects");
    }
}

#[tokio::test]
async fn each_channel_of_a_stack_has_a_circuit() {
    let healthy = serve_grpc(Scripted::default(), Identity::new()).await;
    let stack = grpc::standard().circuit_breaker(TOUCHY.per_authority()).build().expect("in range");
    let mut dead = HealthClient::new(stack.channel(channel(&no_listener().await)));
    let mut healthy = HealthClient::new(stack.channel(channel(&healthy)));
    assert!(dead.check(ask("")).await.is_err());
    let status = dead.check(ask("")).await.expect_err("its circuit is open");
    assert_eq!(status.message(), "temporarily unavailable");
    healthy.check(ask("")).await.expect("it is healthy");
    healthy.clone().check(ask("")).await.expect("a clone is the same channel");
    assert_eq!(stack.circuit_breaker().len(), 2);
}

#[tokio::test]
async fn channels_to_one_host_share_its_circuit_and_its_budget() {
    let (dead, healthy) = (no_listener().await, serve_grpc(Scripted::default(), Identity::new()).await);
    let breaker = CircuitBreakerConfig::consecutive(3).open_for(HOUR).max_open_for(HOUR);
    let stack = grpc::standard()
        .retry(AT_ONCE.max_attempts(1).per_authority())
        .circuit_breaker(breaker.per_authority())
        .build()
        .expect("in range");
    // As in a handler that makes its client for each request.
    let call = async |address: &str| {
        let channel = stack.channel_to(authority(address), channel(address));
        HealthClient::new(channel).check(ask("")).await
    };
    for _ in 0..3 {
        assert_ne!(call(&dead).await.expect_err("refused").message(), "temporarily unavailable");
    }
    assert_eq!(call(&dead).await.expect_err("its circuit is open").message(), "temporarily unavailable");
    call(&healthy).await.expect("it is healthy");
    assert_eq!((stack.circuit_breaker().len(), stack.retry().len()), (2, 2));
    let circuit = stack.circuit_breaker().get(&authority(&dead)).expect("the key is the host");
    assert_eq!(circuit.state(), CircuitState::Open);
    assert_eq!(stack.retry().get(&authority(&dead)).expect("the same key").snapshot().counts.failed, 4);

    // The named host comes before the one that the generated client names.
    let origin = "http://other.example".parse().expect("a URI");
    let named = stack.channel_to(authority(&healthy), channel(&healthy));
    HealthClient::with_origin(named, origin).check(ask("")).await.expect("it is healthy");
    assert!(stack.circuit_breaker().get(&authority("other.example:80")).is_none());
}

type Backend = BoxCloneSyncService<Request<()>, Response<()>, Infallible>;

/// A service that answers at once: 500 for hosts that begin with `dead`, else 200.
fn backend() -> Backend {
    BoxCloneSyncService::new(service_fn(|request: Request<()>| async move {
        let dead = request.uri().host().is_some_and(|host| host.starts_with("dead"));
        let mut response = Response::new(());
        *response.status_mut() = if dead { StatusCode::INTERNAL_SERVER_ERROR } else { StatusCode::OK };
        Ok(response)
    }))
}

fn to(host: &str) -> Request<()> {
    Request::get(format!("http://{host}:80/")).body(()).expect("a request")
}

#[tokio::test(start_paused = true)]
async fn the_failure_that_opens_the_circuit_of_a_host_is_the_result_of_its_call() {
    let twice = CircuitBreakerConfig::consecutive(2).open_for(HOUR).max_open_for(HOUR);
    let stack = reliable::stack()
        .resend(CloneRequest)
        .retry(AT_ONCE.max_attempts(5).per_authority())
        .circuit_breaker(twice.per_authority())
        .build()
        .expect("in range");
    let client = stack.service(backend());
    for host in ["dead-1", "dead-2"] {
        // The open circuit of the first host must not end the call to the second host after its first failure.
        let response = client.call(to(host)).await.expect("the backend's answer");
        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
        let counts = stack.retry().get(&authority(&format!("{host}:80"))).expect("called").snapshot().counts;
        assert_eq!((counts.retries, counts.circuit_open), (1, 1), "{host}");
    }
    let rejected = client.call(to("dead-1")).await.expect_err("its circuit is open");
    let Error::Rejected(rejected) = rejected;
    assert_eq!(rejected.layer().as_str(), "circuit_breaker:dead-1:80");
}

#[tokio::test(start_paused = true)]
async fn a_storm_of_hosts_exceeds_no_bound_and_frees_no_dead_host() {
    let exhausted = Arc::new(AtomicU32::new(0));
    let told = exhausted.clone();
    let stack = reliable::stack()
        .resend(CloneRequest)
        .retry(AT_ONCE.per_authority().max_keys(16))
        .circuit_breaker(TOUCHY.per_authority().max_keys(16))
        .listen(move |event: &Event| {
            told.fetch_add(
                u32::from(matches!(event.kind, EventKind::KeysExhausted { .. })),
                Ordering::Relaxed,
            );
        })
        .build()
        .expect("in range");
    let client = stack.service(backend());
    assert!(client.call(to("dead")).await.is_ok());
    for n in 0..10_000 {
        let response = client.call(to(&format!("host-{n}"))).await.expect("no host is rejected");
        assert_eq!(response.status(), StatusCode::OK);
    }
    assert_eq!((stack.retry().len(), stack.circuit_breaker().len()), (16, 16));
    assert!(client.call(to("dead")).await.is_err(), "its circuit is still open");

    // Hosts that are all dead keep their places. The next ones pass unprotected, and share one budget.
    for n in 0..100 {
        let _ = client.call(to(&format!("dead-{n}"))).await;
    }
    assert_eq!((stack.retry().len(), stack.circuit_breaker().len()), (16, 16));
    assert!(exhausted.load(Ordering::Relaxed) > 0);
    let others = stack.retry().others().snapshot();
    assert!(others.counts.failed > 50 && others.counts.retries < 30, "{:?}", others.counts);
    assert!(client.call(to("dead-99")).await.is_ok(), "its answer is the backend's");
    assert!(client.call(to("host-1")).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_host_without_calls_for_a_window_makes_room() {
    let stack = reliable::stack()
        .resend(CloneRequest)
        .retry(AT_ONCE.per_authority().max_keys(1))
        .build()
        .expect("in range");
    let client = stack.service(backend());
    let has_state = |host: &str| stack.retry().get(&authority(host)).is_some();
    let _ = client.call(to("dead")).await;
    let _ = client.call(to("tea")).await;
    assert!(has_state("dead:80") && !has_state("tea:80"), "it has spent retries");
    tokio::time::advance(Duration::from_secs(60)).await;
    let _ = client.call(to("tea")).await;
    assert!(has_state("tea:80") && !has_state("dead:80"));

    // A handle keeps its host.
    let handle = stack.retry().get(&authority("tea:80"));
    tokio::time::advance(Duration::from_secs(60)).await;
    let _ = client.call(to("coffee")).await;
    assert!(has_state("tea:80"), "{handle:?}");
}

#[tokio::test(start_paused = true)]
async fn a_call_in_flight_keeps_its_host_and_a_dropped_one_gives_it_back() {
    let stack = reliable::stack()
        .resend(CloneRequest)
        .retry(AT_ONCE.per_authority().max_keys(1))
        .circuit_breaker(CircuitBreakerConfig::new().per_authority().max_keys(1))
        .build()
        .expect("in range");
    let hangs = stack.service(service_fn(|_: Request<()>| async {
        std::future::pending::<Result<Response<()>, Infallible>>().await
    }));
    let client = stack.service(backend());
    let mut call = hangs.call(to("slow"));
    assert!(poll!(&mut call).is_pending());
    let _ = client.call(to("tea")).await;
    assert!(stack.circuit_breaker().get(&authority("tea:80")).is_none());
    drop(call);
    let slow = stack.retry().get(&authority("slow:80")).expect("it has a state");
    assert_eq!(slow.snapshot().counts.abandoned, 1);
    drop(slow);
    let _ = client.call(to("tea")).await;
    assert!(stack.circuit_breaker().get(&authority("tea:80")).is_some());
    assert!(stack.retry().get(&authority("tea:80")).is_some());
}

#[tokio::test(start_paused = true)]
async fn each_host_has_the_numbers_of_the_budget_of_the_stack() {
    let none = RetryBudgetConfig::new().reserve(0).without_health_gate().build().expect("in range");
    for (budget, retries) in [(none, 0), (RetryBudget::unlimited(), 2)] {
        let stack = reliable::stack()
            .resend(CloneRequest)
            .retry(AT_ONCE.per_authority())
            .retry_budget(budget)
            .build()
            .expect("in range");
        let _ = stack.service(backend()).call(to("dead")).await;
        let dead = stack.retry().get(&authority("dead:80")).expect("called");
        assert_eq!(dead.snapshot().counts.retries, retries);
    }
}

#[tokio::test(start_paused = true)]
async fn any_request_may_have_a_key() {
    #[derive(Clone)]
    struct Query {
        tenant: u32,
    }
    let tenant = |query: &Query| query.tenant;
    let stack = ReliabilityStack::builder()
        .retry(AT_ONCE.per_key(tenant))
        .circuit_breaker(TOUCHY.per_key(tenant))
        .build()
        .expect("in range");
    let client = stack.service(service_fn(|query: Query| async move {
        match query.tenant {
            1 => Err(std::io::Error::other("no such tenant")),
            tenant => Ok(tenant),
        }
    }));
    assert!(matches!(client.call(Query { tenant: 1 }).await, Err(Error::Inner(_))));
    let Err(Error::Rejected(rejected)) = client.call(Query { tenant: 1 }).await else {
        panic!("the circuit is open");
    };
    assert!(matches!(rejected.reason(), Reason::CircuitOpen(_)));
    assert_eq!(client.call(Query { tenant: 2 }).await.expect("another circuit"), 2);
}

#[tokio::test(start_paused = true)]
async fn a_file_gives_each_host_its_state() {
    let file: StackConfig =
        toml::from_str("[retry]\n[circuit_breaker]\nconsecutive_failures = 1").expect("in order");
    let stack = reliable::stack_from(file).per_authority().resend(CloneRequest).build().expect("in range");
    let client = stack.service(backend());
    assert!(client.call(to("dead")).await.is_ok(), "the backend's answer");
    assert!(client.call(to("dead")).await.is_err(), "its circuit is open");
    assert!(client.call(to("tea")).await.is_ok());
    assert_eq!(stack.circuit_breaker().map(|circuits| circuits.len()), Some(2));
    assert_eq!(stack.retry().map(|retries| retries.len()), Some(2));
    assert!(stack.hedge().is_none());
}

#[tokio::test(start_paused = true)]
async fn a_keyed_retry_stops_for_a_breaker_without_keys_too() {
    let stack = reliable::stack()
        .resend(CloneRequest)
        .retry(AT_ONCE.per_authority())
        .circuit_breaker(TOUCHY)
        .build()
        .expect("in range");
    let response = stack.service(backend()).call(to("dead")).await.expect("the backend's answer");
    assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
}

#[test]
fn numbers_of_keyed_stages_are_checked_by_their_names() {
    let error =
        reliable::standard().circuit_breaker(CircuitBreakerConfig::new().min_requests(0).per_authority());
    let error = error.build().expect_err("too low").to_string();
    assert!(error.starts_with("circuit_breaker.min_requests"), "{error}");
    let (long, short) = (HOUR, Duration::from_secs(1));
    let error = reliable::standard().timeout(short).attempt_timeout(long).build().expect_err("too long");
    assert!(error.to_string().starts_with("attempt_timeout must be at most timeout"), "{error}");
}

#[test]
fn a_retry_without_the_key_of_its_breaker_is_refused() {
    let error = reliable::standard().retry(RetryConfig::new()).build().expect_err("one budget for all hosts");
    assert!(error.to_string().starts_with("retry must have the key of circuit_breaker"), "{error}");
    assert!(reliable::standard().circuit_breaker(CircuitBreakerConfig::new()).build().is_ok());
}

#[test]
fn the_standard_limits_yield_to_a_chosen_limit() {
    for limit in [Duration::from_millis(1), Duration::from_secs(1), HOUR] {
        assert!(reliable::standard().timeout(limit).build().is_ok(), "timeout {limit:?}");
        assert!(reliable::standard().attempt_timeout(limit).build().is_ok(), "attempt_timeout {limit:?}");
    }
}
