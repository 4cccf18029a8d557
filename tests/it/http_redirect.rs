//! A client that follows redirects by itself, inside a retry.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use axum::{Router, response::Redirect, routing};
use tower::{Layer, ServiceExt};
use tower_reliability::{
    http::{HttpClassifier, HttpResend},
    retry::RetryConfig,
};

use crate::peers::{no_listener, serve};

/// Answers a POST with a redirect to a dead host. Returns how often the POST was processed, and whether it succeeded.
async fn done(resend: HttpResend, follows: reqwest::redirect::Policy) -> (u32, bool) {
    let done = Arc::new(AtomicU32::new(0));
    let (counter, receipt) = (done.clone(), format!("http://{}/receipt", no_listener().await));
    let handler = move || async move {
        counter.fetch_add(1, Ordering::Relaxed);
        Redirect::to(&receipt)
    };
    let address = serve(Router::new().route("/order", routing::post(handler))).await;
    let retry = RetryConfig::fixed(Duration::ZERO).build().expect("in range");
    let client = reqwest::Client::builder().no_proxy().redirect(follows).build().expect("a client");
    let client = retry.classify(HttpClassifier::new()).resend(resend).layer(client);
    let url = format!("http://{address}/order").parse().expect("a URL");
    let answer = client.oneshot(reqwest::Request::new(reqwest::Method::POST, url)).await;
    (done.load(Ordering::Relaxed), answer.is_ok())
}

#[tokio::test]
async fn a_post_that_was_redirected_to_a_dead_host_is_processed_once() {
    let follow = reqwest::redirect::Policy::default;
    assert_eq!(done(HttpResend::new(), follow()).await, (1, false));
    assert_eq!(done(HttpResend::new().no_redirects(), follow()).await, (3, false), "the promise was wrong");
    let none = reqwest::redirect::Policy::none();
    assert_eq!(done(HttpResend::new().no_redirects(), none).await, (1, true));
}

#[tokio::test]
async fn an_unprocessed_post_is_sent_again_if_no_redirect_can_be_the_reason() {
    for (resend, attempts) in [(HttpResend::new(), 1), (HttpResend::new().no_redirects(), 3)] {
        let retry = RetryConfig::fixed(Duration::ZERO).build().expect("in range");
        let retry = retry.classify(HttpClassifier::new()).resend(resend);
        let client = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none());
        let url = format!("http://{}/order", no_listener().await).parse().expect("a URL");
        let request = reqwest::Request::new(reqwest::Method::POST, url);
        let answer = retry.layer(client.build().expect("a client")).oneshot(request).await;
        assert!(answer.expect_err("no server is there").is_connect());
        assert_eq!(retry.handle().snapshot().counts.retries + 1, attempts);
    }
}
