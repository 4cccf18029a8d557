//! Hedges with state per key: a slow key harms no other one, and the retry of the key shares its budget.

use std::time::Duration;

use tokio::time::advance;
use tower::{Layer, ServiceExt};
use tower_reliability::{
    Error, ErrorClass, ReliabilityStack,
    circuit_breaker::CircuitBreakerConfig,
    hedge::HedgeConfig,
    http as reliable,
    retry::{Jitter, RetryConfig},
    retry_budget::{RetryBudget, RetryBudgetConfig},
    testing::{Scripted, Step},
};

use crate::scripted::{Answer, ByPeer, Peer};

const MILLI: Duration = Duration::from_millis(1);
const HEDGE: HedgeConfig = HedgeConfig::fixed(MILLI);
const RETRY: RetryConfig = RetryConfig::fixed(MILLI).jitter(Jitter::None);

fn three_hedges() -> RetryBudget {
    RetryBudgetConfig::new().reserve(3).ratio(0.0).without_health_gate().build().expect("in range")
}

/// Key 1 fails after a while, all others are slow.
fn backend() -> Scripted<u32, (), Error<Peer>> {
    Scripted::new(|key: &u32| match *key {
        1 => Step::fail(Error::Inner(Peer(Answer::Fail(ErrorClass::Server)))).after(10 * MILLI),
        _ => Step::answer(()).after(10 * MILLI),
    })
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "a key is read from a reference to the request")]
fn key(request: &u32) -> u32 {
    *request
}

#[tokio::test(start_paused = true)]
async fn a_key_uses_up_no_hedge_of_another() {
    let layer = HEDGE.build().expect("valid").classify(ByPeer).budget(three_hedges()).keyed(key).max_keys(2);
    let (service, handle) = (layer.layer(backend()), layer.handle());
    for _ in 0..10 {
        let _ = service.clone().oneshot(1).await;
    }
    for key in [2, 3] {
        service.clone().oneshot(key).await.expect("it is slow, and answers");
    }
    let hedges = |key| handle.get(&key).map(|it| it.snapshot().counts.hedges);
    assert_eq!([hedges(1), hedges(2), hedges(3)], [Some(3), Some(1), None]);
    assert_eq!(handle.others().snapshot().counts.hedges, 1, "the third key had no room");
    assert_eq!(handle.get(&2).expect("called").name().as_str(), "hedge:2");
}

#[tokio::test(start_paused = true)]
async fn the_delay_is_learnt_per_key() {
    let config = HedgeConfig::quantile(0.5).start(Duration::from_secs(1));
    let layer = config.build().expect("valid").classify(ByPeer).keyed(key);
    let service = layer.layer(backend());
    for _ in 0..30 {
        service.clone().oneshot(2).await.expect("it answers");
    }
    service.clone().oneshot(3).await.expect("it answers");
    let delay = |key| layer.handle().get(&key).expect("called").snapshot().classes[0].delay;
    assert!(delay(2).expect("learnt") < 20 * MILLI);
    assert_eq!(delay(3), Some(Duration::from_secs(1)));
}

#[tokio::test(start_paused = true)]
async fn case_83_new_numbers_of_a_keyed_hedge_hold_for_keys_of_now_and_of_later() {
    let layer =
        HedgeConfig::fixed(Duration::from_secs(1)).build().expect("valid").classify(ByPeer).keyed(key);
    let (service, handle) = (layer.layer(backend()), layer.handle());
    service.clone().oneshot(2).await.expect("it answers");
    handle.update(HEDGE).expect("valid");
    for key in [2, 3] {
        service.clone().oneshot(key).await.expect("it answers");
    }
    let hedges: Vec<_> = handle.snapshots().into_iter().map(|(_, it)| it.counts.hedges).collect();
    assert_eq!((hedges, handle.others().config()), (vec![1, 1], HEDGE));
    assert_eq!(handle.update(HEDGE.max_hedges(0)).map_err(|error| error.field()), Err("max_hedges"));
}

#[tokio::test(start_paused = true)]
async fn retry_and_hedge_of_a_key_share_its_budget_also_after_the_hedge_forgot_the_key() {
    let stack = ReliabilityStack::builder()
        .flat_errors()
        .classify(ByPeer)
        .retry_budget(three_hedges())
        .retry(RETRY.per_key(key))
        .hedge(HEDGE.per_key(key).max_keys(1))
        .build()
        .expect("in range");
    let (backend, minute) = (backend(), Duration::from_secs(60));
    let service = stack.layer(backend.clone());
    assert!(service.clone().oneshot(1).await.is_err());
    let of_retry = || stack.retry().get(&1).expect("called").snapshot();
    let of_hedge = || stack.hedge().get(&1).expect("called").snapshot();
    // Three withdrawals: a hedge of each of two attempts, and the retry in between.
    assert_eq!((of_retry().counts.retries, of_hedge().counts.hedges, backend.calls()), (1, 2, 4));
    assert_eq!((of_retry().budget, of_retry().budget.spent), (of_hedge().budget, 3));

    advance(minute).await;
    service.clone().oneshot(2).await.expect("it answers");
    assert!(stack.hedge().get(&1).is_none() && stack.retry().get(&1).is_some());
    advance(minute).await;
    assert!(service.clone().oneshot(1).await.is_err());
    // A budget of its own would grant the hedge three withdrawals again.
    assert_eq!((of_retry().budget, of_hedge().counts.hedges), (of_hedge().budget, 0));
}

#[tokio::test(start_paused = true)]
async fn many_keys_find_their_budgets() {
    let stack = ReliabilityStack::builder()
        .flat_errors()
        .classify(ByPeer)
        .retry(RETRY.per_key(key).max_keys(8))
        .hedge(HEDGE.per_key(key).max_keys(4))
        .build()
        .expect("in range");
    let service = stack.layer(backend());
    for key in 0..200 {
        let _ = service.clone().oneshot(key).await;
        if let Some(hedge) = stack.hedge().get(&key) {
            let retry = stack.retry().get(&key).expect("it has more room");
            assert_eq!(retry.budget().snapshot(), hedge.budget().snapshot());
        }
        advance(Duration::from_secs(20)).await;
    }
    assert_eq!((stack.retry().len(), stack.hedge().len()), (8, 4));
}

#[test]
fn stages_with_different_keys_are_refused() {
    let (retry, breaker) = (RetryConfig::new(), CircuitBreakerConfig::new());
    let error = reliable::standard().hedge(HEDGE).build().expect_err("one delay for all hosts").to_string();
    assert!(error.starts_with("hedge must have the key of circuit_breaker"), "{error}");
    assert!(reliable::standard().hedge(HEDGE.per_authority()).build().is_ok());
    assert!(reliable::standard().hedge(None::<HedgeConfig>).build().is_ok());

    let builder = || ReliabilityStack::builder().hedge(HEDGE);
    let error = builder().retry(retry.per_key(key)).build().expect_err("a budget each").to_string();
    assert!(error.starts_with("hedge must have the key of retry"), "{error}");
    let keyed = || ReliabilityStack::builder().hedge(HEDGE.per_key(key));
    let error = keyed().retry(retry).build().expect_err("a budget each").to_string();
    assert!(error.starts_with("retry must have the key of hedge"), "{error}");
    let text = |request: &u32| request.to_string();
    let error = keyed().retry(retry.per_key(text)).build().expect_err("other keys").to_string();
    assert!(error.starts_with("hedge must have the key of retry"), "{error}");
    let builder = ReliabilityStack::builder().retry(retry.per_key(text));
    let error = builder.circuit_breaker(breaker.per_key(key)).build().expect_err("other keys").to_string();
    assert!(error.starts_with("retry must have the key of circuit_breaker"), "{error}");
    assert!(keyed().build().is_ok());
    assert!(keyed().retry(retry.per_key(key)).circuit_breaker(breaker).build().is_ok());
}
