//! Balancers over endpoints that are all alike.

use std::time::Duration;

use tower::{
    BoxError,
    balance::p2c,
    buffer::Buffer,
    discover::ServiceList,
    load::{CompleteOnResponse, PeakEwmaDiscover, PendingRequestsDiscover},
};
use tower_reliability::balance::{Balance, BalanceConfig, BuiltIn, OutlierConfig};

use crate::{
    backend::{Backend, OurError},
    breakers::VALID,
    row::Table,
};

/// Ours by strategy and by number of endpoints; and tower's, which can be shared only behind a buffer.
pub fn add<const PENDING: bool>(table: &mut Table<PENDING>) {
    let round_robin = without_clock(BuiltIn::RoundRobin);
    let least = without_clock(BuiltIn::LeastConnections);
    let peak_ewma = BalanceConfig::new();
    table.row("ours, round robin, 10 endpoints", ours::<PENDING>(round_robin, 10));
    table.row("ours, round robin, 10 000 endpoints", ours::<PENDING>(round_robin, 10_000));
    table.row("ours, least connections, 10 endpoints", ours::<PENDING>(least, 10));
    table.row("ours, least connections, 1 000 endpoints", ours::<PENDING>(least, 1_000));
    table.row("ours, least connections, 10 000 endpoints", ours::<PENDING>(least, 10_000));
    table.unshared("tower, pending requests, 10 endpoints", {
        let discover = PendingRequestsDiscover::new(towers::<PENDING>(10), CompleteOnResponse::default());
        p2c::Balance::new(discover)
    });
    table.row("ours, peak EWMA, 10 endpoints", ours::<PENDING>(peak_ewma, 10));
    table.row("ours, peak EWMA, 1 000 endpoints", ours::<PENDING>(peak_ewma, 1_000));
    table.row("ours, peak EWMA, 10 000 endpoints", ours::<PENDING>(peak_ewma, 10_000));
    table.unshared("tower, peak EWMA, 10 endpoints", towers_peak_ewma::<PENDING>(10));
    table.row(
        "tower, peak EWMA behind a buffer, 10 endpoints",
        Buffer::new(towers_peak_ewma::<PENDING>(10), 1_024),
    );
}

/// Without the comparisons that need latencies, as tower's has none.
const fn without_clock(strategy: BuiltIn) -> BalanceConfig {
    let rules = OutlierConfig::new().success_gap(0.0).latency_ratio(0.0);
    BalanceConfig::new().strategy(strategy).outliers(rules)
}

fn ours<const PENDING: bool>(config: BalanceConfig, n: u32) -> Balance<u32, Backend<OurError, PENDING>> {
    config.build().expect(VALID).endpoints(0..n, |_| Backend::new())
}

fn towers<const PENDING: bool>(n: usize) -> ServiceList<Vec<Backend<BoxError, PENDING>>> {
    ServiceList::new(vec![Backend::new(); n])
}

fn towers_peak_ewma<const PENDING: bool>(
    n: usize,
) -> p2c::Balance<PeakEwmaDiscover<ServiceList<Vec<Backend<BoxError, PENDING>>>>, u64> {
    let rtt = Duration::from_millis(10);
    p2c::Balance::new(PeakEwmaDiscover::new(
        towers(n),
        rtt,
        Duration::from_secs(10),
        CompleteOnResponse::default(),
    ))
}
