//! Endpoints that come and go at random while several threads make calls.

use std::{
    convert::Infallible,
    future::{Ready, ready},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll},
    thread,
};

use futures::executor::block_on;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use tower::{Service, ServiceExt};
use tower_reliability::{
    Error,
    balance::{Balance, BalanceConfig, BuiltIn},
};

/// Must not be called once it is gone. Counts the endpoints that are alive.
#[derive(Clone)]
struct Endpoint {
    gone: Arc<AtomicBool>,
    alive: Arc<Alive>,
}

struct Alive(Arc<AtomicU64>);

impl Alive {
    fn new(count: &Arc<AtomicU64>) -> Arc<Self> {
        count.fetch_add(1, Ordering::Relaxed);
        Arc::new(Self(Arc::clone(count)))
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Service<()> for Endpoint {
    type Response = ();
    type Error = Error<Infallible>;
    type Future = Ready<Result<(), Error<Infallible>>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error<Infallible>>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, (): ()) -> Self::Future {
        assert!(!self.gone.load(Ordering::SeqCst), "a removed endpoint got a call");
        debug_assert!(Arc::strong_count(&self.alive) > 0, "it is held");
        ready(Ok(()))
    }
}

#[test]
fn case_46_no_call_reaches_a_removed_endpoint_and_none_leaks() {
    const SEED: u64 = 46;
    for strategy in [BuiltIn::PeakEwma, BuiltIn::RoundRobin, BuiltIn::WeightedRoundRobin] {
        let alive = Arc::new(AtomicU64::new(0));
        let make = |_: &u32| Endpoint { gone: Arc::default(), alive: Alive::new(&alive) };
        let builder = BalanceConfig::new().strategy(strategy).build().expect("valid");
        let balance: Balance<u32, Endpoint> = builder.endpoints(0..500, make);
        let handle = balance.handle();
        let stop = AtomicBool::new(false);
        let calls: u64 = thread::scope(|scope| {
            let callers: Vec<_> = (0..3)
                .map(|_| {
                    let (balance, stop) = (balance.clone(), &stop);
                    scope.spawn(move || {
                        let mut calls = 0;
                        while !stop.load(Ordering::Relaxed) {
                            block_on(balance.clone().oneshot(())).expect("there are always endpoints");
                            calls += 1;
                        }
                        calls
                    })
                })
                .collect();
            let mut random = StdRng::seed_from_u64(SEED);
            let mut known: Vec<Option<Arc<AtomicBool>>> = vec![None; 1_000];
            for _ in 0..3_000 {
                let key = random.random_range(0..1_000_u32);
                let new = random.random_bool(0.6).then(|| make(&key));
                let gone = new.as_ref().map(|new| Arc::clone(&new.gone));
                let removed = match new {
                    Some(new) => handle.insert(key, new),
                    None => handle.remove(&key),
                };
                block_on(removed.drained());
                let former = std::mem::replace(&mut known[key as usize], gone);
                former.inspect(|gone| gone.store(true, Ordering::SeqCst));
            }
            stop.store(true, Ordering::Relaxed);
            callers.into_iter().map(|caller| caller.join().expect("no call panics")).sum()
        });
        let state = handle.snapshot();
        println!("{strategy:?}, seed {SEED}: {calls} calls, {} endpoints left", state.endpoints.len());
        assert_eq!(alive.load(Ordering::Relaxed), state.endpoints.len() as u64, "no endpoint leaks");
        assert!(state.endpoints.iter().all(|it| it.in_flight == 0));
        assert!(state.rejected == 0 && calls > 1_000);
        drop((balance, handle));
        assert_eq!(alive.load(Ordering::Relaxed), 0);
    }
}
