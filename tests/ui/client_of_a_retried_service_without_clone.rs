use std::{
    convert::Infallible,
    future::{Ready, ready},
    task::{Context, Poll},
};

use tower::Service;
use tower_reliability::{ReliabilityStack, retry::RetryConfig};

struct Counter;

impl Service<u32> for Counter {
    type Response = u32;
    type Error = Infallible;
    type Future = Ready<Result<u32, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, n: u32) -> Self::Future {
        ready(Ok(n))
    }
}

fn main() {
    let stack = ReliabilityStack::builder().retry(RetryConfig::new()).build().unwrap();
    let _ = stack.service(Counter).call(1);
}
