//! The delays that a hedge learns, and the conservation of its counts and withdrawals.

use std::{panic::AssertUnwindSafe, time::Duration};

use futures::FutureExt;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use tokio::time::{Instant, advance, sleep, timeout};
use tokio_test::{assert_pending, task};
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn};
use tower_reliability::{
    Error, ErrorClass,
    hedge::{Hedge, HedgeConfig, HedgeHandle, HedgeLayer, future::ResponseFuture},
    retry::RetryConfig,
    retry_budget::{RetryBudget, RetryBudgetConfig},
};

use crate::{
    hedge_script::{DELAY, FIXED, fails, layer},
    scripted::{Act, Answer, Answered, ByPeer, Peer, Script},
};

pub(crate) const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

pub(crate) fn learnt(handle: &HedgeHandle) -> Duration {
    handle.snapshot().classes[0].delay.expect("it is a quantile")
}

#[tokio::test(start_paused = true)]
async fn calls_dropped_before_the_delay_teach_nothing() {
    let hedge = layer(HedgeConfig::quantile(0.5).start(millis(100))).budget(RetryBudget::unlimited());
    let given_up = async |after: Duration| {
        let service = hedge.layer(Script::new([Act::HANG; 2]).service());
        assert!(timeout(after, service.oneshot(())).await.is_err());
    };
    for _ in 0..30 {
        given_up(millis(50)).await;
    }
    assert_eq!(hedge.handle().snapshot().classes[0].samples, 0);
    for _ in 0..30 {
        given_up(millis(800)).await;
    }
    assert!(learnt(&hedge.handle()) > millis(600), "{:?}", learnt(&hedge.handle()));
}

#[tokio::test(start_paused = true)]
async fn each_class_has_its_own_delay_and_failures_teach_nothing() {
    let hedge = HedgeConfig::new().build().expect("valid").class_of(|class: &usize| *class);
    let slow = service_fn(|class: usize| async move {
        sleep(millis(if class == 0 { 10 } else { 400 })).await;
        Ok::<_, Error<std::io::Error>>(())
    });
    for _ in 0..40 {
        for class in [0, 1, 63, 64, 1_000] {
            hedge.layer(slow).oneshot(class).await.expect("it does well");
        }
    }
    let classes = hedge.handle().snapshot().classes;
    let seen: Vec<_> =
        classes.iter().map(|it| (it.class, it.samples, it.delay < Some(millis(100)))).collect();
    assert_eq!(seen, [(0, 40, true), (1, 40, false), (63, 120, false)]);
    let failing = layer(HedgeConfig::new());
    for _ in 0..40 {
        let act = fails(ErrorClass::Validation).after(millis(600));
        assert!(failing.layer(Script::new([act, Act::HANG]).service()).oneshot(()).await.is_err());
    }
    assert_eq!(failing.handle().snapshot().classes[0].samples, 0);
}

#[tokio::test(start_paused = true)]
async fn case_23_the_services_of_a_layer_share_one_memory() {
    let hedge = layer(FIXED);
    for _ in 0..3 {
        hedge.clone().layer(Script::default().service()).oneshot(()).await.expect("it does well");
    }
    assert_eq!(hedge.handle().snapshot().counts.won_by_primary, 3);
    assert_eq!(hedge.clone().isolated().handle().snapshot().counts.won_by_primary, 0);
    assert_eq!(hedge.named("reads").handle().name().as_str(), "reads");
}

#[tokio::test(start_paused = true)]
async fn a_call_is_one_request_to_the_budget_however_it_ends() {
    for acts in [
        [Act::GOOD, Act::GOOD],
        [Act::HANG, Act::GOOD],
        [Act::BAD, Act::GOOD],
        [Act::BAD, Act::BAD],
        [Act::HANG, fails(ErrorClass::Validation)],
        [Act::GOOD.after(DELAY * 2), Act::BAD],
    ] {
        let budget = RetryBudgetConfig::new().reserve(0).ratio(2.0).without_health_gate();
        let budget = budget.build().expect("valid");
        let hedge = layer(FIXED).budget(budget.clone());
        for _ in 0..8 {
            hedge.layer(Script::default().service()).oneshot(()).await.expect("it does well");
        }
        let _ = hedge.layer(Script::new(acts).service()).oneshot(()).await;
        let (seen, hedges) = (budget.snapshot(), f64::from(u8::from(acts[0] != Act::GOOD)));
        assert!((seen.balance - (9.0 * 2.0 - hedges)).abs() < 1e-3, "{acts:?}: {seen:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn inside_a_retry_that_only_withdraws_every_call_counts_once() {
    let new = || RetryBudgetConfig::new().reserve(10).without_health_gate().build().expect("valid");
    for (withdraws_only, requests) in [(true, 30.0), (false, 60.0)] {
        let budget = new();
        let hedge = layer(FIXED).budget(budget.clone());
        let of_retry = if withdraws_only { budget.withdraw_only() } else { budget.clone() };
        let retry = RetryConfig::new().build().expect("valid").classify(ByPeer).budget(of_retry);
        let both = ServiceBuilder::new().layer(retry).layer(hedge.clone());
        let run = async |acts: [Act; 2]| {
            let answer: Answered = both.clone().service(Script::new(acts).service()).oneshot(()).await;
            assert!(answer.is_ok() || acts[0] == fails(ErrorClass::Validation));
        };
        for _ in 0..28 {
            run([Act::GOOD; 2]).await;
        }
        run([fails(ErrorClass::Validation); 2]).await;
        run([Act::HANG, Act::GOOD]).await;
        let seen = budget.snapshot();
        assert!((seen.balance - (requests * 0.2 - 1.0 + 10.0)).abs() < 1e-3, "{withdraws_only}: {seen:?}");
        assert_eq!(hedge.handle().snapshot().counts.won_by_primary, 28);
    }
    // The hedge hides a failure from the retry, and records it: of 3 attempts 1 failed.
    let budget = new();
    let hedge = layer(FIXED).budget(budget.clone());
    let retry = RetryConfig::new().build().expect("valid").classify(ByPeer).budget(budget.withdraw_only());
    let both = ServiceBuilder::new().layer(retry).layer(hedge);
    both.clone().service(Script::new([Act::BAD]).service()).oneshot(()).await.expect("the hedge does well");
    both.service(Script::default().service()).oneshot(()).await.expect("it does well");
    assert!((budget.snapshot().failure_rate - 1.0 / 8.0).abs() < 1e-9, "{:?}", budget.snapshot());
}

#[tokio::test(start_paused = true)]
async fn case_07_a_dropped_call_is_refunded() {
    let hedge = layer(FIXED);
    let script = Script::new([Act::HANG; 9]);
    let begun = |polls: u64| {
        let (mut service, hedge) = (hedge.layer(script.service()), &hedge);
        let script = &script;
        async move {
            let mut call = task::spawn(service.call(()));
            for _ in 0..polls {
                assert_pending!(call.poll());
                advance(DELAY).await;
            }
            drop(call);
            assert_eq!(script.running(), 0);
            hedge.handle().snapshot()
        }
    };
    for (polls, spent) in [(0, 0), (1, 0), (2, 1), (3, 2)] {
        let seen = begun(polls).await;
        assert_eq!((seen.counts.hedges, seen.budget.spent), (spent, spent), "after {polls} polls");
    }
    // While the hedge waits for its place.
    let one_place = ServiceBuilder::new().layer(hedge.clone()).concurrency_limit(1).service(script.service());
    let balance = hedge.handle().snapshot().budget.balance;
    assert!(timeout(DELAY * 2, one_place.oneshot(())).await.is_err());
    let seen = hedge.handle().snapshot();
    assert_eq!((seen.counts.unsent, seen.counts.abandoned, seen.counts.hedges), (1, 5, 2));
    assert!(
        (seen.budget.balance - balance - 0.2).abs() < 1e-9,
        "the first attempt was sent, so it is a request"
    );
}

#[tokio::test(start_paused = true)]
async fn case_61_the_counts_conserve() {
    let seed = rand::random();
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let budget = RetryBudget::unlimited();
    for config in [
        FIXED,
        HedgeConfig::new().start(millis(20)),
        HedgeConfig::fixed(Duration::ZERO),
        HedgeConfig::on_failure(),
    ] {
        let hedge = layer(config.max_hedges(3)).budget(budget.clone());
        let mut calls = Vec::new();
        for _ in 0..5_000 {
            let acts: [Act; 4] = std::array::from_fn(|_| {
                let answer = match random.random_range(0..10) {
                    0..5 => Answer::Good,
                    5 => Answer::Hang,
                    6 => Answer::Unrelated,
                    7 => Answer::Panic,
                    _ => Answer::Fail(ErrorClass::ALL[random.random_range(0..7)]),
                };
                Act::now(answer).after(millis(random.random_range(0..200)))
            });
            let (script, patience) = (Script::new(acts), millis(random.random_range(0..600)));
            let call = hedge.layer(script.service()).oneshot(());
            calls.push(tokio::spawn(async move {
                let _ = timeout(patience, AssertUnwindSafe(call).catch_unwind()).await;
                (script.asked().len(), script.running())
            }));
        }
        let mut sent = 0;
        for call in calls {
            let (asked, running) = call.await.expect("panics are caught");
            assert_eq!(running, 0);
            sent += asked as u64;
        }
        let counts = hedge.handle().snapshot().counts;
        let over = counts.won_by_primary + counts.won_by_hedge + counts.failed + counts.abandoned;
        assert_eq!((over, sent), (5_000, 5_000 + counts.hedges), "{config:?}: {counts:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn case_61_the_counts_conserve_with_many_threads() {
    let hedge = layer(HedgeConfig::fixed(Duration::ZERO).max_hedges(2)).budget(RetryBudget::unlimited());
    let peer = service_fn(|n: u32| async move {
        for _ in 0..n % 5 {
            tokio::task::yield_now().await;
        }
        if n.is_multiple_of(3) {
            Answered::Ok(())
        } else {
            Err(Error::Inner(Peer(Answer::Fail(ErrorClass::Server))))
        }
    });
    let tasks: Vec<_> = (0..16)
        .map(|task| {
            let hedge = hedge.clone();
            tokio::spawn(async move {
                for n in 0..500 {
                    let _ = hedge.layer(peer).oneshot(task + n).await;
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.expect("it does not panic");
    }
    let counts = hedge.handle().snapshot().counts;
    assert_eq!(counts.won_by_primary + counts.won_by_hedge + counts.failed, 8_000, "{counts:?}");
}

#[tokio::test(start_paused = true)]
async fn case_08_a_panic_passes_and_loses_nothing() {
    let primary = [Act::now(Answer::Panic).after(millis(10)), Act::GOOD];
    let hedged = [Act::HANG, Act::now(Answer::Panic).after(millis(10))];
    let in_call = [Act::HANG, Act::now(Answer::PanicInCall)];
    for (acts, hedges, unsent) in [(primary, 0, 0), (hedged, 1, 0), (in_call, 0, 1)] {
        let (hedge, script) = (layer(FIXED), Script::new(acts));
        let call = hedge.layer(script.service()).oneshot(());
        assert!(AssertUnwindSafe(call).catch_unwind().await.is_err(), "the panic is the caller's");
        let seen = hedge.handle().snapshot();
        assert_eq!((seen.counts.abandoned, seen.counts.hedges, seen.counts.unsent), (1, hedges, unsent));
        assert_eq!((seen.budget.spent, script.running()), (hedges, 0));
        assert_eq!(hedge.layer(Script::default().service()).oneshot(()).await, Ok(()));
    }
}

#[tokio::test(start_paused = true)]
async fn case_24_years_may_pass() {
    let hedge = layer(HedgeConfig::fixed(Duration::MAX));
    let script = Script::new([Act::GOOD.after(Duration::from_secs(60 * 60 * 24 * 365))]);
    let began = Instant::now();
    assert_eq!(hedge.layer(script.service()).oneshot(()).await, Ok(()));
    assert!(began.elapsed() > Duration::from_secs(60 * 60 * 24 * 364));
}

#[test]
fn a_config_comes_back_from_a_file_as_it_went() {
    for config in [HedgeConfig::new(), FIXED.max_hedges(3).no_other_endpoints(), HedgeConfig::on_failure()] {
        let text = toml::to_string(&config).expect("it can be written");
        assert_eq!(toml::from_str::<HedgeConfig>(&text).expect("and read"), config, "{text}");
    }
    let text = "after = { quantile = 0.99 }\nstart = \"80ms\"\non = [\"connection\"]";
    let expected = HedgeConfig::quantile(0.99).start(millis(80));
    let expected = expected.never(ErrorClass::Timeout).never(ErrorClass::RateLimit).never(ErrorClass::Server);
    assert_eq!(toml::from_str::<HedgeConfig>(text).expect("it is in order"), expected);
}

/// A service whose future is as small as can be.
type Small = tower::util::BoxCloneSyncService<(), (), Error<std::fmt::Error>>;

#[test]
fn a_call_is_not_large_and_can_be_sent() {
    fn send<T: Send + 'static>() {}
    send::<(HedgeLayer, HedgeHandle, Hedge<Small>)>();
    send::<ResponseFuture<Small, (), tower_reliability::Protocol<ByPeer>>>();
    let own = size_of::<ResponseFuture<Small, (), tower_reliability::Protocol<ByPeer>>>();
    let inner = size_of::<<Small as Service<()>>::Future>() + size_of::<Small>();
    assert!(own - inner <= 176, "{} bytes beyond those of the service and its future", own - inner);
}
