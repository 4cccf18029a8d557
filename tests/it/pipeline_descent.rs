//! The instant and the timer that the stages of a stack share: where sharing ends.

use std::{
    future::{Future, pending, poll_fn, ready},
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use tokio::time::{Instant, advance};
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_reliability::{
    Error, Event, ReliabilityStack,
    circuit_breaker::CircuitBreakerConfig,
    fallback::FallbackConfig,
    hedge::HedgeConfig,
    retry::{Jitter, RetryConfig},
    timeout::TimeoutConfig,
};

const SECOND: Duration = Duration::from_secs(1);

type Answer = Result<(), Error<io::Error>>;

async fn hang((): ()) -> io::Result<()> {
    pending().await
}

/// A call that never ends without a timeout.
async fn ends_after(call: impl Future<Output = Answer>) -> (Duration, String) {
    let start = Instant::now();
    let error = call.await.expect_err("the backend hangs");
    (start.elapsed(), error.report().to_string())
}

fn once(future: Pin<&mut impl Future>) {
    assert!(future.poll(&mut Context::from_waker(Waker::noop())).is_pending());
}

/// Ready for its first call only. It refuses the connection after a second.
#[derive(Clone, Default)]
struct ReadyOnce(Arc<AtomicU32>);

impl Service<()> for ReadyOnce {
    type Response = ();
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<()>>>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.0.load(Ordering::SeqCst) == 0 { Poll::Ready(Ok(())) } else { Poll::Pending }
    }

    fn call(&mut self, (): ()) -> Self::Future {
        self.0.fetch_add(1, Ordering::SeqCst);
        Box::pin(async {
            tokio::time::sleep(SECOND).await;
            Err(io::ErrorKind::ConnectionRefused.into())
        })
    }
}

#[tokio::test(start_paused = true)]
async fn the_outer_timeout_fires_after_the_inner_one_is_gone() {
    let stack = ReliabilityStack::builder()
        .timeout(5 * SECOND)
        .retry(RetryConfig::fixed(Duration::from_millis(10)).jitter(Jitter::None))
        .attempt_timeout(2 * SECOND)
        .build()
        .expect("the numbers go together");
    // The attempt ends after 1 s, and its timer with it. The service is never ready for a second attempt.
    let (took, text) = ends_after(stack.layer(ReadyOnce::default()).oneshot(())).await;
    assert_eq!((took, text.contains("no answer within 5s")), (5 * SECOND, true), "{text}");
}

#[tokio::test(start_paused = true)]
async fn the_outer_timeout_fires_during_the_second_of_two_hedged_attempts() {
    let stack = ReliabilityStack::builder()
        .timeout(Duration::from_millis(1_500))
        .hedge(HedgeConfig::fixed(SECOND))
        .attempt_timeout(Duration::from_millis(1_200))
        .build();
    let client = stack.expect("the numbers go together").layer(service_fn(hang));
    // The first attempt ends at 1.2 s. The hedge would end at 2.2 s.
    let (took, _) = ends_after(client.oneshot(())).await;
    assert_eq!(took, Duration::from_millis(1_500));
}

#[tokio::test(start_paused = true)]
async fn an_inner_timer_that_moves_to_another_task_wakes_no_outer_timeout() {
    // A layer of a user: it polls once, and spawns the rest.
    let spawns = service_fn(move |()| {
        let limit = TimeoutConfig::new(SECOND).build().expect("in range");
        let hangs = service_fn(|()| pending::<Answer>());
        let mut call = Some(Box::pin(limit.layer(hangs).oneshot(())));
        poll_fn(move |_| {
            if let Some(mut call) = call.take() {
                once(call.as_mut());
                tokio::spawn(call);
            }
            Poll::<io::Result<()>>::Pending
        })
    });
    for flat in [false, true] {
        let builder = || ReliabilityStack::builder().timeout(2 * SECOND);
        let start = Instant::now();
        if flat {
            let stack = builder().flat_errors().build().expect("in range");
            let boxed = spawns.map_err(tower_reliability::BoxError::from);
            assert!(stack.layer(boxed).oneshot(()).await.is_err());
        } else {
            let stack = builder().build().expect("in range");
            assert!(stack.layer(spawns).oneshot(()).await.is_err());
        }
        assert_eq!(start.elapsed(), 2 * SECOND, "flat: {flat}");
    }
}

/// Ready for its first call, which is refused after a second. Then it polls a timeout of its own once, hands it to
/// another task, and is never ready again.
#[derive(Clone, Default)]
struct HandsOver(ReadyOnce);

impl Service<()> for HandsOver {
    type Response = ();
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<()>>>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let ready = self.0.poll_ready(cx);
        if ready.is_pending() {
            let limit = TimeoutConfig::new(SECOND).build().expect("in range");
            let mut call = Box::pin(limit.layer(service_fn(|()| pending::<Answer>())).oneshot(()));
            once(call.as_mut());
            tokio::spawn(call);
        }
        ready
    }

    fn call(&mut self, (): ()) -> Self::Future {
        self.0.call(())
    }
}

#[tokio::test(start_paused = true)]
async fn a_timer_that_starts_in_poll_ready_wakes_no_outer_timeout() {
    let stack = ReliabilityStack::builder()
        .timeout(5 * SECOND)
        .hedge(HedgeConfig::fixed(Duration::from_millis(100)))
        .attempt_timeout(2 * SECOND)
        .build()
        .expect("the numbers go together");
    let (took, _) = ends_after(stack.layer(HandsOver::default()).oneshot(())).await;
    assert_eq!(took, 5 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn a_slow_listener_takes_no_time_from_an_attempt() {
    let stack = ReliabilityStack::builder()
        .timeout(30 * SECOND)
        .circuit_breaker(CircuitBreakerConfig::consecutive(1).open_for(SECOND).max_open_for(SECOND))
        .attempt_timeout(2 * SECOND)
        .listen(|_: &Event| once(pin!(advance(3 * SECOND))))
        .build()
        .expect("the numbers go together");
    let client = stack.layer(service_fn(|fails: bool| async move {
        tokio::time::sleep(SECOND).await;
        if fails { Err(io::Error::other("down")) } else { Ok(()) }
    }));
    let mut ready = client.clone();
    ready.ready().await.expect("the circuit is closed");
    assert!(client.oneshot(true).await.is_err());
    advance(2 * SECOND).await;
    // The listener hears that the circuit is half-open just before the attempt is made.
    assert!(ready.call(false).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn the_shorter_timeout_of_two_nested_stacks_ends_the_call() {
    let stack = |limit| ReliabilityStack::builder().timeout(limit).build().expect("in range");
    for (outer, inner) in [(SECOND, 2 * SECOND), (2 * SECOND, SECOND), (SECOND, SECOND)] {
        let client = stack(outer).layer(stack(inner).layer(service_fn(hang)));
        let start = Instant::now();
        assert!(client.oneshot(()).await.is_err());
        assert_eq!(start.elapsed(), SECOND, "{outer:?} around {inner:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_stack_inside_a_fallback_has_its_own_time() {
    let other = ReliabilityStack::builder()
        .timeout(2 * SECOND)
        .attempt_timeout(SECOND)
        .build()
        .expect("the numbers go together")
        .layer(service_fn(hang));
    let fallback = FallbackConfig::new().on_all_failures().build().expect("in range").service(other);
    let stack = ReliabilityStack::builder().fallback(fallback).timeout(SECOND).build().expect("in range");
    let (took, text) = ends_after(stack.layer(service_fn(hang)).oneshot(())).await;
    assert_eq!((took, text.contains("no answer within 1s")), (2 * SECOND, true), "{text}");
}

#[tokio::test(start_paused = true)]
async fn a_service_that_blocks_in_call_takes_no_time_from_the_next_attempt() {
    let attempts = AtomicU32::new(0);
    let stack = ReliabilityStack::builder()
        .timeout(20 * SECOND)
        .retry(RetryConfig::fixed(Duration::ZERO).jitter(Jitter::None).max_attempts(2))
        .attempt_timeout(SECOND)
        .build()
        .expect("the numbers go together");
    let blocks = service_fn(|()| {
        let first = attempts.fetch_add(1, Ordering::SeqCst) == 0;
        // The clock moves on the first poll.
        once(pin!(advance(3 * SECOND)));
        async move { if first { Err(io::ErrorKind::ConnectionRefused.into()) } else { pending().await } }
    });
    let (took, text) = ends_after(stack.layer(blocks).oneshot(())).await;
    // Each attempt blocks for 3 s. The limit of the second attempt began before it blocked, and has passed.
    assert_eq!((took, text.contains("no answer within 1s")), (6 * SECOND, true), "{text}");
}

/// Two timeouts stacked by hand, and between them a layer that blocks for 3 s in `call`.
fn by_hand() -> impl Service<(), Response = (), Error = io::Error, Future: Send> + Clone {
    let limit = |limit| TimeoutConfig::new(limit).build().expect("in range");
    let inner = limit(SECOND).layer(service_fn(|()| pending::<Answer>()));
    let blocks = service_fn(move |()| {
        once(pin!(advance(3 * SECOND)));
        inner.clone().call(())
    });
    limit(10 * SECOND).layer(blocks).map_err(io::Error::other)
}

#[tokio::test(start_paused = true)]
async fn layers_that_are_stacked_by_hand_share_no_instant() {
    let stack = || ReliabilityStack::builder().timeout(20 * SECOND).build().expect("in range");
    let start = Instant::now();
    assert!(stack().layer(by_hand()).oneshot(()).await.is_err());
    assert_eq!(start.elapsed(), 4 * SECOND, "inside of a stack");
    let start = Instant::now();
    assert!(by_hand().oneshot(()).await.is_err());
    assert_eq!(start.elapsed(), 4 * SECOND, "after a stack, on its thread");
    let async_by_hand = service_fn(|()| async { by_hand().oneshot(()).await });
    let start = Instant::now();
    assert!(stack().layer(async_by_hand).oneshot(()).await.is_err());
    assert_eq!(start.elapsed(), 4 * SECOND, "called while the stack is polled");
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_the_middle_leaves_nothing_behind() {
    let stack =
        ReliabilityStack::builder().timeout(SECOND).attempt_timeout(SECOND).build().expect("in range");
    let mut bad = stack.layer(service_fn(|()| async { panic!("the handler") as io::Result<()> }));
    let mut call = Box::pin(bad.ready().await.expect("ready").call(()));
    assert!(catch_unwind(AssertUnwindSafe(|| once(call.as_mut()))).is_err());
    // A service that is called in between, and layers that are stacked by hand, share nothing.
    let limit = |limit| TimeoutConfig::new(limit).build().expect("in range");
    let by_hand = limit(2 * SECOND).layer(limit(3 * SECOND).layer(service_fn(|()| pending::<Answer>())));
    assert_eq!(ends_after(by_hand.oneshot(())).await.0, 2 * SECOND);
}

#[test]
fn a_stack_is_shared_by_several_runtimes() {
    let stack =
        ReliabilityStack::builder().timeout(2 * SECOND).attempt_timeout(SECOND).build().expect("in range");
    let hangs = stack.layer(service_fn(hang));
    let answers = stack.layer(service_fn(|()| ready(Ok::<_, io::Error>(()))));
    let runtime = || {
        tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .expect("starts")
    };
    let (first, second) = (runtime(), runtime());
    for _ in 0..3 {
        for runtime in [&first, &second] {
            assert_eq!(runtime.block_on(ends_after(hangs.clone().oneshot(()))).0, SECOND);
            assert!(runtime.block_on(answers.clone().oneshot(())).is_ok());
        }
    }
}

/// A service that polls another one inside of its own poll, as a classifier or a layer of a user might.
#[tokio::test(start_paused = true)]
async fn polling_another_stack_within_the_service_changes_no_timeout() {
    let stack = |total| {
        ReliabilityStack::builder().timeout(total).attempt_timeout(SECOND / 2).build().expect("in range")
    };
    let aside = stack(SECOND).layer(service_fn(hang));
    let service = service_fn(move |()| {
        let mut other = Box::pin(aside.clone().oneshot(()));
        async move {
            // Polled once, and dropped after the outer call has begun to wait.
            once(other.as_mut());
            pending::<io::Result<()>>().await
        }
    });
    let (took, _) = ends_after(stack(3 * SECOND).layer(service).oneshot(())).await;
    assert_eq!(took, SECOND / 2);
}
