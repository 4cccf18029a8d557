//! Calls that wait in front of a limit, in every runtime: one `block_on` per call, a runtime that stands still or was shut
//! down, and none.

use std::{
    future::{Future, pending, ready},
    pin::Pin,
    task::{Context, Waker},
    time::Duration,
};

use futures::executor;
use tokio::{
    runtime::{Builder, Runtime},
    task::yield_now,
    time::{Instant, sleep, timeout},
};
use tokio_test::{assert_pending, assert_ready_ok, task::spawn};
use tower::{Layer, Service, ServiceExt, service_fn, util::BoxCloneService};
use tower_reliability::{
    BoxError, Reason, Rejected,
    concurrency_limit::ConcurrencyLimitConfig,
    rate_limit::{RateLimitConfig, RateLimitLayer},
    wait_queue::WaitQueueConfig,
};

const MAX_WAIT: Duration = Duration::from_secs(60);
/// From one token to the next.
const TURN: Duration = Duration::from_millis(100);

type Limited = BoxCloneService<u32, u32, BoxError>;
type Call = Pin<Box<dyn Future<Output = Result<u32, BoxError>> + Send>>;

/// A runtime with a clock of its own, which stands still.
fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().start_paused(true).build().expect("a runtime")
}

fn rate_layer() -> RateLimitLayer {
    RateLimitConfig::per(1, TURN).burst(1).max_wait(MAX_WAIT).build().expect("valid")
}

fn rate_limited() -> Limited {
    BoxCloneService::new(rate_layer().layer(service_fn(|it: u32| ready(Ok::<_, BoxError>(it)))))
}

/// One permit. The call 0 does not end.
fn concurrency_limited() -> Limited {
    let queue = WaitQueueConfig::new().max_wait(MAX_WAIT).without_shedding();
    let layer = ConcurrencyLimitConfig::new(1).queue(queue).build().expect("valid");
    BoxCloneService::new(layer.layer(service_fn(|it: u32| async move {
        if it == 0 {
            pending::<()>().await;
        }
        Ok::<_, BoxError>(it)
    })))
}

/// A call that waits: the token or the permit belongs to another call, which is returned too.
fn waiting_call(service: &mut Limited) -> (Call, Call) {
    let (mut first, mut waiting): (Call, Call) = (service.call(0), service.call(1));
    let mut context = Context::from_waker(Waker::noop());
    let _ = first.as_mut().poll(&mut context);
    assert!(waiting.as_mut().poll(&mut context).is_pending());
    (first, waiting)
}

/// Lets the tasks of a runtime run until they wait. Its clock stands still.
fn run_tasks(runtime: &Runtime) {
    runtime.block_on(async {
        for _ in 0..10 {
            yield_now().await;
        }
    });
}

#[test]
fn case_67_with_one_block_on_per_call_every_call_gets_its_turn() {
    let (mut service, runtime) = (rate_limited(), runtime());
    let begin = runtime.block_on(async { Instant::now() });
    for call in 0..5 {
        // Inside of the runtime, whose clock stands still.
        let answer = runtime.block_on(async { service.call(call).await });
        assert_eq!(answer.expect("served"), call);
    }
    let took = runtime.block_on(async { begin.elapsed() });
    assert!(took >= 4 * TURN && took < 5 * TURN, "{took:?}");

    let mut service = concurrency_limited();
    let _guard = runtime.enter();
    let (holder, waiting) = waiting_call(&mut service);
    runtime.block_on(async { sleep(TURN).await });
    drop(holder);
    assert_eq!(runtime.block_on(waiting).expect("served"), 1);
}

#[test]
fn case_67_calls_of_a_runtime_that_is_shut_down_leave_their_turns_to_others() {
    for service in [rate_limited(), concurrency_limited()] {
        let (old, new) = (runtime(), runtime());
        for call in 0..10 {
            let _call = old.spawn(service.clone().oneshot(call));
        }
        run_tasks(&old);
        let call = new.spawn(service.clone().oneshot(1));
        run_tasks(&new);
        drop(old);
        new.block_on(async {
            let begin = Instant::now();
            assert_eq!(call.await.expect("no panic").expect("served"), 1);
            assert!(begin.elapsed() <= 2 * TURN, "{:?}", begin.elapsed());
        });
    }
}

#[test]
fn case_67_calls_of_a_runtime_that_stands_still_hold_others_up_for_their_turns_and_no_longer() {
    let mut service = rate_limited();
    let (idle, busy) = (runtime(), runtime());
    for call in 0..3 {
        let _call = idle.spawn(service.clone().oneshot(call));
    }
    run_tasks(&idle);
    busy.block_on(async {
        let begin = Instant::now();
        assert_eq!(service.call(5).await.expect("served"), 5);
        // One call had the only token, and two wait for the next ones. This call serves them from its own turn on.
        assert!(begin.elapsed() <= 6 * TURN, "{:?}", begin.elapsed());
    });
    drop(idle);
}

#[tokio::test(start_paused = true)]
async fn case_05_calls_that_are_not_polled_hold_others_up_for_their_turns_and_no_longer() {
    let layer = rate_layer();
    let mut service = layer.layer(service_fn(|it: u32| ready(Ok::<_, BoxError>(it))));
    service.call(0).await.expect("the only token");
    // As the futures of a `buffered` stream whose consumer is busy.
    let mut left_alone: Vec<_> = (1..4).map(|id| spawn(service.call(id))).collect();
    for call in &mut left_alone {
        assert_pending!(call.poll());
    }
    let begin = Instant::now();
    assert_eq!(service.call(4).await.expect("served"), 4);
    // The bucket holds one token. So the turns of the others begin when this call has missed its own.
    assert_eq!(begin.elapsed(), 7 * TURN);
    assert_eq!(layer.handle().snapshot().waiting, 0);
    for call in &mut left_alone {
        assert_ready_ok!(call.poll());
    }
}

#[test]
fn case_82_a_waiting_call_goes_on_in_another_runtime() {
    for mut service in [rate_limited(), concurrency_limited()] {
        let old = runtime();
        let (holder, waiting) = {
            let _guard = old.enter();
            waiting_call(&mut service)
        };
        drop(old);
        runtime().block_on(async {
            let mut waiting = spawn(waiting);
            assert_pending!(waiting.poll());
            drop(holder);
            let waiting = timeout(2 * TURN, waiting.into_inner()).await.expect("its turn comes");
            assert_eq!(waiting.expect("served"), 1);
        });
    }
}

#[test]
fn case_82_a_call_that_waited_in_a_runtime_that_is_gone_gives_up_in_time_in_another() {
    let mut service = concurrency_limited();
    let old = runtime();
    let (_holder, waiting) = {
        let _guard = old.enter();
        waiting_call(&mut service)
    };
    drop(old);
    runtime().block_on(async {
        let error = timeout(2 * MAX_WAIT, waiting).await.expect("it gives up").expect_err("rejected");
        let reason = error.downcast_ref::<Rejected>().expect("by the limit").reason();
        assert_eq!(reason, Reason::QueueTimeout { max_wait: MAX_WAIT });
    });
}

#[test]
fn case_68_calls_that_do_not_wait_need_no_runtime() {
    for (mut service, rejects) in [
        (rate_limited(), false),
        (concurrency_limited(), false),
        (BoxCloneService::new(no_queue_rate()), true),
        (BoxCloneService::new(no_queue_concurrency()), true),
    ] {
        let mut first = service.call(if rejects { 0 } else { 7 });
        if !rejects {
            assert_eq!(executor::block_on(first).expect("it passes"), 7);
            continue;
        }
        let mut context = Context::from_waker(Waker::noop());
        let _ = first.as_mut().poll(&mut context);
        let error = executor::block_on(service.call(1)).expect_err("nothing is left");
        assert!(error.is::<Rejected>(), "{error}");
    }
}

fn no_queue_rate()
-> impl Service<u32, Response = u32, Error = BoxError, Future: Send + 'static> + Clone + Send + 'static {
    let layer = RateLimitConfig::per(1, MAX_WAIT).burst(1).build().expect("valid");
    layer.layer(service_fn(|it: u32| ready(Ok::<_, BoxError>(it))))
}

fn no_queue_concurrency()
-> impl Service<u32, Response = u32, Error = BoxError, Future: Send + 'static> + Clone + Send + 'static {
    let layer = ConcurrencyLimitConfig::new(1).queue(WaitQueueConfig::none()).build().expect("valid");
    layer.layer(service_fn(|_: u32| pending::<Result<u32, BoxError>>()))
}
