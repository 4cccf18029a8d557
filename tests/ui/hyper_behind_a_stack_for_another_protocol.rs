use hyper::Request;
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use tower_reliability::{ReliabilityStack, retry::RetryConfig};

fn main() {
    let stack = ReliabilityStack::builder().retry(RetryConfig::new()).build().unwrap();
    let client = stack.client(Client::builder(TokioExecutor::new()).build_http());
    let _ = client.send(Request::new(String::new()));
}
