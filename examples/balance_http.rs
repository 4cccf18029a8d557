//! One client over several servers. `cargo run --example balance_http`
//!
//! Three servers answer, and one of them is slow. Then one is killed, and another one is added while the calls go on. The
//! program prints which servers answered, and how many calls failed.
#![allow(clippy::disallowed_methods, reason = "an example may spawn tasks and read the clock")]

use std::{collections::BTreeMap, io, net::SocketAddr, time::Duration};

use axum::{Router, routing::get};
use http_body_util::BodyExt;
use hyper::{Request, Response, Uri, body::Incoming as Body, http::uri::PathAndQuery};
use hyper_util::{
    client::legacy::{self, Client},
    rt::TokioExecutor,
};
use tokio::{net::TcpListener, runtime::Runtime, task::JoinSet, time::sleep};
use tower::{Service, ServiceBuilder};
use tower_reliability::{
    BoxError, Error, Event,
    balance::{BalanceConfig, BalanceHandle, EndpointKey},
    http::{BoxBody, HttpClient, ReplayBody},
    retry::RetryConfig,
};

type Shop = HttpClient<Body, Failed>;
type Outgoing = Request<ReplayBody<BoxBody>>;
type Incoming = Response<Body>;
type Failed = Error<legacy::Error>;

/// A client of one server, whatever server the URI of a request names.
fn endpoint(
    address: &SocketAddr,
) -> impl Service<Outgoing, Response = Incoming, Error = Failed, Future: Send> + Clone + Send + Sync + use<> {
    let address = *address;
    ServiceBuilder::new()
        .map_request(move |mut request: Outgoing| {
            *request.uri_mut() = at(address, request.uri());
            request
        })
        .map_err(Error::inner)
        .service(Client::builder(TokioExecutor::new()).build_http())
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let (fast, slow, dying) =
        (Server::start("fast", 5)?, Server::start("slow", 250)?, Server::start("dying", 5)?);
    let builder = tower_reliability::http::balance(BalanceConfig::new())?;
    let balance = builder
        .listen(|event: &Event| println!("   *** {event}"))
        .endpoints([fast.address, slow.address, dying.address], endpoint);
    let handle = balance.handle();
    let stack = tower_reliability::http::stack()
        .flat_errors()
        .timeout(Duration::from_secs(2))
        .retry(RetryConfig::new().max_attempts(3))
        .build()?;
    let shop: Shop = stack.client(balance);

    calls("three servers, one of them slow", &shop).await;
    let dead = dying.address;
    dying.kill();
    calls("one was killed", &shop).await;
    let new = Server::start("new", 5)?;
    drop(handle.insert(new.address, endpoint(&new.address)));
    handle.remove(&dead).drained().await;
    sleep(Duration::from_secs(1)).await;
    calls("another one was added, and starts slowly", &shop).await;
    report(&handle);
    [fast, slow, new].into_iter().for_each(Server::kill);
    Ok(())
}

/// Makes 500 calls, ten at a time, and prints the answers.
async fn calls(title: &str, shop: &Shop) {
    let mut tasks = JoinSet::new();
    for _ in 0..10 {
        let shop = shop.clone();
        tasks.spawn(async move {
            let mut answers = Vec::new();
            for _ in 0..50 {
                answers.push(call(&shop).await.unwrap_or_else(|error| format!("failed: {error}")));
            }
            answers
        });
    }
    let mut counts = BTreeMap::<String, u32>::new();
    tasks.join_all().await.into_iter().flatten().for_each(|answer| *counts.entry(answer).or_default() += 1);
    println!("{title}: {counts:?}");
}

async fn call(shop: &Shop) -> Result<String, BoxError> {
    let response = shop.send(Request::get("/name").body(String::new())?).await?;
    let body = response.into_body().collect().await?.to_bytes();
    Ok(String::from_utf8_lossy(&body).into_owned())
}

fn report<K: EndpointKey, S>(handle: &BalanceHandle<K, S>) {
    let state = handle.snapshot();
    println!("{} calls went to a second choice, {} ejections", state.failovers, state.ejections);
    for it in state.endpoints {
        println!("   {}: {} calls, {} failed, latency {:?}", it.key, it.picks, it.failed, it.latency);
    }
}

/// The same path at this server.
fn at(address: SocketAddr, uri: &Uri) -> Uri {
    let path = uri.path_and_query().cloned().unwrap_or(PathAndQuery::from_static("/"));
    let uri = Uri::builder().scheme("http").authority(address.to_string()).path_and_query(path);
    uri.build().expect("an address and a path are a URI")
}

/// A server in a runtime of its own, so that it can be killed with its connections.
struct Server {
    address: SocketAddr,
    runtime: Runtime,
}

impl Server {
    fn start(name: &'static str, millis: u64) -> io::Result<Self> {
        let runtime = Runtime::new()?;
        let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let answer = async move || {
            sleep(Duration::from_millis(millis)).await;
            name
        };
        runtime.spawn(async move {
            let app = Router::new().route("/name", get(answer));
            axum::serve(TcpListener::from_std(listener)?, app).await
        });
        Ok(Self { address, runtime })
    }

    fn kill(self) {
        self.runtime.shutdown_background();
    }
}
