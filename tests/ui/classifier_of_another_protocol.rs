use tower::{Layer, service_fn};
use tower_reliability::{
    BoxError, check_service, circuit_breaker::CircuitBreakerConfig, http::HttpClassifier,
};

fn main() {
    let breaker = CircuitBreakerConfig::new().build().unwrap().classify(HttpClassifier::new());
    let client = breaker.layer(service_fn(|n: u32| async move { Ok::<_, BoxError>(n) }));
    let _ = check_service::<u32, _>(client);
}
