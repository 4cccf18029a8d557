//! The demo: the same requests through a protected and an unprotected gateway, to upstreams that misbehave.
//!
//! The clients and the servers count (`score.rs`, `upstreams.rs`). `screen.rs` and `verdict.rs` turn the counts into
//! text.

mod circuits;
mod load;
mod plan;
mod score;
mod screen;
mod suspend;
mod terminal;
mod upstreams;
mod verdict;

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    pin::pin,
    sync::Arc,
    time::Duration,
};

use tokio::{
    task::JoinSet,
    time::{self, Instant, MissedTickBehavior},
};
use tower_reliability::Event;

use crate::{
    config::{BadConfig, Config},
    demo::{
        circuits::Circuits,
        plan::{Kind, Side, Timeline},
        score::Scores,
        screen::Picture,
        suspend::{Change, Suspensions},
        terminal::{Display, say},
        upstreams::Upstreams,
    },
    proxy::Gateway,
    server,
    signals::Signals,
};

/// Runs the demo and prints its results. Ctrl-C ends it early.
pub(crate) async fn run(length: Duration) -> io::Result<()> {
    let (mut signals, mut suspensions) = (Signals::catch()?, Suspensions::catch()?);
    let timeline = Timeline::start(length);
    let scores = Arc::<Scores>::default();
    let circuits = Circuits::default();
    let upstreams = Upstreams::start(timeline).await?;
    let mut servers = JoinSet::new();
    let protected = gateway(&mut servers, Side::Protected, &upstreams, circuits.listener(timeline))?;
    let unprotected = gateway(&mut servers, Side::Unprotected, &upstreams, |_: &Event| {})?;

    let picture = || Picture {
        elapsed: timeline.elapsed(),
        length,
        phase: timeline.phase(),
        rows: Side::ALL.map(|side| Kind::ALL.map(|kind| scores.row(side, kind))),
        circuits: circuits.all(),
        dead: Side::ALL.map(|side| upstreams.arrivals.dead(side)),
    };
    say(&screen::opening());
    let mut display = Display::open();
    let mut redraws = time::interval_at(Instant::now() + display.period(), display.period());
    redraws.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut load = pin!(load::run([protected, unprotected], timeline, Arc::clone(&scores)));
    loop {
        tokio::select! {
            () = &mut load => break,
            _ = signals.next() => break,
            _ = redraws.tick() => display.show(&picture()),
            change = suspensions.next() => match change {
                Change::Suspend => {
                    display.leave();
                    suspend::suspend();
                }
                Change::Resumed => display.enter(),
            },
        }
    }
    let last = picture();
    display.show(&last);
    drop(display);
    say(&verdict::verdict(&last, Side::ALL.map(|side| upstreams.arrivals.retries(side))));
    Ok(())
}

/// Starts a gateway on a port of its own.
fn gateway(
    servers: &mut JoinSet<usize>,
    side: Side,
    upstreams: &Upstreams,
    listener: impl Fn(&Event) + Clone + Send + Sync + 'static,
) -> io::Result<SocketAddr> {
    let bad = |bad: BadConfig| io::Error::other(bad.to_string());
    let config = Config::parse(&plan::config(side, &upstreams.addresses)).map_err(bad)?;
    let gateway = Gateway::new(&config, listener).map_err(bad)?;
    let listeners = config.listen.bind().map_err(|error| io::Error::other(error.to_string()))?;
    let address = listeners.addresses()?[0];
    servers.spawn(server::serve_app(listeners, gateway.app(), std::future::pending(), Duration::ZERO));
    Ok(address)
}

/// A free port on the loopback interface.
fn loopback() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 0).into()
}
