//! Limits on the requests in flight, and the order in which requests wait.

use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::time::{sleep, timeout};

use crate::{Result, process::Running, status_of, upstream::Upstream};

/// The usual gateway with these lines at the top, and with a critical and a low route.
fn gateway(upstream: &Upstream, top: &str, lines: &str) -> Result<Running> {
    Running::start(&format!(
        "listen = '127.0.0.1:0'\n{top}\n\
         routes = [\n\
         {{ prefix = '/payments', upstream = 'payments' }},\n\
         {{ prefix = '/payments/echo', upstream = 'payments', priority = 'critical' }},\n\
         {{ prefix = '/payments/slow', upstream = 'payments', priority = 'low' }},\n\
         {{ prefix = '/other', upstream = 'other' }}]\n\
         [upstreams.other]\nurl = 'http://{0}'\n\
         [upstreams.payments]\nurl = 'http://{0}'\n{lines}\n",
        upstream.address
    ))
}

/// The state of the limit of the gateway, which has the name `/-`, or of an upstream.
async fn limit(gateway: &Running, name: &str) -> Result<Value> {
    Ok(status_of(gateway, name).await?["concurrency_limit"].take())
}

/// Waits until the limit has so many requests in flight and so many waiting.
async fn until(gateway: &Running, name: &str, in_flight: u64, waiting: u64) -> Result<Value> {
    let began = Instant::now();
    loop {
        let limit = limit(gateway, name).await?;
        let queued: u64 =
            limit["waiting"].as_object().into_iter().flatten().filter_map(|it| it.1.as_u64()).sum();
        if (limit["in_flight"].as_u64(), queued) == (Some(in_flight), waiting) {
            return Ok(limit);
        }
        assert!(began.elapsed() < Duration::from_secs(5), "{limit}");
        sleep(Duration::from_millis(5)).await;
    }
}

/// A request that is sent and not answered.
fn send(
    gateway: &Running,
    path: &str,
    headers: &[(&str, &str)],
) -> tokio::task::JoinHandle<Result<(u16, Duration), reqwest::Error>> {
    let request = headers
        .iter()
        .fold(reqwest::Client::new().get(gateway.url(path)), |it, (name, value)| it.header(*name, *value));
    tokio::spawn(async move {
        let began = Instant::now();
        let response = request.send().await?;
        let status = response.status().as_u16();
        response.bytes().await?;
        Ok((status, began.elapsed()))
    })
}

#[tokio::test]
async fn a_request_above_a_limit_is_answered_503_with_a_time_and_without_numbers() -> Result {
    let upstream = Upstream::start().await?;
    let limit = "concurrency_limit = { limit = 1, queue = { capacity = 0 } }";
    for (top, lines, name) in [(limit, "", "/-"), ("", limit, "payments")] {
        let gateway = gateway(&upstream, top, lines)?;
        let _held = send(&gateway, "/payments/silent", &[]);
        until(&gateway, name, 1, 0).await?;
        let began = Instant::now();
        let refused = reqwest::get(gateway.url("/payments/echo")).await?;
        assert_eq!(refused.status(), 503);
        assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
        assert_eq!(refused.headers()["retry-after"], "1");
        let text = refused.text().await?;
        assert!(!text.contains("limit") && !text.contains("payments"), "{text}");
        // The limit of one upstream does not concern another one. The path is unknown to the server.
        let other = reqwest::get(gateway.url("/other")).await?.status();
        assert_eq!(other, if name == "/-" { 503 } else { 404 });
    }
    Ok(())
}

#[tokio::test]
async fn a_permit_is_held_until_the_end_of_the_body_and_returns_when_the_client_hangs_up() -> Result {
    let upstream = Upstream::start().await?;
    let limit = "concurrency_limit = { limit = 1, queue = { capacity = 0 } }";
    for (top, lines, name) in [(limit, "", "/-"), ("", limit, "payments")] {
        let gateway = gateway(&upstream, top, lines)?;
        let mut endless = reqwest::get(gateway.url("/payments/endless")).await?;
        endless.chunk().await?;
        sleep(Duration::from_millis(50)).await;
        assert_eq!(
            reqwest::get(gateway.url("/payments/echo")).await?.status(),
            503,
            "the body has not ended"
        );
        drop(endless);
        until(&gateway, name, 0, 0).await?;

        let silent = send(&gateway, "/payments/silent", &[]);
        until(&gateway, name, 1, 0).await?;
        silent.abort();
        until(&gateway, name, 0, 0).await?;
        assert_eq!(reqwest::get(gateway.url("/payments/echo")).await?.status(), 200);
    }
    Ok(())
}

#[tokio::test]
async fn a_critical_request_is_the_next_one_while_low_ones_wait() -> Result {
    let upstream = Upstream::start().await?;
    // The server takes 200 ms for each low request.
    let limit = "concurrency_limit = { limit = 1, queue = { capacity = 6, max_wait = '9s', shed = 'off' } }";
    for (top, lines, name) in [(limit, "", "/-"), ("", limit, "payments")] {
        let gateway = gateway(&upstream, top, lines)?;
        let low: Vec<_> = (0..7).map(|_| send(&gateway, "/payments/slow", &[])).collect();
        let full = until(&gateway, name, 1, 6).await?;
        assert_eq!(full["waiting"]["low"], 6, "{full}");

        let (status, took) = send(&gateway, "/payments/echo", &[]).await??;
        assert_eq!(status, 200);
        assert!(took < Duration::from_millis(600), "{took:?}: it waited for one request at most");

        // It took the place of the newest low one.
        let mut statuses = Vec::new();
        for request in low {
            statuses.push(timeout(Duration::from_secs(9), request).await???.0);
        }
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 200, 200, 200, 200, 200, 503]);
    }
    Ok(())
}

#[tokio::test]
async fn a_header_lowers_a_priority_and_raises_it_only_from_a_trusted_network() -> Result {
    let upstream = Upstream::start().await?;
    let limit = "concurrency_limit = { limit = 1, queue = { max_wait = '9s', shed = 'off' } }";
    for (clients, raised) in [
        ("", "normal"),
        ("clients.trust = ['127.0.0.1']", "normal"),
        ("clients = { priority_header = 'trusted' }", "normal"),
        ("clients = { priority_header = 'trusted', trust = ['127.0.0.1'] }", "critical"),
    ] {
        let gateway = gateway(&upstream, &format!("{clients}\n{limit}"), "")?;
        let _held = send(&gateway, "/payments/silent", &[]);
        until(&gateway, "/-", 1, 0).await?;
        let lowered = send(&gateway, "/payments/silent", &[("priority", "u=7, i")]);
        assert_eq!(until(&gateway, "/-", 1, 1).await?["waiting"]["low"], 1, "{clients}");
        let _raised = send(&gateway, "/payments/silent", &[("priority", "u=0")]);
        assert_eq!(until(&gateway, "/-", 1, 2).await?["waiting"][raised], 1, "{clients}");
        lowered.abort();
        until(&gateway, "/-", 1, 1).await?;
    }
    Ok(())
}

#[tokio::test]
async fn one_client_behind_a_trusted_proxy_cannot_fill_the_queue() -> Result {
    let upstream = Upstream::start().await?;
    let top = "clients.trust = ['127.0.0.1']\n\
               concurrency_limit = { limit = 1, queue = { per_key = 2, max_wait = '9s', shed = 'off' } }";
    let gateway = gateway(&upstream, top, "")?;
    let _held = send(&gateway, "/payments/silent", &[]);
    until(&gateway, "/-", 1, 0).await?;
    let from = |address| send(&gateway, "/payments/silent", &[("x-forwarded-for", address)]);
    let _greedy = [from("192.0.2.1"), from("192.0.2.1")];
    until(&gateway, "/-", 1, 2).await?;
    assert_eq!(from("192.0.2.1").await??.0, 503, "the third one of the same client");
    let _polite = from("192.0.2.2");
    until(&gateway, "/-", 1, 3).await?;
    Ok(())
}
