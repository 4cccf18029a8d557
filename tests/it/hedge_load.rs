//! The cost and the benefit of a hedge, simulated.

use rand::{RngExt, SeedableRng, rngs::StdRng, seq::SliceRandom};
use tokio::time::Instant;
use tower::{Layer, ServiceExt};
use tower_reliability::{
    Protocol,
    hedge::{HedgeConfig, HedgeLayer},
    retry_budget::{RetryBudget, RetryBudgetConfig},
};

use crate::{
    hedge_learns::{learnt, millis},
    hedge_script::{DELAY, FIXED, layer},
    scripted::{Act, ByPeer, Script},
};

/// Calls that take 1 ‥ 100 ms, each as often, in some order.
async fn uniform_calls(hedge: &HedgeLayer<Protocol<ByPeer>>, hundreds: u64, seed: u64) {
    let mut acts: Vec<_> = (0..hundreds * 100).map(|n| Act::GOOD.after(millis(n % 100 + 1))).collect();
    acts.shuffle(&mut StdRng::seed_from_u64(seed));
    let hedges = acts.clone().into_iter().cycle().skip(1);
    // The hedge of a call takes as long as the first attempt of the next call.
    for (act, hedged) in acts.into_iter().zip(hedges) {
        let script = Script::new([act, hedged]);
        hedge.layer(script.service()).oneshot(()).await.expect("it does well");
    }
}

#[tokio::test(start_paused = true)]
async fn at_the_p95_a_hedge_costs_a_twentieth_more_requests() {
    let hedge = layer(HedgeConfig::quantile(0.95));
    uniform_calls(&hedge, 10, 1).await;
    let (seen, delay) = (hedge.handle().snapshot(), learnt(&hedge.handle()));
    assert!(
        (30..=80).contains(&seen.counts.hedges),
        "{} more than 1 000, after {delay:?}",
        seen.counts.hedges
    );
    assert!((millis(91)..millis(98)).contains(&delay), "{delay:?}");
    assert_eq!(seen.counts.rejected_by_ratio, 0);
}

#[tokio::test(start_paused = true)]
async fn losers_do_not_lower_the_learnt_delay() {
    // Hedges answer at once, so that of slow calls nothing is ever seen but that they were slow.
    let hedge = layer(HedgeConfig::quantile(0.95)).budget(RetryBudget::unlimited());
    for round in 0..20_000_u64 {
        let act = Act::GOOD.after(millis(round * 61 % 100 + 1));
        hedge.layer(Script::new([act]).service()).oneshot(()).await.expect("it does well");
    }
    let (counts, delay) = (hedge.handle().snapshot().counts, learnt(&hedge.handle()));
    assert!((millis(91)..millis(99)).contains(&delay), "{delay:?}");
    assert!((600..=1_600).contains(&counts.hedges), "{} more than 20 000", counts.hedges);
}

#[tokio::test(start_paused = true)]
async fn a_page_of_a_hundred_calls_is_hardly_ever_slow() {
    // "The Tail at Scale": where one call in 100 is slow, so are 63 of 100 pages that need 100 calls.
    let hedge = layer(HedgeConfig::new());
    let mut random = StdRng::seed_from_u64(7);
    let (mut slow_pages, mut slow_unhedged) = (0, 0);
    for _ in 0..200 {
        let (mut slow, mut unhedged) = (false, false);
        for _ in 0..100 {
            let acts: [Act; 2] = std::array::from_fn(|_| {
                let bad_luck = random.random_ratio(1, 100);
                Act::GOOD.after(millis(if bad_luck { 1_000 } else { random.random_range(5..15) }))
            });
            unhedged |= acts[0].after > millis(100);
            let began = Instant::now();
            hedge.layer(Script::new(acts).service()).oneshot(()).await.expect("it does well");
            slow |= began.elapsed() > millis(100);
        }
        slow_pages += u32::from(slow);
        slow_unhedged += u32::from(unhedged);
    }
    assert!((107..147).contains(&slow_unhedged), "{slow_unhedged} of 200 without hedges");
    assert!(slow_pages <= 10, "{slow_pages} of 200 pages");
    let hedges = hedge.handle().snapshot().counts.hedges;
    assert!(hedges < 20_000 * 8 / 100, "{hedges} more than 20 000");
}

#[tokio::test(start_paused = true)]
async fn case_56_a_backend_that_becomes_slow_gets_at_most_a_fifth_more_requests() {
    let budget = RetryBudgetConfig::new().reserve(3).build().expect("valid");
    let hedge = layer(FIXED).budget(budget);
    for _ in 0..1_000 {
        let slow = Act::GOOD.after(DELAY * 2);
        hedge.layer(Script::new([slow; 2]).service()).oneshot(()).await.expect("it does well");
    }
    let counts = hedge.handle().snapshot().counts;
    assert!((150..=203).contains(&counts.hedges), "{counts:?}");
    assert_eq!(counts.rejected_by_ratio, 1_000 - counts.hedges);
    for _ in 0..1_000 {
        let _ = hedge.layer(Script::new([Act::BAD; 2]).service()).oneshot(()).await;
    }
    let more = hedge.handle().snapshot().counts;
    assert!(more.rejected_by_health > 900, "one that fails gets next to none: {more:?}");
}
