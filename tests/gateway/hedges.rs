//! Second requests for slow ones.

use std::time::Duration;

use tokio::time::timeout;

use crate::{Result, file, process::Running, status, upstream::Upstream};

/// An upstream of two servers with a hedge after 50 ms.
fn hedged(servers: [&Upstream; 2]) -> Result<Running> {
    let [one, other] = servers.map(|server| server.address);
    let lines =
        format!("url = ['http://{one}', 'http://{other}']\nstack.hedge = {{ after = {{ fixed = '50ms' }} }}");
    Running::start(&file("routes = [{ prefix = '/', upstream = 'payments' }]", &lines))
}

#[tokio::test]
async fn a_request_to_a_slow_server_is_sent_to_the_other_one_too() -> Result {
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
        // There may be more: on a busy machine the fast server is slow too at times.
        assert!(hedge["hedges"].as_u64() >= Some(2), "{hedge}");
        // The slow server learns that its answer is not wanted.
        timeout(SLOW / 2, slow.given_up.acquire_many(2)).await??.forget();
    }
    Ok(())
}

#[tokio::test]
async fn a_request_that_may_not_be_processed_twice_is_sent_once_however_slow() -> Result {
    let latency = Duration::from_millis(300);
    let (one, other) = tokio::try_join!(Upstream::taking(latency), Upstream::taking(latency))?;
    let gateway = hedged([&one, &other])?;
    let client = reqwest::Client::new();
    let post = || client.post(gateway.url("/payments/report")).body("pay");
    assert_eq!(post().send().await?.status(), 200);
    assert_eq!(status(&gateway).await?["hedge"]["hedges"], 0);
    assert_eq!(post().header("idempotency-key", "7").send().await?.status(), 200);
    let status = status(&gateway).await?;
    assert_eq!(status["hedge"]["hedges"], 1, "a request with a key may be sent twice");
    assert_eq!(status["retry"]["credit"], 9.0, "from the budget of the retry");
    Ok(())
}

/// Less than an attempt timeout, and far more than a test may wait.
const SLOW: Duration = Duration::from_secs(4);
