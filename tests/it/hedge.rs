//! The requests that a hedge sends, their times, the answer it takes, and the end of the others.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::{Instant, advance, sleep};
use tokio_test::{assert_pending, assert_ready, task};
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn};
use tower_reliability::{
    CallHistory, Error, ErrorClass, Name, Outcome, PriorAttempts, Protocol, Reason, Rejected, Resend, Trip,
    circuit_breaker::CircuitBreakerConfig,
    hedge::{HedgeConfig, HedgeLayer},
    retry_budget::{RetryBudget, RetryBudgetConfig},
};

use crate::{
    hedge_script::{DELAY, FIXED, fails, layer},
    scripted::{Act, Answer, Answered, ByPeer, Peer, Script, rejected},
};

/// One call. Returns the answer, the times of the requests, and how long the call took.
async fn run(layer: &HedgeLayer<Protocol<ByPeer>>, acts: &[Act]) -> (Answered, Vec<u128>, u128) {
    let script = Script::new(acts.iter().copied());
    let began = Instant::now();
    let answer = layer.layer(script.service()).oneshot(()).await;
    assert_eq!((script.running(), layer.handle().snapshot().counts.not_resendable), (0, 0));
    (answer, script.asked(), began.elapsed().as_millis())
}

fn failed(class: ErrorClass) -> Answered {
    Err(Error::Inner(Peer(Answer::Fail(class))))
}

const fn after(act: Act, millis: u64) -> Act {
    act.after(Duration::from_millis(millis))
}

#[tokio::test(start_paused = true)]
async fn a_hedge_is_sent_after_the_delay_and_its_answer_taken() {
    let hedge = layer(FIXED);
    assert_eq!(run(&hedge, &[Act::HANG, after(Act::GOOD, 10)]).await, (Ok(()), vec![0, 100], 110));
    let seen = hedge.handle().snapshot();
    assert_eq!((seen.counts.won_by_hedge, seen.counts.hedges, seen.budget.spent), (1, 1, 1));
    assert_eq!(run(&hedge, &[after(Act::GOOD, 99)]).await, (Ok(()), vec![0], 99));
    assert_eq!(
        run(&hedge, &[after(Act::GOOD, 150), after(Act::GOOD, 90)]).await,
        (Ok(()), vec![0, 100], 150)
    );
    assert_eq!(hedge.handle().snapshot().counts.won_by_primary, 2);
}

#[tokio::test(start_paused = true)]
async fn case_56_the_losers_are_gone_when_the_answer_is_there() {
    for acts in [[Act::HANG, after(Act::GOOD, 10)], [after(Act::GOOD, 110), Act::HANG]] {
        let script = Script::new(acts);
        let mut service = layer(FIXED).layer(script.service());
        let mut call = task::spawn(service.call(()));
        assert_pending!(call.poll());
        advance(DELAY).await;
        assert_pending!(call.poll());
        assert_eq!(script.running(), 2);
        advance(Duration::from_millis(10)).await;
        assert_eq!(assert_ready!(call.poll()), Ok(()));
        assert_eq!(script.running(), 0, "the call itself is not dropped yet");
    }
}

#[tokio::test(start_paused = true)]
async fn case_56_a_conclusive_failure_is_returned_at_once() {
    use ErrorClass::{Authentication, Unknown, Validation};
    for class in [Authentication, Unknown, Validation] {
        let hedge = layer(FIXED);
        assert_eq!(run(&hedge, &[after(fails(class), 7)]).await, (failed(class), vec![0], 7));
        let by_hedge = run(&hedge, &[Act::HANG, after(fails(class), 7)]).await;
        assert_eq!(by_hedge, (failed(class), vec![0, 100], 107));
        let by_primary = run(&hedge, &[after(fails(class), 107), Act::HANG]).await;
        assert_eq!(by_primary, (failed(class), vec![0, 100], 107));
        assert_eq!(hedge.handle().snapshot().counts.failed, 3);
    }
    let never = |_: Result<&(), &Error<Peer>>| Outcome::failure(ErrorClass::Server).not_retryable();
    let script = Script::new([Act::BAD]);
    let forbidden = FIXED.build().expect("valid").classify(never).layer(script.service());
    assert!(forbidden.oneshot(()).await.is_err());
    assert_eq!(script.asked(), [0]);
}

#[tokio::test(start_paused = true)]
async fn a_failure_that_another_attempt_may_not_have_sends_the_next_hedge_at_once() {
    use ErrorClass::{Connection, Server, Timeout};
    for class in [Connection, Server, Timeout] {
        let hedge = layer(FIXED.max_hedges(2)).budget(RetryBudget::unlimited());
        let good = after(Act::GOOD, 5);
        assert_eq!(run(&hedge, &[fails(class), good]).await, (Ok(()), vec![0, 0], 5));
        assert_eq!(run(&layer(FIXED), &[fails(class), good]).await, (Ok(()), vec![0, 0], 5));
        assert_eq!(run(&hedge, &[after(fails(class), 7), good]).await, (Ok(()), vec![0, 7], 12));
        // The delay before the next hedge restarts.
        let both = [after(fails(class), 107), Act::HANG, good];
        assert_eq!(run(&hedge, &both).await, (Ok(()), vec![0, 100, 107], 112));
        let hang = [after(fails(class), 50), Act::HANG, good];
        assert_eq!(run(&hedge, &hang).await, (Ok(()), vec![0, 50, 150], 155));
    }
}

#[tokio::test(start_paused = true)]
async fn a_backend_that_asks_for_fewer_requests_gets_no_hedge() {
    let limited = fails(ErrorClass::RateLimit);
    let hedge = layer(FIXED.max_hedges(3));
    assert_eq!(run(&hedge, &[limited]).await, (failed(ErrorClass::RateLimit), vec![0], 0));
    // The running attempt may still succeed.
    assert_eq!(run(&hedge, &[after(Act::GOOD, 500), limited]).await, (Ok(()), vec![0, 100], 500));
    assert_eq!(run(&hedge, &[after(limited, 110), after(Act::GOOD, 500)]).await, (Ok(()), vec![0, 100], 600));
}

#[tokio::test(start_paused = true)]
async fn when_all_fail_the_answer_is_that_of_the_first() {
    let hedge = layer(FIXED);
    let (a, b) = (fails(ErrorClass::Timeout), fails(ErrorClass::Server));
    assert_eq!(run(&hedge, &[a, b]).await, (failed(ErrorClass::Timeout), vec![0, 0], 0));
    assert_eq!(run(&hedge, &[after(a, 300), b]).await, (failed(ErrorClass::Timeout), vec![0, 100], 300));
    assert_eq!(
        run(&hedge, &[after(a, 110), after(b, 300)]).await,
        (failed(ErrorClass::Timeout), vec![0, 100], 400)
    );
    let counts = hedge.handle().snapshot().counts;
    assert_eq!((counts.failed, counts.hedges), (3, 3));
}

#[tokio::test(start_paused = true)]
async fn an_open_circuit_sends_the_next_hedge_at_once() {
    let open = || Error::Rejected(Rejected::new(Name::new("endpoint"), Reason::CircuitOpen(Trip::ByHand)));
    for (config, expected, works) in [(FIXED, 2, true), (FIXED.no_other_endpoints(), 1, false)] {
        let asked = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&asked);
        let two_endpoints = service_fn(move |()| {
            let first = counter.fetch_add(1, Ordering::Relaxed) == 0;
            async move { if first { Answered::Err(open()) } else { Ok(()) } }
        });
        let (hedge, began) = (layer(config), Instant::now());
        let answer = hedge.layer(two_endpoints).oneshot(()).await;
        assert_eq!((answer.is_ok(), rejected(&answer).is_some()), (works, !works));
        assert_eq!((asked.load(Ordering::Relaxed), began.elapsed()), (expected, Duration::ZERO));
        assert_eq!(hedge.handle().snapshot().budget.spent, 0, "nothing was sent to the first");
    }
}

#[tokio::test(start_paused = true)]
async fn without_a_grant_the_call_waits_for_the_first_attempt() {
    let budget = RetryBudgetConfig::new().reserve(0).build().expect("valid");
    let hedge = layer(FIXED.max_hedges(8)).budget(budget);
    let slow = [after(Act::GOOD, 10_000)];
    assert_eq!(run(&hedge, &slow).await, (Ok(()), vec![0], 10_000));
    assert_eq!(run(&hedge, &[Act::BAD]).await, (failed(ErrorClass::Server), vec![0], 0));
    let counts = hedge.handle().snapshot().counts;
    assert_eq!((counts.hedges, counts.rejected_by_ratio, counts.won_by_primary, counts.failed), (0, 2, 1, 1));
}

/// A write to the backend. Some can be copied.
#[derive(Clone)]
struct Write {
    copied: bool,
}

#[derive(Clone)]
struct Careful;

impl Resend<Write> for Careful {
    fn copy(&self, write: &mut Write) -> Option<Write> {
        write.copied.then(|| write.clone())
    }

    fn may_resend(&self, _: &Write, prior: PriorAttempts) -> bool {
        prior == PriorAttempts::Unprocessed
    }
}

#[tokio::test(start_paused = true)]
async fn case_56_a_request_that_is_not_idempotent_is_never_hedged() {
    for config in [FIXED, HedgeConfig::new(), HedgeConfig::fixed(Duration::ZERO), HedgeConfig::on_failure()] {
        for copied in [false, true] {
            let script = Script::new([after(Act::BAD, 1_000), after(Act::GOOD, 1_000)]);
            let hedge = layer(config).resend(Careful);
            let mut service = hedge.layer(script.service());
            assert!(service.ready().await.expect("always").call(Write { copied }).await.is_err());
            assert_eq!((script.asked(), hedge.handle().snapshot().counts.not_resendable), (vec![0], 1));
        }
    }
}

/// A body that can be replayed once it was sent to its end.
#[derive(Clone, Default)]
struct Streamed(Arc<AtomicUsize>);

impl Resend<()> for Streamed {
    fn copy(&self, (): &mut ()) -> Option<()> {
        Some(())
    }

    fn may_resend(&self, (): &(), _: PriorAttempts) -> bool {
        self.0.load(Ordering::SeqCst) > 0
    }
}

#[tokio::test(start_paused = true)]
async fn resend_is_asked_when_the_hedge_is_due() {
    for (sent_in_time, expected) in [(true, vec![0, 100]), (false, vec![0])] {
        let (script, streamed) = (Script::new([after(Act::GOOD, 500)]), Streamed::default());
        let mut service = layer(FIXED).resend(streamed.clone()).layer(script.service());
        let call = tokio::spawn(service.call(()));
        sleep(DELAY / 2).await;
        streamed.0.fetch_add(usize::from(sent_in_time), Ordering::SeqCst);
        assert_eq!(call.await.expect("it does not panic"), Ok(()));
        assert_eq!(script.asked(), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn with_no_delay_all_are_sent_in_parallel() {
    let parallel = HedgeConfig::fixed(Duration::ZERO);
    let hedge = layer(parallel.max_hedges(3));
    let acts = [after(Act::GOOD, 50), after(Act::GOOD, 40), after(Act::GOOD, 30), after(Act::GOOD, 60)];
    assert_eq!(run(&hedge, &acts).await, (Ok(()), vec![0, 0, 0, 0], 30));
    assert_eq!(run(&layer(parallel), &[Act::GOOD]).await, (Ok(()), vec![0], 0), "answered at once");
}

#[tokio::test(start_paused = true)]
async fn on_failure_no_time_is_long_enough() {
    let hedge = layer(HedgeConfig::on_failure());
    assert_eq!(run(&hedge, &[after(Act::GOOD, 100_000)]).await, (Ok(()), vec![0], 100_000));
    assert_eq!(run(&hedge, &[after(Act::BAD, 5), Act::GOOD]).await, (Ok(()), vec![0, 5], 5));
}

#[tokio::test(start_paused = true)]
async fn several_hedges_are_sent_one_delay_apart() {
    let hedge = layer(FIXED.max_hedges(3)).budget(RetryBudget::unlimited());
    let acts = [Act::HANG, Act::HANG, Act::HANG, after(Act::GOOD, 500), Act::GOOD];
    assert_eq!(run(&hedge, &acts).await, (Ok(()), vec![0, 100, 200, 300], 800));
}

/// Leaves the history and the number of each attempt where the test can reach them.
#[derive(Clone, Default)]
struct Traced(CallHistory, Arc<Mutex<Vec<u32>>>);

impl Resend<()> for Traced {
    fn copy(&self, (): &mut ()) -> Option<()> {
        Some(())
    }

    fn prepare(&self, (): &mut (), attempt: u32, history: &mut Option<CallHistory>) {
        history.get_or_insert_with(|| self.0.clone());
        self.1.lock().expect("no thread panics with it").push(attempt);
    }
}

#[tokio::test(start_paused = true)]
async fn case_54_attempts_are_numbered_so_that_they_go_to_different_places() {
    for acts in [[Act::HANG, after(Act::GOOD, 90), Act::HANG], [Act::HANG, after(Act::BAD, 10), Act::GOOD]] {
        let (traced, script) = (Traced::default(), Script::new(acts));
        let hedge = layer(FIXED.max_hedges(2)).resend(traced.clone());
        assert!(hedge.layer(script.service()).oneshot(()).await.is_ok());
        let attempts: Vec<_> = (1..).take(script.asked().len()).collect();
        assert_eq!(*traced.1.lock().expect("no thread panics with it"), attempts);
        assert_eq!(traced.0.retries(), 0, "a hedge is no retry to outer layers");
    }
}

#[tokio::test(start_paused = true)]
async fn case_09_an_inner_place_that_is_never_free_does_not_hold_the_first_attempt() {
    let script = Script::new([after(Act::GOOD, 500)]);
    let hedge = layer(FIXED);
    let one_place = ServiceBuilder::new().layer(hedge.clone()).concurrency_limit(1).service(script.service());
    assert_eq!(one_place.oneshot(()).await, Ok(()));
    let seen = hedge.handle().snapshot();
    assert_eq!((script.asked(), seen.counts.unsent, seen.counts.hedges), (vec![0], 1, 0));
    assert_eq!((seen.counts.won_by_primary, seen.budget.spent), (1, 0), "the withdrawal was refunded");
}

/// Ready once, and broken for clones.
struct Broken<S>(S, bool);

impl<S: Clone> Clone for Broken<S> {
    fn clone(&self) -> Self {
        Self(self.0.clone(), true)
    }
}

impl<S: Service<(), Error = Error<Peer>>> Service<()> for Broken<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        if self.1 { Poll::Ready(Err(Error::Inner(Peer(Answer::Unrelated)))) } else { self.0.poll_ready(cx) }
    }

    fn call(&mut self, (): ()) -> Self::Future {
        self.0.call(())
    }
}

#[tokio::test(start_paused = true)]
async fn a_service_that_breaks_before_the_hedge_leaves_the_first_alone() {
    for (act, expected) in [(Act::GOOD, Ok(())), (Act::BAD, failed(ErrorClass::Server))] {
        let script = Script::new([after(act, 500)]);
        let hedge = layer(FIXED.max_hedges(2));
        assert_eq!(hedge.layer(Broken(script.service(), false)).oneshot(()).await, expected);
        let seen = hedge.handle().snapshot();
        assert_eq!((seen.counts.unsent, seen.counts.hedges, seen.budget.spent), (2, 0, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn around_a_breaker_every_attempt_is_a_sample() {
    let script = Script::new([after(Act::BAD, 150), after(Act::BAD, 150)]);
    let breaker = CircuitBreakerConfig::new().build().expect("valid").classify(ByPeer);
    let handle = breaker.handle();
    let both = ServiceBuilder::new().layer(layer(FIXED)).layer(breaker).service(script.service());
    assert!(both.oneshot(()).await.is_err());
    assert_eq!(handle.snapshot().window_failures, 2);
}

#[tokio::test(start_paused = true)]
async fn numbers_can_be_changed_while_calls_run() {
    let (script, hedge) = (Script::new([Act::HANG]), layer(FIXED));
    let handle = hedge.handle();
    let refused = handle.update(FIXED.max_hedges(0)).map_err(|error| error.field());
    assert_eq!((refused, handle.config()), (Err("max_hedges"), FIXED));
    handle.update(HedgeConfig::fixed(DELAY * 3)).expect("valid");
    assert_eq!(hedge.layer(script.service()).oneshot(()).await, Ok(()));
    assert_eq!((script.asked(), handle.snapshot().classes[0].delay), (vec![0, 300], Some(DELAY * 3)));
}

#[tokio::test(start_paused = true)]
async fn case_05_a_call_that_waits_is_left_in_peace() {
    let script = Script::new([Act::HANG, Act::HANG]);
    let mut call = Box::pin(layer(FIXED).layer(script.service()).oneshot(()));
    let polls = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&polls);
    let watched = std::future::poll_fn(move |cx| {
        counter.fetch_add(1, Ordering::SeqCst);
        call.as_mut().poll(cx)
    });
    assert!(tokio::time::timeout(Duration::from_secs(10), watched).await.is_err());
    assert_eq!(script.asked(), [0, 100]);
    assert!(polls.load(Ordering::SeqCst) <= 4, "{polls:?}: the first, the timer, the end");
}
