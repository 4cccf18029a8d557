//! Clients that hang up or stall, in front of a healthy upstream.

use std::time::Duration;

use futures::future::{join_all, try_join_all};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{sleep, timeout},
};

use crate::{Result, file, process::Running, status, upstream::Upstream};

/// An upstream with these lines.
fn gateway(upstream: &Upstream, lines: &str) -> Result<Running> {
    let lines = format!("url = 'http://{}'\n{lines}", upstream.address);
    Running::start(&file("routes = [{ prefix = '/', upstream = 'payments' }]", &lines))
}

fn circuit(status: &Value) -> (&str, u64) {
    let circuit = &status["circuit_breakers"][0];
    (circuit["state"].as_str().unwrap_or_default(), circuit["failures"].as_u64().unwrap_or(u64::MAX))
}

#[tokio::test]
async fn case_65_clients_that_hang_up_do_not_open_the_circuit_of_a_healthy_upstream() -> Result {
    let upstream = Upstream::start().await?;
    // It answers this path after 200 ms.
    let request = "GET /payments/slow HTTP/1.1\r\nhost: x\r\n\r\n";
    for lines in ["", "stack.attempt_timeout = '1s'", "stack.circuit_breaker.consecutive_failures = 5"] {
        let gateway = gateway(&upstream, lines)?;
        let hang_up = async || -> Result {
            let mut client = TcpStream::connect(gateway.address).await?;
            client.write_all(request.as_bytes()).await?;
            sleep(Duration::from_millis(5)).await;
            Ok(())
        };
        for _ in 0..10 {
            try_join_all((0..15).map(|_| hang_up())).await?;
        }
        sleep(Duration::from_millis(50)).await;
        let response = reqwest::get(gateway.url("/payments/slow")).await?;
        assert_eq!(response.status(), 200, "{lines:?}");
        let status = status(&gateway).await?;
        assert_eq!(circuit(&status), ("closed", 0), "{lines:?}: {status}");
    }
    Ok(())
}

/// Announces a body, sends a part of it, and no more. Returns the head of the answer.
async fn stall(gateway: &Running) -> Result<String> {
    let mut client = TcpStream::connect(gateway.address).await?;
    let request = "PUT /payments/upload HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\na part";
    client.write_all(request.as_bytes()).await?;
    let mut answer = vec![0; 1_024];
    let read = timeout(Duration::from_secs(10), client.read(&mut answer)).await??;
    Ok(String::from_utf8_lossy(&answer[..read]).into_owned())
}

#[tokio::test]
async fn case_66_stalled_uploads_are_answered_408_and_the_circuit_stays_closed() -> Result {
    let upstream = Upstream::start().await?;
    for timeouts in ["body_read_timeout = '300ms'", "stack.attempt_timeout = '300ms'"] {
        let gateway =
            gateway(&upstream, &format!("stack.circuit_breaker.consecutive_failures = 5\n{timeouts}"))?;
        for answer in join_all((0..20).map(|_| stall(&gateway))).await {
            let answer = answer?;
            assert!(answer.starts_with("HTTP/1.1 408"), "{timeouts}: {answer:?}");
            assert!(!answer.contains("body_read") && !answer.contains("attempt"), "{answer:?}");
        }
        let status = status(&gateway).await?;
        assert_eq!(circuit(&status), ("closed", 0), "{timeouts}: {status}");
        assert_eq!(status["retry"]["retries"], 0, "{timeouts}: {status}");
        assert_eq!(reqwest::get(gateway.url("/payments/echo")).await?.status(), 200);
    }
    Ok(())
}

#[tokio::test]
async fn case_66_a_steady_upload_takes_longer_than_an_attempt_may() -> Result {
    let upstream = Upstream::start().await?;
    let gateway = gateway(&upstream, "stack.attempt_timeout = '300ms'\nbody_read_timeout = '300ms'")?;
    let mut client = TcpStream::connect(gateway.address).await?;
    let head = "PUT /payments/upload HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 10\r\n\r\n";
    client.write_all(head.as_bytes()).await?;
    for _ in 0..10 {
        client.write_all(b"x").await?;
        sleep(Duration::from_millis(100)).await;
    }
    let mut answer = String::new();
    timeout(Duration::from_secs(10), client.read_to_string(&mut answer)).await??;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("xxxxxxxxxx"), "{answer:?}");
    Ok(())
}
