//! Limits of an axum server, and its clients. The server and each client program have a thread and a runtime of their own,
//! and the clients count.

use std::{
    convert::Infallible,
    hash::{BuildHasher, RandomState},
    net::SocketAddr,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use axum::{Router, extract::Request, http::HeaderName, routing::get};
use futures::future::join_all;
use tokio::{
    net::TcpListener,
    runtime::{Builder, Runtime},
    sync::oneshot,
    time::sleep,
};
use tower::ServiceBuilder;
use tower_reliability::{
    Error, Priority, PrioritySource,
    concurrency_limit::ConcurrencyLimitConfig,
    http::{PriorityHeader, RejectionLayer},
    rate_limit::RateLimitConfig,
    wait_queue::WaitQueueConfig,
};

const CLIENT: &str = "client";
const SECOND: Duration = Duration::from_secs(1);

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().expect("a runtime")
}

/// A server in a thread of its own.
struct Server {
    address: SocketAddr,
    /// Dropping it stops the server.
    _stop: oneshot::Sender<()>,
}

impl Server {
    fn start(app: Router) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        listener.set_nonblocking(true).expect("a socket");
        let address = listener.local_addr().expect("it is bound");
        let (stop, stopped) = oneshot::channel::<()>();
        thread::spawn(move || {
            runtime().block_on(async {
                let listener = TcpListener::from_std(listener).expect("a socket");
                tokio::select! {
                    result = axum::serve(listener, app) => result.expect("it serves"),
                    _ = stopped => {}
                }
            });
        });
        Self { address, _stop: stop }
    }
}

/// A client program.
#[derive(Clone, Copy)]
struct Client {
    name: &'static str,
    priority: &'static str,
    connections: usize,
    /// After each answer.
    pause: Duration,
}

/// The count of a client.
#[derive(Debug, Default)]
struct Count {
    /// The latencies of the answers 200, sorted.
    served: Vec<Duration>,
    rejected: usize,
}

impl Count {
    /// The latency that this part of the served calls does not exceed.
    fn quantile(&self, part: f64) -> Duration {
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "few calls"
        )]
        let at = (self.served.len() as f64 * part) as usize;
        *self.served.get(at.min(self.served.len().saturating_sub(1))).expect("calls were served")
    }
}

impl Client {
    /// Asks on all connections for so long, in a thread of its own.
    fn run(self, server: &Server, length: Duration) -> JoinHandle<Count> {
        let url = format!("http://{}/", server.address);
        thread::spawn(move || {
            let begin = Instant::now();
            let counts = runtime().block_on(join_all((0..self.connections).map(|_| async {
                let client = reqwest::Client::builder().pool_max_idle_per_host(1).build().expect("a client");
                let mut count = Count::default();
                while begin.elapsed() < length {
                    let sent = Instant::now();
                    let request =
                        client.get(&url).header(CLIENT, self.name).header("x-priority", self.priority);
                    let response = request.send().await.expect("an answer");
                    let status = response.status().as_u16();
                    response.bytes().await.expect("a body");
                    match status {
                        200 => count.served.push(sent.elapsed()),
                        429 | 503 => {
                            count.rejected += 1;
                            // A greedy client comes again soon, and leaves some of the processor to others.
                            sleep(Duration::from_millis(2)).await;
                        }
                        other => panic!("status {other}"),
                    }
                    sleep(self.pause).await;
                }
                count
            })));
            let mut all = Count::default();
            for count in counts {
                all.served.extend(count.served);
                all.rejected += count.rejected;
            }
            all.served.sort_unstable();
            all
        })
    }
}

/// Runs both programs at the same time.
fn run(server: &Server, clients: [Client; 2], length: Duration) -> [Count; 2] {
    let counts = clients.map(|client| client.run(server, length));
    let counts = counts.map(|count| count.join().expect("no panic"));
    for (client, count) in clients.iter().zip(&counts) {
        let (median, p90) = (count.quantile(0.5), count.quantile(0.9));
        let (name, calls, rejected) = (client.name, count.served.len(), count.rejected);
        println!("{name}: {calls} served, {rejected} rejected, median {median:?}, p90 {p90:?}");
    }
    counts
}

const fn client(name: &'static str, connections: usize, pause: u64) -> Client {
    Client { name, priority: "normal", connections, pause: Duration::from_millis(pause) }
}

fn client_of(request: &Request) -> String {
    request.headers().get(CLIENT).and_then(|it| it.to_str().ok()).unwrap_or_default().to_owned()
}

/// Answers after so many milliseconds.
fn page(millis: u64) -> Router {
    Router::new().route("/", get(async move || sleep(Duration::from_millis(millis)).await))
}

#[test]
fn a_client_within_its_rate_is_served_beside_one_that_asks_for_all_it_can_get() {
    let limit = RateLimitConfig::per_second(50).burst(10).build().expect("valid");
    let layers = ServiceBuilder::new()
        .layer(RejectionLayer::new())
        .layer(limit.per_header(HeaderName::from_static(CLIENT)))
        .map_err(Error::<Infallible>::inner);
    let server = Server::start(page(0).layer(layers));
    let begin = Instant::now();
    // At most 40 calls a second.
    let [greedy, polite] = run(&server, [client("greedy", 10, 0), client("polite", 1, 25)], 2 * SECOND);
    let most = 10 + 50 * usize::try_from(begin.elapsed().as_millis()).expect("short") / 1_000;
    assert_eq!(polite.rejected, 0);
    assert!(polite.served.len() >= 20, "{}", polite.served.len());
    assert!((60..=most).contains(&greedy.served.len()), "{} of {most}", greedy.served.len());
    assert!(greedy.rejected > greedy.served.len(), "it asked for more: {}", greedy.rejected);
}

#[test]
fn a_client_with_permits_of_its_own_does_not_wait_behind_a_greedy_one() {
    let queue = WaitQueueConfig::new().max_wait(30 * SECOND).without_shedding();
    let limit = ConcurrencyLimitConfig::new(4).queue(queue).build().expect("valid");
    let layers = ServiceBuilder::new()
        .layer(RejectionLayer::new())
        .layer(limit.keyed(client_of))
        .map_err(Error::<Infallible>::inner);
    let server = Server::start(page(10).layer(layers));
    let [greedy, polite] = run(&server, [client("greedy", 60, 0), client("polite", 2, 0)], 2 * SECOND);
    assert_eq!((greedy.rejected, polite.rejected), (0, 0));
    // Sixty calls share four permits, and two have four.
    assert!(polite.quantile(0.5) * 3 < greedy.quantile(0.5));
    assert!(polite.served.len() / 2 > 3 * greedy.served.len() / 60, "more for each connection");
}

/// Tells the queue who sent a request.
#[derive(Clone)]
struct ByClient(RandomState);

impl PrioritySource<Request> for ByClient {
    fn queue_key(&self, request: &Request) -> Option<u64> {
        Some(self.0.hash_one(client_of(request)))
    }
}

#[test]
fn a_client_cannot_fill_the_queue_that_it_shares_with_others() {
    let queue = WaitQueueConfig::new().capacity(20).per_key(10).max_wait(30 * SECOND).without_shedding();
    let limit = ConcurrencyLimitConfig::new(4).queue(queue).build().expect("valid");
    let layers = ServiceBuilder::new()
        .layer(RejectionLayer::new())
        .layer(limit.priority(ByClient(RandomState::new())))
        .map_err(Error::<Infallible>::inner);
    let server = Server::start(page(10).layer(layers));
    let [greedy, polite] = run(&server, [client("greedy", 60, 0), client("polite", 2, 0)], 2 * SECOND);
    assert_eq!(polite.rejected, 0, "places are left for it");
    assert!(greedy.rejected > greedy.served.len(), "it asked for more: {}", greedy.rejected);
    // A call waits behind at most ten others. So two connections get at least two of sixteen turns; half is asked for.
    assert!(polite.served.len() * 16 > greedy.served.len(), "{}", polite.served.len());
}

#[test]
fn case_30_critical_calls_of_a_hundred_connections_at_overload_are_as_fast_as_in_an_idle_server() {
    const TAKES: u64 = 20;
    let queue = WaitQueueConfig::new().max_wait(30 * SECOND).without_shedding();
    let limit = ConcurrencyLimitConfig::new(8).queue(queue).build().expect("valid");
    let words = PriorityHeader::words(HeaderName::from_static("x-priority")).trusted();
    let layers = ServiceBuilder::new()
        .layer(RejectionLayer::new())
        .layer(limit.priority(words.base(|_: &Request| Priority::Normal)))
        .map_err(Error::<Infallible>::inner);
    let server = Server::start(page(TAKES).layer(layers));
    // At most 80 calls a second, of 400 that the limit serves.
    let critical = Client { priority: "critical", ..client("critical", 10, 100) };
    let low = Client { priority: "low", ..client("low", 90, 0) };
    let idle = critical.run(&server, SECOND).join().expect("no panic");
    println!("idle: median {:?}, p90 {:?}", idle.quantile(0.5), idle.quantile(0.9));
    let [critical, low] = run(&server, [critical, low], 3 * SECOND);
    assert_eq!((critical.rejected, low.rejected), (0, 0));
    assert!(!low.served.is_empty(), "low calls make progress");
    // A critical call waits for one of eight permits: at most as long as a call takes, and the low calls wait in a queue of
    // eighty. The bounds leave room for a machine that does other work.
    let waits = |count: &Count, part| count.quantile(part).saturating_sub(idle.quantile(part));
    assert!(waits(&critical, 0.5) < Duration::from_millis(TAKES).max(waits(&low, 0.5) / 6));
    assert!(waits(&critical, 0.9) < waits(&low, 0.5) / 3);
}
