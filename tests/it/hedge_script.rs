//! A backend that answers each request of a call by a script.

use std::{
    collections::VecDeque,
    future::pending,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::time::{Instant, sleep};
use tower::{Service, service_fn};
use tower_reliability::{
    Error, ErrorClass, Protocol,
    hedge::{HedgeConfig, HedgeLayer},
};

use crate::scripted::{Act, Answer, ByPeer, Peer};

/// Plays one act per request, then succeeds. Knows the times of the requests, and how many are running.
#[derive(Clone, Debug, Default)]
pub(crate) struct Script {
    acts: Arc<Mutex<VecDeque<Act>>>,
    asked: Arc<Mutex<Vec<Instant>>>,
    running: Arc<AtomicUsize>,
}

/// Counts what is running, until it is dropped.
struct Spy(Arc<AtomicUsize>);

impl Drop for Spy {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Script {
    pub(crate) fn new(acts: impl IntoIterator<Item = Act>) -> Self {
        Self { acts: Arc::new(Mutex::new(acts.into_iter().collect())), ..Self::default() }
    }

    /// The times of the requests, in milliseconds since the first.
    pub(crate) fn asked(&self) -> Vec<u128> {
        let asked = self.asked.lock().expect("no thread panics with it");
        asked.iter().map(|at| (*at - asked[0]).as_millis()).collect()
    }

    pub(crate) fn running(&self) -> usize {
        self.running.load(Ordering::SeqCst)
    }

    pub(crate) fn service<Req>(
        &self,
    ) -> impl Service<Req, Response = (), Error = Error<Peer>, Future: Send> + Clone + Send + use<Req> {
        let Self { acts, asked, running } = self.clone();
        service_fn(move |_: Req| {
            asked.lock().expect("no thread panics with it").push(Instant::now());
            let act = acts.lock().expect("no thread panics with it").pop_front().unwrap_or(Act::GOOD);
            if act.answer == Answer::PanicInCall {
                panic_quietly();
            }
            running.fetch_add(1, Ordering::SeqCst);
            let spy = Spy(Arc::clone(&running));
            async move {
                let _spy = spy;
                if !act.after.is_zero() {
                    sleep(act.after).await;
                }
                match act.answer {
                    Answer::Good => Ok(()),
                    Answer::Hang => pending().await,
                    Answer::Panic => panic_quietly(),
                    answer => Err(Error::Inner(Peer(answer))),
                }
            }
        })
    }
}

fn panic_quietly() -> ! {
    std::panic::resume_unwind(Box::new("as the script says"))
}

pub(crate) const DELAY: Duration = Duration::from_millis(100);
pub(crate) const FIXED: HedgeConfig = HedgeConfig::fixed(DELAY);

pub(crate) const fn fails(class: ErrorClass) -> Act {
    Act::now(Answer::Fail(class))
}

pub(crate) fn layer(config: HedgeConfig) -> HedgeLayer<Protocol<ByPeer>> {
    config.build().expect("it is valid").classify(ByPeer)
}
