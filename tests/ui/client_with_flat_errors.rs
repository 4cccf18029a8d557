use std::time::Duration;

use tower::service_fn;
use tower_reliability::ReliabilityStack;

fn main() {
    let stack =
        ReliabilityStack::builder().timeout(Duration::from_secs(1)).flat_errors().build().unwrap();
    let backend = service_fn(|n: u32| async move { Ok::<_, std::io::Error>(n) });
    let _ = stack.service(backend).call(1);
}
