//! The example `gateway` as a program: its demo, and the real gateway.
#![allow(clippy::disallowed_methods, reason = "tests of a program read the real clock")]

mod clients;
mod demo;
mod drains;
mod early_answers;
mod hedges;
mod limits;
mod load;
mod outages;
mod process;
mod proxying;
mod rates;
#[path = "../it/redis_server.rs"]
#[expect(dead_code, reason = "other tests use the rest of it")]
mod redis_server;
mod retries;
mod slow_readers;
mod upstream;

use std::{
    error::Error,
    fs,
    net::{Ipv4Addr, TcpListener},
    process::{Command, Output},
};

use process::{Running, TempFile, gateway};
use upstream::Upstream;

type Result<T = (), E = Box<dyn Error>> = std::result::Result<T, E>;

#[test]
fn the_sample_config_is_right() -> Result {
    let sample = fs::read_to_string(SAMPLE)?;
    Running::start(&sample.replace("127.0.0.1:8080", "127.0.0.1:0"))?;
    Ok(())
}

#[test]
fn a_bad_config_is_refused_by_file_key_and_rule() -> Result {
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let port_in_use = format!("listen = '{}'\nroutes = []\nupstreams = {{}}", taken.local_addr()?);
    for (text, complaint) in [
        (
            &*file("", "url = 'http://a'\nstack.circuit_breaker = { failure_rate = 0.0 }"),
            "upstreams.payments.stack.circuit_breaker.failure_rate: must be above 0 and at most 1",
        ),
        (
            &file("", "url = 'http://a'\nstack.retry.max_attempts = 0"),
            "upstreams.payments.stack.retry.max_attempts: must be at least 1",
        ),
        (
            &file("", "url = 'http://a'\nstack = { timeout = '1s', attempt_timeout = '2s' }"),
            "upstreams.payments.stack.attempt_timeout: must be at most timeout",
        ),
        (
            &file("", "url = 'http://a'\nstack = { attempt_timeout = '5s', hedge.after.fixed = '5s' }"),
            "upstreams.payments.stack.hedge.after.fixed: must be below attempt_timeout",
        ),
        (
            &file("", "url = 'http://a'\nstack.hedge = { max_hedges = 9 }"),
            "upstreams.payments.stack.hedge.max_hedges: must be at least 1 and at most 8",
        ),
        (
            &file("", "url = 'http://a'\nrate_limit.per_second = 0"),
            "upstreams.payments.rate_limit.per_second: must be from 1 call per hour",
        ),
        (
            &file(
                "rate_limit = { per_second = 1, queue = { max_wait = '0s' } }\n\
                 routes = [{ prefix = '/', upstream = 'payments' }]",
                "url = 'http://a'",
            ),
            "rate_limit.queue.max_wait: must be above 0 and at most 1 day",
        ),
        (
            &file(
                "clients.rate_limit = { per_second = 1, burst = 0 }\n\
                 routes = [{ prefix = '/', upstream = 'payments' }]",
                "url = 'http://a'",
            ),
            "clients.rate_limit.burst: must be 1 to 1000000",
        ),
        (&file("", "url = 'http://a'\ncolour = 1"), "upstreams.payments.colour: unknown field `colour`"),
        (&file("", "url = 'ftp://a'"), "upstreams.payments.url: must be http://host"),
        (
            &file("routes = [{ prefix = '/', upstream = 'x' }]", "url = 'http://a'"),
            "routes[0].upstream: there is no upstream x",
        ),
        (&port_in_use, "listen: 127.0.0.1:"),
    ] {
        let config = TempFile::new(text)?;
        let output = Command::new(gateway()?).arg("--config").arg(&config.0).output()?;
        assert_refused(&output, &format!("{}: {complaint}", config.0.display()));
    }
    Ok(())
}

#[test]
fn an_unknown_argument_is_refused_and_help_is_given() -> Result {
    let run = |args: &[&str]| Command::new(gateway()?).args(args).output().map_err(Box::<dyn Error>::from);
    assert_refused(&run(&["--fro", "3s"])?, "unknown argument: --fro");
    assert_refused(&run(&["--config", "/nonexistent.toml"])?, "/nonexistent.toml: cannot be read");
    let sample = run(&["--check", &format!("--config={SAMPLE}")])?;
    assert!(sample.status.success() && sample.stdout.ends_with(b": ok\n"), "{sample:?}");
    let help = run(&["--help"])?;
    assert!(help.status.success() && help.stdout.starts_with(b"A reverse proxy"));
    Ok(())
}

#[tokio::test]
async fn a_name_is_served_on_all_of_its_addresses() -> Result {
    use std::net::ToSocketAddrs;

    let upstream = Upstream::start().await?;
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
    let config = upstream.config().replace("127.0.0.1:0", &format!("localhost:{port}"));
    let _gateway = Running::start(&config)?;
    for address in ("localhost", port).to_socket_addrs()? {
        if TcpListener::bind((address.ip(), 0)).is_err() {
            println!("skipped, this machine has no {}", address.ip());
            continue;
        }
        assert_eq!(reqwest::get(format!("http://{address}/payments/echo")).await?.status(), 200);
    }
    Ok(())
}

#[tokio::test]
async fn it_passes_requests_on_and_case_74_answers_failures_without_details() -> Result {
    let upstream = Upstream::start().await?;
    let gateway = Running::start(&upstream.config())?;
    let client = reqwest::Client::new();

    let response = client
        .post(gateway.url("/payments/echo"))
        .header("x-forwarded-for", "10.0.0.7")
        .header("connection", "x-private")
        .header("x-private", "1")
        .body("a body")
        .send()
        .await?;
    assert_eq!(response.status(), 200);
    let seen = response.headers().clone();
    assert_eq!(seen["seen-host"], upstream.address.to_string());
    assert_eq!(seen["seen-x-forwarded-for"], "127.0.0.1", "not what a client claims");
    assert_eq!(seen["seen-x-forwarded-host"], gateway.address.to_string());
    assert!(!seen.contains_key("seen-x-private"));
    assert!(!seen.contains_key("keep-alive"));
    assert_eq!(response.text().await?, "a body");

    for (path, status, detail) in [
        ("/nowhere", 404, "No route matches this path."),
        ("/dead", 502, "The upstream could not be reached."),
        ("/payments/silent", 504, "The service did not answer in time."),
    ] {
        let response = client.get(gateway.url(path)).send().await?;
        assert_eq!(response.status(), status, "{path}");
        assert_eq!(response.headers()["content-type"], "application/problem+json");
        let problem: serde_json::Value = serde_json::from_str(&response.text().await?)?;
        assert_eq!(problem["detail"], detail, "case 74: {problem}");
    }

    let status: serde_json::Value =
        serde_json::from_str(&client.get(gateway.url("/-/status")).send().await?.text().await?)?;
    assert_eq!(status["payments"]["circuit_breakers"][0]["state"], "closed");
    Ok(())
}

#[tokio::test]
async fn an_answer_is_passed_on_while_the_upstream_still_writes_it() -> Result {
    let upstream = Upstream::start().await?;
    let gateway = Running::start(&upstream.config())?;
    let mut response = reqwest::get(gateway.url("/payments/endless")).await?;
    assert_eq!(response.chunk().await?.as_deref(), Some(&b"first"[..]));
    Ok(())
}

#[tokio::test]
async fn curl_gets_through() -> Result {
    let upstream = Upstream::start().await?;
    let gateway = Running::start(&upstream.config())?;
    let curl = tokio::process::Command::new("curl")
        .args(["--silent", "--max-time", "10", "--data", "a body", &gateway.url("/payments/echo")])
        .output()
        .await;
    match curl {
        Ok(output) => assert_eq!(output.stdout, b"a body"),
        Err(error) => println!("skipped, there is no curl here: {error}"),
    }
    Ok(())
}

#[cfg(unix)]
#[tokio::test]
async fn after_a_signal_it_answers_open_requests_and_exits() -> Result {
    let upstream = Upstream::start().await?;
    let gateway = Running::start(&upstream.config())?;
    let open = async { reqwest::get(gateway.url("/payments/slow")).await?.text().await };
    let stop = async {
        upstream.asked.notified().await;
        gateway.signal("TERM")
    };

    let (answer, sent) = tokio::join!(open, stop);

    sent?;
    assert_eq!(answer?, "slow");
    let (code, rest) = tokio::task::spawn_blocking(move || gateway.wait()).await??;
    assert_eq!(code, Some(0), "{rest}");
    assert!(rest.contains("SIGTERM: stopping"), "{rest}");
    assert!(rest.contains("stopped, every open request was answered"), "{rest}");
    Ok(())
}

#[cfg(unix)]
#[tokio::test]
async fn a_request_that_does_not_finish_in_time_is_cut_off() -> Result {
    let upstream = Upstream::start().await?;
    let gateway = Running::start(&upstream.config().replace("drain = '5s'", "drain = '200ms'"))?;
    let mut open = reqwest::get(gateway.url("/payments/endless")).await?;
    open.chunk().await?;

    gateway.signal("INT")?;

    let (code, rest) = tokio::task::spawn_blocking(move || gateway.wait()).await??;
    assert_eq!(code, Some(1), "{rest}");
    assert!(rest.contains("stopped, 1 request was cut off"), "{rest}");
    Ok(())
}

fn assert_refused(output: &Output, complaint: &str) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.starts_with(complaint), "{complaint:?}, but it said:\n{said}");
    assert_eq!(output.status.code(), Some(2), "{said}");
}

/// The state of the upstream, as the gateway reports it.
async fn status(gateway: &Running) -> Result<serde_json::Value> {
    status_of(gateway, "payments").await
}

/// The state of an upstream, or of the gateway itself, which is called `/-`.
async fn status_of(gateway: &Running, name: &str) -> Result<serde_json::Value> {
    let status = reqwest::get(gateway.url("/-/status")).await?.text().await?;
    Ok(serde_json::from_str::<serde_json::Value>(&status)?[name].take())
}

/// A config with one upstream with these lines.
fn file(routes: &str, upstream: &str) -> String {
    let routes =
        if routes.is_empty() { "routes = [{ prefix = '/', upstream = 'payments' }]" } else { routes };
    format!("listen = '127.0.0.1:0'\n{routes}\n[upstreams.payments]\n{upstream}\n")
}

const SAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/gateway/gateway.toml");
