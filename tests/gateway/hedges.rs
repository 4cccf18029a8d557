//! What is sent a second time because it is slow.

use std::time::Duration;

use serde_json::Value;
use tokio::time::timeout;

use crate::{Result, file, process::Running, upstream::Upstream};

/// An upstream of two servers that is asked once more after 50 ms.
fn hedged(servers: [&Upstream; 2]) -> Result<Running> {
    let [one, other] = servers.map(|server| server.address);
    let lines =
        format!("url = ['http://{one}', 'http://{other}']\nhedge = {{ after = {{ fixed = '50ms' }} }}");
    Running::start(&file("routes = [{ prefix = '/', upstream = 'payments' }]", &lines))
}

/// What the gateway says of the upstream.
async fn status(gateway: &Running) -> Result<Value> {
    let status = reqwest::get(gateway.url("/-/status")).await?.text().await?;
    Ok(serde_json::from_str::<Value>(&status)?["payments"].take())
}

#[tokio::test]
async fn where_one_server_is_slow_the_other_one_is_asked_too() -> Result {
    let (slow, fast) = tokio::try_join!(Upstream::taking(SLOW), Upstream::start())?;
    for servers in [[&slow, &fast], [&fast, &slow]] {
        let gateway = hedged(servers)?;
        for _ in 0..4 {
            let response = timeout(SLOW / 2, reqwest::get(gateway.url("/payments/report"))).await??;
            assert_eq!((response.status().as_u16(), response.text().await?.as_str()), (200, "a report"));
        }
        let hedge = &status(&gateway).await?["hedge"];
        // Each server is the first of every second request.
        assert_eq!(hedge["won_by_hedge"], 2, "{hedge}");
        // There may be more of them: on a busy machine the fast server may be slow too.
        assert!(hedge["hedges"].as_u64() >= Some(2), "{hedge}");
        // The slow server gets to know that nobody waits for it any longer.
        timeout(SLOW / 2, slow.given_up.acquire_many(2)).await??.forget();
    }
    Ok(())
}

#[tokio::test]
async fn what_must_not_be_done_twice_is_sent_once_however_long_it_takes() -> Result {
    let latency = Duration::from_millis(300);
    let (one, other) = tokio::try_join!(Upstream::taking(latency), Upstream::taking(latency))?;
    let gateway = hedged([&one, &other])?;
    let client = reqwest::Client::new();
    let post = || client.post(gateway.url("/payments/report")).body("pay");
    assert_eq!(post().send().await?.status(), 200);
    assert_eq!(status(&gateway).await?["hedge"]["hedges"], 0);
    assert_eq!(post().header("idempotency-key", "7").send().await?.status(), 200);
    let status = status(&gateway).await?;
    assert_eq!(status["hedge"]["hedges"], 1, "what has a key may be sent twice");
    assert_eq!(status["retry"]["credit"], 9.0, "on the retry's credit");
    Ok(())
}

/// Less than an attempt may take, and far more than a test may wait for.
const SLOW: Duration = Duration::from_secs(4);
