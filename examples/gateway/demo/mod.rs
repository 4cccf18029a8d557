//! The demo: the same requests through a protected and an unprotected gateway, to upstreams that misbehave.

mod load;
mod plan;
mod score;
mod table;
mod upstreams;

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{net::TcpListener, task::JoinSet, time::Instant};
use tower_reliability::Event;

use crate::{
    config::{Config, Route},
    demo::{
        plan::{Kind, Side, Timeline},
        score::Scores,
        table::Live,
        upstreams::Upstreams,
    },
    proxy::Gateway,
    server,
    signals::Signals,
};

/// Runs the demo and prints its results. Ctrl-C ends it early.
pub(crate) async fn run(length: Duration) -> io::Result<()> {
    let mut signals = Signals::catch()?;
    let timeline = Timeline::start(length);
    let scores = Arc::new(Scores::new(timeline));
    let journal = Journal::default();
    let upstreams = Upstreams::start(timeline).await?;
    let mut servers = JoinSet::new();

    let (protected, address) = gateway(Side::Protected, &upstreams, journal.listener(timeline)).await?;
    let breakers = Kind::ALL.map(|kind| protected.gateway.breaker(kind.name()));
    let (unprotected, bare_address) = gateway(Side::Unprotected, &upstreams, |_: &Event| {}).await?;
    for Bound { listener, gateway } in [protected, unprotected] {
        servers.spawn(server::serve_app(listener, gateway.app(), std::future::pending(), Duration::ZERO));
    }

    table::opening(timeline);
    let load = load::run([address, bare_address], timeline, Arc::clone(&scores));
    let live = Live::new(timeline, &scores, breakers).run();
    tokio::select! {
        () = load => {}
        () = live => {}
        _ = signals.next() => {}
    }
    table::closing(timeline, &scores, &upstreams.reached, &journal);
    Ok(())
}

/// The events of the protected gateway, with their times.
#[derive(Clone, Default)]
pub(crate) struct Journal(Arc<Mutex<Vec<(Duration, String)>>>);

impl Journal {
    fn listener(&self, timeline: Timeline) -> impl Fn(&Event) + Clone + Send + Sync + 'static {
        let Self(entries) = self.clone();
        move |event| {
            let entry = (timeline.elapsed(), event.to_string());
            entries.lock().unwrap_or_else(PoisonError::into_inner).push(entry);
        }
    }

    pub(crate) fn entries(&self) -> Vec<(Duration, String)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

struct Bound {
    listener: TcpListener,
    gateway: Gateway,
}

/// A gateway on its own port.
async fn gateway(
    side: Side,
    upstreams: &Upstreams,
    listener: impl Fn(&Event) + Clone + Send + Sync + 'static,
) -> io::Result<(Bound, SocketAddr)> {
    let route = |kind: Kind| Route { prefix: format!("/{}", kind.name()), upstream: kind.name().to_string() };
    let upstream = |(kind, address): (Kind, SocketAddr)| {
        let config = plan::upstream(side, address).map_err(io::Error::other)?;
        Ok((kind.name().to_string(), config))
    };
    let config = Config {
        listen: loopback(),
        drain: Duration::ZERO,
        routes: Kind::ALL.map(route).into(),
        upstreams: Kind::ALL.into_iter().zip(upstreams.addresses).map(upstream).collect::<io::Result<_>>()?,
    };
    let gateway = Gateway::new(&config, listener).map_err(|bad| io::Error::other(bad.to_string()))?;
    let listener = TcpListener::bind(config.listen).await?;
    let address = listener.local_addr()?;
    Ok((Bound { listener, gateway }, address))
}

/// A free port on the loopback interface.
fn loopback() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 0).into()
}

/// Waits for tick `n`, which is due `n` periods after `start`, however late the ticks before it were.
async fn tick(start: Instant, period: Duration, n: u32) {
    tokio::time::sleep_until(start + period * n).await;
}
