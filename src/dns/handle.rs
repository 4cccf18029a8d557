//! The shared state of a discovery: its set behind a lock, and its listeners.

use std::{net::IpAddr, sync::Arc, time::Duration};

use super::{
    config::DnsConfig,
    resolve::Resolved,
    snapshot::DnsSnapshot,
    state::{State, Step},
};
use crate::{
    rt::sync::{Mutex, lock},
    telemetry::{Emitter, EventKind, Listener, Name},
};

/// Reads the counts of a discovery, and takes listeners.
///
/// # Clone
///
/// Clones, and the discovery, share the state.
#[derive(Clone, Debug)]
pub struct DnsHandle {
    shared: Arc<DnsShared>,
}

#[derive(Debug)]
struct DnsShared {
    emitter: Emitter,
    state: Mutex<State>,
}

impl DnsHandle {
    pub(super) fn new(emitter: Emitter) -> Self {
        Self { shared: Arc::new(DnsShared { emitter, state: Mutex::default() }) }
    }

    /// The name of the discovery.
    #[must_use]
    pub fn name(&self) -> &Name {
        self.shared.emitter.name()
    }

    /// The addresses in use, and the counts.
    #[must_use]
    pub fn snapshot(&self) -> DnsSnapshot {
        lock(&self.shared.state).snapshot()
    }

    /// Adds a listener, which hears every [event](super#telemetry) from now on.
    pub fn listen(&self, listener: impl Listener) {
        self.shared.emitter.add(listener);
    }

    /// The same listeners under another name, and a state of its own.
    pub(super) fn renamed(&self, name: Name) -> Self {
        Self::new(self.shared.emitter.joined(name, &[]))
    }

    /// Uses this address for ever.
    pub(super) fn fix(&self, address: IpAddr) {
        lock(&self.shared.state).fix(address);
        self.shared.emitter.emit(EventKind::EndpointsChanged { added: 1, removed: 0, endpoints: 1 });
    }

    /// Counts a lookup. Returns the changes and the pause.
    pub(super) fn record(
        &self,
        result: Result<Resolved, String>,
        config: DnsConfig,
    ) -> (Vec<IpAddr>, Vec<IpAddr>, Duration) {
        let (Step { added, removed, failures, pause }, endpoints) = {
            let mut state = lock(&self.shared.state);
            (state.record(result, config), state.len())
        };
        if let Some(consecutive) = failures {
            self.shared.emitter.emit(EventKind::LookupFailed { consecutive, endpoints });
        }
        if !added.is_empty() || !removed.is_empty() {
            let (added, removed) = (added.len(), removed.len());
            self.shared.emitter.emit(EventKind::EndpointsChanged { added, removed, endpoints });
        }
        (added, removed, pause)
    }
}
