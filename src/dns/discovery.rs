//! The stream of changes.

use std::{
    collections::VecDeque,
    convert::Infallible,
    fmt,
    future::Future,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Instant,
};

use futures_util::Stream;
use tokio::time::Sleep;
use tower::discover::Change;

use super::{
    config::DnsConfig,
    handle::DnsHandle,
    resolve::{Resolve, Resolved},
    target::{Host, Target},
};
use crate::{
    algo::after,
    call::{BoxError, ConfigError, short_report},
    rt::clock,
    telemetry::{Emitter, Name},
};

/// The endpoints of a name, as a stream of changes. Made by [`DnsConfig::discover`].
///
/// It is a [`Discover`](tower::discover::Discover) of tower, whose services `make` makes from addresses. The stream never
/// ends and never fails: a failed lookup keeps the last good set, and tells the listeners. New endpoints come before
/// removed ones, so that the set is not empty in between.
///
/// # Cancellation
///
/// The stream works while it is polled, and starts no task. Dropping it drops the lookup that runs.
///
/// # Panics
///
/// If it is polled outside of a tokio runtime with time enabled.
pub struct DnsDiscovery<R, F> {
    config: DnsConfig,
    target: Target,
    resolver: Arc<R>,
    make: F,
    handle: DnsHandle,
    phase: Phase,
    changes: VecDeque<Change<SocketAddr, ()>>,
}

enum Phase {
    New,
    Looking {
        lookup: Lookup,
        ends_at: Instant,
        timer: Pin<Box<Option<Sleep>>>,
    },
    Waiting {
        ends_at: Instant,
        timer: Pin<Box<Option<Sleep>>>,
    },
    /// The host is an address.
    Fixed,
}

type Lookup = Pin<Box<dyn Future<Output = Result<Resolved, BoxError>> + Send>>;

impl DnsConfig {
    /// Checks every number and the target, and makes the stream of the endpoints of `target`.
    ///
    /// `target` is `host:port`. A host that is an address is the one endpoint, without a lookup. `make` gets each new
    /// address once, and makes its service. The first lookup begins with the first poll.
    ///
    /// # Errors
    ///
    /// Names the first field that breaks its rule, or `target`.
    pub fn discover<R, F, V>(
        self,
        target: &str,
        resolver: R,
        make: F,
    ) -> Result<DnsDiscovery<R, F>, ConfigError>
    where
        R: Resolve,
        F: FnMut(SocketAddr) -> V,
    {
        self.check()?;
        Ok(DnsDiscovery {
            config: self,
            target: Target::parse(target)?,
            resolver: Arc::new(resolver),
            make,
            handle: DnsHandle::new(Emitter::new("dns")),
            phase: Phase::New,
            changes: VecDeque::new(),
        })
    }
}

impl<R, F> DnsDiscovery<R, F> {
    /// Names the discovery in its events. It then has state and listeners of its own, so name it first. Default: `dns`.
    #[must_use]
    pub fn named(mut self, name: impl Into<Name>) -> Self {
        self.handle = self.handle.renamed(name.into());
        self
    }

    /// Reads the counts, and takes listeners.
    #[must_use]
    pub fn handle(&self) -> DnsHandle {
        self.handle.clone()
    }

    fn endpoint(&self, address: IpAddr) -> SocketAddr {
        SocketAddr::new(address, self.target.port)
    }
}

impl<R: Resolve, F> DnsDiscovery<R, F> {
    /// Begins a lookup.
    fn look(&self, host: &str) -> Phase {
        let (resolver, host) = (Arc::clone(&self.resolver), host.to_owned());
        Phase::Looking {
            lookup: Box::pin(async move { resolver.resolve(&host).await }),
            ends_at: after(clock::now(), self.config.timeout),
            timer: Box::pin(None),
        }
    }

    /// The phase after the one that has ended.
    fn poll_phase(&mut self, cx: &mut Context<'_>) -> Poll<Phase> {
        let result = match &mut self.phase {
            // New => Looking | Fixed
            Phase::New => match &self.target.host {
                Host::Name(host) => return Poll::Ready(self.look(host)),
                Host::Address(address) => {
                    let address = *address;
                    self.handle.fix(address);
                    self.changes.push_back(Change::Insert(self.endpoint(address), ()));
                    return Poll::Ready(Phase::Fixed);
                }
            },
            // Waiting => Looking
            Phase::Waiting { ends_at, timer } => {
                ready!(clock::poll_alarm(timer.as_mut(), *ends_at, cx)).expect(RUNTIME);
                let Host::Name(host) = &self.target.host else { return Poll::Ready(Phase::Fixed) };
                return Poll::Ready(self.look(host));
            }
            // Looking => Waiting
            Phase::Looking { lookup, ends_at, timer } => match lookup.as_mut().poll(cx) {
                Poll::Ready(result) => result.map_err(|error| short_report(error.as_ref())),
                Poll::Pending => {
                    ready!(clock::poll_alarm(timer.as_mut(), *ends_at, cx)).expect(RUNTIME);
                    Err(format!("no answer within {:?}", self.config.timeout))
                }
            },
            Phase::Fixed => return Poll::Pending,
        };
        let (added, removed, pause) = self.handle.record(result, self.config);
        let added = added.into_iter().map(|address| Change::Insert(self.endpoint(address), ()));
        let removed = removed.into_iter().map(|address| Change::Remove(self.endpoint(address)));
        let changes: VecDeque<_> = added.chain(removed).collect();
        self.changes = changes;
        Poll::Ready(Phase::Waiting { ends_at: after(clock::now(), pause), timer: Box::pin(None) })
    }
}

/// Nothing in it is pinned.
impl<R, F> Unpin for DnsDiscovery<R, F> {}

impl<R, F, V> Stream for DnsDiscovery<R, F>
where
    R: Resolve,
    F: FnMut(SocketAddr) -> V,
{
    type Item = Result<Change<SocketAddr, V>, Infallible>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        loop {
            match this.changes.pop_front() {
                Some(Change::Insert(endpoint, ())) => {
                    return Poll::Ready(Some(Ok(Change::Insert(endpoint, (this.make)(endpoint)))));
                }
                Some(Change::Remove(endpoint)) => return Poll::Ready(Some(Ok(Change::Remove(endpoint)))),
                None => this.phase = ready!(this.poll_phase(cx)),
            }
        }
    }
}

impl<R, F> fmt::Debug for DnsDiscovery<R, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DnsDiscovery")
            .field("config", &self.config)
            .field("target", &self.target)
            .finish_non_exhaustive()
    }
}

const RUNTIME: &str = "a discovery is polled inside a runtime";
