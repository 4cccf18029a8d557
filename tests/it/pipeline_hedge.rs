//! Stacks with a hedge.

use std::time::Duration;

use tokio::time::Instant;
use tower::{Layer, ServiceExt};
use tower_reliability::{
    Error, ErrorClass, ReliabilityStack,
    circuit_breaker::CircuitBreakerConfig,
    hedge::HedgeConfig,
    retry::{Jitter, RetryConfig},
    retry_budget::{RetryBudgetConfig, RetryBudgetSnapshot},
};

use crate::{
    hedge_learns::millis,
    hedge_script::{FIXED, fails},
    scripted::{Act, ByPeer, Peer, Script, rejected},
};

const SECOND: Duration = Duration::from_secs(1);
const RETRY: RetryConfig = RetryConfig::fixed(SECOND).jitter(Jitter::None).max_attempts(2);

/// A reserve of ten, and a fifth of the requests, minus the spent withdrawals.
fn assert_balance(budget: &RetryBudgetSnapshot, requests: u32, spent: u32) {
    let expected = 10.0 + 0.2 * f64::from(requests) - f64::from(spent);
    assert!((budget.balance - expected).abs() < 1e-3, "{} is not {expected}", budget.balance);
    assert_eq!(budget.spent, u64::from(spent));
}

#[tokio::test(start_paused = true)]
async fn the_budget_counts_each_request_once() {
    let late = Act::GOOD.after(millis(150));
    for (calls, acts, hedges) in [
        (100, &[Act::GOOD][..], 0),
        (100, &[Act::GOOD.after(millis(99))], 0),
        (5, &[Act::HANG, Act::GOOD], 5),
        (5, &[late, Act::HANG], 5),
    ] {
        let script = || Script::new(acts.repeat(calls as usize)).service();
        let hedge = || ReliabilityStack::builder().hedge(FIXED).classify(ByPeer).flat_errors();
        let alone = hedge().build().expect("it is valid");
        let both = hedge().retry(RETRY).build().expect("they go together");
        let (one, other) = (alone.layer(script()), both.layer(script()));
        for _ in 0..calls {
            assert_eq!((one.clone().oneshot(()).await, other.clone().oneshot(()).await), (Ok(()), Ok(())));
        }
        for seen in [alone.hedge().snapshot(), both.hedge().snapshot()] {
            assert_balance(&seen.budget, calls, hedges);
            assert_eq!(seen.counts.won_by_primary + seen.counts.won_by_hedge, u64::from(calls));
        }
        let retry = both.retry().snapshot();
        assert_eq!((retry.counts.succeeded, retry.budget), (calls.into(), both.hedge().snapshot().budget));
    }
}

#[tokio::test(start_paused = true)]
async fn the_budget_knows_the_attempts_that_the_retry_does_not_see() {
    for (acts, failures, successes) in [
        // The hedge fails, and the first answers.
        ([Act::GOOD.after(millis(200)), Act::BAD], 1.0, 1.0),
        // The first fails, and the hedge answers.
        ([Act::BAD.after(millis(150)), Act::GOOD.after(millis(90))], 1.0, 1.0),
        ([Act::BAD, Act::GOOD], 1.0, 1.0),
        // Both fail, and the retry sees one of them.
        ([Act::BAD, Act::BAD], 2.0, 0.0),
        ([Act::BAD.after(millis(150)), Act::BAD], 2.0, 0.0),
        // The hedge is dropped, and has no vote.
        ([Act::GOOD.after(millis(150)), Act::BAD.after(millis(90))], 0.0, 1.0),
    ] {
        let stack = ReliabilityStack::builder()
            .retry(RETRY.max_attempts(1))
            .hedge(FIXED)
            .classify(ByPeer)
            .flat_errors()
            .build()
            .expect("they go together");
        let answer = stack.layer(Script::new(acts).service()).oneshot(()).await;
        assert_eq!(answer.is_ok(), successes > 0.0);
        let rate = stack.hedge().budget().snapshot().failure_rate;
        // Five successes are assumed beforehand.
        let expected = failures / (5.0 + failures + successes);
        assert!((rate - expected).abs() < 1e-6, "{rate} is not {expected} after {acts:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn without_a_grant_for_a_hedge_the_retry_gets_the_first_failure() {
    let stack = ReliabilityStack::builder()
        .retry(RETRY)
        .retry_budget(RetryBudgetConfig::new().reserve(0).build().expect("valid"))
        .hedge(FIXED)
        .classify(ByPeer)
        .flat_errors()
        .build()
        .expect("they go together");
    let script = Script::new([Act::BAD.after(millis(500))]);
    let answer = stack.layer(script.service()).oneshot(()).await;
    assert_eq!((answer, script.asked()), (Err(Error::Inner(Peer(Act::BAD.answer))), vec![0]));
    let (retry, hedge) = (stack.retry().snapshot().counts, stack.hedge().snapshot().counts);
    assert_eq!((hedge.rejected_by_ratio, hedge.failed, retry.rejected_by_ratio), (1, 1, 1));
}

#[tokio::test(start_paused = true)]
async fn an_open_circuit_ends_the_call_at_once_and_costs_no_withdrawal() {
    // One breaker guards all attempts, so no other endpoint is left.
    for hedge in [FIXED, FIXED.no_other_endpoints()] {
        let stack = ReliabilityStack::builder()
            .retry(RETRY)
            .hedge(hedge)
            .circuit_breaker(CircuitBreakerConfig::new())
            .classify(ByPeer)
            .flat_errors()
            .build()
            .expect("they go together");
        stack.circuit_breaker().force_open();
        let (script, began) = (Script::default(), Instant::now());
        let answer = stack.layer(script.service()).oneshot(()).await;
        let layer = rejected(&answer).map(|rejected| rejected.layer().as_str());
        assert_eq!((layer, began.elapsed()), (Some("circuit_breaker"), Duration::ZERO));
        assert_eq!((script.asked().len(), stack.circuit_breaker().snapshot().counts.rejected), (0, 1));
        assert_balance(&stack.hedge().snapshot().budget, 0, 0);
        assert_eq!(stack.hedge().snapshot().counts.failed, 1);
        assert_eq!(stack.retry().snapshot().counts.circuit_open, 1);
    }
}

#[tokio::test(start_paused = true)]
async fn case_59_a_request_that_is_hedged_and_retried_makes_the_documented_counts() {
    let stack = ReliabilityStack::builder()
        .timeout(10 * SECOND)
        .retry(RETRY)
        .hedge(FIXED)
        .circuit_breaker(CircuitBreakerConfig::new())
        .attempt_timeout(2 * SECOND)
        .named("prices")
        .classify(ByPeer)
        .flat_errors()
        .build()
        .expect("they go together");
    // Of the first attempt both requests fail; of the second the first one hangs, and the hedge answers.
    let bad = Act::BAD.after(millis(200));
    let script = Script::new([bad, bad, Act::HANG, Act::GOOD.after(millis(50))]);
    let began = Instant::now();
    assert_eq!(stack.layer(script.service()).oneshot(()).await, Ok(()));
    assert_eq!((script.asked(), script.running()), (vec![0, 100, 1_300, 1_400], 0));
    assert_eq!(began.elapsed(), millis(1_450));

    let hedge = stack.hedge().snapshot();
    let counts = hedge.counts;
    assert_eq!((counts.hedges, counts.failed, counts.won_by_hedge, counts.won_by_primary), (2, 1, 1, 0));
    assert_eq!((counts.abandoned, counts.unsent, counts.not_resendable), (0, 0, 0));
    assert_eq!((counts.rejected_by_health, counts.rejected_by_ratio), (0, 0));
    let retry = stack.retry().snapshot();
    let counts = retry.counts;
    assert_eq!((counts.retries, counts.recovered, counts.succeeded, counts.failed), (1, 1, 0, 0));
    assert_balance(&hedge.budget, 1, 3);
    assert_eq!(retry.budget, hedge.budget);
    let breaker = stack.circuit_breaker().snapshot();
    let counts = breaker.counts;
    assert_eq!((counts.successes, counts.failures, counts.abandoned, counts.rejected), (1, 2, 1, 0));
    assert_eq!((breaker.window_calls, breaker.window_failures), (3, 2), "a loser has no vote");
    assert_eq!(stack.attempt_timeout().snapshot().timed_out, 0);
    assert_eq!(stack.timeout().snapshot().timed_out, 0);
    assert_eq!(stack.hedge().name().as_str(), "prices.hedge");
}

#[tokio::test(start_paused = true)]
async fn the_timeout_of_an_attempt_is_a_failure_after_which_another_one_is_sent() {
    let stack = ReliabilityStack::builder()
        .hedge(FIXED.max_hedges(2))
        .attempt_timeout(SECOND)
        .classify(ByPeer)
        .flat_errors()
        .build()
        .expect("they go together");
    // The second is sent for the time that the first takes, the third because the second has failed.
    let second = fails(ErrorClass::Timeout).after(millis(10));
    let script = Script::new([Act::HANG, second, Act::HANG]);
    let answer = stack.layer(script.service()).oneshot(()).await;
    assert_eq!(rejected(&answer).map(|it| it.layer().as_str()), Some("attempt_timeout"));
    assert_eq!(script.asked(), [0, 100, 110]);
    assert_eq!(stack.attempt_timeout().snapshot().timed_out, 2);
}

#[tokio::test(start_paused = true)]
async fn case_71_a_loser_above_the_slow_threshold_is_a_slow_call() {
    let stack = ReliabilityStack::builder()
        .hedge(FIXED)
        .circuit_breaker(CircuitBreakerConfig::new().slow_call(millis(50), 0.9))
        .classify(ByPeer)
        .flat_errors()
        .build()
        .expect("they go together");
    let script = Script::new([Act::HANG, Act::GOOD]);
    stack.layer(script.service()).oneshot(()).await.expect("the hedge wins after 100 ms");
    let snapshot = stack.circuit_breaker().snapshot();
    assert_eq!((snapshot.window_calls, snapshot.window_slow, snapshot.window_failures), (2, 1, 0));
}

#[tokio::test(start_paused = true)]
async fn the_losers_of_hedges_do_not_open_the_circuit_of_a_healthy_backend() {
    let stack = ReliabilityStack::builder()
        .hedge(HedgeConfig::new())
        .circuit_breaker(CircuitBreakerConfig::new())
        .classify(ByPeer)
        .flat_errors()
        .build()
        .expect("they go together");
    let script = Script::new(std::iter::repeat_n(Act::GOOD.after(Duration::from_millis(550)), 400));
    for _ in 0..100 {
        stack.layer(script.service()).oneshot(()).await.expect("it is well");
    }
    let (counts, hedges) =
        (stack.circuit_breaker().snapshot().counts, stack.hedge().snapshot().counts.hedges);
    assert!(hedges >= 10, "{hedges} hedges");
    assert_eq!((counts.successes, counts.abandoned, counts.ignored), (100, hedges, 0));
}

#[tokio::test(start_paused = true)]
async fn a_loser_that_probes_is_no_bad_probe() {
    let config =
        CircuitBreakerConfig::consecutive(1).half_open_probes(2).half_open_successes(2).open_jitter(0.0);
    let stack = ReliabilityStack::builder()
        .hedge(HedgeConfig::fixed(Duration::from_millis(10)))
        .circuit_breaker(config)
        .classify(ByPeer)
        .flat_errors()
        .build()
        .expect("they go together");
    assert!(stack.layer(Script::new([Act::BAD, Act::BAD]).service()).oneshot(()).await.is_err());
    tokio::time::advance(Duration::from_secs(6)).await;
    let well = Script::new(std::iter::repeat_n(Act::GOOD.after(Duration::from_millis(20)), 40));
    for _ in 0..4 {
        let _ = stack.layer(well.service()).oneshot(()).await;
    }
    assert_eq!(stack.circuit_breaker().state().as_str(), "closed");
}
