//! Servers that die, come back, and close idle connections.
#![allow(
    clippy::disallowed_methods,
    reason = "the bans are for the library; these tests run against the real clock"
)]

use std::{
    convert::Infallible,
    io,
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use axum::{Router, routing::any};
use http::{Response, StatusCode};
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpSocket, TcpStream},
    task::JoinSet,
    time::{Instant, sleep, sleep_until},
};

use crate::{Result, file, process::Running, status};

/// A gateway in front of these servers.
pub(crate) fn gateway(servers: &[SocketAddr], lines: &str) -> Result<Running> {
    let urls: Vec<String> = servers.iter().map(|server| format!("'http://{server}'")).collect();
    let lines = format!("url = [{}]\n{lines}", urls.join(", "));
    Running::start(&file("routes = [{ prefix = '/', upstream = 'payments' }]", &lines))
}

/// Answers the first request of each connection, and closes the connection when the second one arrives.
async fn closing_server() -> Result<(SocketAddr, JoinSet<()>)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = listener.local_addr()?;
    let mut server = JoinSet::new();
    server.spawn(async move {
        let mut connections = JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            connections.spawn(answer_once(stream));
        }
    });
    Ok((address, server))
}

async fn answer_once(mut stream: TcpStream) {
    let mut request = [0; 4_096];
    let _ = stream.read(&mut request).await;
    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
    let _ = stream.read(&mut request).await;
}

#[tokio::test]
async fn connections_that_are_closed_on_reuse_are_not_noticed() -> Result {
    let (server, _running) = closing_server().await?;
    let gateway = gateway(&[server], "stack.circuit_breaker.consecutive_failures = 3")?;
    let client = reqwest::Client::new();
    for n in 0..100 {
        let response = client.get(gateway.url("/")).send().await?;
        assert_eq!((response.status().as_u16(), &*response.text().await?), (200, "ok"), "request {n}");
    }
    let status = status(&gateway).await?;
    let circuit = &status["circuit_breakers"][0];
    assert_eq!((&circuit["failures"], &status["retry"]["retries"]), (&0.into(), &0.into()), "{status}");
    Ok(())
}

#[tokio::test]
async fn case_80_a_retry_after_of_one_server_does_not_delay_the_attempt_at_the_other() -> Result {
    let busy = async || (StatusCode::SERVICE_UNAVAILABLE, [("retry-after", "5")], "");
    let (busy, _busy) = serve(Router::new().fallback(any(busy))).await?;
    let (good, _good) = serve(Router::new().fallback(any(async || "ok"))).await?;
    let gateway = gateway(&[busy, good], "stack.circuit_breaker.max_retry_after = '0s'")?;
    for _ in 0..8 {
        let began = Instant::now();
        assert_eq!(reqwest::get(gateway.url("/")).await?.status(), 200);
        assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    }
    Ok(())
}

async fn serve(app: Router) -> Result<(SocketAddr, JoinSet<io::Result<()>>)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = listener.local_addr()?;
    let mut server = JoinSet::new();
    server.spawn(async { axum::serve(listener, app).await });
    Ok((address, server))
}

/// A server on a fixed port that can be killed, with all its connections, and started again.
pub(crate) struct Mortal {
    pub(crate) address: SocketAddr,
    running: JoinSet<io::Result<()>>,
}

impl Mortal {
    pub(crate) fn start() -> Result<Self> {
        let mut server = Self { address: (Ipv4Addr::LOCALHOST, 0).into(), running: JoinSet::new() };
        server.revive()?;
        Ok(server)
    }

    pub(crate) fn revive(&mut self) -> Result {
        let socket = TcpSocket::new_v4()?;
        socket.set_reuseaddr(true)?;
        socket.bind(self.address)?;
        let listener = socket.listen(1_024)?;
        self.address = listener.local_addr()?;
        self.running.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await?;
                let answer = service_fn(async |_| Ok::<_, Infallible>(Response::new("ok".to_owned())));
                connections.spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), answer));
            }
        });
        Ok(())
    }

    pub(crate) async fn kill(&mut self) {
        self.running.shutdown().await;
    }
}

/// When a request was answered, and how.
type Answers = Vec<(Instant, u16)>;

/// Asks again and again until the end.
async fn ask(client: reqwest::Client, url: String, end: Instant) -> Result<Answers, reqwest::Error> {
    let mut answers = Vec::new();
    while Instant::now() < end {
        let response = client.get(&url).send().await?;
        let status = response.status().as_u16();
        response.bytes().await?;
        answers.push((Instant::now(), status));
        sleep(Duration::from_millis(1)).await;
    }
    Ok(answers)
}

/// Kills two servers in turn under load. Returns the number of requests, and when and how requests failed.
async fn two_servers_die_in_turn(lines: &str) -> Result<(usize, Vec<(u128, u16)>)> {
    let mut servers = [Mortal::start()?, Mortal::start()?];
    let gateway = gateway(&[servers[0].address, servers[1].address], lines)?;
    let client = reqwest::Client::new();
    let began = Instant::now();
    let at = |tenths: u64| began + Duration::from_millis(100 * tenths);
    let load = (0..8).map(|_| tokio::spawn(ask(client.clone(), gateway.url("/"), at(65))));
    let load = futures::future::try_join_all(load);
    let outages = async {
        for (server, (dies, back)) in [(0, (5, 25)), (1, (30, 50))] {
            sleep_until(at(dies)).await;
            servers[server].kill().await;
            sleep_until(at(back)).await;
            servers[server].revive()?;
        }
        Ok::<_, Box<dyn std::error::Error>>(())
    };
    let (answers, outages) = tokio::join!(load, outages);
    outages?;
    let answers = answers?.into_iter().collect::<Result<Vec<_>, _>>()?.concat();
    let failed = answers.iter().filter(|(_, status)| *status != 200);
    let failed = failed.map(|(at, status)| (at.duration_since(began).as_millis(), *status)).collect();
    Ok((answers.len(), failed))
}

/// Whether it happened in the first second of an outage.
fn is_early(failed: &(u128, u16)) -> bool {
    [500, 3_000].iter().any(|dies| (*dies..dies + 1_000).contains(&failed.0))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_one_of_two_servers_is_up_no_request_fails_after_the_first_second_of_an_outage() -> Result {
    let (requests, failed) = two_servers_die_in_turn("").await?;
    println!("{requests} requests, failed: {failed:?}");
    assert!(requests > 1_000 && failed.iter().all(is_early), "{failed:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_retries_requests_go_to_the_server_whose_circuit_is_not_open() -> Result {
    let (requests, failed) = two_servers_die_in_turn("stack.retry.max_attempts = 1").await?;
    println!("{requests} requests, failed: {failed:?}");
    // After the first second of an outage, only requests beside a probe of the dead server are rejected.
    let rejected = failed.iter().filter(|failed| failed.1 == 503 && !is_early(failed)).count();
    assert!(requests > 1_000 && rejected < requests / 100, "{rejected} of {requests}");
    Ok(())
}
