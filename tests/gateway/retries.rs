//! Which requests are retried, and at which server.

use std::{net::Ipv4Addr, sync::atomic::Ordering};

use tokio::{io::AsyncReadExt, net::TcpListener};

use crate::{Result, file, process::Running, status, upstream::Upstream};

/// An upstream of two servers with a fallback.
fn pair(servers: [&Upstream; 2], fallback: &Upstream, lines: &str) -> String {
    let [one, other] = servers.map(|server| server.address);
    let lines = format!(
        "url = ['http://{one}', 'http://{other}']\nfallback = 'http://{}'\n{lines}",
        fallback.address
    );
    file("routes = [{ prefix = '/', upstream = 'payments' }]", &lines)
}

#[tokio::test]
async fn a_get_is_retried_at_another_server_and_a_post_is_not() -> Result {
    let (one, other, spare) = tokio::try_join!(Upstream::start(), Upstream::start(), Upstream::start())?;
    let gateway = Running::start(&pair([&one, &other], &spare, "stack.retry.max_attempts = 2"))?;
    let counts = || [&one, &other, &spare].map(|server| server.broken.swap(0, Ordering::SeqCst));
    let client = reqwest::Client::new();

    let response = client.get(gateway.url("/payments/broken")).send().await?;
    assert_eq!((response.status().as_u16(), counts()), (500, [1, 1, 0]), "each server was asked once");
    assert_eq!(response.headers()["x-retry-attempt"], "1", "the caller need not retry");

    let response = client.post(gateway.url("/payments/broken")).body("pay").send().await?;
    assert_eq!((response.status().as_u16(), counts().iter().sum::<u32>()), (500, 1), "it was asked once");

    let keyed = client.post(gateway.url("/payments/broken")).header("idempotency-key", "7").body("pay");
    assert_eq!(keyed.send().await?.status(), 500);
    assert_eq!(counts(), [1, 1, 0], "a request with a key may be sent twice");
    Ok(())
}

#[tokio::test]
async fn a_request_that_did_not_reach_a_server_goes_to_the_other_whatever_its_method() -> Result {
    let (gone, other, spare) = tokio::try_join!(Upstream::start(), Upstream::start(), Upstream::start())?;
    let config = pair([&gone, &other], &spare, "");
    drop(gone);
    let gateway = Running::start(&config)?;
    for _ in 0..4 {
        let response =
            reqwest::Client::new().post(gateway.url("/payments/echo")).body("a body").send().await?;
        assert_eq!((response.status().as_u16(), response.text().await?.as_str()), (200, "a body"));
    }
    Ok(())
}

#[tokio::test]
async fn when_no_server_answers_in_time_the_fallback_does() -> Result {
    let (one, other, spare) = tokio::try_join!(Upstream::start(), Upstream::start(), Upstream::start())?;
    let lines = "stack.timeout = '400ms'\nstack.attempt_timeout = '150ms'";
    let gateway = Running::start(&pair([&one, &other], &spare, lines))?;
    let curl = tokio::process::Command::new("curl")
        .args(["--silent", "--max-time", "10", "--include", &gateway.url("/payments/slow")])
        .output()
        .await;
    match curl {
        Ok(output) => {
            let answer = String::from_utf8_lossy(&output.stdout).into_owned();
            assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("slow"), "{answer}");
        }
        Err(error) => println!("skipped, there is no curl here: {error}"),
    }
    Ok(())
}

#[tokio::test]
async fn when_no_server_can_be_reached_the_fallback_answers() -> Result {
    let (one, other, spare) = tokio::try_join!(Upstream::start(), Upstream::start(), Upstream::start())?;
    let config = pair([&one, &other], &spare, "");
    drop((one, other));
    let gateway = Running::start(&config)?;
    let client = reqwest::Client::new();
    for request in [client.get(gateway.url("/payments/echo")), client.post(gateway.url("/payments/echo"))] {
        let response = request.body("a body").send().await?;
        assert_eq!((response.status().as_u16(), response.text().await?.as_str()), (200, "a body"));
    }
    assert_eq!(status(&gateway).await?["fallback"], 2);
    Ok(())
}

#[tokio::test]
async fn a_post_that_a_server_may_have_processed_does_not_go_to_the_fallback() -> Result {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let (address, spare) = (listener.local_addr()?, Upstream::start().await?);
    let lines = format!("url = 'http://{address}'\nfallback = 'http://{}'", spare.address);
    let gateway = Running::start(&file("", &lines))?;
    let hang_up = async {
        loop {
            let (mut connection, _) = listener.accept().await?;
            let _ = connection.read(&mut [0; 4_096]).await;
        }
    };
    let client = reqwest::Client::new();
    let requests = async {
        let post = client.post(gateway.url("/payments/echo")).body("pay").send().await?;
        let get = client.get(gateway.url("/payments/echo")).send().await?;
        Ok([post, get].map(|response| response.status().as_u16()))
    };
    let statuses: Result<_> = tokio::select! {
        statuses = requests => statuses,
        failed = hang_up => failed,
    };
    assert_eq!(statuses?, [502, 200]);
    Ok(())
}
