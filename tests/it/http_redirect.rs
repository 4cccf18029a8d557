//! A client that follows redirects by itself, below a retry.

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

use crate::peers::{nobody, serve};

/// How often a POST is done that is answered with a redirect to where nobody is, and whether it then succeeds.
async fn done(resend: HttpResend, follows: reqwest::redirect::Policy) -> (u32, bool) {
    let done = Arc::new(AtomicU32::new(0));
    let (counter, receipt) = (done.clone(), format!("http://{}/receipt", nobody().await));
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
async fn a_post_that_was_redirected_into_nowhere_is_done_once() {
    let follow = reqwest::redirect::Policy::default;
    assert_eq!(done(HttpResend::new(), follow()).await, (1, false));
    assert_eq!(
        done(HttpResend::new().no_redirects(), follow()).await,
        (3, false),
        "who says so has to mean it"
    );
    let none = reqwest::redirect::Policy::none();
    assert_eq!(done(HttpResend::new().no_redirects(), none).await, (1, true));
}

#[tokio::test]
async fn a_post_that_nobody_has_seen_is_sent_again_if_no_redirect_can_be_the_reason() {
    for (resend, attempts) in [(HttpResend::new(), 1), (HttpResend::new().no_redirects(), 3)] {
        let retry = RetryConfig::fixed(Duration::ZERO).build().expect("in range");
        let retry = retry.classify(HttpClassifier::new()).resend(resend);
        let client = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none());
        let url = format!("http://{}/order", nobody().await).parse().expect("a URL");
        let request = reqwest::Request::new(reqwest::Method::POST, url);
        let answer = retry.layer(client.build().expect("a client")).oneshot(request).await;
        assert!(answer.expect_err("nobody is there").is_connect());
        assert_eq!(retry.handle().snapshot().counts.retries + 1, attempts);
    }
}
