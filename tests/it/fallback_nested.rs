//! A stack around a stack: the outer fallback answers rejections of the inner stack, and errors print each text once.

use std::{collections::BTreeSet, error, io, iter, time::Duration};

use tower::{Layer, Service, ServiceExt, service_fn};
use tower_reliability::{
    AsRejected, Error, ErrorClass, IntoRejected, Reason, ReliabilityStack, fallback::FallbackConfig,
};

type Nested = Error<Error<io::Error>>;

const SECOND: Duration = Duration::from_secs(1);

/// Refuses 1, never answers 2, and answers everything else with the same number.
async fn backend(n: u32) -> io::Result<u32> {
    match n {
        1 => Err(io::Error::from(io::ErrorKind::ConnectionRefused)),
        2 => std::future::pending().await,
        n => Ok(n),
    }
}

/// An inner stack that rejects after a second.
fn inner() -> impl Service<u32, Response = u32, Error = Error<io::Error>> + Clone {
    let stack = ReliabilityStack::builder().named("inner").timeout(SECOND).build().expect("valid");
    stack.layer(service_fn(backend))
}

/// The texts that a reporter prints for an error and its sources, as `{:#}` of anyhow does.
fn texts(error: &dyn error::Error) -> Vec<String> {
    iter::successors(Some(error), |error| error.source()).map(ToString::to_string).collect()
}

#[tokio::test(start_paused = true)]
async fn case_78_the_outer_fallback_answers_the_rejection_of_the_inner_stack() {
    let fallback = FallbackConfig::new().build().expect("valid").value(7);
    let outer = ReliabilityStack::builder().timeout(9 * SECOND).fallback(fallback).build().expect("valid");
    let client = outer.layer(inner());
    assert_eq!(client.clone().oneshot(3).await.expect("the backend answers"), 3);
    assert_eq!(client.clone().oneshot(2).await.expect("the fallback answers"), 7);
    assert_eq!(outer.fallback().snapshot().answered_rejections, 1);
    let failed = client.oneshot(1).await.expect_err("a failure is not answered");
    assert!(matches!(failed, Error::Inner(Error::Inner(_))) && failed.as_rejected().is_none());

    // A third stack changes nothing: the rejection is found at any depth.
    let fallback = FallbackConfig::new().build().expect("valid").value(7);
    let plain = ReliabilityStack::builder().timeout(9 * SECOND).build().expect("valid");
    let outermost = ReliabilityStack::builder().fallback(fallback).build().expect("valid");
    assert_eq!(outermost.layer(plain.layer(inner())).oneshot(2).await.expect("answered"), 7);
}

#[tokio::test(start_paused = true)]
async fn case_78_a_failure_inside_an_inner_stack_is_answered_by_its_class() {
    let fallback = FallbackConfig::new().on(ErrorClass::Connection).build().expect("valid").value(7);
    let outer = ReliabilityStack::builder().fallback(fallback).build().expect("valid");
    assert_eq!(outer.layer(inner()).oneshot(1).await.expect("the fallback answers"), 7);
    assert_eq!(outer.fallback().snapshot().answered_failures[ErrorClass::Connection], 1);
}

#[tokio::test(start_paused = true)]
async fn case_78_no_text_of_a_chain_stands_in_it_twice() {
    let outer = ReliabilityStack::builder().timeout(9 * SECOND).build().expect("valid");
    let mut client = outer.layer(inner());
    for (n, line) in [
        (1, "call failed: connection refused"),
        (2, "call failed: call rejected: inner.timeout: no answer within 1s"),
    ] {
        let error: Nested = client.ready().await.expect("ready").call(n).await.expect_err("it fails");
        let texts = texts(&error);
        assert_eq!(texts.len(), texts.iter().collect::<BTreeSet<_>>().len(), "{texts:?}");
        assert_eq!(texts.join(": "), line);
        assert_eq!(error.report().to_string(), line);
    }
}

#[tokio::test(start_paused = true)]
async fn case_60_the_name_and_the_reason_of_an_inner_rejection_survive() {
    let outer = ReliabilityStack::builder().timeout(9 * SECOND).build().expect("valid");
    let error: Nested = outer.layer(inner()).oneshot(2).await.expect_err("it hangs");
    let rejected = error.into_rejected().expect("a rejection");
    assert_eq!(rejected.layer().as_str(), "inner.timeout");
    assert_eq!(rejected.reason(), Reason::Timeout { limit: SECOND });
}
