//! An error enum of your own, between tower's own layers. `cargo run --example own_error`
//!
//! A stack needs only `From<Rejected>` for the enum. `flat_errors()` tells the stack to keep the error type. Some layers
//! of tower, such as `load_shed`, box the error. A `map_err` around them takes the enum out again.

use std::{error, fmt, io, net::SocketAddr, time::Duration};

use futures::future::join_all;
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
};
use tower::{Service, ServiceBuilder, ServiceExt};
use tower_reliability::{
    BoxError, ConfigError, ErrorClass, Outcome, Rejected, circuit_breaker::CircuitBreakerConfig,
    stack::ReliabilityStack,
};

/// The errors of a price lookup.
#[derive(Debug)]
enum PriceError {
    NotFound,
    Connection(io::Error),
    Overloaded,
    Rejected(Rejected),
}

impl PriceError {
    /// The error of tower's layers around the stack.
    fn unboxed(error: BoxError) -> Self {
        error.downcast().map_or(Self::Overloaded, |own| *own)
    }
}

impl From<Rejected> for PriceError {
    fn from(rejected: Rejected) -> Self {
        Self::Rejected(rejected)
    }
}

impl From<io::Error> for PriceError {
    fn from(error: io::Error) -> Self {
        Self::Connection(error)
    }
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::select! {
        result = shop(listener) => result?,
        result = lookups(address) => result?,
    }
    Ok(())
}

type Thing = &'static str;

/// At most two lookups at once, each behind the breaker and the timeout.
fn prices(
    address: SocketAddr,
) -> Result<impl Service<Thing, Response = u32, Error = PriceError> + Clone, ConfigError> {
    let stack = ReliabilityStack::builder()
        .circuit_breaker(CircuitBreakerConfig::consecutive(2))
        .attempt_timeout(Duration::from_millis(50))
        .classify(classify)
        .flat_errors()
        .build()?;
    Ok(ServiceBuilder::new()
        .map_err(PriceError::unboxed)
        .load_shed()
        .concurrency_limit(2)
        .layer(stack)
        .service_fn(move |thing: Thing| price(address, thing)))
}

async fn lookups(address: SocketAddr) -> Result<(), BoxError> {
    let prices = prices(address)?;
    println!("three at once:");
    for answer in join_all(["tea"; 3].map(|thing| prices.clone().oneshot(thing))).await {
        print("tea", answer);
    }
    println!("one by one:");
    for thing in ["unicorn", "unicorn", "coffee", "coffee", "tea"] {
        print(thing, prices.clone().oneshot(thing).await);
    }
    Ok(())
}

fn print(thing: &str, answer: Result<u32, PriceError>) {
    match answer {
        Ok(price) => println!("    {thing}: {price}"),
        Err(PriceError::NotFound) => println!("    {thing}: not for sale"),
        Err(PriceError::Connection(error)) => println!("    {thing}: no connection to the shop: {error}"),
        Err(PriceError::Overloaded) => println!("    {thing}: too many lookups at once"),
        Err(PriceError::Rejected(rejected)) => println!("    {thing}: {rejected}"),
    }
}

/// A shop that answers is healthy, even if it does not sell the thing.
fn classify(result: Result<&u32, &PriceError>) -> Outcome {
    match result {
        Ok(_) | Err(PriceError::NotFound) => Outcome::Success,
        Err(PriceError::Connection(_)) => Outcome::failure(ErrorClass::Connection),
        // The layer that sheds load is outer, so its error never comes here.
        Err(PriceError::Overloaded) => Outcome::Ignored,
        Err(PriceError::Rejected(rejected)) => rejected.outcome(),
    }
}

async fn price(address: SocketAddr, thing: &str) -> Result<u32, PriceError> {
    let mut shop = BufReader::new(TcpStream::connect(address).await?);
    shop.write_all(format!("{thing}\n").as_bytes()).await?;
    let mut answer = String::new();
    shop.read_line(&mut answer).await?;
    answer.trim().parse().map_err(|_| PriceError::NotFound)
}

/// Sells tea, never answers a question for coffee, and sells nothing else.
async fn shop(listener: TcpListener) -> io::Result<()> {
    let mut silent = Vec::new();
    loop {
        let mut caller = BufReader::new(listener.accept().await?.0);
        let mut thing = String::new();
        caller.read_line(&mut thing).await?;
        match thing.trim() {
            "tea" => caller.write_all(b"250\n").await?,
            "coffee" => silent.push(caller),
            _ => caller.write_all(b"none\n").await?,
        }
    }
}

impl fmt::Display for PriceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound => f.write_str("not for sale"),
            Self::Connection(error) => error.fmt(f),
            Self::Overloaded => f.write_str("too many lookups at once"),
            Self::Rejected(rejected) => rejected.fmt(f),
        }
    }
}

impl error::Error for PriceError {}
