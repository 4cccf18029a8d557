//! The balancer: which endpoint a call goes to, and what it leaves behind however it ends.

use std::{
    collections::HashMap,
    future::Future,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use futures::FutureExt;
use tokio::time::{Instant, advance, sleep};
use tower::{Layer, Service, ServiceExt};
use tower_reliability::{
    CallHistory, Error, ErrorClass, Event, EventKind, Outcome, PendingOutcome, Reason, Rejected, RouteSource,
    balance::{Balance, BalanceConfig, BalanceSnapshot, BuiltIn, OutlierConfig},
    circuit_breaker::CircuitBreakerConfig,
};

const SECOND: Duration = Duration::from_secs(1);
const MILLI: Duration = Duration::from_millis(1);

/// A failure with its outcome.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Failed(Outcome);

impl std::fmt::Display for Failed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("failed")
    }
}

impl std::error::Error for Failed {}

type TestError = Error<Failed>;

const SERVER: Failed = Failed(Outcome::failure(ErrorClass::Server));

/// The request: its history, if it has one.
#[derive(Clone, Debug, Default)]
struct Call(Option<CallHistory>);

#[derive(Clone)]
struct ByHistory;

impl RouteSource<Call> for ByHistory {
    fn history<'r>(&self, call: &'r Call) -> Option<&'r CallHistory> {
        call.0.as_ref()
    }
}

fn classify(result: Result<&u32, &TestError>) -> Outcome {
    match result {
        Ok(_) => Outcome::Success,
        Err(Error::Inner(Failed(outcome))) => *outcome,
        Err(Error::Rejected(rejected)) => rejected.outcome(),
    }
}

/// An endpoint of a test. Clones are the same endpoint.
#[derive(Clone)]
struct Endpoint {
    key: u32,
    control: Arc<Control>,
}

#[derive(Default)]
struct Control {
    behaviour: Mutex<Behaviour>,
    wakers: Mutex<Vec<Waker>>,
    ready_polls: AtomicUsize,
    calls: AtomicU32,
}

#[derive(Clone, Copy, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each test sets the ones that it needs")]
struct Behaviour {
    not_ready: bool,
    /// `poll_ready` fails.
    broken: bool,
    latency: Duration,
    fails: Option<Failed>,
    hangs: bool,
    panics: bool,
}

impl Endpoint {
    fn set(&self, change: impl FnOnce(&mut Behaviour)) {
        change(&mut self.control.behaviour.lock().expect("no panic"));
        self.control.wakers.lock().expect("no panic").drain(..).for_each(Waker::wake);
    }

    fn calls(&self) -> u32 {
        self.control.calls.load(Ordering::Relaxed)
    }
}

impl Service<Call> for Endpoint {
    type Response = u32;
    type Error = TestError;
    type Future = Pin<Box<dyn Future<Output = Result<u32, TestError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), TestError>> {
        self.control.ready_polls.fetch_add(1, Ordering::Relaxed);
        let behaviour = *self.control.behaviour.lock().expect("no panic");
        if behaviour.broken {
            return Poll::Ready(Err(Error::Inner(SERVER)));
        }
        if behaviour.not_ready {
            self.control.wakers.lock().expect("no panic").push(cx.waker().clone());
            return Poll::Pending;
        }
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Call) -> Self::Future {
        self.control.calls.fetch_add(1, Ordering::Relaxed);
        let (behaviour, key) = (*self.control.behaviour.lock().expect("no panic"), self.key);
        Box::pin(async move {
            if behaviour.panics {
                // No message, and no backtrace.
                std::panic::resume_unwind(Box::new("the endpoint panics"));
            }
            if behaviour.hangs {
                std::future::pending::<()>().await;
            }
            if !behaviour.latency.is_zero() {
                sleep(behaviour.latency).await;
            }
            behaviour.fails.map_or(Ok(key), |failed| Err(Error::Inner(failed)))
        })
    }
}

type Classify = fn(Result<&u32, &TestError>) -> Outcome;
type TestBalance = Balance<u32, Endpoint, Classify, ByHistory>;

fn endpoint(key: u32) -> Endpoint {
    Endpoint { key, control: Arc::default() }
}

fn balance(config: BalanceConfig, n: u32) -> (TestBalance, Vec<Endpoint>) {
    let endpoints: Vec<Endpoint> = (0..n).map(endpoint).collect();
    let builder = config.build().expect("valid").classify(classify as Classify).route(ByHistory).seed(46);
    (builder.endpoints(0..n, |key| endpoints[*key as usize].clone()), endpoints)
}

fn round_robin() -> BalanceConfig {
    BalanceConfig::new().strategy(BuiltIn::RoundRobin).outliers(OutlierConfig::off())
}

async fn call(balance: &TestBalance) -> Result<u32, TestError> {
    balance.clone().oneshot(Call::default()).await
}

fn snapshot(balance: &TestBalance) -> BalanceSnapshot<u32> {
    balance.handle().snapshot()
}

fn rejection(result: &Result<u32, TestError>) -> Option<Reason> {
    result.as_ref().err().and_then(Error::rejected).map(Rejected::reason)
}

#[tokio::test(start_paused = true)]
async fn case_46_a_removed_endpoint_gets_no_call_and_its_calls_end() {
    let (balance, endpoints) = balance(round_robin(), 2);
    let handle = balance.handle();
    for it in &endpoints {
        it.set(|it| it.latency = SECOND);
    }
    let mut running: Vec<_> = (0..4).map(|_| Box::pin(call(&balance))).collect();
    for call in &mut running {
        assert!(call.now_or_never().is_none());
    }
    let removed = handle.remove(&0);
    assert_eq!((removed.count(), removed.in_flight()), (1, 2));
    for _ in 0..10 {
        assert_eq!(call(&balance).await, Ok(1));
    }
    assert_eq!(endpoints[0].calls(), 2);
    // All of this lasts ten seconds, so the first calls are over as soon as they are polled.
    let drained = removed.drained();
    tokio::pin!(drained);
    assert!(drained.as_mut().now_or_never().is_none());
    let mut answers = Vec::new();
    for call in running {
        answers.push(call.await.expect("it ends as it would"));
    }
    answers.sort_unstable();
    assert_eq!(answers, [0, 0, 1, 1]);
    drained.await;
    assert_eq!(removed.in_flight(), 0);
    assert_eq!(handle.remove(&0).count(), 0);
}

#[tokio::test(start_paused = true)]
async fn case_46_an_endpoint_with_the_key_of_a_former_one_begins_anew() {
    let (balance, endpoints) = balance(round_robin(), 1);
    endpoints[0].set(|it| it.hangs = true);
    let mut first = Box::pin(call(&balance));
    assert!((&mut first).now_or_never().is_none());
    let again = endpoint(7);
    let removed = balance.handle().insert(0, again.clone());
    assert_eq!(removed.in_flight(), 1);
    assert_eq!(snapshot(&balance).endpoints[0].in_flight, 0);
    assert_eq!(call(&balance).await, Ok(7));
    drop(first);
    removed.drained().await;
    assert_eq!((snapshot(&balance).endpoints[0].picks, again.calls()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn case_46_a_call_that_waits_leaves_a_removed_endpoint() {
    let (balance, endpoints) = balance(round_robin(), 1);
    endpoints[0].set(|it| it.not_ready = true);
    let waiting = tokio::spawn({
        let balance = balance.clone();
        async move { call(&balance).await }
    });
    tokio::task::yield_now().await;
    drop(balance.handle().insert(1, endpoint(1)));
    assert_eq!(waiting.await.expect("no panic"), Ok(1), "the new endpoint takes it");

    let (balance, endpoints) = balance_of_one_that_waits();
    let waiting = tokio::spawn({
        let balance = balance.clone();
        async move { call(&balance).await }
    });
    tokio::task::yield_now().await;
    drop(balance.handle().remove(&0));
    let result = waiting.await.expect("no panic");
    assert_eq!(rejection(&result), Some(Reason::NoEndpoint));
    assert_eq!(endpoints[0].calls(), 0);
}

fn balance_of_one_that_waits() -> (TestBalance, Vec<Endpoint>) {
    let (balance, endpoints) = balance(round_robin(), 1);
    endpoints[0].set(|it| it.not_ready = true);
    (balance, endpoints)
}

#[tokio::test(start_paused = true)]
async fn case_47_an_endpoint_that_is_never_ready_blocks_nobody_and_costs_nothing() {
    let (balance, endpoints) = balance(BalanceConfig::new(), 3);
    endpoints[1].set(|it| it.not_ready = true);
    let begin = Instant::now();
    for _ in 0..1_000 {
        assert_ne!(call(&balance).await, Ok(1));
        advance(10 * MILLI).await;
    }
    assert_eq!(begin.elapsed(), 10 * SECOND, "no call waited");
    // One call in a second asks it.
    let polls = endpoints[1].control.ready_polls.load(Ordering::Relaxed);
    assert!((1..=11).contains(&polls), "{polls} polls");
    assert!(snapshot(&balance).failovers >= 1);

    endpoints[1].set(|it| it.not_ready = false);
    advance(SECOND).await;
    for _ in 0..100 {
        call(&balance).await.expect("all are ready");
    }
    assert!(endpoints[1].calls() > 0, "an endpoint that recovers is found within a second");
}

#[tokio::test(start_paused = true)]
async fn a_call_waits_for_the_first_endpoint_that_becomes_ready() {
    let (balance, endpoints) = balance(round_robin(), 3);
    for it in &endpoints {
        it.set(|it| it.not_ready = true);
    }
    let waiting = tokio::spawn({
        let balance = balance.clone();
        async move { call(&balance).await }
    });
    sleep(SECOND).await;
    let polls: usize = endpoints.iter().map(|it| it.control.ready_polls.load(Ordering::Relaxed)).sum();
    assert_eq!(polls, 3, "an idle wait polls nothing");
    endpoints[2].set(|it| it.not_ready = false);
    assert_eq!(waiting.await.expect("no panic"), Ok(2));
}

#[tokio::test(start_paused = true)]
async fn case_82_an_endpoint_that_cannot_become_ready_is_a_failure_and_another_one_takes_the_call() {
    let (balance, endpoints) = balance(round_robin(), 2);
    endpoints[0].set(|it| it.broken = true);
    for _ in 0..10 {
        assert_eq!(call(&balance).await, Ok(1));
    }
    let failed = snapshot(&balance).endpoints[0].failed;
    assert_eq!((failed, endpoints[0].calls()), (1, 0), "it is asked once a second");
    endpoints[1].set(|it| it.broken = true);
    assert_eq!(call(&balance).await, Err(Error::Inner(SERVER)));
    assert_eq!(snapshot(&balance).endpoints.iter().map(|it| it.in_flight).sum::<u32>(), 0);
}

#[tokio::test(start_paused = true)]
async fn case_48_an_endpoint_that_fails_fast_attracts_no_calls() {
    let config = BalanceConfig::new().outliers(OutlierConfig::off());
    let (balance, endpoints) = balance(config, 20);
    for it in &endpoints {
        it.set(|it| it.latency = 10 * MILLI);
    }
    endpoints[3].set(|it| (it.latency, it.fails) = (MILLI, Some(SERVER)));
    for _ in 0..5_000 {
        drop(call(&balance).await);
    }
    assert!(endpoints[3].calls() <= 5, "{} of 5000 calls", endpoints[3].calls());
}

#[tokio::test(start_paused = true)]
async fn case_49_without_endpoints_a_call_gets_a_typed_error() {
    let (empty, _) = balance(BalanceConfig::new(), 0);
    let result = call(&empty).await;
    assert_eq!(rejection(&result), Some(Reason::NoEndpoint));
    assert_eq!(
        result.unwrap_err().rejected().expect("a rejection").to_string(),
        "balance: there is no endpoint"
    );

    let rules = OutlierConfig::new().consecutive_failures(1).max_ejected(1.0);
    let (balance, endpoints) = balance(round_robin().outliers(rules).panic_threshold(0.0), 2);
    for it in &endpoints {
        it.set(|it| it.fails = Some(SERVER));
    }
    for _ in 0..4 {
        drop(call(&balance).await);
    }
    assert_eq!(snapshot(&balance).endpoints.iter().filter(|it| it.is_ejected).count(), 1, "one always stays");
    assert!(balance.handle().weigh(&endpoints[1].key, 0) && balance.handle().weigh(&endpoints[0].key, 0));
    assert_eq!(rejection(&call(&balance).await), Some(Reason::NoEndpoint), "no weight is no endpoint");
    let ejected = snapshot(&balance).endpoints.iter().position(|it| it.is_ejected).expect("there is one");
    assert!(balance.handle().weigh(&u32::try_from(ejected).expect("small"), 1));
    assert_eq!(rejection(&call(&balance).await), Some(Reason::NoHealthyEndpoint));
    assert_eq!(snapshot(&balance).rejected, 2);
}

#[tokio::test(start_paused = true)]
async fn case_49_in_a_panic_all_endpoints_get_calls() {
    let rules = OutlierConfig::new().consecutive_failures(2).max_ejected(1.0);
    let (balance, endpoints) = balance(round_robin().outliers(rules), 4);
    let events = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&events);
    balance.handle().listen(move |event: &Event| heard.lock().expect("no panic").push(event.to_string()));
    for it in &endpoints[..3] {
        it.set(|it| it.fails = Some(SERVER));
    }
    for _ in 0..40 {
        drop(call(&balance).await);
    }
    let state = snapshot(&balance);
    assert_eq!((state.is_panic, state.ejections), (true, 3));
    assert!(endpoints[..3].iter().all(|it| it.calls() > 3), "they get calls again");
    let events = events.lock().expect("no panic");
    assert_eq!(events.len(), 4, "{events:?}");
    assert!(events[0].contains("endpoint ejected for 30s (consecutive failures)"), "{events:?}");
    assert_eq!(events[3], "balance: too few endpoints are healthy, all get calls");
}

#[tokio::test(start_paused = true)]
async fn case_49_an_endpoint_that_returns_starts_slowly() {
    let rules = OutlierConfig::new().consecutive_failures(3);
    let (balance, endpoints) = balance(round_robin().outliers(rules).slow_start(20 * SECOND), 4);
    endpoints[0].set(|it| it.fails = Some(SERVER));
    for _ in 0..40 {
        drop(call(&balance).await);
    }
    assert_eq!((endpoints[0].calls(), snapshot(&balance).ejections), (3, 1));
    endpoints[0].set(|it| it.fails = None);
    advance(30 * SECOND + 2 * MILLI).await;
    let mut shares = Vec::new();
    for _ in 0..4 {
        let before = endpoints[0].calls();
        for _ in 0..1_000 {
            call(&balance).await.expect("all are healthy");
        }
        shares.push(endpoints[0].calls() - before);
        advance(10 * SECOND).await;
    }
    // A tenth, a half, and all of a quarter of the calls.
    assert!(shares[0] < 60 && (90..170).contains(&shares[1]), "{shares:?}");
    assert!(shares[2].abs_diff(250) < 3 && shares[3].abs_diff(250) < 3, "{shares:?}");
}

#[tokio::test(start_paused = true)]
async fn case_49_a_new_endpoint_starts_slowly_and_the_first_ones_do_not() {
    let (balance, _) = balance(round_robin(), 2);
    let new = endpoint(2);
    drop(balance.handle().insert(2, new.clone()));
    let mut picks = HashMap::new();
    for _ in 0..300 {
        *picks.entry(call(&balance).await.expect("healthy")).or_insert(0) += 1;
    }
    assert!((1..40).contains(&new.calls()) && picks[&0] > 120 && picks[&1] > 120, "{picks:?}");
}

#[tokio::test(start_paused = true)]
async fn case_49_when_all_circuits_are_open_an_endpoint_that_recovers_is_found_within_a_second() {
    let endpoints: Vec<Endpoint> = (0..5).map(endpoint).collect();
    let breaker = CircuitBreakerConfig::consecutive(2).open_for(SECOND / 2).max_open_for(SECOND / 2);
    let balance =
        round_robin().build().expect("valid").classify(classify as Classify).endpoints(0..5_usize, |key| {
            let layer = breaker.build().expect("valid").classify(classify as Classify).wait_while_open();
            layer.layer(endpoints[*key].clone())
        });
    for it in &endpoints {
        it.set(|it| it.fails = Some(SERVER));
    }
    for _ in 0..10 {
        drop(balance.clone().oneshot(Call::default()).await);
    }
    endpoints[3].set(|it| it.fails = None);
    let begin = Instant::now();
    while balance.clone().oneshot(Call::default()).await.is_err() {}
    assert!(begin.elapsed() <= SECOND, "{:?}", begin.elapsed());
}

#[tokio::test(start_paused = true)]
async fn case_54_a_retry_goes_to_another_endpoint() {
    for strategy in [BuiltIn::PeakEwma, BuiltIn::RoundRobin, BuiltIn::LeastConnections, BuiltIn::Random] {
        let (balance, endpoints) = balance(BalanceConfig::new().strategy(strategy), 5);
        // The fastest endpoint would be picked again and again.
        for it in &endpoints {
            it.set(|it| it.latency = 20 * MILLI);
        }
        endpoints[2].set(|it| it.latency = MILLI);
        for _ in 0..50 {
            let history = CallHistory::new();
            let mut seen = Vec::new();
            for _ in 0..5 {
                let answer = balance.clone().oneshot(Call(Some(history.clone()))).await;
                seen.push(answer.expect("healthy"));
            }
            seen.sort_unstable();
            assert_eq!(seen, [0, 1, 2, 3, 4], "{strategy:?}");
            balance.clone().oneshot(Call(Some(history))).await.expect("all were tried, and one takes it");
        }
        assert_eq!(snapshot(&balance).failovers, 250, "{strategy:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn case_80_a_hint_binds_the_endpoint_that_gave_it() {
    for strategy in [BuiltIn::PeakEwma, BuiltIn::RoundRobin] {
        let config = BalanceConfig::new().strategy(strategy).outliers(OutlierConfig::off());
        let (balance, endpoints) = balance(config.max_retry_after(30 * SECOND), 3);
        let busy = Failed(Outcome::failure(ErrorClass::RateLimit).retry_after(10 * SECOND));
        endpoints[1].set(|it| it.fails = Some(busy));
        while endpoints[1].calls() == 0 {
            drop(call(&balance).await);
        }
        for _ in 0..99 {
            call(&balance).await.expect("another endpoint takes it at once");
            advance(100 * MILLI).await;
        }
        assert_eq!(endpoints[1].calls(), 1, "{strategy:?}");
        if strategy == BuiltIn::RoundRobin {
            advance(SECOND).await;
            (0..4).for_each(|_| drop(call(&balance).now_or_never()));
            assert!(endpoints[1].calls() > 1, "the hint is over");
        }
        // While all endpoints have asked for a pause, calls go to them nevertheless.
        for it in &endpoints {
            it.set(|it| it.fails = Some(busy));
        }
        for _ in 0..12 {
            assert_eq!(call(&balance).await, Err(Error::Inner(busy)));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn case_07_a_dropped_call_leaves_nothing_behind() {
    let (balance, endpoints) = balance(BalanceConfig::new(), 1);
    drop(balance.clone().oneshot(Call::default()));
    endpoints[0].set(|it| it.not_ready = true);
    assert!(call(&balance).now_or_never().is_none(), "it waits for readiness");
    let nothing = snapshot(&balance);
    assert_eq!((nothing.endpoints[0].picks, nothing.endpoints[0].in_flight), (0, 0));
    endpoints[0].set(|it| (it.not_ready, it.latency) = (false, MILLI));
    call(&balance).await.expect("healthy");
    endpoints[0].set(|it| it.hangs = true);
    let mut cut = Box::pin(call(&balance));
    assert!((&mut cut).now_or_never().is_none());
    assert_eq!(snapshot(&balance).endpoints[0].in_flight, 1);
    advance(2 * SECOND).await;
    drop(cut);
    let after = &snapshot(&balance).endpoints[0];
    assert_eq!((after.in_flight, after.picks, after.unjudged, after.succeeded), (0, 2, 1, 1));
    assert_eq!(after.latency, Some(2 * SECOND), "a call that was cut took at least so long");
}

#[tokio::test(start_paused = true)]
async fn case_08_a_panic_of_an_endpoint_is_its_failure() {
    let (balance, endpoints) = balance(BalanceConfig::new(), 1);
    endpoints[0].set(|it| it.panics = true);
    let panicked = tokio::spawn({
        let balance = balance.clone();
        async move { call(&balance).await }
    });
    assert!(panicked.await.expect_err("it panicked").is_panic());
    let after = &snapshot(&balance).endpoints[0];
    assert_eq!((after.in_flight, after.failed), (0, 1));
    endpoints[0].set(|it| it.panics = false);
    assert_eq!(call(&balance).await, Ok(0));
}

/// A response whose end is open.
#[derive(Default)]
struct Stream(Option<PendingOutcome>);

#[derive(Clone)]
struct UntilEnd;

impl<E> tower_reliability::Classifier<Stream, E> for UntilEnd {
    fn classify(&self, result: Result<&Stream, &E>) -> Outcome {
        result.map_or(Outcome::failure(ErrorClass::Server), |_| Outcome::Deferred)
    }

    fn defer(&self, stream: &mut Stream, pending: PendingOutcome) -> Result<(), PendingOutcome> {
        stream.0 = Some(pending);
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn case_58_a_call_is_in_flight_until_the_end_of_its_body_when_asked() {
    let builder = BalanceConfig::new().build().expect("valid").classify(UntilEnd);
    let balance = builder.endpoints([0_u32], |_| {
        tower::service_fn(|()| async {
            sleep(MILLI).await;
            Ok::<_, TestError>(Stream::default())
        })
    });
    let handle = balance.handle();
    let counts = || {
        let it = &handle.snapshot().endpoints[0];
        (it.in_flight, it.succeeded, it.failed, it.unjudged)
    };
    let response = balance.clone().oneshot(()).await.expect("healthy");
    advance(SECOND).await;
    assert_eq!(counts(), (1, 0, 0, 0));
    response.0.expect("it is deferred").settle(Outcome::Success);
    assert_eq!(counts(), (0, 1, 0, 0));
    assert_eq!(handle.snapshot().endpoints[0].latency, Some(MILLI), "the body is no latency");
    balance
        .clone()
        .oneshot(())
        .await
        .expect("healthy")
        .0
        .expect("deferred")
        .settle(Outcome::failure(ErrorClass::Server));
    drop(balance.oneshot(()).await.expect("healthy"));
    assert_eq!(counts(), (0, 1, 1, 1));
}

#[tokio::test(start_paused = true)]
async fn case_61_the_counts_of_all_endpoints_add_up() {
    use rand::{RngExt, SeedableRng, rngs::StdRng};
    let (balance, endpoints) = balance(BalanceConfig::new(), 4);
    let mut random = StdRng::seed_from_u64(61);
    let (mut ok, mut failed, mut cut, mut rejected) = (0, 0, 0, 0);
    for _ in 0..20_000 {
        let at = random.random_range(0..4_usize);
        endpoints[at].set(|it| {
            it.hangs = random.random_ratio(1, 4);
            it.fails = random.random_ratio(1, 4).then_some(SERVER);
            it.not_ready = random.random_ratio(1, 8);
        });
        match call(&balance).now_or_never() {
            None => cut += 1,
            Some(Ok(_)) => ok += 1,
            Some(Err(Error::Inner(_))) => failed += 1,
            Some(Err(Error::Rejected(_))) => rejected += 1,
        }
    }
    let state = snapshot(&balance);
    let sum = |of: fn(&tower_reliability::balance::EndpointSnapshot<u32>) -> u64| -> u64 {
        state.endpoints.iter().map(of).sum()
    };
    let calls: u32 = endpoints.iter().map(Endpoint::calls).sum();
    assert_eq!((sum(|it| it.succeeded), sum(|it| it.failed), state.rejected), (ok, failed, rejected));
    assert!(sum(|it| it.unjudged) <= cut && cut > 1_000, "some calls were cut while they waited");
    assert_eq!(sum(|it| it.picks), u64::from(calls));
    assert_eq!(sum(|it| u64::from(it.in_flight)), 0);
}

#[tokio::test(start_paused = true)]
async fn a_list_is_replaced_at_once_and_keeps_what_stays() {
    let (balance, _) = balance(round_robin(), 3);
    for _ in 0..6 {
        call(&balance).await.expect("healthy");
    }
    let mut made = Vec::new();
    let removed = balance.handle().replace([2, 5, 5, 1], |key| {
        made.push(*key);
        endpoint(*key)
    });
    assert_eq!((made, removed.count()), (vec![5], 1));
    let state: Vec<_> = snapshot(&balance).endpoints.iter().map(|it| (it.key, it.picks)).collect();
    assert_eq!(state, [(1, 2), (2, 2), (5, 0)]);
}

#[tokio::test(start_paused = true)]
async fn weights_and_numbers_change_while_the_balancer_runs() {
    let (balance, endpoints) = balance(round_robin().strategy(BuiltIn::WeightedRoundRobin), 3);
    let handle = balance.handle();
    assert!(handle.weigh(&1, 4) && handle.weigh(&2, 0) && !handle.weigh(&9, 1));
    for _ in 0..50 {
        call(&balance).await.expect("healthy");
    }
    assert_eq!(endpoints.iter().map(Endpoint::calls).collect::<Vec<_>>(), [10, 40, 0]);
    assert_eq!(
        handle.update(BalanceConfig::new().max_tries(0)).map_err(|error| error.field()),
        Err("max_tries")
    );
    handle.update(round_robin()).expect("valid");
    assert_eq!(handle.config(), round_robin());
    for _ in 0..20 {
        call(&balance).await.expect("healthy");
    }
    assert_eq!(endpoints.iter().map(Endpoint::calls).collect::<Vec<_>>(), [20, 50, 0], "by turns");
}

#[tokio::test(start_paused = true)]
async fn two_bad_endpoints_of_five_are_ejected_and_good_ones_never_are() {
    use rand::{RngExt, SeedableRng, rngs::StdRng};
    let run = async |rates: [f64; 5]| {
        let rules = OutlierConfig::new().consecutive_failures(0);
        let (balance, endpoints) = balance(round_robin().outliers(rules), 5);
        let causes = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&causes);
        balance.handle().listen(move |event: &Event| {
            if let EventKind::EndpointEjected { cause, .. } = event.kind {
                heard.lock().expect("no panic").push((event.layer.to_string(), cause.as_str()));
            }
        });
        let mut random = StdRng::seed_from_u64(18);
        for _ in 0..30_000 {
            for (endpoint, rate) in endpoints.iter().zip(rates) {
                endpoint.set(|it| it.fails = (!random.random_bool(rate)).then_some(SERVER));
            }
            drop(call(&balance).await);
            advance(MILLI).await;
        }
        let mut causes = causes.lock().expect("no panic").clone();
        causes.sort();
        causes
    };
    assert!(run([1.0, 1.0, 1.0, 1.0, 0.999]).await.is_empty());
    assert!(run([1.0, 0.999, 0.998, 1.0, 0.999]).await.is_empty());
    let both = [("balance:3".to_owned(), "success_rate"), ("balance:4".to_owned(), "success_rate")];
    assert_eq!(run([1.0, 1.0, 1.0, 0.2, 0.2]).await, both);
}

#[tokio::test(start_paused = true)]
async fn a_slow_endpoint_is_ejected_where_no_strategy_avoids_it() {
    let (balance, endpoints) = balance(round_robin().outliers(OutlierConfig::new()), 5);
    for it in &endpoints {
        it.set(|it| it.latency = MILLI);
    }
    endpoints[4].set(|it| it.latency = 10 * MILLI);
    for _ in 0..5_000 {
        call(&balance).await.expect("healthy");
    }
    let state = snapshot(&balance);
    assert!(state.endpoints[4].is_ejected && state.ejections == 1, "{state:?}");
}

#[test]
fn it_needs_neither_send_nor_a_runtime() {
    let local = std::rc::Rc::new(7);
    let balance = round_robin().build().expect("valid").endpoints(["a"], |_| {
        let local = std::rc::Rc::clone(&local);
        tower::service_fn(move |n: u32| {
            let local = std::rc::Rc::clone(&local);
            async move { Ok::<_, TestError>(*local + n) }
        })
    });
    assert_eq!(futures::executor::block_on(balance.oneshot(1)), Ok(8));
}

#[test]
fn a_balancer_is_send_and_clone_as_its_services_are() {
    fn check<T: Send + Sync + Clone + std::fmt::Debug>(_: &T) {}
    let (balance, _) = balance(BalanceConfig::new(), 1);
    check(&balance);
    check(&balance.handle());
}

#[tokio::test(start_paused = true)]
async fn endpoints_follow_a_stream_of_changes() {
    use tokio_stream::StreamExt;
    use tower::discover::Change;
    let (balance, _) = balance(round_robin(), 1);
    let (send, changes) = tokio::sync::mpsc::unbounded_channel();
    let stream = tokio_stream::wrappers::UnboundedReceiverStream::new(changes);
    let handle = balance.handle();
    let follow = tokio::spawn(async move { handle.follow(stream.map(Ok::<_, TestError>)).await });
    let keys = async || {
        tokio::task::yield_now().await;
        snapshot(&balance).endpoints.iter().map(|it| it.key).collect::<Vec<_>>()
    };
    send.send(Change::Insert(1, endpoint(1))).expect("it listens");
    send.send(Change::Insert(2, endpoint(2))).expect("it listens");
    assert_eq!(keys().await, [0, 1, 2]);
    send.send(Change::Remove(0)).expect("it listens");
    send.send(Change::Remove(7)).expect("it listens");
    assert_eq!(keys().await, [1, 2]);
    drop(send);
    assert_eq!(follow.await.expect("no panic"), Ok(()));
    assert_eq!(keys().await, [1, 2], "the endpoints stay");
}
