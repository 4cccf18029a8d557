use bytes::Bytes;
use http_body_util::Full;
use hyper::Request;
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use tower::{ServiceBuilder, ServiceExt};
use tower_reliability::retry::RetryConfig;

#[tokio::main]
async fn main() {
    let stack = tower_reliability::http::stack().retry(RetryConfig::new()).build().unwrap();
    let client = ServiceBuilder::new().layer(stack).service(Client::builder(TokioExecutor::new()).build_http());
    let _ = client.oneshot(Request::new(Full::<Bytes>::default())).await;
}
