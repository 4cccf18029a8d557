//! Fallbacks: the calls that they answer, the answers, and the counts.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::time::advance;
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn};
use tower_reliability::{
    AsRejected, BoxError, CircuitState, Error, ErrorClass, PriorAttempts, Reason, Resend,
    circuit_breaker::CircuitBreakerConfig,
    fallback::{FallbackConfig, FallbackSnapshot},
    timeout::TimeoutConfig,
};

use crate::fallback_peer::{Answer, DOWN, Peer, Say, TIMEOUT, by_number, layer, rejected, say};

const SECOND: Duration = Duration::from_secs(1);
const ON_SERVER: FallbackConfig = FallbackConfig::new().on(ErrorClass::Server);

/// The key of a number is its parity, and 99 has no key. All other requests have the key of even numbers.
fn parity(what: &Say) -> Option<u32> {
    match what {
        Say::Number(99) => None,
        Say::Number(number) => Some(number % 2),
        _ => Some(0),
    }
}

/// The answer of a service with a fallback to 7.
async fn or_seven(config: FallbackConfig, what: Say) -> Answer {
    layer(config).value(7).classify(by_number).layer(service_fn(say)).oneshot(what).await
}

#[tokio::test(start_paused = true)]
async fn by_default_only_rejections_on_this_side_are_answered() {
    for reason in [TIMEOUT, Reason::DeadlineExceeded, Reason::ProbesTaken, Reason::Ramping] {
        assert_eq!(or_seven(FallbackConfig::new(), Say::TurnAway(reason)).await, Ok(7));
    }
    for class in ErrorClass::ALL {
        let failed = Say::Fail(class);
        assert_eq!(or_seven(FallbackConfig::new(), failed).await, Err(Error::Inner(failed)), "{class}");
    }
    for passes in [Say::Number(1), Say::Number(503)] {
        assert_eq!(or_seven(FallbackConfig::new(), passes).await, say(passes).await);
    }
}

#[tokio::test(start_paused = true)]
async fn errors_and_responses_are_answered_by_their_class() {
    assert_eq!(or_seven(ON_SERVER, DOWN).await, Ok(7));
    assert_eq!(or_seven(ON_SERVER, Say::Number(503)).await, Ok(7));
    let wrong = Say::Fail(ErrorClass::Validation);
    assert_eq!(or_seven(ON_SERVER, wrong).await, Err(Error::Inner(wrong)));
    for class in ErrorClass::ALL {
        assert_eq!(or_seven(ON_SERVER.on_all_failures(), Say::Fail(class)).await, Ok(7));
    }
    let unrelated = or_seven(ON_SERVER.on_all_failures(), Say::Unrelated).await;
    assert_eq!(unrelated, Err(Error::Inner(Say::Unrelated)), "it is no failure");
}

#[tokio::test(start_paused = true)]
async fn open_circuits_and_timeouts_of_this_side_are_answered() {
    let breaker = CircuitBreakerConfig::consecutive(1).build().expect("valid").classify(by_number);
    let circuit = breaker.handle();
    let layer = layer(FallbackConfig::new()).value(7).classify(by_number);
    let mut client = ServiceBuilder::new()
        .layer(layer.clone())
        .layer(breaker)
        .layer(TimeoutConfig::new(SECOND).build().expect("valid"))
        .service(service_fn(say));
    assert_eq!(client.ready().await.expect("ready").call(Say::Hang).await, Ok(7));
    assert_eq!(circuit.state(), CircuitState::Open);
    assert_eq!(client.ready().await.expect("ready").call(Say::Number(1)).await, Ok(7));
    assert_eq!(layer.handle().snapshot().answered_rejections, 2);
}

#[tokio::test(start_paused = true)]
async fn a_function_sees_the_result_and_may_have_no_answer() {
    let layer = layer(ON_SERVER)
        .with(|result: Result<&u32, &Error<Say>>| match result {
            Ok(number) => Some(number + 1),
            Err(Error::Rejected(rejected)) => (rejected.reason() == TIMEOUT).then_some(1),
            Err(Error::Inner(_)) => None,
        })
        .classify(by_number);
    let ask = |what| layer.layer(service_fn(say)).oneshot(what);
    assert_eq!(ask(Say::TurnAway(TIMEOUT)).await, Ok(1));
    assert_eq!(ask(Say::Number(500)).await, Ok(501));
    assert_eq!(ask(DOWN).await, Err(Error::Inner(DOWN)));
    assert_eq!(ask(Say::TurnAway(Reason::Ramping)).await, Err(rejected(Reason::Ramping)));
    let counts = layer.handle().snapshot();
    let failures = counts.answered_failures[ErrorClass::Server];
    assert_eq!((counts.answered_rejections, failures, counts.unanswered), (1, 1, 2));
}

#[tokio::test(start_paused = true)]
async fn another_service_gets_a_copy_of_the_request_if_the_call_fails_and_only_then() {
    let other = Peer::default();
    // Two deep: the other service has a fallback of its own.
    let inner = layer(ON_SERVER).value(7).classify(by_number).layer(other.clone());
    let layer = layer(ON_SERVER).service(inner).classify(by_number);
    let service = layer.layer(service_fn(say));
    assert_eq!(service.clone().oneshot(Say::Number(3)).await, Ok(3));
    assert_eq!(other.calls(), 0);
    assert_eq!(service.oneshot(DOWN).await, Ok(7));
    assert_eq!(other.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn if_the_other_service_fails_the_caller_gets_the_original_result() {
    let outage = Some(Error::Inner(Say::Hang));
    for other in [Peer::default(), Peer { unready: outage, ..Peer::default() }] {
        let layer = layer(FallbackConfig::new()).service(other).classify(by_number);
        let answer = layer.layer(service_fn(say)).oneshot(Say::TurnAway(TIMEOUT)).await;
        assert_eq!(answer, Err(rejected(TIMEOUT)));
        assert_eq!(layer.handle().snapshot().unanswered, 1);
    }
}

#[tokio::test(start_paused = true)]
async fn the_other_service_is_called_when_it_is_ready_and_not_before() {
    let other = ServiceBuilder::new().concurrency_limit(1).service(service_fn(say));
    let mut busy = other.clone();
    let place = busy.ready().await.expect("ready").call(Say::Slowly(1));
    let service = layer(ON_SERVER)
        .service(other.map_request(|_| Say::Number(7)))
        .classify(by_number)
        .layer(service_fn(say));
    let (answer, _) = tokio::join!(service.oneshot(DOWN), place);
    assert_eq!(answer, Ok(7));
}

/// Copies failures only, and takes none for idempotent.
#[derive(Clone, Copy)]
struct Careful;

impl Resend<Say> for Careful {
    fn copy(&self, what: &mut Say) -> Option<Say> {
        matches!(what, Say::Fail(_) | Say::Refuse | Say::TurnAway(_)).then_some(*what)
    }

    fn may_resend(&self, _: &Say, prior: PriorAttempts) -> bool {
        prior == PriorAttempts::Unprocessed
    }
}

#[tokio::test(start_paused = true)]
async fn case_40_a_request_without_a_copy_or_that_may_have_been_processed_is_not_sent_to_another() {
    let other = Peer::default();
    let seven = other.clone().map_request(|_| Say::Number(7));
    let service =
        layer(FallbackConfig::new().on_all_failures()).service(seven).classify(by_number).resend(Careful);
    let service = service.layer(service_fn(say));
    for (what, is_asked) in [
        (Say::Number(503), false),
        (DOWN, false),
        (Say::TurnAway(TIMEOUT), false),
        (Say::Refuse, true),
        (Say::TurnAway(Reason::ProbesTaken), true),
    ] {
        let before = other.calls();
        let expected = if is_asked { Ok(7) } else { say(what).await };
        assert_eq!(service.clone().oneshot(what).await, expected, "{what:?}");
        assert_eq!(other.calls() - before, usize::from(is_asked), "{what:?}");
    }
}

/// Copies everything, counts the attempts to take a body over, and fails each.
#[derive(Clone, Default)]
struct NothingLeft(Arc<AtomicUsize>);

impl Resend<Say> for NothingLeft {
    fn copy(&self, what: &mut Say) -> Option<Say> {
        Some(*what)
    }

    fn take_over(&self, _: &mut Say) -> bool {
        self.0.fetch_add(1, Ordering::SeqCst);
        false
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_whose_body_cannot_be_taken_over_is_not_sent_to_another() {
    let (other, resend) = (Peer::default(), NothingLeft::default());
    let layer = layer(ON_SERVER).service(other.clone()).classify(by_number).resend(resend.clone());
    assert_eq!(layer.layer(service_fn(say)).oneshot(DOWN).await, Err(Error::Inner(DOWN)));
    assert_eq!((other.calls(), resend.0.load(Ordering::SeqCst)), (0, 1));
    assert_eq!(layer.handle().snapshot().unanswered, 1);
}

#[tokio::test(start_paused = true)]
async fn case_72_nothing_is_taken_from_an_attempt_whose_response_is_held() {
    let (other, resend) = (Peer::default(), NothingLeft::default());
    let seven = other.clone().map_request(|_| Say::Number(7));
    let layer = layer(ON_SERVER).service(seven).classify(by_number).resend(resend.clone());
    assert_eq!(layer.layer(service_fn(say)).oneshot(Say::Number(503)).await, Ok(7));
    assert_eq!((other.calls(), resend.0.load(Ordering::SeqCst)), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn the_last_good_answer_of_the_same_key_stands_in_until_it_is_too_old() {
    let layer = layer(ON_SERVER.ttl(10 * SECOND)).last_good(parity).classify(by_number);
    let ask = |what| layer.layer(service_fn(say)).oneshot(what);
    assert_eq!(ask(DOWN).await, Err(Error::Inner(DOWN)), "nothing is remembered yet");
    for number in [2, 4, 3, 99] {
        assert_eq!(ask(Say::Number(number)).await, Ok(number));
    }
    assert_eq!(layer.handle().snapshot().entries, 2);
    advance(10 * SECOND).await;
    assert_eq!(ask(DOWN).await, Ok(4));
    assert_eq!(ask(Say::Number(500)).await, Ok(4), "a bad answer is not remembered");
    advance(SECOND).await;
    assert_eq!(ask(DOWN).await, Err(Error::Inner(DOWN)));
    let counts = layer.handle().snapshot();
    assert_eq!((counts.answered(), counts.unanswered, counts.entries), (2, 2, 1));
}

#[tokio::test(start_paused = true)]
async fn a_failure_that_is_not_answered_is_not_remembered_either() {
    let layer = layer(FallbackConfig::new()).last_good(parity).classify(by_number);
    let ask = |what| layer.layer(service_fn(say)).oneshot(what);
    assert_eq!(ask(Say::Number(2)).await, Ok(2));
    assert_eq!(ask(Say::Number(500)).await, Ok(500));
    assert_eq!(ask(Say::TurnAway(TIMEOUT)).await, Ok(2));
}

#[tokio::test(start_paused = true)]
async fn no_more_answers_are_held_than_may_be_and_the_oldest_goes() {
    let layer =
        layer(ON_SERVER.max_entries(3)).last_good(|(key, _): &(u32, Say)| Some(*key)).classify(by_number);
    let service = layer.layer(service_fn(|(_, what)| say(what)));
    for key in 0..100 {
        service.clone().oneshot((key, Say::Number(key))).await.expect("good");
        assert_eq!(layer.handle().snapshot().entries, 3.min(u64::from(key) + 1));
    }
    assert_eq!(service.clone().oneshot((97, DOWN)).await, Ok(97));
    assert!(service.clone().oneshot((96, DOWN)).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn case_64_other_numbers_hold_for_the_calls_that_end_from_then_on() {
    let layer =
        layer(ON_SERVER.max_entries(9)).last_good(|(key, _): &(u32, Say)| Some(*key)).classify(by_number);
    let (handle, service) = (layer.handle(), layer.layer(service_fn(|(_, what)| say(what))));
    let ask = |key, what| service.clone().oneshot((key, what));
    for key in 0..9 {
        ask(key, Say::Number(key)).await.expect("good");
    }
    assert!(handle.update(ON_SERVER.max_entries(0)).is_err());
    assert_eq!(handle.config(), ON_SERVER.max_entries(9));

    let fewer = FallbackConfig::new().on(ErrorClass::Timeout).max_entries(2).ttl(SECOND);
    handle.update(fewer).expect("in range");
    assert_eq!(handle.config(), fewer);
    ask(9, Say::Number(9)).await.expect("good");
    assert_eq!(handle.snapshot().entries, 2);
    assert!(ask(9, DOWN).await.is_err(), "not any more");
    assert_eq!(ask(9, Say::Fail(ErrorClass::Timeout)).await, Ok(9));
    advance(2 * SECOND).await;
    assert!(ask(9, Say::Fail(ErrorClass::Timeout)).await.is_err(), "too old by now");
}

#[tokio::test(start_paused = true)]
async fn case_23_services_of_one_layer_share_last_good_answers_and_isolated_services_do_not() {
    let layer = layer(ON_SERVER).last_good(parity).classify(by_number);
    layer.clone().layer(service_fn(say)).oneshot(Say::Number(2)).await.expect("good");
    assert_eq!(layer.layer(service_fn(say)).oneshot(DOWN).await, Ok(2));
    for apart in [layer.clone().isolated(), layer.clone().named("prices")] {
        assert_eq!(apart.handle().snapshot(), FallbackSnapshot::default());
        assert!(apart.layer(service_fn(say)).oneshot(DOWN).await.is_err());
        apart.layer(service_fn(say)).oneshot(Say::Number(8)).await.expect("good");
        assert_eq!(apart.layer(service_fn(say)).oneshot(DOWN).await, Ok(8));
        assert_eq!(apart.handle().config(), ON_SERVER);
    }
    assert_eq!(layer.layer(service_fn(say)).oneshot(DOWN).await, Ok(2));
    assert_eq!(layer.clone().named("prices").handle().name().as_str(), "prices");
    assert_eq!((layer.handle().name().as_str(), layer.handle().snapshot().entries), ("fallback", 1));
}

#[tokio::test(start_paused = true)]
async fn an_error_of_readiness_passes() {
    let ended = Peer { unready: Some(Error::Inner(DOWN)), ..Peer::default() };
    let mut service = layer(ON_SERVER).value(7).classify(by_number).layer(ended);
    assert_eq!(service.ready().await.map(drop), Err(Error::Inner(DOWN)));
    service.get_mut().unready = None;
    assert_eq!(service.ready().await.expect("ready").call(Say::Number(1)).await, Ok(1));
}

#[tokio::test(start_paused = true)]
async fn case_12_it_works_over_services_that_are_neither_clone_nor_send_nor_unpin() {
    let local = std::rc::Rc::new(std::cell::Cell::new(0));
    let mut service = layer(ON_SERVER).value(7).classify(by_number).layer(service_fn(|what| {
        local.set(local.get() + 1);
        let held = std::rc::Rc::clone(&local);
        async move {
            let answer = say(what).await;
            drop(held);
            answer
        }
    }));
    assert_eq!(service.ready().await.expect("ready").call(DOWN).await, Ok(7));
    assert_eq!(local.get(), 1);
}

#[tokio::test(start_paused = true)]
async fn case_60_an_error_that_is_not_answered_comes_back_as_it_was() {
    let service = FallbackConfig::new().build().expect("valid").value(7);
    let service = service.layer(service_fn(|()| async {
        Err::<u32, _>(Error::Inner(std::io::Error::other(BoxError::from("the root"))))
    }));
    let error = service.oneshot(()).await.expect_err("it is not answered");
    assert_eq!(error.report().to_string(), "call failed: the root");
    let Error::Inner(error) = error else { panic!("it is wrapped once") };
    assert_eq!(error.into_inner().expect("a root").to_string(), "the root");
}

#[tokio::test(start_paused = true)]
async fn case_59_a_call_that_succeeds_calls_no_function_and_no_other_service() {
    let (other, asked) = (Peer::default(), Arc::default());
    let counted: Arc<AtomicUsize> = Arc::clone(&asked);
    let function = layer(ON_SERVER)
        .with(move |_: Result<&u32, &Error<Say>>| {
            counted.fetch_add(1, Ordering::SeqCst);
            Some(7)
        })
        .classify(by_number);
    assert_eq!(function.layer(service_fn(say)).oneshot(Say::Number(1)).await, Ok(1));
    let service = layer(ON_SERVER).service(other.clone()).classify(by_number);
    assert_eq!(service.layer(service_fn(say)).oneshot(Say::Number(1)).await, Ok(1));
    assert_eq!((asked.load(Ordering::SeqCst), other.calls()), (0, 0));
    assert_eq!(function.handle().snapshot(), FallbackSnapshot::default());
}

#[tokio::test(start_paused = true)]
async fn it_answers_for_a_stack_in_an_axum_server() {
    use axum::{Router, body::Body, extract::Request, response::Response, routing::get};
    use tower_reliability::{
        ReliabilityStack,
        http::{HttpClassifier, RejectionLayer},
    };

    type Failure<'a, 'b> = Result<&'a Response, &'b Error<std::convert::Infallible>>;
    let fallback = ON_SERVER.build().expect("valid").with(|result: Failure<'_, '_>| {
        let rejected = result.err()?.as_rejected()?;
        // An answer that the function itself marks.
        let answer = Response::builder().header("warning", "110").body(Body::from(rejected.to_string()));
        answer.ok()
    });
    let fallback = fallback.classify(HttpClassifier::new());
    let stack = ReliabilityStack::builder().timeout(SECOND).build().expect("valid");
    let app = Router::new()
        .route("/hangs", get(std::future::pending::<()>))
        .route("/fails", get(async || http::StatusCode::INTERNAL_SERVER_ERROR))
        .layer((RejectionLayer::new(), fallback.clone(), stack));
    let ask = |path| app.clone().oneshot(Request::get(path).body(Body::empty()).expect("a request"));

    let late = ask("/hangs").await.expect("infallible");
    assert_eq!((late.status().as_u16(), &late.headers()["warning"]), (200, &"110".parse().expect("a value")));
    let failed = ask("/fails").await.expect("infallible");
    assert!(failed.status() == 500 && !failed.headers().contains_key("warning"));
    let counts = fallback.handle().snapshot();
    assert_eq!((counts.answered_rejections, counts.answered(), counts.unanswered), (1, 1, 1));
}
