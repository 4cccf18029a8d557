use tower::{Layer, service_fn};
use tower_reliability::{
    ErrorClass, Outcome, ReliabilityStack, check_service, circuit_breaker::CircuitBreakerConfig,
};

fn main() {
    let stack = ReliabilityStack::builder()
        .classify(|result| match result {
            Ok(_) => Outcome::Success,
            Err(_) => Outcome::failure(ErrorClass::Server),
        })
        .circuit_breaker(CircuitBreakerConfig::new())
        .build()
        .unwrap();
    let client = stack.layer(service_fn(|n: u32| async move { Ok::<_, std::io::Error>(n) }));
    let _ = check_service::<u32, _>(client);
}
