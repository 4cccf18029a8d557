use std::{convert::Infallible, rc::Rc, time::Duration};

use tower::service_fn;
use tower_reliability::ReliabilityStack;

fn main() {
    let stack = ReliabilityStack::builder().timeout(Duration::from_secs(1)).build().unwrap();
    let cache = Rc::new(7);
    let backend = service_fn(move |n: u32| std::future::ready(Ok::<_, Infallible>(n + *cache)));
    let _ = stack.service(backend).call(1);
}
