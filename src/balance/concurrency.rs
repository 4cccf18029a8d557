//! Endpoints that come and go while calls are picked, under every interleaving that shuttle comes upon.
//!
//! Run with `RUSTFLAGS="--cfg shuttle" cargo test --lib concurrency`. The swap of the set itself is `arc-swap`'s, and one
//! step here.

use std::{
    future::{Future, Ready, ready},
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Waker},
};

use shuttle::{future, thread};
use tower_service::Service;

use super::{
    config::{BalanceConfig, BuiltIn, OutlierConfig},
    service::Balance,
};
use crate::call::{Error, ErrorClass, Outcome};

type Failed = Error<std::fmt::Error>;

/// Must not be called once it is gone.
#[derive(Clone)]
struct Endpoint {
    gone: Arc<AtomicBool>,
    fails: bool,
}

impl Service<()> for Endpoint {
    type Response = ();
    type Error = Failed;
    type Future = Ready<Result<(), Failed>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Failed>> {
        thread::yield_now();
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, (): ()) -> Self::Future {
        assert!(!self.gone.load(Ordering::SeqCst), "a removed endpoint got a call after the drain");
        ready(if self.fails { Err(Error::Inner(std::fmt::Error)) } else { Ok(()) })
    }
}

fn endpoint(fails: bool) -> Endpoint {
    Endpoint { gone: Arc::default(), fails }
}

type Classify = fn(Result<&(), &Failed>) -> Outcome;

fn classify(result: Result<&(), &Failed>) -> Outcome {
    result.map_or(Outcome::failure(ErrorClass::Server), |()| Outcome::Success)
}

fn balance(rules: OutlierConfig, endpoints: &[Endpoint]) -> Balance<usize, Endpoint, Classify> {
    let config = BalanceConfig::new().strategy(BuiltIn::RoundRobin).outliers(rules);
    let builder = config.build().expect("valid").classify(classify as Classify).seed(7);
    builder.endpoints(0..endpoints.len(), |key| endpoints[*key].clone())
}

fn call(balance: &Balance<usize, Endpoint, Classify>) -> Result<(), Failed> {
    let mut call = pin!(balance.clone().call(()));
    match call.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(result) => result,
        Poll::Pending => panic!("every endpoint is ready"),
    }
}

#[test]
fn case_46_no_call_enters_an_endpoint_after_its_drain() {
    shuttle::check_random(
        || {
            let endpoints = [endpoint(false), endpoint(false)];
            let balance = balance(OutlierConfig::off(), &endpoints);
            let callers = [(); 2].map(|()| {
                let balance = balance.clone();
                thread::spawn(move || (0..2).for_each(|_| call(&balance).expect("one endpoint stays")))
            });
            let removed = balance.handle().remove(&0);
            future::block_on(removed.drained());
            endpoints[0].gone.store(true, Ordering::SeqCst);
            callers.map(|caller| caller.join().expect("no caller panics"));
            let state = balance.handle().snapshot();
            assert_eq!((state.endpoints.len(), state.endpoints[0].in_flight, state.rejected), (1, 0, 0));
        },
        EXECUTIONS,
    );
}

#[test]
fn an_endpoint_that_fails_for_several_callers_is_ejected_once() {
    shuttle::check_random(
        || {
            let endpoints = [endpoint(true), endpoint(false), endpoint(false)];
            let balance = balance(OutlierConfig::off().consecutive_failures(2), &endpoints);
            let callers = [(); 3].map(|()| {
                let balance = balance.clone();
                thread::spawn(move || (0..3).for_each(|_| drop(call(&balance))))
            });
            callers.map(|caller| caller.join().expect("no caller panics"));
            // The next pick judges the endpoint, if no caller has.
            drop(call(&balance));
            let state = balance.handle().snapshot();
            let picks: u64 = state.endpoints.iter().map(|it| it.picks).sum();
            assert_eq!((state.ejections, state.endpoints[0].is_ejected, picks), (1, true, 10));
        },
        EXECUTIONS,
    );
}

/// Each takes well under a millisecond.
const EXECUTIONS: usize = 5_000;
