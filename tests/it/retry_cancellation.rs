//! A retried call is counted once, and gives back everything it took, however it ends.

use std::{
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use futures::{FutureExt, poll};
use rand::{Rng, RngExt, SeedableRng, rngs::StdRng};
use tokio::time::{advance, sleep};
use tower::{Layer, Service, ServiceExt};
use tower_reliability::{
    CallHistory, Classifier, Deadline, DeadlineSource, ErrorClass, Outcome, PriorAttempts, Protocol, Resend,
    retry::{Jitter, RetryConfig, RetryCounts, RetryHandle, RetryLayer, RetryPolicy},
    retry_budget::RetryBudgetConfig,
    testing::{Scripted, Step},
};

use crate::scripted::{Act, Answer, Answered, Backend, ByPeer, Script, backend};

const FIXED: RetryConfig = RetryConfig::fixed(Duration::from_millis(100)).jitter(Jitter::None);

fn layer() -> RetryLayer<Protocol<ByPeer>> {
    FIXED.build().expect("valid").classify(ByPeer)
}

fn ended(counts: &RetryCounts) -> u64 {
    counts.succeeded + counts.recovered + counts.failed + counts.abandoned
}

fn stops(counts: &RetryCounts) -> u64 {
    counts.not_retryable
        + counts.exhausted
        + counts.not_resendable
        + counts.forbidden
        + counts.out_of_time
        + counts.rejected_by_health
        + counts.rejected_by_ratio
}

/// A reserve of ten retries, and a fifth of a retry per request.
fn assert_balance(handle: &RetryHandle, requests: u32) {
    let budget = handle.snapshot().budget;
    let spent = f64::from(u32::try_from(budget.spent).expect("a few"));
    let expected = 10.0 + f64::from(requests) * 0.2 - spent;
    assert!((budget.balance - expected).abs() < 1e-3, "{budget:?} after {requests} requests");
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Phase {
    Unpolled,
    Running,
    Backoff,
    /// The delay is over, and the call was not polled since.
    AfterBackoff,
    Unready,
    RunningAgain,
    BackoffAgain,
}

#[tokio::test(start_paused = true)]
async fn case_07_and_38_a_call_dropped_in_any_phase_is_refunded() {
    for (phase, retries) in [
        (Phase::Unpolled, 0),
        (Phase::Running, 0),
        (Phase::Backoff, 0),
        (Phase::AfterBackoff, 0),
        (Phase::Unready, 0),
        (Phase::RunningAgain, 1),
        (Phase::BackoffAgain, 1),
    ] {
        let first = if phase == Phase::Running { Act::HANG } else { Act::BAD };
        let second = if phase == Phase::BackoffAgain { Act::BAD } else { Act::HANG };
        let (peer, retry) = (Scripted::new(|(): &()| Step::answer(())), layer());
        let unready = (phase == Phase::Unready).then(|| Step::not_ready(Duration::MAX));
        peer.play([first.step()].into_iter().chain(unready).chain([second.step()]));
        let mut call = Box::pin(retry.layer(peer.clone()).call(()));
        if phase != Phase::Unpolled {
            assert!(poll!(&mut call).is_pending());
        }
        if !matches!(phase, Phase::Unpolled | Phase::Running | Phase::Backoff) {
            advance(Duration::from_millis(101)).await;
        }
        if !matches!(phase, Phase::Unpolled | Phase::Running | Phase::Backoff | Phase::AfterBackoff) {
            assert!(poll!(&mut call).is_pending());
        }
        let handle = retry.handle();
        assert_eq!(ended(&handle.snapshot().counts), 0, "{phase:?}: it is not over");
        drop(call);
        let seen = handle.snapshot();
        let expected = (1, retries, retries, 1);
        let found = (seen.counts.abandoned, seen.counts.retries, seen.budget.spent, ended(&seen.counts));
        assert_eq!(found, expected, "{phase:?}");
        assert_balance(&handle, 1);
        assert_eq!(retry.layer(Script::default().service()).oneshot(()).await, Ok(()), "{phase:?}");
        assert_eq!(handle.snapshot().counts.succeeded, 1);
    }
}

#[tokio::test(start_paused = true)]
async fn case_07_a_call_dropped_after_its_end_is_counted_once() {
    for acts in [vec![], vec![Act::BAD], vec![Act::BAD; 3]] {
        let retry = layer();
        let mut call = Box::pin(retry.layer(Script::new(acts).service()).call(()));
        let _ = (&mut call).await;
        let before = retry.handle().snapshot();
        drop(call);
        assert_eq!((retry.handle().snapshot(), ended(&before.counts)), (before.clone(), 1));
    }
}

/// The source of a panic.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Culprit {
    Ready,
    Call,
    Inner,
    Classify,
    Copy,
    MayRepeat,
    Prepare,
    DeadlineSource,
    Policies,
}

const CULPRITS: [Culprit; 9] = [
    Culprit::Ready,
    Culprit::Call,
    Culprit::Inner,
    Culprit::Classify,
    Culprit::Copy,
    Culprit::MayRepeat,
    Culprit::Prepare,
    Culprit::DeadlineSource,
    Culprit::Policies,
];

/// Implements every trait of a user, fails the first attempt, and panics once in one method.
#[derive(Clone, Default)]
struct Cast {
    culprit: Arc<Mutex<Option<(Culprit, u32)>>>,
    well: Arc<AtomicBool>,
}

impl Cast {
    /// Panics in the `nth` call of this method.
    fn guilty(culprit: Culprit, nth: u32) -> Self {
        Self { culprit: Arc::new(Mutex::new(Some((culprit, nth)))), well: Arc::default() }
    }

    fn plays(&self, part: Culprit) {
        let mut culprit = self.culprit.lock().expect("no thread panics with it");
        match &mut *culprit {
            Some((guilty, 1)) if *guilty == part => {
                *culprit = None;
                drop(culprit);
                resume_unwind(Box::new("as the test says"));
            }
            Some((guilty, left)) if *guilty == part => *left -= 1,
            _ => {}
        }
    }
}

impl Service<()> for Cast {
    type Response = ();
    type Error = std::io::Error;
    type Future = Pin<Box<dyn Future<Output = std::io::Result<()>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        self.plays(Culprit::Ready);
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, (): ()) -> Self::Future {
        self.plays(Culprit::Call);
        let cast = self.clone();
        Box::pin(async move {
            cast.plays(Culprit::Inner);
            Ok(())
        })
    }
}

impl Classifier<(), std::io::Error> for Cast {
    fn classify(&self, _: Result<&(), &std::io::Error>) -> Outcome {
        self.plays(Culprit::Classify);
        if self.well.load(Ordering::Relaxed) {
            Outcome::Success
        } else {
            Outcome::failure(ErrorClass::Server)
        }
    }
}

impl Resend<()> for Cast {
    fn copy(&self, (): &mut ()) -> Option<()> {
        self.plays(Culprit::Copy);
        Some(())
    }

    fn may_resend(&self, (): &(), _: PriorAttempts) -> bool {
        self.plays(Culprit::MayRepeat);
        true
    }

    fn prepare(&self, (): &mut (), _: u32, _: &mut Option<CallHistory>) {
        self.plays(Culprit::Prepare);
    }
}

impl DeadlineSource<()> for Cast {
    fn deadline(&self, (): &()) -> Option<Deadline> {
        self.plays(Culprit::DeadlineSource);
        None
    }
}

#[tokio::test(start_paused = true)]
async fn case_08_no_panic_loses_a_withdrawal_or_keeps_a_lock() {
    for culprit in CULPRITS {
        // The deadline is read once, when the first attempt has failed.
        let times = if culprit == Culprit::DeadlineSource { 1 } else { 2 };
        for nth in 1..=times {
            let cast = Cast::guilty(culprit, nth);
            let policies = cast.clone();
            let retry = FIXED
                .build()
                .expect("valid")
                .classify(cast.clone())
                .resend(cast.clone())
                .deadlines(cast.clone())
                .policy(move |(): &()| -> Option<RetryPolicy> {
                    policies.plays(Culprit::Policies);
                    None
                });
            let mut service = retry.layer(cast.clone());
            let made = catch_unwind(AssertUnwindSafe(|| {
                assert!(service.poll_ready(&mut Context::from_waker(std::task::Waker::noop())).is_ready());
                service.call(())
            }));
            let handle = retry.handle();
            let started = u64::from(made.is_ok());
            if let Ok(call) = made {
                assert!(AssertUnwindSafe(call).catch_unwind().await.is_err(), "{culprit:?} {nth}");
            }
            let seen = handle.snapshot();
            assert_eq!((seen.counts.abandoned, ended(&seen.counts)), (started, started), "{culprit:?} {nth}");
            assert_eq!(seen.counts.retries, seen.budget.spent, "{culprit:?} {nth}");
            assert_balance(&handle, u32::from(started > 0));

            cast.well.store(true, Ordering::Relaxed);
            assert!(retry.layer(cast).oneshot(()).await.is_ok(), "{culprit:?} {nth}");
            assert_eq!(handle.snapshot().counts.succeeded, 1);
        }
    }
}

/// A log subscriber that asks the handle on every event.
struct Curious(RetryHandle);

impl tracing::Subscriber for Curious {
    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}

    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        if event.metadata().target() == "tower_reliability" {
            assert!(!self.0.snapshot().history.is_empty());
        }
    }

    fn enter(&self, _: &tracing::span::Id) {}

    fn exit(&self, _: &tracing::span::Id) {}
}

#[tokio::test(start_paused = true)]
async fn a_log_subscriber_may_ask_the_handle() {
    let retry = layer();
    let _curious = tracing::subscriber::set_default(Curious(retry.handle()));
    assert_eq!(retry.layer(Script::new([Act::BAD]).service()).oneshot(()).await, Ok(()));
    assert!(retry.layer(Script::new([Act::BAD; 3]).service()).oneshot(()).await.is_err());
}

/// A request that carries its fate.
#[derive(Clone, Copy)]
struct Order {
    copies: bool,
    idempotent: bool,
    deadline: Option<Deadline>,
}

impl Order {
    fn random(random: &mut impl Rng) -> Self {
        let deadline = random.random_bool(0.2);
        let left = Duration::from_millis(random.random_range(1..300));
        Self {
            copies: random.random_bool(0.9),
            idempotent: random.random_bool(0.9),
            deadline: deadline.then(|| Deadline::after(left)),
        }
    }
}

#[derive(Clone)]
struct Orders;

impl Resend<Order> for Orders {
    fn copy(&self, order: &mut Order) -> Option<Order> {
        order.copies.then_some(*order)
    }

    fn may_resend(&self, order: &Order, prior: PriorAttempts) -> bool {
        prior == PriorAttempts::Unprocessed || order.idempotent
    }
}

impl DeadlineSource<Order> for Orders {
    fn deadline(&self, order: &Order) -> Option<Deadline> {
        order.deadline
    }
}

/// Draws the result of each attempt, and its readiness.
#[derive(Clone)]
struct Chance(Arc<Mutex<StdRng>>, Backend);

impl Chance {
    fn act(&self) -> Act {
        let mut random = self.0.lock().expect("no thread panics with it");
        // Good and bad phases. With one failure rate the health gate would stay closed.
        let fair = (self.1.calls() / 500).is_multiple_of(2);
        let answer = match random.random_range(0..100) {
            _ if fair && random.random_bool(0.7) => Answer::Good,
            0..30 => Answer::Good,
            30..75 => Answer::Fail(ErrorClass::ALL[random.random_range(0..7)]),
            75..80 => Answer::Unrelated,
            80..90 => Answer::Hang,
            90..94 => Answer::Panic,
            94..97 => Answer::PanicInCall,
            _ => Answer::Unclassifiable,
        };
        Act::now(answer).after(Duration::from_millis(random.random_range(0..3) * random.random_range(0..5)))
    }
}

impl Service<Order> for Chance {
    type Response = ();
    type Error = <Backend as Service<Act>>::Error;
    type Future = <Backend as Service<Act>>::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Answered> {
        if self.0.lock().expect("no thread panics with it").random_bool(0.2) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Order) -> Self::Future {
        let act = self.act();
        self.1.call(act)
    }
}

/// Classifies by the answer, and now and then forbids a retry or takes the request for unprocessed.
#[derive(Clone)]
struct Moody(Arc<Mutex<StdRng>>);

impl Classifier<(), <Backend as Service<Act>>::Error> for Moody {
    fn classify(&self, result: Result<&(), &<Backend as Service<Act>>::Error>) -> Outcome {
        let outcome = ByPeer.classify(result);
        match self.0.lock().expect("no thread panics with it").random_range(0..20) {
            0 => outcome.not_retryable(),
            1..4 => outcome.unprocessed(),
            _ => outcome,
        }
    }
}

#[tokio::test(start_paused = true)]
async fn case_61_a_hundred_thousand_calls_are_each_counted_once() {
    let random = Arc::new(Mutex::new(StdRng::seed_from_u64(SEED)));
    let budget = RetryBudgetConfig::new()
        .ratio(0.12)
        .window(Duration::from_secs(1))
        .health_gate(0.25, 0.7)
        .health_window(Duration::from_millis(100))
        .build()
        .expect("valid");
    let config = RetryConfig::exponential(Duration::from_millis(20));
    let retry = config
        .build()
        .expect("valid")
        .seed(SEED)
        .classify(Moody(Arc::clone(&random)))
        .resend(Orders)
        .deadlines(Orders)
        .budget(budget);
    let backend = backend();
    let mut service = retry.layer(Chance(Arc::clone(&random), backend.clone()));
    let dice = |sides: u32| random.lock().expect("no thread panics with it").random_range(0..sides);
    let (mut started, mut panicked, mut unpolled, mut out) = (0_u64, 0_u64, 0_u64, Vec::new());
    while started < 100_000 {
        let order = Order::random(&mut *random.lock().expect("no thread panics with it"));
        let Ok(call) = catch_unwind(AssertUnwindSafe(|| service.call(order))) else {
            panicked += 1;
            continue;
        };
        started += 1;
        let mut call = Box::pin(AssertUnwindSafe(call).catch_unwind());
        if dice(20) == 0 {
            unpolled += 1;
            drop(call);
        } else if poll!(&mut call).is_pending() {
            out.push(call);
        }
        if dice(200) == 0 {
            retry.handle().update(config.max_attempts(1 + dice(3))).expect("valid");
        }
        if dice(10) == 0 {
            advance(Duration::from_millis(5)).await;
        }
        if out.len() > 50 {
            // Now and then it is dropped, whether it is over or not.
            let at = dice(50) as usize;
            if poll!(&mut out[at]).is_ready() || dice(6) == 0 {
                drop(out.swap_remove(at));
            }
        }
    }
    drop(out);
    let seen = retry.handle().snapshot();
    let counts = seen.counts;
    assert_eq!(ended(&counts), started, "seed {SEED}: {counts:?}");
    assert_eq!(stops(&counts), counts.failed, "seed {SEED}: {counts:?}");
    assert_eq!(seen.budget.spent, counts.retries, "seed {SEED}: {counts:?}");
    let granted: u64 = seen.classes.iter().map(|(_, class)| class.retried).sum();
    let recovered: u64 = seen.classes.iter().map(|(_, class)| class.recovered).sum();
    assert!(granted >= counts.retries && recovered == counts.recovered, "seed {SEED}: {seen:?}");
    let everything_happened = [
        counts.succeeded,
        counts.recovered,
        counts.abandoned,
        counts.not_retryable,
        counts.exhausted,
        counts.not_resendable,
        counts.forbidden,
        counts.out_of_time,
        counts.rejected_by_health,
        counts.rejected_by_ratio,
        panicked,
        unpolled,
    ];
    assert!(everything_happened.iter().all(|count| *count > 100), "seed {SEED}: {counts:?}");
    // The withdrawals of dropped calls are refunded: after the window only the reserve is left.
    sleep(Duration::from_secs(2)).await;
    let balance = retry.handle().snapshot().budget.balance;
    assert!((0.0..=10.0 + 1e-3).contains(&balance), "{balance}");
}

const SEED: u64 = 61;
