use bytes::Bytes;
use http_body_util::Full;
use hyper::Request;
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use tower_reliability::retry::RetryConfig;

fn main() {
    let stack = tower_reliability::http::stack().retry(RetryConfig::new()).build().unwrap();
    let hyper = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
    let _ = stack.service(hyper).call(Request::new(Full::default()));
}
