//! Rates that adapt: what a limit learns from its calls, and what the calls that wait see of it.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use futures::{FutureExt, future::join_all};
use http::{Request, Response};
use tokio::time::{Instant, advance};
use tokio_test::{assert_pending, task::spawn};
use tower::{Layer, ServiceExt};
use tower_reliability::{
    Classifier, Error, ErrorClass, Event, EventKind, NoDeadline, NoPriority, Outcome, PendingOutcome,
    QuotaState, Reason, ReliabilityStack, Severity, UntilResponse, http as reliable,
    rate_limit::{
        RateLimitConfig, RateLimitLayer, UnitCost,
        adaptive::{AdaptiveRateConfig, AdaptiveRateSnapshot},
    },
    retry::{Jitter, RetryConfig},
    stack::StackConfig,
    testing::{Scripted, Step},
};

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(60 * 60);
const BUSY: Outcome = Outcome::failure(ErrorClass::RateLimit);
/// Ten calls per second.
const TEN: RateLimitConfig = RateLimitConfig::per_second(10).burst(1).adaptive(AdaptiveRateConfig::new());

type Backend = Scripted<u32, Answer, Error<()>>;

/// The response of a test: its outcome, its quota, and a place for its end.
#[derive(Clone, Debug)]
struct Answer {
    outcome: Outcome,
    quota: Option<QuotaState>,
    pending: Arc<Mutex<Vec<PendingOutcome>>>,
}

#[derive(Clone)]
struct Told;

impl<E> Classifier<Answer, E> for Told {
    fn classify(&self, result: Result<&Answer, &E>) -> Outcome {
        result.map_or(Outcome::Ignored, |answer| answer.outcome)
    }

    fn defer(&self, answer: &mut Answer, pending: PendingOutcome) -> Result<(), PendingOutcome> {
        answer.pending.lock().expect("no panic").push(pending);
        Ok(())
    }

    fn quota(&self, answer: &Answer) -> Option<QuotaState> {
        answer.quota
    }
}

fn answer(outcome: Outcome) -> Answer {
    Answer { outcome, quota: None, pending: Arc::default() }
}

fn step(outcome: Outcome) -> Step<Answer, Error<()>> {
    Step::answer(answer(outcome))
}

/// A backend that answers each request with success, after its script.
fn backend(script: impl IntoIterator<Item = Step<Answer, Error<()>>>) -> Backend {
    let backend = Scripted::new(|_: &u32| step(Outcome::Success));
    backend.play(script);
    backend
}

fn build(config: RateLimitConfig) -> RateLimitLayer<NoPriority, NoDeadline, UnitCost, Told> {
    config.build().expect("valid").classify(Told)
}

/// The rate in force, in calls per second.
fn rate(adaptive: Option<AdaptiveRateSnapshot>) -> String {
    format!("{:.2}", adaptive.expect("it adapts").per_second)
}

#[tokio::test(start_paused = true)]
async fn calls_that_wait_follow_the_rate_of_the_moment() {
    let layer = build(TEN.max_wait(HOUR));
    let service = layer.layer(backend([step(Outcome::Success), step(BUSY)]));
    let begin = Instant::now();
    let calls = (0..5).map(|n| service.clone().oneshot(n).map(|_| begin.elapsed().as_millis()));
    // The second call learns of the congestion, and the fourth raises the rate by a little.
    assert_eq!(join_all(calls).await, [0, 100, 243, 386, 524]);
    assert_eq!(rate(layer.handle().snapshot().adaptive), "7.25");
}

#[tokio::test(start_paused = true)]
async fn a_pause_holds_every_call_up_and_ends_without_a_burst() {
    for max_wait in [Some(HOUR), None] {
        let config = max_wait.map_or(TEN.burst(5), |wait| TEN.burst(5).max_wait(wait));
        let layer = build(config.adaptive(AdaptiveRateConfig::new().floor(10)));
        let service = layer.layer(backend([step(BUSY.retry_after(3 * SECOND))]));
        let begin = Instant::now();
        service.clone().oneshot(0).await.expect("an answer");
        let paused = layer.handle().snapshot();
        assert_eq!(paused.adaptive.and_then(|it| it.paused_for), Some(3 * SECOND));
        assert_eq!(paused.tokens, Some(0));
        let quota = layer.handle().quotas().bucket.expect("there is a rate");
        assert_eq!((quota.remaining, quota.next_in), (0, Some(3 * SECOND)));
        if max_wait.is_some() {
            let calls = (0..4).map(|n| service.clone().oneshot(n).map(|_| begin.elapsed().as_millis()));
            assert_eq!(join_all(calls).await, [3_000, 3_100, 3_200, 3_300]);
        } else {
            let Err(Error::Rejected(rejected)) = service.clone().oneshot(1).await else {
                panic!("it is paused")
            };
            assert_eq!((rejected.reason(), rejected.retry_after()), (Reason::RateLimited, Some(3 * SECOND)));
            advance(3 * SECOND).await;
            service.clone().oneshot(2).await.expect("the pause is over");
            service.clone().oneshot(3).await.expect_err("and the bucket was empty");
            advance(HOUR).await;
            for n in 0..5 {
                service.clone().oneshot(n).await.expect("it fills as before");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_quota_spreads_its_rest_over_the_time_until_its_reset() {
    let layer = build(TEN);
    let tells = |remaining| {
        let quota = Some(QuotaState { remaining, reset: Some(10 * SECOND) });
        Step::answer(Answer { quota, ..answer(Outcome::Success) })
    };
    let service = layer.layer(backend([tells(20), tells(0)]));
    service.clone().oneshot(0).await.expect("an answer");
    assert_eq!(rate(layer.handle().snapshot().adaptive), "2.00");
    advance(SECOND / 2).await;
    service.clone().oneshot(1).await.expect("an answer");
    let snapshot = layer.handle().snapshot().adaptive.expect("it adapts");
    assert_eq!((snapshot.paused_for, snapshot.decreases), (Some(10 * SECOND), 0));
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_dropped_is_slow_once_it_has_waited_longer_than_the_target() {
    for (waits, decreases) in [(Duration::from_millis(100), 0), (Duration::from_millis(101), 1)] {
        let target = AdaptiveRateConfig::new().target_latency(Duration::from_millis(100));
        let layer = build(RateLimitConfig::per_second(100).adaptive(target));
        let service = layer.layer(backend((0..10).map(|_| Step::hang())));
        let mut calls: Vec<_> = (0..10).map(|n| spawn(service.clone().oneshot(n))).collect();
        for call in &mut calls {
            assert_pending!(call.poll());
        }
        advance(waits).await;
        drop(calls);
        assert_eq!(layer.handle().snapshot().adaptive.expect("it adapts").decreases, decreases);
    }
}

#[tokio::test(start_paused = true)]
async fn a_deferred_answer_votes_at_its_end() {
    let layer = build(TEN.burst(3));
    let adaptive = || layer.handle().snapshot().adaptive.expect("it adapts");
    let service = layer.layer(backend([step(Outcome::Deferred), step(Outcome::Deferred)]));
    let first = service.clone().oneshot(0).await.expect("an answer");
    let second = service.oneshot(1).await.expect("an answer");
    assert_eq!(adaptive().decreases, 0);
    drop(second);
    assert_eq!(adaptive().decreases, 0, "a stream that is dropped has no vote");
    let pending = first.pending.lock().expect("no panic").pop().expect("it is deferred");
    pending.settle(BUSY);
    assert_eq!((adaptive().decreases, rate(Some(adaptive()))), (1, "7.00".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_panic_of_the_service_or_of_the_classifier_leaves_the_limit_as_it_was() {
    let layer = build(TEN.burst(3));
    let service = layer.layer(backend([Step::panic(), Step::panic_in_call()]));
    for n in 0..2 {
        let call = std::panic::AssertUnwindSafe(async { service.clone().oneshot(n).await });
        assert!(call.catch_unwind().await.is_err());
    }
    service.oneshot(2).await.expect("an answer");
    let panics = layer
        .clone()
        .classify(|_: Result<&Answer, &Error<()>>| -> Outcome { std::panic::resume_unwind(Box::new(())) });
    advance(HOUR).await;
    let call = std::panic::AssertUnwindSafe(panics.layer(backend([])).oneshot(3));
    assert!(call.catch_unwind().await.is_err());
    assert_eq!(rate(layer.handle().snapshot().adaptive), "10.00");
}

#[tokio::test(start_paused = true)]
async fn a_limit_in_shadow_mode_learns_and_holds_no_call_up() {
    let layer = build(TEN.shadow(true));
    let service = layer.layer(backend([step(BUSY.retry_after(HOUR))]));
    for n in 0..20 {
        service.clone().oneshot(n).await.expect("it passes");
    }
    let snapshot = layer.handle().snapshot();
    assert_eq!((rate(snapshot.adaptive).as_str(), snapshot.counts.would_limit), ("7.00", 19));
}

#[tokio::test(start_paused = true)]
async fn events_tell_of_a_lower_rate_and_of_its_recovery() {
    let told = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&told);
    let layer =
        build(TEN.adaptive(AdaptiveRateConfig::new().recover_within(SECOND))).listen(move |event: &Event| {
            if let EventKind::RateChanged { .. } = event.kind {
                log.lock().expect("no panic").push((event.severity(), event.to_string()));
            }
        });
    let service = layer.layer(backend([step(BUSY)]));
    for n in 0..100 {
        let _ = service.clone().oneshot(n).await;
        advance(SECOND / 20).await;
    }
    let told = told.lock().expect("no panic");
    let [(warning, lowered), (info, back)] = &told[..] else { panic!("{told:?}") };
    assert_eq!((*warning, *info), (Severity::Warning, Severity::Info));
    assert_eq!(lowered, "rate_limit: rate lowered from 10.00 to 7.00 per second");
    assert!(
        back.starts_with("rate_limit: rate back from ") && back.ends_with(" to 10.00 per second"),
        "{back}"
    );
}

#[tokio::test(start_paused = true)]
async fn case_64_an_update_keeps_what_was_learnt_and_neither_adds_nor_removes_the_machine() {
    let layer = build(TEN);
    let handle = layer.handle();
    layer.layer(backend([step(BUSY)])).oneshot(0).await.expect("an answer");
    let wider = RateLimitConfig::per_second(20).adaptive(AdaptiveRateConfig::new().ceiling(30));
    handle.update(wider).expect("valid");
    assert_eq!((rate(handle.snapshot().adaptive).as_str(), handle.config()), ("7.00", wider));
    let refused = handle.update(RateLimitConfig::per_second(10)).expect_err("it adapts");
    assert_eq!(refused.field(), "adaptive");
    let fixed = RateLimitConfig::per_second(10).build().expect("valid").handle();
    assert_eq!(fixed.update(TEN).expect_err("it is fixed").field(), "adaptive");
    assert_eq!(fixed.snapshot().adaptive, None);
}

#[tokio::test(start_paused = true)]
async fn a_limit_without_a_classifier_learns_from_latency_alone() {
    let slow = AdaptiveRateConfig::new().target_latency(SECOND);
    let layer = TEN.burst(10).adaptive(slow).build().expect("valid").classify(UntilResponse);
    let service = layer.layer(backend((0..10).map(|_| step(BUSY).after(2 * SECOND))));
    join_all((0..10).map(|n| service.clone().oneshot(n))).await;
    assert_eq!(rate(layer.handle().snapshot().adaptive), "7.00");
}

#[tokio::test(start_paused = true)]
async fn pacing_learns_from_each_attempt_of_a_stack_by_its_protocol() {
    let config: StackConfig = toml::from_str(
        "[retry]\nmax_attempts = 3\n[pacing]\nper_second = 100\nadaptive = { ceiling = 200 }\n\
         queue = { max_wait = '10s', shed = 'off' }",
    )
    .expect("it is valid");
    let stack = reliable::stack_from(config).build().expect("the numbers go together");
    let busy = |headers: &[(&str, &str)]| {
        let mut response = Response::builder().status(429);
        for (name, value) in headers {
            response = response.header(*name, *value);
        }
        Step::answer(response.body(()).expect("valid"))
    };
    let backend = Scripted::<Request<()>, _, std::io::Error>::new(|_| Step::answer(Response::new(())));
    backend.play([busy(&[("retry-after", "2")]), busy(&[("ratelimit", "\"default\";r=0;t=7")])]);
    let began = Instant::now();
    let answer = stack.layer(backend.clone()).oneshot(Request::new(())).await.expect("an answer");
    assert_eq!((answer.status().as_u16(), backend.calls()), (200, 3));
    let took = began.elapsed();
    assert!(took >= 9 * SECOND && took < 10 * SECOND, "{took:?}: both hints are kept");
    let snapshot = stack.pacing().expect("it is in the file").snapshot().adaptive.expect("it adapts");
    assert_eq!((snapshot.decreases, rate(Some(snapshot)).as_str()), (2, "49.00"));
}

#[test]
fn a_stack_refuses_an_adaptive_limit_per_key() {
    let limit = TEN.per_key(|n: &u32| *n);
    let error = ReliabilityStack::builder().pacing(limit).build().expect_err("it cannot work");
    assert_eq!(
        error.to_string(),
        "pacing.adaptive must be absent, because all keys of a limit share one rate"
    );
    let limit = TEN.per_key(|n: &u32| *n);
    let error = ReliabilityStack::builder().rate_limit(limit).build().expect_err("it cannot work");
    assert!(error.to_string().starts_with("rate_limit.adaptive must be absent"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn an_attempt_timeout_is_congestion_for_both_limits() {
    let stack = ReliabilityStack::builder()
        .retry(RetryConfig::fixed(SECOND).jitter(Jitter::None).max_attempts(2))
        .rate_limit(TEN)
        .pacing(TEN.max_wait(HOUR))
        .attempt_timeout(SECOND)
        .build()
        .expect("the numbers go together");
    let backend = Scripted::<u32, (), std::io::Error>::new(|_| Step::hang());
    stack.layer(backend).oneshot(0).await.expect_err("it hangs");
    let decreases = [stack.rate_limit().snapshot(), stack.pacing().snapshot()]
        .map(|snapshot| snapshot.adaptive.expect("it adapts").decreases);
    assert_eq!(decreases, [1, 2], "of calls and of attempts");
}
