use tower::service_fn;
use tower_reliability::{ReliabilityStack, retry::RetryConfig};

struct Upload;

fn main() {
    let stack = ReliabilityStack::builder().retry(RetryConfig::new()).build().unwrap();
    let backend = service_fn(|_: Upload| async { Ok::<_, std::io::Error>(()) });
    let _ = stack.service(backend).call(Upload);
}
