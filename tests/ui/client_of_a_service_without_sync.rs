use std::{convert::Infallible, time::Duration};

use tower::{service_fn, util::BoxCloneService};
use tower_reliability::ReliabilityStack;

fn main() {
    let stack = ReliabilityStack::builder().timeout(Duration::from_secs(1)).build().unwrap();
    let backend = BoxCloneService::new(service_fn(|n: u32| async move { Ok::<_, Infallible>(n) }));
    let _ = stack.service(backend).call(1);
}
