use tower::service_fn;
use tower_reliability::circuit_breaker::CircuitBreakerConfig;

fn main() {
    let stack =
        tower_reliability::http::stack().circuit_breaker(CircuitBreakerConfig::new()).build().unwrap();
    let backend = service_fn(|n: u32| async move { Ok::<_, std::io::Error>(n) });
    let _ = stack.service(backend).call(1);
}
