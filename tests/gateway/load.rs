//! The gateway under wrk: an outage, and a stop.
//!
//! `GATEWAY_LOAD=60` makes the outage a minute long.

use std::{collections::BTreeMap, env, io, time::Duration};

use tokio::{process::Command, task::JoinHandle, time::sleep};

use crate::{Result, outages::Mortal, process::Running, upstream::Upstream};

/// Asks for this path on 32 connections, and returns wrk's report.
fn wrk(gateway: &Running, path: &str, seconds: u64) -> JoinHandle<Result<String, io::Error>> {
    let mut wrk = Command::new("wrk");
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/gateway/count.lua");
    wrk.args(["-t1", "-c32", &format!("-d{seconds}s"), "-s", script, &gateway.url(path)]).kill_on_drop(true);
    tokio::spawn(async move {
        let output = wrk.output().await?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    })
}

/// The number of requests, and the lines about failures.
fn read(report: &str) -> Result<(u64, Vec<&str>)> {
    let requests = report.lines().find(|line| line.contains(" requests in ")).ok_or(report)?;
    let requests = requests.split_whitespace().next().ok_or(report)?.parse()?;
    let failures = report.lines().filter(|line| line.contains("Non-2xx") || line.contains("Socket errors"));
    Ok((requests, failures.collect()))
}

/// The number of answers of each status.
fn statuses(report: &str) -> Result<BTreeMap<u16, u64>> {
    let pairs = report.lines().filter_map(|line| line.strip_prefix("status ")?.split_once(": "));
    pairs.map(|(status, count)| Ok((status.parse()?, count.parse()?))).collect()
}

async fn wrk_is_here() -> bool {
    let found = Command::new("wrk").arg("-v").output().await.is_ok();
    if !found {
        println!("skipped, there is no wrk here");
    }
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrk_sees_no_failure_after_the_first_second_of_an_outage() -> Result {
    if !wrk_is_here().await {
        return Ok(());
    }
    let seconds = env::var("GATEWAY_LOAD").map_or(Ok(6), |text| text.parse::<u64>())?;
    let mut servers = [Mortal::start()?, Mortal::start()?];
    let gateway = crate::outages::gateway(&servers.each_ref().map(|server| server.address), "")?;

    let first = wrk(&gateway, "/", 2);
    sleep(Duration::from_millis(800)).await;
    servers[0].kill().await;
    let first = first.await??;

    let later = wrk(&gateway, "/", seconds);
    sleep(Duration::from_secs(seconds / 2)).await;
    servers[0].revive()?;
    let later = later.await??;

    let ((before, failed), (requests, failures)) = (read(&first)?, read(&later)?);
    println!(
        "{before} requests until a second after the outage began: {failed:?}; {requests} later: {failures:?}"
    );
    assert!(requests > 100 * seconds && failures.is_empty(), "{later}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_hangs_at_twice_a_limit() -> Result {
    if !wrk_is_here().await {
        return Ok(());
    }
    let upstream = Upstream::start().await?;
    for limit in LIMITS {
        let gateway = Running::start(&format!("{limit}\n{}", upstream.config()))?;
        let report = wrk(&gateway, "/payments/slow", 3).await??;
        let ((requests, failures), statuses) = (read(&report)?, statuses(&report)?);
        println!("{limit}: {statuses:?}");
        assert!(failures.len() == 1 && failures[0].contains("Non-2xx"), "{report}");
        assert!(statuses.keys().all(|status| ANSWERS.contains(status)), "{report}");
        assert!(statuses[&200] > 0 && statuses[&200] < requests / 2, "{report}");
        assert_eq!(statuses.values().sum::<u64>(), requests, "{report}");
    }
    Ok(())
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_at_twice_the_limit_cuts_no_request_off() -> Result {
    if !wrk_is_here().await {
        return Ok(());
    }
    let upstream = Upstream::start().await?;
    // The server takes 200 ms. Of the 32 requests at once, 16 are in flight, 8 wait, and 8 are refused.
    let limit = "concurrency_limit = { limit = 16, queue = { capacity = 8, max_wait = '5s', shed = 'off' } }";
    let gateway = Running::start(&format!("{limit}\n{}", upstream.config()))?;
    let load = wrk(&gateway, "/payments/slow", 10);
    sleep(Duration::from_secs(2)).await;
    let status = crate::status_of(&gateway, "/-").await?["concurrency_limit"].take();
    assert!(status["in_flight"] == 16 && status["rejected"].as_u64() > Some(0), "{status}");

    gateway.signal("TERM")?;
    let (code, output) = tokio::task::spawn_blocking(move || gateway.wait()).await??;
    load.abort();
    assert_eq!(code, Some(0), "{output}");
    assert!(output.contains("every open request was answered"), "{output}");
    Ok(())
}

/// Limits that 32 connections to a server of 200 ms exceed.
pub(crate) const LIMITS: [&str; 3] = [
    "concurrency_limit = { limit = 8, queue = { capacity = 8, max_wait = '500ms', shed = 'off' } }",
    "rate_limit = { per_second = 40, burst = 8, queue = { capacity = 8, max_wait = '500ms', shed = 'off' } }",
    "clients.rate_limit = { per_second = 40, burst = 8 }",
];
/// Served, beyond a rate, and refused by another limit or by the drain.
pub(crate) const ANSWERS: [u16; 3] = [200, 429, 503];
