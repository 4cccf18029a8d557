//! The quotas that the handles of a rate limit tell.

use std::{
    future::{Future, Ready, ready},
    task::{Context, Poll, Waker},
    time::Duration,
};

use rand::{RngExt, SeedableRng, rngs::StdRng};
use tokio::time::advance;
use tower::{Layer, Service, service_fn};
use tower_reliability::{
    Error,
    rate_limit::{Quota, Quotas, RateLimitConfig},
};

type Answer = Result<(), Error<std::fmt::Error>>;

const SECOND: Duration = Duration::from_secs(1);

/// Whether the limit lets a call pass at once.
fn passes<L>(limit: &L, key: u32) -> bool
where
    L: Layer<Backend, Service: Service<u32, Response = (), Error = Error<std::fmt::Error>>>,
{
    let backend: Backend = service_fn(|_| ready(Ok(())));
    let future = limit.layer(backend).call(key);
    let answer = std::pin::pin!(future).poll(&mut Context::from_waker(Waker::noop()));
    matches!(answer, Poll::Ready(Ok(())))
}

type Backend = tower::util::ServiceFn<fn(u32) -> Ready<Answer>>;

/// The fewest calls that any quota leaves, and the longest time until one more.
fn rest(quotas: Quotas) -> (u32, Duration) {
    let all = || [quotas.bucket, quotas.window].into_iter().flatten();
    let remaining = all().map(|quota| quota.remaining).min().expect("a limit has a quota");
    let full = all().filter(|quota| quota.remaining == remaining).filter_map(|quota| quota.next_in);
    (remaining, full.max().unwrap_or_default())
}

const CONFIGS: [RateLimitConfig; 3] = [
    RateLimitConfig::per_second(10).burst(4),
    RateLimitConfig::sliding_window(5, SECOND),
    RateLimitConfig::per_second(20).burst(3).window(6, SECOND),
];

#[tokio::test(start_paused = true)]
async fn as_many_calls_pass_as_the_quotas_say_and_the_next_one_when_they_say() {
    for (seed, config) in (0..30).flat_map(|seed| CONFIGS.map(|config| (seed, config))) {
        let mut rng = StdRng::seed_from_u64(seed);
        let (limit, keyed) =
            (config.build().expect("valid"), config.build().expect("valid").keyed(|key: &u32| *key));
        for _ in 0..20 {
            advance(Duration::from_millis(rng.random_range(0..400))).await;
            let key = rng.random_range(0..2);
            if rng.random_bool(0.7) {
                passes(&limit, key);
                passes(&keyed, key);
                continue;
            }
            for of_key in [false, true] {
                let quotas = || if of_key { keyed.handle().quotas(&key) } else { limit.handle().quotas() };
                let try_one = || if of_key { passes(&keyed, key) } else { passes(&limit, key) };
                let (remaining, _) = rest(quotas());
                let passed = (0..100).take_while(|_| try_one()).count();
                assert_eq!(passed, remaining as usize, "seed {seed}, {config:?}, by key: {of_key}");
                let (none, next_in) = rest(quotas());
                assert!(none == 0 && next_in > Duration::ZERO, "seed {seed}, {config:?}: {next_in:?}");
                advance(next_in.saturating_sub(Duration::from_nanos(1))).await;
                assert!(!try_one(), "seed {seed}, {config:?}: {next_in:?}");
                advance(Duration::from_nanos(1)).await;
                assert!(try_one(), "seed {seed}, {config:?}: {next_in:?}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn case_34_a_look_at_a_key_gives_it_no_state() {
    let limit = RateLimitConfig::per_second(10).burst(4).window(5, SECOND).build().expect("valid");
    let keyed = limit.keyed(|key: &u32| *key).max_keys(1);
    let handle = keyed.handle();
    let remaining = |key| {
        let quotas = handle.quotas(&key);
        [quotas.bucket, quotas.window].map(|quota| quota.expect("it has both").remaining)
    };
    for key in 0..1_000 {
        assert_eq!(remaining(key), [4, 5]);
    }
    assert_eq!(handle.snapshot().keys, 0);
    assert!(passes(&keyed, 1) && passes(&keyed, 1));
    assert_eq!((remaining(1), remaining(2)), ([2, 3], [4, 5]));
    // The keys without room share one limit.
    assert!(passes(&keyed, 2));
    assert_eq!((remaining(1), remaining(2), remaining(3)), ([2, 3], [3, 4], [3, 4]));
    assert_eq!(handle.snapshot().keys, 1);
}

#[tokio::test(start_paused = true)]
async fn case_64_new_numbers_show_in_the_quotas() {
    let limit = RateLimitConfig::per_second(10).build().expect("valid");
    let keyed = limit.clone().keyed(|key: &u32| *key);
    assert!(passes(&limit, 1) && passes(&keyed, 1));
    let new = RateLimitConfig::per(60, 60 * SECOND).burst(5).window(9, 60 * SECOND).shadow(true);
    limit.handle().update(new).expect("valid");
    keyed.handle().update(new).expect("valid");
    for quotas in [limit.handle().quotas(), keyed.handle().quotas(&1)] {
        let Some(Quota { limit, period, remaining, .. }) = quotas.bucket else { panic!("{quotas:?}") };
        assert_eq!((limit, period, remaining), (5, 5 * SECOND, 4));
        assert_eq!(quotas.window.map(|quota| (quota.limit, quota.period)), Some((9, 60 * SECOND)));
        assert!(quotas.shadow);
    }
}
