use tower_reliability::{ReliabilityStack, retry::RetryConfig};

fn main() {
    let stack = ReliabilityStack::builder().retry(RetryConfig::new()).build().unwrap();
    let _ = stack.reqwest(reqwest::Client::new()).get("http://127.0.0.1/");
}
