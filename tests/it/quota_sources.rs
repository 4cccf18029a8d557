//! The rules that every source of quotas keeps, over memory and over Redis.

use std::{future::Future, time::Duration};

use serde_json::Value;
use tower_reliability::{
    rate_limit::leased::{Grant, MemoryQuota, QuotaRequest, QuotaSource},
    redis::RedisQuota,
};

use crate::redis_server::RedisServer;

/// One body for all sources. `pass` lets time pass, in which the source may take a little longer.
async fn conforms<W: Future<Output = ()>>(
    source: impl QuotaSource,
    pass: impl Fn(Duration) -> W,
    slack: Duration,
) {
    let interval = Duration::from_millis(400);
    let bucket = |key: &str| QuotaRequest::new(key, interval, 10);
    let ask = |request| async { source.lease(request).await.expect("it answers") };
    let near = |found: Duration, expected: Duration| {
        assert!(found <= expected && found + slack >= expected, "{found:?} instead of {expected:?}");
    };

    // A new bucket is full, and grants a part if it has less.
    let grant = ask(bucket("a").wanted(4)).await;
    assert_eq!((grant.granted, grant.remaining, grant.retry_after), (4, 6, Duration::ZERO));
    near(grant.reset_after, 4 * interval);
    let grant = ask(bucket("a").wanted(100)).await;
    assert_eq!((grant.granted, grant.remaining), (6, 0));
    near(grant.retry_after, interval);
    near(grant.reset_after, 10 * interval);
    assert_eq!(ask(bucket("a").wanted(1)).await.granted, 0);
    // Another key has another bucket.
    assert_eq!(ask(bucket("a:").wanted(10)).await.granted, 10);
    // It refills evenly.
    pass(2 * interval + interval / 4).await;
    assert_eq!(ask(bucket("a").wanted(5)).await.granted, 2);
    // Debts are taken in any case, and paid before a unit is granted.
    let grant = ask(bucket("a").owed(2).wanted(5)).await;
    assert_eq!((grant.granted, grant.remaining), (0, 0));
    let wait = grant.retry_after;
    assert!(wait > 2 * interval && wait <= 3 * interval, "{wait:?}");
    pass(wait + slack / 2).await;
    assert_eq!(ask(bucket("a").wanted(5)).await.granted, 1);
    // A bucket owes its content once more at most.
    let grant = ask(bucket("b").owed(u32::MAX).wanted(u32::MAX)).await;
    assert_eq!(grant.granted, 0);
    near(grant.reset_after, 20 * interval);
    // A request for nothing reads.
    assert_eq!(ask(bucket("c")).await, Grant { remaining: 10, ..Grant::default() });
    assert_eq!(ask(bucket("c").wanted(3)).await.granted, 3);
    assert_eq!(ask(bucket("c")).await.remaining, 7);
    // Other numbers hold for what is left of the fill.
    let grant = ask(QuotaRequest::new("c", interval * 2, 5)).await;
    assert!((3..=4).contains(&grant.remaining), "{grant:?}");
    // Fast rates and large buckets are exact to a unit.
    let fast = || QuotaRequest::new("d", Duration::from_micros(1), 1_000_000);
    assert_eq!(ask(fast().wanted(1_000_000)).await.granted, 1_000_000);
    pass(Duration::from_millis(100)).await;
    let granted = ask(fast().wanted(u32::MAX)).await.granted;
    assert!(
        (100_000..=100_000 + u32::try_from(slack.as_micros()).expect("short")).contains(&granted),
        "{granted}"
    );
    // A key may hold anything.
    let hostile = "} \"\r\n$ ' \\ \u{0} 銀行 ".repeat(100);
    assert_eq!(ask(bucket(&hostile).wanted(10)).await.granted, 10);
    assert_eq!(ask(bucket(&hostile).wanted(10)).await.granted, 0);
}

/// The trace of redis-cell, without its refusals of whole costs: a source grants a part.
async fn traces_redis_cell<W: Future<Output = ()>>(source: impl QuotaSource, pass: impl Fn(Duration) -> W) {
    const SCALE: f64 = 0.3;
    let all: Vec<Value> =
        serde_json::from_str(include_str!("../vectors/ratelimit.json")).expect("the file is JSON");
    let trace = all.iter().find(|it| it["area"] == "ratelimit.gcra" && it["expect"]["rows"].is_array());
    let mut now = 0.0;
    for row in trace.expect("a trace")["expect"]["rows"].as_array().expect("rows") {
        let number = |column: usize| row[column].as_f64().expect("a number");
        let (at, cost, limited) = (number(1), number(2), row[3] == true);
        if limited {
            continue;
        }
        // Faster than the trace.
        pass(Duration::from_secs_f64((at - now) * SCALE)).await;
        now = at;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a small whole number")]
        let cost = cost as u32;
        let request = QuotaRequest::new("cell", Duration::from_secs_f64(SCALE), 5).wanted(cost);
        let grant = source.lease(request).await.expect("it answers");
        assert_eq!((grant.granted, f64::from(grant.remaining)), (cost, number(4)), "{row}");
        let reset = grant.reset_after.as_secs_f64() / SCALE;
        assert!(reset <= number(5) + 1e-3 && reset > number(5) - 0.4, "{row}: {reset}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_memory_keeps_the_rules_of_a_source() {
    conforms(MemoryQuota::new(), tokio::time::advance, Duration::ZERO).await;
    traces_redis_cell(MemoryQuota::new(), tokio::time::advance).await;
}

#[tokio::test]
async fn redis_keeps_the_rules_of_a_source() {
    let server = RedisServer::start().await;
    let source = RedisQuota::open(server.address()).expect("an address").prefix("a:");
    conforms(source.clone(), tokio::time::sleep, Duration::from_millis(300)).await;
    traces_redis_cell(source.prefix("b:"), tokio::time::sleep).await;
}

#[tokio::test]
async fn redis_forgets_a_bucket_that_is_full_and_the_prefix_keeps_buckets_apart() {
    let server = RedisServer::start().await;
    let [one, other] =
        ["one:", "other:"].map(|it| RedisQuota::open(server.address()).expect("an address").prefix(it));
    let request = QuotaRequest::new("k", Duration::from_millis(20), 10);
    assert_eq!(one.lease(request.clone().wanted(10)).await.expect("it answers").granted, 10);
    assert_eq!(other.lease(request.wanted(10)).await.expect("it answers").granted, 10);
    assert_eq!(server.keys().await, 2);
    tokio::time::sleep(Duration::from_millis(400)).await;
    assert_eq!(server.keys().await, 0);
}

#[tokio::test]
async fn an_error_and_a_debug_text_do_not_tell_the_password() {
    let source = RedisQuota::open("redis://user:hunter2@127.0.0.1:1").expect("an address");
    let error = source.lease(QuotaRequest::new("k", Duration::from_secs(1), 1)).await;
    let text = format!("{source:?} {error:?}");
    assert!(error.is_err() && !text.contains("hunter2"), "{text}");
    assert!(RedisQuota::open("no address").is_err());
}
