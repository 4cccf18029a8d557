use tower::{ServiceBuilder, ServiceExt, service_fn};
use tower_reliability::{check_service, circuit_breaker::CircuitBreakerConfig};

#[tokio::main]
async fn main() {
    let client = ServiceBuilder::new()
        .layer(CircuitBreakerConfig::new().build().unwrap())
        .service(service_fn(|n: u32| async move { Ok::<_, std::io::Error>(n) }));
    let client = check_service::<u32, _>(client);
    let _ = client.oneshot(1).await;
}
