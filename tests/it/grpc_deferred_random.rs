//! A breaker that counts calls by their trailers: bodies made by hand, on paused time.

use std::{
    io,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use futures::{FutureExt, StreamExt, future::join_all, stream, stream::BoxStream};
use http::{HeaderMap, Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use tokio::time::{advance, sleep, timeout};
use tower::{Layer, ServiceExt, service_fn};
use tower_reliability::{
    CircuitState, Error, Outcome,
    circuit_breaker::{CircuitBreakerConfig, CircuitBreakerLayer},
    grpc::{GrpcClassifier, GrpcOutcomeBody, StreamOutcomeLayer},
};

type Body = StreamBody<BoxStream<'static, io::Result<Frame<Bytes>>>>;
type Answer<B = Body> = Result<Response<B>, Error<io::Error>>;
type Told = GrpcOutcomeBody<Body, fn(Outcome)>;
type Breaker = CircuitBreakerLayer<GrpcClassifier>;

const MILLI: Duration = Duration::from_millis(1);
const CONFIG: CircuitBreakerConfig = CircuitBreakerConfig::consecutive(1)
    .open_jitter(0.0)
    .open_for(Duration::from_secs(1))
    .half_open_probes(1)
    .half_open_successes(1);

const STREAMS: StreamOutcomeLayer = StreamOutcomeLayer::new(GrpcClassifier::new());

/// The answer of the server.
#[derive(Clone, Copy, Debug)]
struct Plan {
    head_after: Duration,
    ending: Ending,
    frames: u64,
    each_after: Duration,
}

#[derive(Clone, Copy, Debug)]
enum Ending {
    /// The status in the head.
    Head(&'static str),
    Trailers(&'static str),
    NoTrailers,
    Reset,
    /// There is no head.
    Refused,
}

const ENDINGS: [Ending; 9] = [
    Ending::Head("0"),
    Ending::Head("14"),
    Ending::Trailers("0"),
    Ending::Trailers("0"),
    Ending::Trailers("1"),
    Ending::Trailers("13"),
    Ending::NoTrailers,
    Ending::Reset,
    Ending::Refused,
];

impl Plan {
    const fn stream(ending: Ending) -> Self {
        Self { head_after: Duration::ZERO, ending, frames: 2, each_after: MILLI }
    }

    fn random(rng: &mut StdRng) -> Self {
        Self {
            head_after: rng.random_range(0..20) * MILLI,
            ending: ENDINGS[rng.random_range(0..ENDINGS.len())],
            frames: rng.random_range(0..4),
            each_after: rng.random_range(0..20) * MILLI,
        }
    }
}

async fn answer(request: Request<Plan>) -> Answer {
    let plan = request.into_body();
    sleep(plan.head_after).await;
    let mut response = Response::builder().header("content-type", "application/grpc");
    let mut frames: Vec<io::Result<Frame<Bytes>>> =
        (0..plan.frames).map(|_| Ok(Frame::data(Bytes::from_static(b"x")))).collect();
    match plan.ending {
        Ending::Head(status) => {
            response = response.header("grpc-status", status);
            frames.clear();
        }
        Ending::Trailers(status) => {
            let trailers = HeaderMap::from_iter([(
                http::HeaderName::from_static("grpc-status"),
                http::HeaderValue::from_static(status),
            )]);
            frames.push(Ok(Frame::trailers(trailers)));
        }
        Ending::NoTrailers => {}
        Ending::Reset => frames.push(Err(io::ErrorKind::ConnectionReset.into())),
        Ending::Refused => return Err(Error::Inner(io::ErrorKind::ConnectionRefused.into())),
    }
    let each = stream::iter(frames).then(move |frame| sleep(plan.each_after).map(move |()| frame));
    Ok(response.body(StreamBody::new(each.boxed())).expect("a response"))
}

fn breaker(config: CircuitBreakerConfig) -> Breaker {
    config.build().expect("valid").classify(GrpcClassifier::new().deferred())
}

async fn call(breaker: &Breaker, plan: Plan) -> Answer<Told> {
    STREAMS.layer(breaker.layer(service_fn(answer))).oneshot(Request::new(plan)).await
}

/// Reads the stream to its end.
async fn read(answer: Answer<Told>) {
    let _ = answer.expect("it has begun").into_body().collect().await;
}

async fn half_open(breaker: &Breaker) {
    assert!(call(breaker, Plan::stream(Ending::Refused)).await.is_err());
    advance(breaker.handle().snapshot().retry_after.expect("one failure opens it")).await;
    assert_eq!(breaker.handle().state(), CircuitState::HalfOpen);
}

#[tokio::test(start_paused = true)]
async fn case_26_every_stream_is_counted_at_its_end_and_not_before() {
    for (ending, state) in [
        (Ending::Trailers("0"), CircuitState::Closed),
        (Ending::Trailers("14"), CircuitState::Open),
        (Ending::NoTrailers, CircuitState::Open),
        (Ending::Reset, CircuitState::Open),
    ] {
        let breaker = breaker(CONFIG);
        let begun = call(&breaker, Plan::stream(ending)).await;
        let before = breaker.handle().snapshot();
        assert_eq!(
            (before.state, before.counts.successes, before.counts.failures),
            (CircuitState::Closed, 0, 0)
        );
        read(begun).await;
        let after = breaker.handle().snapshot();
        assert_eq!((after.state, after.counts.successes + after.counts.failures), (state, 1), "{ending:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn case_17_a_stream_that_began_before_a_trip_has_no_vote_at_its_end() {
    let breaker = breaker(CONFIG);
    let good = call(&breaker, Plan::stream(Ending::Trailers("0"))).await;
    let bad = call(&breaker, Plan::stream(Ending::Trailers("14"))).await;
    half_open(&breaker).await;
    read(good).await;
    assert_eq!(breaker.handle().state(), CircuitState::HalfOpen);
    read(bad).await;
    let snapshot = breaker.handle().snapshot();
    assert_eq!((snapshot.state, snapshot.counts.late), (CircuitState::HalfOpen, 2));
    assert_eq!((snapshot.counts.successes, snapshot.counts.failures), (1, 2));
}

#[tokio::test(start_paused = true)]
async fn case_20_a_circuit_does_not_wait_for_the_ends_of_streams_to_close() {
    let breaker = breaker(CONFIG.probe_timeout(Duration::from_secs(5)));
    half_open(&breaker).await;
    let begun = call(&breaker, Plan::stream(Ending::Trailers("14"))).await;
    assert_eq!(breaker.handle().state(), CircuitState::Closed);
    advance(Duration::from_secs(3_600)).await;
    read(begun).await;
    let snapshot = breaker.handle().snapshot();
    assert_eq!(
        (snapshot.state, snapshot.counts.failures),
        (CircuitState::Closed, 1),
        "only the one that opened it"
    );
}

#[tokio::test(start_paused = true)]
async fn a_pending_outcome_that_no_layer_settles_has_no_vote() {
    let breaker = breaker(CONFIG);
    let request = Request::new(Plan::stream(Ending::Trailers("0")));
    let response = breaker.layer(service_fn(answer)).oneshot(request).await.expect("a head");
    let _ = BodyExt::collect(response.into_body()).await;
    let snapshot = breaker.handle().snapshot();
    assert_eq!((snapshot.state, snapshot.counts.successes), (CircuitState::Closed, 0));
    assert_eq!(snapshot.counts.failures, 0);
}

#[tokio::test(start_paused = true)]
async fn a_closure_that_defers_without_a_place_for_it_is_a_success_at_once() {
    let layer =
        CONFIG.build().expect("valid").classify(|_: Result<&(), &Error<io::Error>>| Outcome::Deferred);
    for result in [Ok(()), Err(Error::Inner(io::ErrorKind::ConnectionRefused.into()))] {
        let mut result = Some(result);
        let service = service_fn(move |()| std::future::ready(result.take().expect("it is called once")));
        let _ = layer.layer(service).oneshot(()).await;
    }
    let counts = layer.handle().snapshot().counts;
    assert_eq!((counts.successes, counts.failures, counts.abandoned), (2, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_call_is_slow_by_the_time_to_its_head_alone() {
    let breaker = breaker(CONFIG.slow_call(10 * MILLI, 1.0));
    let lasting = Plan { each_after: Duration::from_secs(1), ..Plan::stream(Ending::Trailers("0")) };
    read(call(&breaker, lasting).await).await;
    assert_eq!(breaker.handle().snapshot().window_slow, 0);
    read(call(&breaker, Plan { head_after: 11 * MILLI, ..lasting }).await).await;
    assert_eq!(breaker.handle().snapshot().window_slow, 1);
}

#[tokio::test(start_paused = true)]
async fn case_58_a_held_value_is_released_at_the_end_of_the_stream_or_at_a_head_without_one() {
    let holding = async |plan| {
        let (held, holder) = (Arc::new(()), Arc::new(Mutex::new(None)));
        *holder.lock().expect("no panic") = Some(held.clone());
        let service = service_fn(answer).map_response(move |mut response| {
            StreamOutcomeLayer::hold(&mut response, holder.lock().expect("no panic").take());
            response
        });
        (STREAMS.layer(service).oneshot(Request::new(plan)).await, held)
    };
    let (stream, held) = holding(Plan::stream(Ending::Trailers("0"))).await;
    assert_eq!(Arc::strong_count(&held), 2);
    let mut body = stream.expect("it has begun").into_body();
    while let Some(Ok(frame)) = body.frame().await {
        assert_eq!(Arc::strong_count(&held), if frame.is_trailers() { 1 } else { 2 });
    }
    let (dropped, held) = holding(Plan::stream(Ending::Trailers("0"))).await;
    drop(dropped);
    assert_eq!(Arc::strong_count(&held), 1);
    let (refused, held) = holding(Plan::stream(Ending::Head("14"))).await;
    assert!(refused.is_ok() && Arc::strong_count(&held) == 1);
}

#[tokio::test(start_paused = true)]
async fn a_key_is_not_evicted_while_a_stream_of_it_runs() {
    let key = |request: &Request<Plan>| request.body().frames;
    let keyed = breaker(CONFIG).keyed(key).max_keys(1);
    let call = async |frames| {
        let plan = Plan { frames, ..Plan::stream(Ending::Trailers("0")) };
        STREAMS.layer(keyed.layer(service_fn(answer))).oneshot(Request::new(plan)).await
    };
    let begun = call(1).await;
    // A recently used key has a second chance, so the loop runs twice.
    for _ in 0..2 {
        read(call(2).await).await;
        assert!(keyed.handle().get(&1).is_some() && keyed.handle().get(&2).is_none());
    }
    read(begun).await;
    assert_eq!(keyed.handle().get(&1).map(|circuit| circuit.snapshot().counts.successes), Some(1));
    for _ in 0..2 {
        read(call(2).await).await;
    }
    assert!(keyed.handle().get(&1).is_none() && keyed.handle().get(&2).is_some());
}

#[tokio::test(start_paused = true)]
async fn case_61_every_stream_is_counted_once_with_any_end_and_any_drop() {
    for seed in 0..8 {
        println!("seed {seed}");
        let mut rng = StdRng::seed_from_u64(seed);
        let config = CONFIG.open_for(20 * MILLI).half_open_probes(3).consecutive_failures(4);
        let breaker = breaker(config.probe_timeout(30 * MILLI));
        let calls: Vec<_> = (0..100)
            .map(|_| {
                let (plan, begins) = (Plan::random(&mut rng), rng.random_range(0..400) * MILLI);
                let patience = rng.random_range(1..80) * MILLI;
                let breaker = &breaker;
                async move {
                    sleep(begins).await;
                    let all = async {
                        if let Ok(response) = call(breaker, plan).await {
                            let _ = response.into_body().collect().await;
                        }
                    };
                    let _ = timeout(patience, all).await;
                }
            })
            .collect();
        join_all(calls).await;
        let counts = breaker.handle().snapshot().counts;
        let ended = counts.successes + counts.failures + counts.ignored + counts.abandoned + counts.rejected;
        assert_eq!(ended, 100, "{counts:?}");
        assert!(counts.successes > 0 && counts.failures > 0 && counts.abandoned > 0, "{counts:?}");
    }
}
