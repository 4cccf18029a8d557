//! Discovery by DNS: a scripted resolver on paused time, and hickory's against a server on loopback.

use std::{
    fmt::Display,
    future::pending,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::{Arc, Mutex},
    time::Duration,
};

use futures::{FutureExt, StreamExt};
use hickory_resolver::{
    TokioResolver,
    config::{ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig},
    net::runtime::TokioRuntimeProvider,
};
use tokio::{net::UdpSocket, time::Instant};
use tower::discover::{Change, Discover};
use tower_reliability::{
    Event, Severity,
    dns::{DnsConfig, DnsDiscovery, Family, Resolve, Resolved},
};

const SECOND: Duration = Duration::from_secs(1);

#[derive(Clone)]
enum Answer {
    Addresses(Vec<IpAddr>, Duration),
    OnlyV4(Vec<IpAddr>),
    Fails,
    Hangs,
}

/// The answers of a resolver, the last one again and again, and the times of its lookups.
#[derive(Clone)]
struct Script {
    answers: Arc<Mutex<Vec<Answer>>>,
    lookups: Arc<Mutex<Vec<u64>>>,
}

impl Script {
    fn new(answers: impl IntoIterator<Item = Answer>) -> Self {
        let answers = Arc::new(Mutex::new(answers.into_iter().collect()));
        Self { answers, lookups: Arc::default() }
    }

    fn resolver(&self) -> impl Resolve + use<> {
        let (script, began) = (self.clone(), Instant::now());
        move |host: String| {
            assert_eq!(host, "api.internal");
            script.lookups.lock().expect("no panic").push(began.elapsed().as_secs());
            let mut answers = script.answers.lock().expect("no panic");
            let answer = if answers.len() > 1 { answers.remove(0) } else { answers[0].clone() };
            async move {
                match answer {
                    Answer::Addresses(addresses, ttl) => Ok(Resolved::new(addresses, ttl)),
                    Answer::OnlyV4(addresses) => {
                        Ok(Resolved::new(addresses, 30 * SECOND).without(Family::V6, "server failure"))
                    }
                    Answer::Fails => Err(io::Error::other("no route\nto the server")),
                    Answer::Hangs => pending().await,
                }
            }
        }
    }

    fn lookups(&self) -> Vec<u64> {
        self.lookups.lock().expect("no panic").clone()
    }
}

fn v4(last: u8) -> IpAddr {
    [10, 0, 0, last].into()
}

fn v6(last: u16) -> IpAddr {
    [0xfd00, 0, 0, 0, 0, 0, 0, last].into()
}

fn found(addresses: &[IpAddr], ttl: u64) -> Answer {
    Answer::Addresses(addresses.to_vec(), Duration::from_secs(ttl))
}

/// All changes of the next seconds, in words.
async fn changes<R: Resolve, F: FnMut(SocketAddr) -> V, V: Display>(
    endpoints: &mut DnsDiscovery<R, F>,
    seconds: u64,
) -> Vec<String> {
    let mut changes = Vec::new();
    let end = Instant::now() + Duration::from_secs(seconds);
    while let Ok(change) = tokio::time::timeout_at(end, endpoints.next()).await {
        changes.push(match change.expect("the stream has no end").expect("nor an error") {
            Change::Insert(address, service) => format!("+{address} {service}"),
            Change::Remove(address) => format!("-{address}"),
        });
    }
    changes
}

fn port(address: SocketAddr) -> u16 {
    address.port()
}

#[tokio::test(start_paused = true)]
async fn the_set_follows_the_answers_when_their_ttl_ends() {
    let script = Script::new([
        found(&[v4(2), v4(1), v6(1)], 20),
        found(&[v4(1), v4(2), v6(1)], 3_600),
        found(&[v4(3), v4(1)], 0),
        found(&[v4(3), v4(1)], 30),
    ]);
    let mut endpoints = DnsConfig::new().discover("api.internal:80", script.resolver(), port).expect("valid");
    let all = ["+10.0.0.1:80 80", "+10.0.0.2:80 80", "+[fd00::1]:80 80"];
    assert_eq!(changes(&mut endpoints, 19).await, all);
    assert!(changes(&mut endpoints, 60).await.is_empty(), "the same set in another order");
    // Inserted first, so that the set is never empty.
    let renewed = ["+10.0.0.3:80 80", "-10.0.0.2:80", "-[fd00::1]:80"];
    assert_eq!(changes(&mut endpoints, 40).await, renewed);
    assert_eq!(script.lookups(), [0, 20, 80, 85, 115]);
}

#[tokio::test(start_paused = true)]
async fn a_failed_lookup_keeps_the_last_good_set() {
    let script = Script::new([
        Answer::Fails,
        found(&[v4(1), v6(1)], 30),
        Answer::Fails,
        Answer::Hangs,
        found(&[], 30),
        Answer::OnlyV4(vec![v4(2)]),
        found(&[v4(2)], 60),
    ]);
    let mut endpoints = DnsConfig::new().discover("api.internal:80", script.resolver(), port).expect("valid");
    let heard = Arc::new(Mutex::new(Vec::new()));
    let events = Arc::clone(&heard);
    endpoints.handle().listen(move |event: &Event| {
        events.lock().expect("no panic").push((event.severity(), event.to_string()));
    });
    assert_eq!(changes(&mut endpoints, 34).await, ["+10.0.0.1:80 80", "+[fd00::1]:80 80"]);
    // It fails at 35 s, hangs at 40 s until 50 s, is empty at 60 s, and has one family at 80 s.
    assert!(changes(&mut endpoints, 45).await.is_empty());
    assert_eq!(changes(&mut endpoints, 2).await, ["+10.0.0.2:80 80", "-10.0.0.1:80"]);
    let snapshot = endpoints.handle().snapshot();
    assert_eq!((snapshot.endpoints, snapshot.lookups, snapshot.failed), (2, 6, 5));
    assert_eq!(changes(&mut endpoints, 60).await, ["-[fd00::1]:80"]);
    assert_eq!(script.lookups(), [0, 5, 35, 40, 60, 80, 110]);
    let expected = [
        "dns: lookup failed, 1 in a row, 0 endpoints stay",
        "dns: endpoints changed, 2 added and 0 removed, 2 in use",
        "dns: lookup failed, 1 in a row, 2 endpoints stay",
        "dns: lookup failed, 2 in a row, 2 endpoints stay",
        "dns: lookup failed, 3 in a row, 2 endpoints stay",
        "dns: lookup failed, 4 in a row, 2 endpoints stay",
        "dns: endpoints changed, 1 added and 1 removed, 2 in use",
        "dns: endpoints changed, 0 added and 1 removed, 1 in use",
    ];
    let heard = heard.lock().expect("no panic");
    assert_eq!(heard.iter().map(|(_, text)| text.as_str()).collect::<Vec<_>>(), expected);
    assert!(heard.iter().all(|(severity, text)| {
        *severity == if text.contains("failed") { Severity::Warning } else { Severity::Info }
    }));
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_kept_as_one_short_line() {
    let script = Script::new([Answer::Fails]);
    let endpoints = DnsConfig::new().discover("api.internal:80", script.resolver(), port).expect("valid");
    let mut endpoints = endpoints.named("prices");
    assert!(changes(&mut endpoints, 1).await.is_empty());
    let handle = endpoints.handle();
    assert_eq!(handle.name().as_str(), "prices");
    assert_eq!(handle.snapshot().last_failure.as_deref(), Some(r"no route\nto the server"));
}

#[tokio::test(start_paused = true)]
async fn case_05_an_idle_stream_is_polled_once_per_lookup() {
    let script = Script::new([found(&[v4(1)], 30)]);
    let mut endpoints = DnsConfig::new().discover("api.internal:80", script.resolver(), port).expect("valid");
    let mut polls = 0;
    let idle = std::future::poll_fn(|cx| {
        polls += 1;
        while endpoints.poll_next_unpin(cx).is_ready() {}
        std::task::Poll::<()>::Pending
    });
    assert!(tokio::time::timeout(301 * SECOND, idle).await.is_err());
    // The timeout polls it a last time.
    assert_eq!((script.lookups().len(), polls), (11, 12));
}

#[tokio::test(start_paused = true)]
async fn an_address_needs_no_lookup() {
    let script = Script::new([Answer::Fails]);
    for (target, endpoint) in [("192.0.2.1:80", "+192.0.2.1:80 80"), ("[::1]:80", "+[::1]:80 80")] {
        let mut endpoints = DnsConfig::new().discover(target, script.resolver(), port).expect("valid");
        assert_eq!(changes(&mut endpoints, 100).await, [endpoint]);
        assert_eq!(endpoints.handle().snapshot().endpoints, 1);
    }
    assert!(script.lookups().is_empty());
    let refused = DnsConfig::new().discover("api.internal", script.resolver(), port);
    assert_eq!(refused.expect_err("without a port").field(), "target");
    let refused = DnsConfig::new().min_ttl(Duration::ZERO).discover("a:1", script.resolver(), port);
    assert_eq!(refused.expect_err("out of range").field(), "min_ttl");
}

#[tokio::test]
async fn tower_takes_the_stream_as_a_discovery() {
    fn discovers<D: Discover<Key = SocketAddr, Service = u16> + Send + Unpin>(_: &D) {}
    let script = Script::new([found(&[v4(1)], 30)]);
    let mut endpoints = DnsConfig::new().discover("api.internal:80", script.resolver(), port).expect("valid");
    discovers(&endpoints);
    assert!(endpoints.next().now_or_never().is_some());
}

/// A DNS server on loopback that answers as long as its table says.
#[derive(Clone, Default)]
struct Server {
    v4: Arc<Mutex<Vec<Ipv4Addr>>>,
    v6: Arc<Mutex<Vec<Ipv6Addr>>>,
    /// The code of the answers about records of type AAAA; 2 is a server failure.
    code_of_v6: Arc<Mutex<u8>>,
}

impl Server {
    async fn serve(&self) -> SocketAddr {
        let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a free port");
        let address = socket.local_addr().expect("it is bound");
        let server = self.clone();
        tokio::spawn(async move {
            let mut query = [0; 1_500];
            while let Ok((length, peer)) = socket.recv_from(&mut query).await {
                let _ = socket.send_to(&server.answer(&query[..length]), peer).await;
            }
        });
        address
    }

    /// RFC 1035, 4.1: a header of 12 bytes, the question, and the records with a pointer to the name in the question.
    fn answer(&self, query: &[u8]) -> Vec<u8> {
        let name = query[12..].iter().position(|byte| *byte == 0).expect("a name has an end");
        let question = &query[12..12 + name + 5];
        let is_v6 = question[name + 2] == 28;
        let (code, records): (u8, Vec<Vec<u8>>) = if is_v6 {
            let addresses = self.v6.lock().expect("no panic").clone();
            (
                *self.code_of_v6.lock().expect("no panic"),
                addresses.iter().map(|it| it.octets().to_vec()).collect(),
            )
        } else {
            (0, self.v4.lock().expect("no panic").iter().map(|it| it.octets().to_vec()).collect())
        };
        let count = u8::try_from(records.len()).expect("few records");
        let mut answer = query[..2].to_vec();
        answer.extend([0x81, 0x80 | code, 0, 1, 0, count, 0, 0, 0, 0]);
        answer.extend(question);
        for record in records {
            let length = u8::try_from(record.len()).expect("an address is short");
            answer.extend([0xc0, 12, 0, question[name + 2], 0, 1, 0, 0, 0, TTL, 0, length]);
            answer.extend(record);
        }
        answer
    }
}

/// In seconds.
const TTL: u8 = 1;

fn hickory(server: SocketAddr) -> TokioResolver {
    let mut udp = ConnectionConfig::udp();
    udp.port = server.port();
    let name_server = NameServerConfig::new(server.ip(), true, vec![udp]);
    let config = ResolverConfig::from_parts(None, Vec::new(), vec![name_server]);
    let mut builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
    builder.options_mut().use_hosts_file = ResolveHosts::Never;
    builder.options_mut().cache_size = 0;
    builder.options_mut().timeout = Duration::from_millis(500);
    builder.build().expect("a resolver")
}

/// The next change, in words.
async fn next<F: FnMut(SocketAddr) -> u16>(endpoints: &mut DnsDiscovery<TokioResolver, F>) -> String {
    let change = tokio::time::timeout(20 * SECOND, endpoints.next()).await.expect("in time");
    match change.expect("no end").expect("no error") {
        Change::Insert(address, _) => format!("+{address}"),
        Change::Remove(address) => format!("-{address}"),
    }
}

#[tokio::test]
async fn hickory_follows_a_real_server_and_keeps_the_family_that_fails() {
    let server = Server::default();
    *server.v4.lock().expect("no panic") = vec![Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(10, 0, 0, 2)];
    *server.v6.lock().expect("no panic") = vec![Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 1)];
    let resolver = hickory(server.serve().await);
    let config = DnsConfig::new().min_ttl(Duration::from_millis(100));
    let mut endpoints = config.discover("api.internal:80", resolver, port).expect("valid");
    for expected in ["+10.0.0.1:80", "+10.0.0.2:80", "+[fd00::1]:80"] {
        assert_eq!(next(&mut endpoints).await, expected);
    }
    server.v4.lock().expect("no panic").remove(0);
    *server.code_of_v6.lock().expect("no panic") = 2;
    assert_eq!(next(&mut endpoints).await, "-10.0.0.1:80");
    assert!(endpoints.handle().snapshot().failed > 0);

    // A name without any address keeps the last set, and a family without addresses loses them.
    server.v4.lock().expect("no panic").clear();
    server.v6.lock().expect("no panic").clear();
    *server.code_of_v6.lock().expect("no panic") = 0;
    let failed = endpoints.handle().snapshot().failed;
    while endpoints.handle().snapshot().failed < failed + 2 {
        let polled = tokio::time::timeout(Duration::from_millis(50), endpoints.next()).await;
        assert!(polled.is_err(), "{polled:?}");
    }
    server.v4.lock().expect("no panic").push(Ipv4Addr::new(10, 0, 0, 2));
    assert_eq!(next(&mut endpoints).await, "-[fd00::1]:80");
}
