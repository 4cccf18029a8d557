use std::{convert::Infallible, rc::Rc, time::Duration};

use tower::service_fn;
use tower_reliability::ReliabilityStack;

fn main() {
    let stack = ReliabilityStack::builder().timeout(Duration::from_secs(1)).build().unwrap();
    let backend = service_fn(|n: u32| async move {
        let cache = Rc::new(n);
        tokio::task::yield_now().await;
        Ok::<_, Infallible>(*cache)
    });
    let _ = stack.service(backend).call(1);
}
