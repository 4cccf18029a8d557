//! A backend that does as each request says, and somebody who writes down every event.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use tower::{Layer, ServiceExt};
use tower_reliability::{
    CircuitTransition, Classifier, Error, ErrorClass, Event, EventKind, Outcome, Rejected,
    circuit_breaker::{CircuitBreaker, CircuitBreakerConfig, CircuitBreakerHandle, CircuitBreakerLayer},
    testing::{Scripted, Step},
};

/// What the backend shall do.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Act {
    pub(crate) after: Duration,
    pub(crate) answer: Answer,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Answer {
    Good,
    Fail(ErrorClass),
    /// An error that says nothing about the backend.
    Unrelated,
    Hang,
    Panic,
    PanicInCall,
    /// The classifier panics over it.
    Unclassifiable,
}

impl Act {
    pub(crate) const GOOD: Self = Self::now(Answer::Good);
    pub(crate) const BAD: Self = Self::now(Answer::Fail(ErrorClass::Server));
    pub(crate) const HANG: Self = Self::now(Answer::Hang);

    pub(crate) const fn now(answer: Answer) -> Self {
        Self { after: Duration::ZERO, answer }
    }

    pub(crate) const fn after(self, after: Duration) -> Self {
        Self { after, ..self }
    }

    pub(crate) fn step(self) -> Step<(), Error<Peer>> {
        let step = match self.answer {
            Answer::Good => Step::answer(()),
            Answer::Hang => Step::hang(),
            Answer::Panic => Step::panic(),
            Answer::PanicInCall => Step::panic_in_call(),
            answer => Step::fail(Error::Inner(Peer(answer))),
        };
        step.after(self.after)
    }
}

/// The backend's own error.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Peer(pub(crate) Answer);

impl std::fmt::Display for Peer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the backend answered {:?}", self.0)
    }
}

impl std::error::Error for Peer {}

/// A backend to which each request says what to do.
pub(crate) type Backend = Scripted<Act, (), Error<Peer>>;

pub(crate) fn backend() -> Backend {
    Scripted::new(|act: &Act| act.step())
}

/// A backend that plays one act per request, then succeeds.
#[derive(Clone, Debug)]
pub(crate) struct Script<Req = ()>(Scripted<Req, (), Error<Peer>>);

impl<Req> Script<Req> {
    pub(crate) fn new(acts: impl IntoIterator<Item = Act>) -> Self {
        let backend = Scripted::new(|_: &Req| Step::answer(()));
        backend.play(acts.into_iter().map(Act::step));
        Self(backend)
    }

    /// The times of the requests, in milliseconds since the first.
    pub(crate) fn asked(&self) -> Vec<u128> {
        self.0.call_times().iter().map(Duration::as_millis).collect()
    }

    pub(crate) fn running(&self) -> u64 {
        self.0.in_flight()
    }

    pub(crate) fn service(&self) -> Scripted<Req, (), Error<Peer>> {
        self.0.clone()
    }
}

impl<Req> Default for Script<Req> {
    fn default() -> Self {
        Self::new([])
    }
}

pub(crate) type Answered = Result<(), Error<Peer>>;

/// Panics without a message on the way.
fn panic_quietly() -> ! {
    std::panic::resume_unwind(Box::new("as the request says"))
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct ByPeer;

impl Classifier<(), Error<Peer>> for ByPeer {
    fn classify(&self, result: Result<&(), &Error<Peer>>) -> Outcome {
        match result {
            Ok(()) => Outcome::Success,
            Err(Error::Inner(Peer(Answer::Fail(class)))) => Outcome::failure(*class),
            Err(Error::Inner(Peer(Answer::Unclassifiable))) => panic_quietly(),
            Err(Error::Inner(Peer(_))) => Outcome::Ignored,
            Err(Error::Rejected(rejected)) => rejected.outcome(),
        }
    }
}

/// A listener that remembers.
#[derive(Clone, Debug, Default)]
pub(crate) struct Diary(Arc<Mutex<Vec<EventKind>>>);

impl Diary {
    pub(crate) fn writer(&self) -> impl Fn(&Event) + Send + Sync + 'static {
        let Self(events) = self.clone();
        move |event| events.lock().expect("no thread panics with it").push(event.kind)
    }

    pub(crate) fn events(&self) -> Vec<EventKind> {
        self.0.lock().expect("no thread panics with it").clone()
    }

    pub(crate) fn transitions(&self) -> Vec<CircuitTransition> {
        let change = |event| if let EventKind::CircuitChanged(change) = event { Some(change) } else { None };
        self.events().into_iter().filter_map(change).collect()
    }
}

pub(crate) type Guarded<S = Backend> = CircuitBreaker<S, ByPeer>;

/// A breaker before a backend, with all that one can look at.
pub(crate) struct Bench {
    pub(crate) layer: CircuitBreakerLayer<ByPeer>,
    pub(crate) service: Guarded,
    pub(crate) handle: CircuitBreakerHandle,
    pub(crate) backend: Backend,
    pub(crate) diary: Diary,
}

impl Bench {
    pub(crate) fn new(config: CircuitBreakerConfig) -> Self {
        Self::built(config, |layer| layer)
    }

    pub(crate) fn waiting(config: CircuitBreakerConfig) -> Self {
        Self::built(config, CircuitBreakerLayer::wait_while_open)
    }

    fn built(
        config: CircuitBreakerConfig,
        finish: impl FnOnce(CircuitBreakerLayer<ByPeer>) -> CircuitBreakerLayer<ByPeer>,
    ) -> Self {
        let (diary, backend) = (Diary::default(), backend());
        let layer = config.build().expect("a valid config").classify(ByPeer).listen(diary.writer());
        let layer = finish(layer);
        let (service, handle) = (layer.layer(backend.clone()), layer.handle());
        Self { layer, service, handle, backend, diary }
    }

    /// One call by a clone.
    pub(crate) async fn call(&self, act: Act) -> Answered {
        self.service.clone().oneshot(act).await
    }

    pub(crate) async fn calls(&self, count: usize, act: Act) {
        for _ in 0..count {
            let _ = self.call(act).await;
        }
    }

    /// The same for a service that waits, which would wait where it should fail.
    pub(crate) async fn half_open_by_waiting(&self) {
        let _ = self.call(Act::BAD).await;
        tokio::time::advance(self.handle.snapshot().retry_after.expect("one failure opens it")).await;
    }

    /// Opens it by consecutive or other failures, and lets it become half-open.
    pub(crate) async fn half_open(&self) {
        while self.handle.snapshot().retry_after.is_none() {
            let _ = self.call(Act::BAD).await;
        }
        tokio::time::advance(self.handle.snapshot().retry_after.unwrap_or_default()).await;
        assert_eq!(self.handle.state().as_str(), "half_open");
    }
}

/// The rejection in an answer.
pub(crate) fn rejected(answer: &Answered) -> Option<&Rejected> {
    answer.as_ref().err().and_then(Error::rejected)
}
