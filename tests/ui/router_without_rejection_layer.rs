use std::time::Duration;

use axum::{Router, routing::get};
use tower::ServiceBuilder;
use tower_reliability::ReliabilityStack;

fn main() {
    let stack = ReliabilityStack::builder().timeout(Duration::from_secs(2)).build().unwrap();
    let routes = Router::<()>::new().route("/", get(|| async { "hello" }));
    let _ = routes.clone().layer(stack.clone());
    let _ = routes.layer(ServiceBuilder::new().layer(stack));
}
