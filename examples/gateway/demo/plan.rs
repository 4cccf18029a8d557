//! The numbers of the demo: the failures of the upstreams, and the config of each gateway.

use std::{fmt::Write as _, time::Duration};

use tokio::time::Instant;

use super::upstreams::Addresses;

/// Requests per second to each upstream through each gateway, 150 in total.
///
/// At twice the rate, an unoptimised build on a busy machine falls behind, and then every request fails.
pub(crate) const RATE: u32 = 25;
/// The patience of a client. With the rate, it bounds the requests in flight: 150.
pub(crate) const PATIENCE: Duration = Duration::from_secs(1);

/// One of the two gateways.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Side {
    Protected,
    Unprotected,
}

/// One of the three upstreams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// One server that answers at once.
    Healthy,
    /// Two servers that fail now and then, and are slow now and then.
    Flaky,
    /// One server that slows down, dies, and comes back.
    Fading,
}

/// A phase in the life of the fading upstream.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Phase {
    Healthy,
    /// It takes so long for each answer.
    Slowing(Duration),
    /// It accepts requests and does not answer.
    Silent,
    /// It accepts requests and closes the connection.
    HangingUp,
}

/// The beginning and the length of the demo.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timeline {
    start: Instant,
    length: Duration,
}

/// The config file of a gateway. The two files differ in two keys, and the unprotected gateway ignores the numbers.
pub(crate) fn config(side: Side, addresses: &Addresses) -> String {
    let mut file = String::from("listen = '127.0.0.1:0'\n");
    for kind in Kind::ALL {
        let name = kind.name();
        let _ = writeln!(file, "[[routes]]\nprefix = '/{name}'\nupstream = '{name}'");
    }
    for (kind, servers) in Kind::ALL.into_iter().zip(&addresses.servers) {
        let urls: Vec<String> = servers.iter().map(|server| format!("'http://{server}'")).collect();
        let _ = writeln!(file, "[upstreams.{}]\nurl = [{}]", kind.name(), urls.join(", "));
        match (side, kind) {
            (Side::Unprotected, _) => file.push_str("protected = false\n"),
            (Side::Protected, Kind::Fading) => {
                let _ = writeln!(file, "fallback = 'http://{}'", addresses.fallback);
            }
            (Side::Protected, _) => {}
        }
        file.push_str(kind.numbers());
    }
    file
}

impl Side {
    pub(crate) const ALL: [Self; 2] = [Self::Protected, Self::Unprotected];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Protected => "protected",
            Self::Unprotected => "unprotected",
        }
    }
}

impl Kind {
    pub(crate) const ALL: [Self; 3] = [Self::Healthy, Self::Flaky, Self::Fading];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Flaky => "flaky",
            Self::Fading => "fading",
        }
    }

    /// The number of its servers. Each has a circuit of its own.
    pub(crate) const fn servers(self) -> usize {
        match self {
            Self::Healthy | Self::Fading => 1,
            Self::Flaky => 2,
        }
    }

    /// The numbers of the protections. All end before the patience of the clients.
    ///
    /// The breaker of the fading upstream is faster than in production, because a whole outage takes seconds.
    const fn numbers(self) -> &'static str {
        match self {
            Self::Healthy | Self::Flaky => "stack = { timeout = '800ms', attempt_timeout = '250ms' }\n",
            Self::Fading => {
                "[upstreams.fading.stack]
timeout = '800ms'
attempt_timeout = '600ms'
[upstreams.fading.stack.circuit_breaker]
min_requests = 10
window = { calls = 20 }
slow_call = { over = '400ms', rate = 0.5 }
open_for = '500ms'
probe_timeout = '1s'
"
            }
        }
    }
}

impl Timeline {
    pub(crate) fn start(length: Duration) -> Self {
        Self { start: Instant::now(), length }
    }

    pub(crate) const fn began(&self) -> Instant {
        self.start
    }

    pub(crate) const fn length(&self) -> Duration {
        self.length
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    /// The current phase of the fading upstream.
    pub(crate) fn phase(&self) -> Phase {
        phase(self.elapsed().div_duration_f64(self.length))
    }
}

/// The phase of the fading upstream at this ratio of the demo.
fn phase(progress: f64) -> Phase {
    if !(SLOWING_FROM..BACK_FROM).contains(&progress) {
        Phase::Healthy
    } else if progress < SILENT_FROM {
        Phase::Slowing(SLOWEST.mul_f64((progress - SLOWING_FROM) / (SILENT_FROM - SLOWING_FROM)))
    } else if progress < HANGING_UP_FROM {
        Phase::Silent
    } else {
        Phase::HangingUp
    }
}

const SLOWING_FROM: f64 = 0.2;
const SILENT_FROM: f64 = 0.3;
const HANGING_UP_FROM: f64 = 0.45;
const BACK_FROM: f64 = 0.6;
const SLOWEST: Duration = Duration::from_millis(1_200);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    #[test]
    fn the_fading_upstream_slows_down_dies_and_comes_back() {
        assert_eq!(phase(0.0), Phase::Healthy);
        assert_eq!(phase(SLOWING_FROM), Phase::Slowing(Duration::ZERO));
        assert_eq!(phase(SILENT_FROM), Phase::Silent);
        assert_eq!(phase(HANGING_UP_FROM), Phase::HangingUp);
        assert_eq!(phase(BACK_FROM), Phase::Healthy);
        assert_eq!(phase(2.0), Phase::Healthy);
    }

    #[test]
    fn both_gateways_have_a_config_that_a_user_could_write() {
        let server = |port: u16| ([127, 0, 0, 1], port).into();
        let servers = Kind::ALL.map(|kind| (80..).take(kind.servers()).map(server).collect());
        let addresses = Addresses { servers, fallback: server(90) };
        for side in Side::ALL {
            let file = config(side, &addresses);
            let config = Config::parse(&file).unwrap_or_else(|bad| panic!("{bad}\n{file}"));
            assert_eq!(config.routes.len(), 3);
            for upstream in config.upstreams.values() {
                assert_eq!(upstream.protected, side == Side::Protected);
                assert!(upstream.numbers().is_ok(), "{:?}", upstream.numbers());
            }
        }
    }
}
