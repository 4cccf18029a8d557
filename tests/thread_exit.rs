//! Calls that end while their thread ends.
//!
//! This is a program of its own: once a test of the same process has paused the clock, tokio's clock uses a thread-local,
//! and panics while the thread ends.

use std::{
    any::Any,
    cell::RefCell,
    future::{Future, pending},
    io,
    task::Context,
    thread,
};

use tower::{Layer, Service, service_fn};
use tower_reliability::{
    CircuitState, Error,
    circuit_breaker::{Abandoned, CircuitBreakerConfig},
};

#[test]
fn case_68_a_call_may_be_dropped_in_the_destructor_of_a_thread_local() {
    type Call = Box<dyn Any>;
    thread_local!(static LAST: RefCell<Option<Call>> = const { RefCell::new(None) });
    let layer = CircuitBreakerConfig::consecutive(1).abandoned(Abandoned::Failure).build().expect("in range");
    let handle = layer.handle();
    let dropped = thread::spawn(move || {
        LAST.with(|last| {
            let hanging = service_fn(|()| pending::<Result<(), Error<io::Error>>>());
            let mut call = Box::pin(layer.layer(hanging).call(()));
            let waker = futures::task::noop_waker_ref();
            let polled = call.as_mut().poll(&mut Context::from_waker(waker));
            assert!(polled.is_pending());
            *last.borrow_mut() = Some(Box::new(call));
        });
    });
    dropped.join().expect("the thread ends well");
    assert_eq!((handle.state(), handle.snapshot().counts.abandoned), (CircuitState::Open, 1));
}
