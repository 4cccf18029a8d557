//! Stops with open connections.
#![cfg(unix)]

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    thread,
    time::{Duration, Instant},
};

use tokio::{task::JoinSet, time::sleep};

use crate::{
    Result,
    load::{ANSWERS, LIMITS},
    process::Running,
    upstream::Upstream,
};

fn send(gateway: &Running, bytes: &[u8]) -> Result<TcpStream> {
    let mut socket = TcpStream::connect(gateway.address)?;
    socket.write_all(bytes)?;
    socket.set_read_timeout(Some(Duration::from_secs(10)))?;
    Ok(socket)
}

#[tokio::test(flavor = "multi_thread")]
async fn half_sent_heads_and_idle_connections_do_not_hold_up_a_stop_and_are_not_counted() -> Result {
    let upstream = Upstream::start().await?;
    let gateway = Running::start(&upstream.config().replace("drain = '5s'", "drain = '20s'"))?;
    let _half: Vec<_> =
        (0..3).map(|_| send(&gateway, b"GET /payments/echo HTTP/1.1\r\nhos")).collect::<Result<_>>()?;
    let mut idle = send(&gateway, b"GET /payments/echo HTTP/1.1\r\nhost: a\r\n\r\n")?;
    assert!(idle.read(&mut [0; 1_024])? > 0);
    // A head after an answer.
    idle.write_all(b"GET /payments")?;
    thread::sleep(Duration::from_millis(100));

    let began = Instant::now();
    gateway.signal("TERM")?;
    let (code, output) = tokio::task::spawn_blocking(move || gateway.wait()).await??;
    assert!(began.elapsed() < Duration::from_secs(6), "{:?}", began.elapsed());
    assert_eq!(code, Some(0), "{output}");
    assert!(output.contains("every open request was answered"), "{output}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_are_cut_off_are_counted_exactly_and_change_the_exit_code() -> Result {
    let upstream = Upstream::start().await?;
    for second_signal in [false, true] {
        let drain = if second_signal { "drain = '20s'" } else { "drain = '300ms'" };
        let gateway = Running::start(&upstream.config().replace("drain = '5s'", drain))?;
        // Two wait for their answers, one for the rest, and two for nothing.
        let mut open = Vec::new();
        for path in ["silent", "silent", "endless"] {
            let request = format!("POST /payments/{path} HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n");
            open.push(send(&gateway, request.as_bytes())?);
        }
        assert!(open[2].read(&mut [0; 1_024])? > 0);
        let mut idle = send(&gateway, b"GET /payments/echo HTTP/1.1\r\nhost: a\r\n\r\n")?;
        assert!(idle.read(&mut [0; 1_024])? > 0);
        open.push(send(&gateway, b"GET /payments")?);
        thread::sleep(Duration::from_millis(200));

        gateway.signal("TERM")?;
        if second_signal {
            thread::sleep(Duration::from_millis(200));
            gateway.signal("INT")?;
        }
        let (code, output) = tokio::task::spawn_blocking(move || gateway.wait()).await??;
        assert_eq!(code, Some(1), "{output}");
        assert!(output.contains("stopped, 3 requests were cut off"), "{output}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_burst_of_clients_is_accepted_although_the_gateway_is_busy() -> Result {
    let clients = longest_backlog().min(500);
    println!("{clients} clients; the kernel holds no more for a socket if that is below 500");
    let upstream = Upstream::start().await?;
    let gateway = Running::start(&upstream.config())?;
    gateway.signal("STOP")?;
    let address: SocketAddr = gateway.address;
    let burst = tokio::task::spawn_blocking(move || {
        (0..clients)
            .flat_map(|_| TcpStream::connect_timeout(&address, Duration::from_millis(500)))
            .collect::<Vec<_>>()
            .len()
    });
    let connected = burst.await?;
    gateway.signal("CONT")?;
    assert_eq!(connected, clients);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_is_about_to_stop_says_so_and_still_serves_for_the_delay() -> Result {
    let upstream = Upstream::start().await?;
    let gateway = Running::start(&format!("drain_delay = '1500ms'\n{}", upstream.config()))?;
    let status =
        async |path: &str| -> Result<u16> { Ok(reqwest::get(gateway.url(path)).await?.status().as_u16()) };
    assert_eq!(status("/-/ready").await?, 200);
    let began = Instant::now();
    gateway.signal("TERM")?;
    while status("/-/ready").await? == 200 {
        assert!(began.elapsed() < Duration::from_secs(1), "it does not say that it is about to stop");
    }
    assert_eq!(status("/payments/echo").await?, 200, "a load balancer needs time to notice");

    let (code, output) = tokio::task::spawn_blocking(move || gateway.wait()).await??;
    assert!(began.elapsed() >= Duration::from_millis(1_400), "{:?}", began.elapsed());
    assert_eq!(code, Some(0), "{output}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_above_any_limit_answers_every_request_that_was_sent_before() -> Result {
    let upstream = Upstream::start().await?;
    for limit in LIMITS {
        let gateway = Running::start(&format!("{limit}\n{}", upstream.config()))?;
        let mut clients: JoinSet<_> =
            (0..32).map(|_| ask_until_it_fails(gateway.url("/payments/slow"))).collect();
        sleep(Duration::from_secs(1)).await;
        let stopped = Instant::now();
        gateway.signal("TERM")?;
        let (code, output) = tokio::task::spawn_blocking(move || gateway.wait()).await??;
        assert_eq!(code, Some(0), "{output}");

        let mut in_flight = 0;
        while let Some(asked) = clients.join_next().await {
            // A request may still be on its way to the gateway for a moment.
            let before = |sent: Instant| sent + Duration::from_millis(100) < stopped;
            for (_, answered, answer) in asked?.into_iter().filter(|(sent, ..)| before(*sent)) {
                assert!(answer.as_ref().is_ok_and(|status| ANSWERS.contains(status)), "{answer:?}");
                in_flight += u32::from(answered > stopped && matches!(answer, Ok(200)));
            }
        }
        println!("{limit}: {in_flight} requests were in flight");
        assert!(in_flight > 0);
    }
    Ok(())
}

/// A request: when it was sent and when it was answered, and the status or the failure.
type Asked = (Instant, Instant, Result<u16, reqwest::Error>);

/// A client that asks again as soon as it has an answer, until it gets none.
async fn ask_until_it_fails(url: String) -> Vec<Asked> {
    let client = reqwest::Client::new();
    let mut asked: Vec<Asked> = Vec::new();
    while asked.last().is_none_or(|(.., answer)| answer.is_ok()) {
        let began = Instant::now();
        let answer = async {
            let answer = client.get(&url).send().await?;
            let status = answer.status().as_u16();
            answer.bytes().await.map(|_| status)
        };
        let (answer, answered) = (answer.await, Instant::now());
        if !matches!(answer, Ok(200)) {
            sleep(Duration::from_millis(20)).await;
        }
        asked.push((began, answered, answer));
    }
    asked
}

/// The kernel's limit on the connections that wait for a socket. Outside Linux, the limit of most other systems.
fn longest_backlog() -> usize {
    let somaxconn = std::fs::read_to_string("/proc/sys/net/core/somaxconn");
    somaxconn.ok().and_then(|number| number.trim().parse().ok()).unwrap_or(128)
}
