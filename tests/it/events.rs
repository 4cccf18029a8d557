//! The events of every layer: exactly the documented ones, for every listener, and never under a lock.

use std::{
    collections::VecDeque,
    future::{Future, ready},
    io,
    panic::resume_unwind,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use futures::FutureExt;
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_reliability::{
    BoxError, BoxErrorClassifier, Deadline, DeadlineSource, ErrorClass, Event, EventKind, Listener, Priority,
    Reason, ReliabilityStack, Severity,
    circuit_breaker::CircuitBreakerConfig,
    concurrency_limit::ConcurrencyLimitConfig,
    fallback::FallbackConfig,
    hedge::HedgeConfig,
    rate_limit::RateLimitConfig,
    retry::{Jitter, RetryConfig},
    retry_budget::RetryBudget,
    stack::StackBuilder,
    timeout::TimeoutConfig,
    wait_queue::WaitQueueConfig,
};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

/// What the backend does with one attempt.
#[derive(Clone, Copy, Debug)]
enum Step {
    Good,
    Fail,
    Hang,
}
use Step::{Fail, Good, Hang};

/// A backend with one step per attempt. After the last step it hangs.
#[derive(Clone, Default)]
struct Script(Arc<Mutex<VecDeque<Step>>>);

impl Script {
    fn new(steps: &[Step]) -> Self {
        Self(Arc::new(Mutex::new(steps.iter().copied().collect())))
    }

    fn set(&self, steps: &[Step]) {
        *self.0.lock().expect("no step panics") = steps.iter().copied().collect();
    }
}

impl Service<()> for Script {
    type Response = &'static str;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<&'static str, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, (): ()) -> Self::Future {
        let step = self.0.lock().expect("no step panics").pop_front().unwrap_or(Hang);
        Box::pin(async move {
            match step {
                Good => Ok("good"),
                Fail => Err(io::Error::from(io::ErrorKind::ConnectionReset).into()),
                Hang => std::future::pending().await,
            }
        })
    }
}

/// A listener that keeps the text of every event.
#[derive(Clone, Default)]
struct Texts(Arc<Mutex<Vec<String>>>);

impl Texts {
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().expect("no listener panics with it"))
    }
}

impl Listener for Texts {
    fn on_event(&self, event: &Event) {
        self.0.lock().expect("no listener panics with it").push(event.to_string());
    }
}

/// A stack with every stage. Delays are exact, and the budget grants every attempt.
fn every_stage(script: &Script, listeners: impl FnOnce(Stack) -> Stack) -> impl AsyncFn() -> Answer {
    let retry = RetryConfig::fixed(SECOND / 10).jitter(Jitter::None);
    let breaker = CircuitBreakerConfig::consecutive(3).open_for(MINUTE).max_open_for(MINUTE).open_jitter(0.0);
    let builder = ReliabilityStack::builder()
        .named("stock")
        .classify(BoxErrorClassifier)
        .flat_errors()
        .retry_budget(RetryBudget::unlimited());
    let stack = listeners(builder)
        .fallback(FallbackConfig::new().build().expect("valid").value("fallback"))
        .timeout(10 * SECOND)
        .retry(retry)
        .hedge(HedgeConfig::fixed(SECOND))
        .circuit_breaker(breaker)
        .attempt_timeout(2 * SECOND)
        .build()
        .expect("the numbers go together");
    let client = stack.layer(script.clone());
    async move || client.clone().oneshot(()).await
}

type Answer = Result<&'static str, BoxError>;
type Protocol = tower_reliability::Protocol<BoxErrorClassifier>;
type Stack = StackBuilder<Protocol, tower_reliability::stack::FlatErrors>;

#[tokio::test(start_paused = true)]
async fn case_59_a_call_emits_exactly_the_documented_events_of_every_stage() {
    let (script, heard) = (Script::new(&[Good, Good]), Texts::default());
    let call = every_stage(&script, |stack| stack.listen(heard.clone()));
    for _ in 0..2 {
        assert_eq!(call().await.expect("it succeeds"), "good");
    }
    assert_eq!(heard.take(), [""; 0], "a healthy call");

    script.set(&[Fail, Fail, Good]);
    assert_eq!(call().await.expect("the retry succeeds"), "good");
    let hedge_and_retry = [
        "stock.hedge: hedge sent as attempt 2 (connection)",
        "stock.retry: attempt 2 sent after 100ms (connection)",
    ];
    assert_eq!(heard.take(), hedge_and_retry);

    script.set(&[Hang, Good]);
    assert_eq!(call().await.expect("the hedge succeeds"), "good");
    assert_eq!(heard.take(), ["stock.hedge: hedge sent as attempt 2 (no answer for 1s)"]);

    script.set(&[]);
    assert_eq!(call().await.expect("the fallback answers"), "fallback");
    let outage = [
        "stock.hedge: hedge sent as attempt 2 (no answer for 1s)",
        "stock.attempt_timeout: no answer within 2s",
        "stock.attempt_timeout: no answer within 2s",
        "stock.retry: attempt 2 sent after 100ms (timeout)",
        "stock.hedge: hedge sent as attempt 2 (no answer for 1s)",
        "stock.attempt_timeout: no answer within 2s",
        "stock.circuit_breaker: circuit closed -> open (consecutive failures: 3)",
        "stock.attempt_timeout: no answer within 2s",
        "stock.fallback: call answered (rejected)",
    ];
    assert_eq!(heard.take(), outage);

    assert_eq!(call().await.expect("the circuit is open"), "fallback");
    assert_eq!(heard.take(), ["stock.fallback: call answered (rejected)"]);
}

#[tokio::test(start_paused = true)]
async fn every_layer_and_every_handle_adds_listeners() {
    let (script, by_layer, by_handle) = (Script::new(&[Fail, Good]), Texts::default(), Texts::default());
    let both_heard = |texts: [&str; 2]| {
        assert_eq!(
            (by_layer.take(), by_handle.take()),
            (texts.map(String::from).to_vec(), texts.map(String::from).to_vec())
        );
    };

    let config = RetryConfig::fixed(SECOND).jitter(Jitter::None);
    let retry = config.build().expect("valid").classify(BoxErrorClassifier).listen(by_layer.clone());
    retry.handle().listen(by_handle.clone());
    assert!(retry.layer(script.clone()).oneshot(()).await.is_ok());
    assert!(
        retry.handle().update(config.max_attempts(0)).is_err(),
        "it changes nothing, so it emits nothing"
    );
    retry.handle().update(config).expect("valid");
    both_heard(["retry: attempt 2 sent after 1s (connection)", "retry: reconfigured"]);

    script.set(&[Hang, Good]);
    let config = HedgeConfig::fixed(SECOND);
    let hedge = config.build().expect("valid").classify(BoxErrorClassifier).listen(by_layer.clone());
    hedge.handle().listen(by_handle.clone());
    assert!(hedge.layer(script.clone()).oneshot(()).await.is_ok());
    hedge.handle().update(config).expect("valid");
    both_heard(["hedge: hedge sent as attempt 2 (no answer for 1s)", "hedge: reconfigured"]);

    script.set(&[]);
    let timeout = TimeoutConfig::new(SECOND).build().expect("valid").listen(by_layer.clone()).named("total");
    timeout.handle().listen(by_handle.clone());
    assert!(timeout.layer(script.clone()).oneshot(()).await.is_err());
    timeout.handle().update(TimeoutConfig::new(2 * SECOND)).expect("valid");
    both_heard(["total: no answer within 1s", "total: reconfigured"]);

    script.set(&[Fail]);
    let config = FallbackConfig::new().on(ErrorClass::Connection);
    let fallback = config.build().expect("valid").value("other").classify(BoxErrorClassifier);
    let fallback = fallback.listen(by_layer.clone());
    fallback.handle().listen(by_handle.clone());
    assert!(fallback.layer(script).oneshot(()).await.is_ok());
    fallback.handle().update(config).expect("valid");
    both_heard(["fallback: call answered (connection)", "fallback: reconfigured"]);
}

#[tokio::test(start_paused = true)]
async fn a_concurrency_limit_tells_of_every_rejection_and_of_the_calls_that_it_sheds() {
    let (by_layer, by_handle) = (Texts::default(), Texts::default());
    let queue = WaitQueueConfig::new().capacity(2).max_wait(10 * SECOND).shed_above(SECOND / 10, SECOND / 10);
    let config = ConcurrencyLimitConfig::new(1).queue(queue);
    let layer = config.build().expect("valid").named("db").listen(by_layer.clone());
    let (handle, layer) = (layer.handle(), layer.priority(|(priority, _): &(Priority, u32)| *priority));
    handle.listen(by_handle.clone());
    let mut service = layer.layer(service_fn(|(_, seconds): (Priority, u32)| {
        tokio::time::sleep(SECOND * seconds).map(Ok::<_, BoxError>)
    }));
    let heard = |texts: &[&str]| {
        assert_eq!(by_layer.take(), texts);
        assert_eq!(by_handle.take(), texts);
    };
    // A call that waits and is served is silent, and so is a call that is dropped.
    let (first, second) = (service.call((Priority::Low, 0)), service.call((Priority::Low, 0)));
    drop(service.call((Priority::Low, 0)));
    first.await.expect("served");
    second.await.expect("served");
    heard(&[]);

    let running = tokio::spawn(service.call((Priority::Normal, 2)));
    let [low, lower] = [(); 2].map(|()| tokio::spawn(service.call((Priority::Low, 0))));
    tokio::time::sleep(SECOND / 2).await;
    assert!(service.call((Priority::Low, 0)).await.is_err());
    let high = tokio::spawn(service.call((Priority::High, 0)));
    tokio::task::yield_now().await;
    heard(&[
        "db: low call rejected (the wait queue is full)",
        "db: low call rejected after 500ms (the wait queue is full)",
    ]);
    assert!(lower.await.expect("no panic").is_err());
    for call in [running, high, low] {
        call.await.expect("no panic").expect("served");
    }
    heard(&[]);

    // The end of the first call begins the interval, and the end of the second one sheds. One place is reserved.
    let config = ConcurrencyLimitConfig::new(1).queue(queue.capacity(10));
    handle.update(config).expect("valid");
    heard(&["db: reconfigured"]);
    let calls = [(); 5].map(|()| tokio::spawn(service.call((Priority::Normal, 1))));
    let answers = futures::future::join_all(calls).await;
    let served = answers.iter().filter(|answer| answer.as_ref().is_ok_and(Result::is_ok)).count();
    assert_eq!((served, handle.snapshot().shedding), (3, None));
    heard(&[
        "db: calls of priority normal and below are shed",
        "db: calls are no longer shed",
        "db: normal call rejected after 2s (shed, calls wait too long)",
        "db: normal call rejected after 2s (shed, calls wait too long)",
    ]);
}

#[tokio::test(start_paused = true)]
async fn a_rate_limit_tells_of_the_calls_that_it_sheds() {
    let texts = Texts::default();
    // A queue of less than eight has no reserved places.
    let queue = WaitQueueConfig::new().capacity(7).max_wait(MINUTE).shed_above(SECOND / 2, SECOND);
    let config = RateLimitConfig::per_second(1).queue(queue);
    let layer = config.build().expect("valid").named("quota").listen(texts.clone());
    let handle = layer.handle();
    let mut service = layer.layer(service_fn(|()| ready(Ok::<_, BoxError>(()))));
    let mut calls: Vec<_> = (0..5).map(|_| tokio::spawn(service.call(()))).collect();
    tokio::time::sleep(SECOND * 18 / 10).await;
    assert_eq!((handle.snapshot().waiting, texts.take()), (3, vec![]));
    calls.extend((0..2).map(|_| tokio::spawn(service.call(()))));
    // The token after one second begins the interval, and the next one ends it: the queue sheds all but the last two.
    tokio::time::sleep(SECOND * 3 / 10).await;
    let shed = "quota: normal call rejected after 2s (rate limit reached)";
    assert_eq!(texts.take(), ["quota: calls of priority normal and below are shed", shed, shed, shed]);
    assert_eq!((handle.snapshot().waiting, handle.snapshot().shedding), (1, Some(Priority::Normal)));
    let answers = futures::future::join_all(calls).await;
    let served = answers.iter().filter(|answer| answer.as_ref().is_ok_and(Result::is_ok)).count();
    assert_eq!((served, handle.snapshot().shedding), (3, None));
    let shed = "quota: normal call rejected after 1.2s (rate limit reached)";
    assert_eq!(texts.take(), ["quota: calls are no longer shed", shed]);
}

#[tokio::test(start_paused = true)]
async fn the_data_of_an_event_says_what_the_rejection_or_the_failure_said() {
    let kinds = Arc::new(Mutex::new(Vec::new()));
    let written = Arc::clone(&kinds);
    let listener = move |event: &Event| {
        assert_eq!(event.severity(), Severity::Debug);
        written.lock().expect("no listener panics with it").push(event.kind);
    };
    let config = RetryConfig::fixed(SECOND).jitter(Jitter::None).max_attempts(2);
    let retry = config.build().expect("valid").classify(BoxErrorClassifier).listen(listener.clone());
    assert!(retry.layer(Script::new(&[Fail, Fail])).oneshot(()).await.is_err());
    // The deadline has passed when the call begins.
    let timeout = TimeoutConfig::new(SECOND).build().expect("valid").listen(listener);
    let expired = timeout.deadlines(Expired).layer(Script::default());
    assert!(expired.oneshot(()).await.is_err());

    let kinds = kinds.lock().expect("no listener panics with it");
    let [retried, timed_out] = kinds[..] else { panic!("two events, and not {kinds:?}") };
    assert!(
        matches!(
            retried,
            EventKind::Retried { attempt: 2, class: Some(ErrorClass::Connection), delay: SECOND, .. }
        ),
        "{retried:?}"
    );
    assert!(
        matches!(timed_out, EventKind::TimedOut { reason: Reason::DeadlineExceeded, .. }),
        "{timed_out:?}"
    );
    assert_eq!((retried.as_str(), timed_out.as_str()), ("retried", "timed_out"));
}

/// Every request has a deadline that has passed.
#[derive(Clone, Copy)]
struct Expired;

impl DeadlineSource<()> for Expired {
    fn deadline(&self, (): &()) -> Option<Deadline> {
        Some(Deadline::after(Duration::ZERO))
    }
}

#[tokio::test(start_paused = true)]
async fn a_listener_may_read_and_change_its_layer() {
    let (script, changes) = (Script::new(&[Fail, Good]), Arc::new(AtomicUsize::new(0)));
    // Reads the handle at every event, and changes the layer at every event but its own.
    macro_rules! changed_by_its_listener {
        ($handle:expr, $config:expr) => {
            let (handle, changes) = ($handle, Arc::clone(&changes));
            handle.clone().listen(move |event: &Event| {
                let _ = handle.snapshot();
                if event.kind != EventKind::Reconfigured {
                    handle.update($config).expect("valid");
                    handle.listen(|_: &Event| {});
                    changes.fetch_add(1, Ordering::Relaxed);
                }
            });
        };
    }
    let config = RetryConfig::fixed(SECOND);
    let retry = config.build().expect("valid").classify(BoxErrorClassifier);
    changed_by_its_listener!(retry.handle(), config.max_attempts(5));
    assert!(retry.layer(script.clone()).oneshot(()).await.is_ok());
    assert_eq!(retry.handle().config(), config.max_attempts(5));

    script.set(&[Hang, Good]);
    let config = HedgeConfig::fixed(SECOND);
    let hedge = config.build().expect("valid").classify(BoxErrorClassifier);
    changed_by_its_listener!(hedge.handle(), config.max_hedges(2));
    assert!(hedge.layer(script.clone()).oneshot(()).await.is_ok());
    assert_eq!(hedge.handle().config(), config.max_hedges(2));

    script.set(&[]);
    let timeout = TimeoutConfig::new(SECOND).build().expect("valid");
    changed_by_its_listener!(timeout.handle(), TimeoutConfig::new(2 * SECOND));
    assert!(timeout.layer(script.clone()).oneshot(()).await.is_err());
    assert_eq!(timeout.handle().limit(), 2 * SECOND);

    script.set(&[Fail]);
    let config = FallbackConfig::new().on(ErrorClass::Connection);
    let fallback = config.build().expect("valid").value("other").classify(BoxErrorClassifier);
    changed_by_its_listener!(fallback.handle(), config.max_entries(7));
    assert!(fallback.layer(script.clone()).oneshot(()).await.is_ok());
    assert_eq!(fallback.handle().config(), config.max_entries(7));

    script.set(&[Fail]);
    let config = CircuitBreakerConfig::consecutive(1);
    let breaker = config.build().expect("valid").classify(BoxErrorClassifier);
    changed_by_its_listener!(breaker.handle(), config.half_open_probes(4));
    assert!(breaker.layer(script).oneshot(()).await.is_err());
    assert_eq!(breaker.handle().config(), config.half_open_probes(4));
    assert_eq!(changes.load(Ordering::Relaxed), 5);
}

#[tokio::test(start_paused = true)]
async fn case_08_a_listener_that_panics_changes_no_call_of_any_stage() {
    // The stack with every event, once with a listener that panics and once without.
    let run = async |panics: bool| {
        let (script, heard) = (Script::default(), Texts::default());
        let call = every_stage(&script, |stack| {
            let stack = stack.listen(move |_: &Event| {
                if panics {
                    // Quieter than a panic: without the message.
                    resume_unwind(Box::new("as it likes"));
                }
            });
            stack.listen(heard.clone())
        });
        let (mut answers, began) = (Vec::new(), tokio::time::Instant::now());
        for steps in [&[Fail, Fail, Good][..], &[Hang, Good], &[], &[Good], &[Good]] {
            script.set(steps);
            answers.push(call().await.expect("a stage answers"));
            tokio::time::sleep(MINUTE).await;
        }
        (answers, heard.take(), began.elapsed())
    };
    let (quiet, loud) = (run(false).await, run(true).await);
    assert_eq!(quiet.0, ["good", "good", "fallback", "good", "good"]);
    assert_eq!(quiet.1.len(), 14, "{:?}", quiet.1);
    assert_eq!(quiet, loud);
}
