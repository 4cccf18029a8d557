//! Single layers in an order of your own. `cargo run --example by_hand`
//!
//! The innermost line, `.map_err(Error::inner)`, makes room for rejections in the error type.

use std::{io, net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tower::{Service, ServiceBuilder, ServiceExt, service_fn};
use tower_reliability::{BoxError, Error, circuit_breaker::CircuitBreakerConfig, timeout::TimeoutConfig};

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::select! {
        result = backend(listener) => result?,
        result = calls(address) => result?,
    }
    Ok(())
}

async fn calls(address: SocketAddr) -> Result<(), BoxError> {
    let breaker = CircuitBreakerConfig::consecutive(3).build()?;
    let circuit = breaker.handle();
    let mut client = ServiceBuilder::new()
        .layer(breaker)
        .layer(TimeoutConfig::new(Duration::from_millis(50)).build()?)
        .map_err(Error::inner)
        .service(service_fn(move |question: u8| ask(address, question)));

    for question in 1..=7 {
        let outcome = match client.ready().await?.call(question).await {
            Ok(answer) => format!("answered {answer}"),
            Err(error) => error.report().to_string(),
        };
        println!("{question} [{}] {outcome}", circuit.state());
    }
    Ok(())
}

/// Asks the backend: one byte there, one byte back.
async fn ask(address: SocketAddr, question: u8) -> io::Result<u8> {
    let mut backend = TcpStream::connect(address).await?;
    backend.write_u8(question).await?;
    backend.read_u8().await
}

/// Doubles two numbers, then falls silent.
async fn backend(listener: TcpListener) -> io::Result<()> {
    let mut silent = Vec::new();
    loop {
        let (mut caller, _) = listener.accept().await?;
        match caller.read_u8().await? {
            number @ ..=2 => caller.write_u8(2 * number).await?,
            _ => silent.push(caller),
        }
    }
}
