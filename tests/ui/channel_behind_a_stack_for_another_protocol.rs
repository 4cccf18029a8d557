use tonic::transport::Channel;
use tonic_health::pb::health_client::HealthClient;
use tower_reliability::{ReliabilityStack, retry::RetryConfig};

fn main() {
    let stack = ReliabilityStack::builder().retry(RetryConfig::new()).build().unwrap();
    let channel = Channel::from_static("http://[::1]:50051").connect_lazy();
    let _ = HealthClient::new(stack.channel(channel));
}
