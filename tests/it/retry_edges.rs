//! Rare paths of a retry: hints of one endpoint of several, timers without a runtime of their own.

use std::{
    collections::VecDeque,
    pin::pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures::future::{Either, select};
use tokio::time::{Instant, advance};
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_reliability::{
    CallHistory, Error, ErrorClass, Outcome, Resend,
    retry::{Jitter, RetryConfig},
    retry_budget::RetryBudget,
};

use crate::{
    retry_shell::layer,
    scripted::{Act, Answered, Peer},
};

const MILLI: Duration = Duration::from_millis(1);
const FIXED: RetryConfig = RetryConfig::fixed(Duration::from_millis(100)).jitter(Jitter::None);

/// A request that carries its history, as one of HTTP does in its extensions.
#[derive(Clone, Default)]
struct Routed(Option<CallHistory>);

#[derive(Clone)]
struct Route;

impl Resend<Routed> for Route {
    fn copy(&self, request: &mut Routed) -> Option<Routed> {
        Some(request.clone())
    }

    fn prepare(&self, request: &mut Routed, _: u32, history: &mut Option<CallHistory>) {
        request.0 = Some(history.get_or_insert_default().clone());
    }
}

/// Two endpoints, each with the hints of its answers: `None` is a success.
#[derive(Clone)]
struct TwoEndpoints {
    hints: [Arc<Mutex<VecDeque<Option<Duration>>>>; 2],
    /// When which endpoint was asked, in milliseconds.
    asked: Arc<Mutex<Vec<(usize, u128)>>>,
    began: Instant,
}

impl TwoEndpoints {
    fn new(hints: [&[Option<Duration>]; 2]) -> Self {
        let hints = hints.map(|hints| Arc::new(Mutex::new(hints.iter().copied().collect())));
        Self { hints, asked: Arc::default(), began: Instant::now() }
    }

    /// Each attempt goes to an endpoint that the call has not tried, then to the first again.
    fn service(&self) -> impl Service<Routed, Response = (), Error = Option<Duration>> + Clone + use<> {
        let Self { hints, asked, began } = self.clone();
        service_fn(move |Routed(history): Routed| {
            let history = history.expect("every attempt has it");
            let endpoint = (0..2).find(|endpoint| !history.has_visited(endpoint)).unwrap_or(0);
            history.visit_one_of(endpoint, 2);
            asked.lock().expect("no panics").push((endpoint, began.elapsed().as_millis()));
            let answer = hints[endpoint].lock().expect("no panics").pop_front().flatten();
            async move { answer.map_or(Ok(()), |hint| Err(Some(hint))) }
        })
    }
}

fn by_hint(result: Result<&(), &Option<Duration>>) -> Outcome {
    match result {
        Ok(()) => Outcome::Success,
        Err(hint) => {
            let failure = Outcome::failure(ErrorClass::RateLimit);
            hint.map_or(failure, |hint| failure.retry_after(hint))
        }
    }
}

#[tokio::test(start_paused = true)]
async fn case_80_a_hint_of_one_endpoint_delays_no_attempt_at_another() {
    let hint = Some(Duration::from_secs(2));
    for (hints, expected) in [
        // The second endpoint answers after the retry's own delay.
        ([&[hint][..], &[][..]], vec![(0, 0), (1, 100)]),
        // Both have given a hint, so the next attempt waits for the last one.
        ([&[hint], &[hint]], vec![(0, 0), (1, 100), (0, 2_100)]),
    ] {
        let endpoints = TwoEndpoints::new(hints);
        // With this seed the jitter of hints is below a millisecond.
        let retry = FIXED.build().expect("valid").classify(by_hint).resend(Route);
        retry.layer(endpoints.service()).oneshot(Routed::default()).await.expect("the last attempt succeeds");
        let asked = endpoints.asked.lock().expect("no panics").clone();
        let places = |asked: &[(usize, u128)]| asked.iter().map(|(at, _)| *at).collect::<Vec<_>>();
        assert_eq!(places(&asked), places(&expected));
        for ((_, at), (_, expected)) in asked.iter().zip(&expected) {
            // A hint is spread by up to a tenth.
            assert!((*expected..=expected + 200).contains(at), "{asked:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn case_80_without_another_endpoint_the_hint_holds() {
    let (attempts, began) = (Arc::new(AtomicUsize::new(0)), Instant::now());
    let limited = service_fn(move |Routed(history): Routed| {
        history.expect("every attempt has it").visit_one_of("the only one", 1);
        let first = attempts.fetch_add(1, Ordering::Relaxed) == 0;
        async move { if first { Err(Some(Duration::from_secs(2))) } else { Ok(()) } }
    });
    let retry = FIXED.build().expect("valid").classify(by_hint).resend(Route);
    retry.layer(limited).oneshot(Routed::default()).await.expect("the second attempt succeeds");
    assert!(began.elapsed() >= Duration::from_secs(2));
}

#[tokio::test(start_paused = true)]
async fn case_75_a_backoff_ends_in_time_beside_a_task_part_that_uses_up_the_cooperative_budget() {
    let began = Instant::now();
    let call = async {
        let answer = layer(FIXED).layer(failing_once()).oneshot(()).await;
        (answer, began.elapsed())
    };
    let greedy = async {
        loop {
            tokio::task::consume_budget().await;
        }
    };
    let ticking = async {
        for _ in 0..50 {
            advance(10 * MILLI).await;
        }
    };
    // Biased: the greedy part is polled first, and leaves nothing of the budget.
    let both = async {
        tokio::select! {
            biased;
            () = greedy => unreachable!("it never ends"),
            answered = call => answered,
        }
    };
    let Either::Left(((answer, took), _)) = select(pin!(both), pin!(ticking)).await else {
        panic!("the backoff did not end in time");
    };
    assert_eq!(answer, Ok(()));
    assert!((100 * MILLI..200 * MILLI).contains(&took), "{took:?}");
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime")
}

/// Fails once, and needs no runtime itself.
fn failing_once() -> impl Service<(), Response = (), Error = Error<Peer>, Future: Send> + Clone {
    let attempts = Arc::new(AtomicUsize::new(0));
    service_fn(move |()| {
        let first = attempts.fetch_add(1, Ordering::Relaxed) == 0;
        async move { if first { Answered::Err(Error::Inner(Peer(Act::BAD.answer))) } else { Ok(()) } }
    })
}

#[test]
fn case_82_a_backoff_goes_on_in_another_runtime() {
    let (first, second) = (runtime(), runtime());
    let mut call = Box::pin(layer(FIXED).layer(failing_once()).oneshot(()));
    first.block_on(async { assert!(futures::poll!(&mut call).is_pending()) });
    drop(first);
    assert_eq!(second.block_on(call), Ok(()));
}

#[test]
fn case_68_a_retry_without_a_delay_needs_no_timer_and_no_runtime() {
    let none = RetryConfig::fixed(Duration::ZERO);
    let call = layer(none).budget(RetryBudget::unlimited()).layer(failing_once()).oneshot(());
    assert_eq!(futures::executor::block_on(call), Ok(()));
}
