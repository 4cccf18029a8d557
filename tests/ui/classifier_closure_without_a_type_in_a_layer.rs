use tower::{Layer, service_fn};
use tower_reliability::{
    Error, ErrorClass, Outcome, check_service, circuit_breaker::CircuitBreakerConfig,
};

fn main() {
    let breaker = CircuitBreakerConfig::new().build().unwrap().classify(|result| match result {
        Ok(_) => Outcome::Success,
        Err(_) => Outcome::failure(ErrorClass::Server),
    });
    let backend = service_fn(|n: u32| async move { Ok::<_, Error<std::io::Error>>(n) });
    let _ = check_service::<u32, _>(breaker.layer(backend));
}
