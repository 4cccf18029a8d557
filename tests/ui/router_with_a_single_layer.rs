use axum::{Router, routing::get};
use tower_reliability::circuit_breaker::CircuitBreakerConfig;

fn main() {
    let breaker = CircuitBreakerConfig::new().build().unwrap();
    let _ = Router::<()>::new().route("/", get(|| async { "hello" })).layer(breaker);
}
