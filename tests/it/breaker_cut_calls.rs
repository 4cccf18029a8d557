//! Calls that are cut, through the whole breaker: callers that give up early, and a backend that answers no call.

use std::time::Duration;

use futures::{future::join_all, poll};
use tokio::time::{advance, timeout};
use tower::{Layer, Service, ServiceExt, service_fn, util::BoxCloneService};
use tower_reliability::{
    Deadline, DeadlineSource, Error, ErrorClass, ReliabilityStack, Upload,
    circuit_breaker::{CircuitBreakerConfig, CircuitBreakerHandle, CircuitState, Window},
};

use crate::scripted::{Act, Answer, Answered, Bench, ByPeer, Peer, backend};

const MILLI: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

/// A request that says when its caller gives up, and how far its body was sent.
#[derive(Clone)]
struct Request {
    act: Act,
    deadline: Option<Deadline>,
    upload: Option<Upload>,
}

#[derive(Clone, Copy, Debug)]
struct InRequest;

impl DeadlineSource<Request> for InRequest {
    fn deadline(&self, request: &Request) -> Option<Deadline> {
        request.deadline
    }

    fn upload(&self, request: &Request) -> Option<Upload> {
        request.upload.clone()
    }

    fn propagate(&self, request: &mut Request, deadline: Deadline) {
        request.deadline = Some(deadline);
    }
}

fn within(act: Act, delay: Duration) -> Request {
    Request { act, deadline: Some(Deadline::after(delay)), upload: None }
}

fn peer() -> BoxCloneService<Request, (), Error<Peer>> {
    BoxCloneService::new(service_fn(|request: Request| backend().call(request.act)))
}

#[tokio::test(start_paused = true)]
async fn case_65_callers_with_deadlines_of_a_millisecond_do_not_open_the_circuit() {
    for attempt_timeout in [false, true] {
        let builder = ReliabilityStack::builder()
            .timeout(10 * SECOND)
            .circuit_breaker(CircuitBreakerConfig::new())
            .classify(ByPeer)
            .deadlines(InRequest)
            .flat_errors();
        let slow = Act::GOOD.after(200 * MILLI);
        let calls = async |client: BoxCloneService<Request, (), Error<Peer>>,
                           handle: CircuitBreakerHandle| {
            for _ in 0..10 {
                client.clone().oneshot(within(slow, SECOND)).await.expect("a patient caller");
            }
            for _ in 0..200 {
                assert!(client.clone().oneshot(within(slow, MILLI)).await.is_err());
            }
            // The backend knows the deadline too, and says so at that moment.
            let honours = Act::now(Answer::Fail(ErrorClass::Timeout)).after(MILLI);
            for _ in 0..200 {
                assert!(client.clone().oneshot(within(honours, MILLI)).await.is_err());
            }
            assert_eq!(handle.state(), CircuitState::Closed, "{:?}", handle.snapshot());
        };
        if attempt_timeout {
            let stack = builder.attempt_timeout(2 * SECOND).build().expect("in range");
            let handle = stack.circuit_breaker();
            calls(BoxCloneService::new(stack.layer(peer())), handle).await;
        } else {
            let stack = builder.build().expect("in range");
            let handle = stack.circuit_breaker();
            calls(BoxCloneService::new(stack.layer(peer())), handle).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn case_22_deadlines_in_front_of_a_peer_that_answers_no_call_open_the_circuit() {
    let stack = ReliabilityStack::builder()
        .circuit_breaker(CircuitBreakerConfig::new())
        .attempt_timeout(5 * SECOND)
        .classify(ByPeer)
        .deadlines(InRequest)
        .flat_errors()
        .build()
        .expect("in range");
    let client = stack.layer(peer());
    for _ in 0..20 {
        assert!(client.clone().oneshot(within(Act::HANG, 1_500 * MILLI)).await.is_err());
    }
    assert_eq!(stack.circuit_breaker().state(), CircuitState::Open);
}

/// A backend that has answered for a while, in 20 ms.
async fn healthy(config: CircuitBreakerConfig) -> Bench {
    let bench = Bench::new(config);
    for _ in 0..200 {
        bench.call(Act::GOOD.after(20 * MILLI)).await.expect("it is healthy");
    }
    bench
}

#[tokio::test(start_paused = true)]
async fn case_22_a_peer_that_falls_silent_opens_the_circuit_although_every_caller_gives_up() {
    let bench = healthy(CircuitBreakerConfig::new()).await;
    let mut calls = 0;
    while bench.handle.state() == CircuitState::Closed {
        calls += 10;
        assert!(calls <= 200, "{:?}", bench.handle.snapshot());
        let hanging = (0..10).map(async |n| {
            tokio::time::sleep(100 * MILLI * n).await;
            timeout(SECOND, bench.call(Act::HANG)).await
        });
        assert!(join_all(hanging).await.iter().all(Result::is_err));
    }
}

#[tokio::test(start_paused = true)]
async fn case_65_clients_that_hang_up_early_do_not_open_the_circuit() {
    let bench = healthy(CircuitBreakerConfig::new()).await;
    let mut honest = Box::pin(async {
        loop {
            bench.call(Act::GOOD.after(20 * MILLI)).await.expect("it is healthy");
        }
    });
    for round in 0..150_u32 {
        for hold in [5, 60, 150] {
            let slow_route = bench.call(Act::GOOD.after(SECOND));
            let attacker = timeout(MILLI * hold, slow_route);
            tokio::select! {
                () = &mut honest => unreachable!("it never ends"),
                cut = attacker => assert!(cut.is_err()),
            }
        }
        assert_eq!(
            bench.handle.state(),
            CircuitState::Closed,
            "round {round}: {:?}",
            bench.handle.snapshot()
        );
    }
}

#[tokio::test(start_paused = true)]
async fn case_66_a_request_that_is_still_being_sent_says_nothing_about_the_peer() {
    let layer =
        CircuitBreakerConfig::consecutive(1).build().expect("in range").classify(ByPeer).deadlines(InRequest);
    let mut service = layer.layer(peer());
    let mut cut = async |upload: Upload| {
        let request = Request { act: Act::HANG, deadline: None, upload: Some(upload) };
        let mut call = Box::pin(service.ready().await.expect("ready").call(request));
        assert!(poll!(&mut call).is_pending());
        advance(60 * SECOND).await;
    };
    let stalled = Upload::new();
    stalled.wait_for_caller();
    cut(stalled).await;
    assert_eq!(layer.handle().state(), CircuitState::Closed);
    // A body that the backend does not read is the backend's affair.
    let unread = Upload::new();
    unread.progress();
    cut(unread).await;
    assert_eq!(layer.handle().state(), CircuitState::Open);
    layer.handle().reset();
    let complete = Upload::new();
    complete.complete();
    cut(complete).await;
    assert_eq!(layer.handle().state(), CircuitState::Open);
}

#[tokio::test(start_paused = true)]
async fn case_69_a_look_every_second_changes_no_answer() {
    async fn script(looks: bool) -> Vec<bool> {
        let bench = Bench::new(CircuitBreakerConfig::consecutive(2).open_jitter(0.0));
        let mut answers = Vec::new();
        let mut hanging = Vec::new();
        for step in 0..400_u64 {
            let act = match step % 40 {
                0..3 => Act::BAD,
                20 => Act::HANG,
                _ => Act::GOOD,
            };
            let mut call = Box::pin(bench.call(act));
            match poll!(&mut call) {
                std::task::Poll::Ready(answer) => answers.push(answer.is_ok()),
                std::task::Poll::Pending => hanging.push(call),
            }
            // Now and then longer than a probe may take.
            let seconds = if step % 50 == 0 { 40 } else { 1 };
            for _ in 0..seconds {
                advance(SECOND).await;
                if looks {
                    let _ = (bench.handle.state(), bench.handle.snapshot());
                }
            }
        }
        answers
    }
    assert_eq!(script(false).await, script(true).await);
}

#[tokio::test(start_paused = true)]
async fn case_73_an_ignored_probe_gives_its_place_back() {
    let bench = Bench::new(CircuitBreakerConfig::consecutive(1));
    let _ = bench.call(Act::BAD).await;
    advance(SECOND).await;
    assert_eq!(bench.handle.state(), CircuitState::HalfOpen);
    let _ = bench.call(Act::now(Answer::Unrelated)).await;
    advance(70 * SECOND).await;
    assert_eq!(bench.handle.state(), CircuitState::HalfOpen);
    for _ in 0..2 {
        bench.call(Act::GOOD).await.expect("a probe");
    }
    assert_eq!(bench.handle.state(), CircuitState::Closed);
}

#[tokio::test(start_paused = true)]
async fn case_85_callers_that_cut_every_probe_neither_keep_it_half_open_nor_open_it_again() {
    let bench = healthy(CircuitBreakerConfig::new()).await;
    bench.handle.update(CircuitBreakerConfig::consecutive(1)).expect("in range");
    let _ = bench.call(Act::BAD).await;
    advance(SECOND).await;
    assert_eq!(bench.handle.state(), CircuitState::HalfOpen);
    // Four attackers, each of them faster than any honest caller, hold their calls for 15 ms.
    let attack = || async {
        loop {
            let _ = timeout(15 * MILLI, bench.call(Act::GOOD.after(SECOND))).await;
            tokio::time::sleep(MILLI).await;
        }
    };
    let attackers = join_all((0..4).map(|_| attack()));
    let honest = async {
        let mut tries = 0;
        while bench.handle.state() != CircuitState::Closed {
            assert_ne!(bench.handle.state(), CircuitState::Open, "no probe has failed");
            tries += 1;
            assert!(tries < 100, "{:?}", bench.handle.snapshot());
            let _ = bench.call(Act::GOOD.after(20 * MILLI)).await;
            tokio::time::sleep(100 * MILLI).await;
        }
    };
    tokio::select! {
        _ = attackers => unreachable!("they never end"),
        () = honest => {}
    }
}

#[tokio::test(start_paused = true)]
async fn case_83_every_number_of_an_update_decides_the_calls_that_follow() {
    // With a window of ten calls five failures open it; with one of a hundred they do not.
    for (window, opens) in [(10, true), (100, false)] {
        let bench = Bench::new(CircuitBreakerConfig::new().window(Window::Calls(1_000)).min_requests(10));
        bench.calls(95, Act::GOOD).await;
        let config = CircuitBreakerConfig::new().window(Window::Calls(window)).min_requests(10);
        bench.handle.update(config).expect("in range");
        bench.calls(5, Act::BAD).await;
        assert_eq!(bench.handle.state() == CircuitState::Open, opens, "a window of {window}");
    }
    // And the open period that follows is the new one.
    let bench = Bench::new(CircuitBreakerConfig::consecutive(2).open_jitter(0.0));
    bench
        .handle
        .update(CircuitBreakerConfig::consecutive(1).open_for(9 * SECOND).open_jitter(0.0))
        .expect("in range");
    let _ = bench.call(Act::BAD).await;
    assert_eq!(bench.handle.snapshot().retry_after, Some(9 * SECOND));
}

#[tokio::test(start_paused = true)]
async fn a_service_that_found_the_circuit_open_and_then_closed_is_not_rejected() {
    let mut bench = Bench::new(CircuitBreakerConfig::consecutive(1));
    bench.handle.force_open();
    bench.service.ready().await.expect("it will reject at once");
    bench.handle.reset();
    bench.service.ready().await.expect("ready");
    bench.service.call(Act::GOOD).await.expect("the circuit is closed");
}

#[tokio::test(start_paused = true)]
async fn case_82_an_error_of_the_inner_readiness_gives_the_place_of_a_probe_back() {
    #[derive(Clone)]
    struct Broken(bool);
    impl Service<Act> for Broken {
        type Response = ();
        type Error = Error<Peer>;
        type Future = std::future::Ready<Answered>;
        fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> std::task::Poll<Answered> {
            let broken = Error::Inner(Peer(Answer::Hang));
            std::task::Poll::Ready(if self.0 { Err(broken) } else { Ok(()) })
        }
        fn call(&mut self, _: Act) -> Self::Future {
            std::future::ready(Ok(()))
        }
    }
    let layer = CircuitBreakerConfig::consecutive(1)
        .half_open_probes(1)
        .half_open_successes(1)
        .build()
        .expect("in range")
        .classify(ByPeer)
        .wait_while_open();
    let handle = layer.handle();
    let mut failing = layer.layer(service_fn(|_: Act| async {
        Err::<(), _>(Error::Inner(Peer(Answer::Fail(ErrorClass::Server))))
    }));
    let _ = failing.ready().await.expect("closed").call(Act::BAD).await;
    advance(SECOND).await;
    assert_eq!(handle.state(), CircuitState::HalfOpen);
    let mut broken = layer.layer(Broken(true));
    assert!(broken.ready().await.is_err());
    let mut good = layer.layer(Broken(false));
    timeout(MILLI, good.ready())
        .await
        .expect("the place is free")
        .expect("ready")
        .call(Act::GOOD)
        .await
        .expect("ok");
    assert_eq!(handle.state(), CircuitState::Closed);
    drop(broken);
}
