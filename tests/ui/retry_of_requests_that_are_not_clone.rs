use tower::{Service, ServiceBuilder, ServiceExt, service_fn};
use tower_reliability::{check_service, retry::RetryConfig};

struct Upload;

#[tokio::main]
async fn main() {
    let client = ServiceBuilder::new()
        .layer(RetryConfig::new().build().unwrap())
        .service(service_fn(|_: Upload| async { Ok::<_, std::io::Error>(()) }));
    let mut client = check_service::<Upload, _>(client);
    let _ = client.ready().await.unwrap().call(Upload).await;
}
