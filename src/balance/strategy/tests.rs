use super::*;
use crate::{balance::core::Core, telemetry::Emitter};

fn loads(weights: &[u32], config: BalanceConfig) -> Vec<Arc<EndpointLoad>> {
    let core = Arc::new(Core::new(config, true, Emitter::new("balance"), 7));
    weights.iter().map(|weight| Arc::new(EndpointLoad::new(Arc::clone(&core), 0, *weight))).collect()
}

fn picks(strategy: BuiltIn, weights: &[u32], n: usize) -> Vec<usize> {
    let config = BalanceConfig::new().strategy(strategy);
    let loads = loads(weights, config);
    let core = &loads[0].core;
    let picker = Chosen::new(config, 0).picker(&loads);
    let choice = Choice::new(&core.random, None, Clock::new(core.epoch));
    (0..n).map(|_| picker.pick(&loads, &choice)).collect()
}

fn counts(strategy: BuiltIn, weights: &[u32], n: usize) -> Vec<usize> {
    let picks = picks(strategy, weights, n);
    (0..weights.len()).map(|at| picks.iter().filter(|it| **it == at).count()).collect()
}

#[test]
fn case_51_round_robin_is_exact() {
    assert_eq!(picks(BuiltIn::RoundRobin, &[1, 9, 1], 7), [0, 1, 2, 0, 1, 2, 0]);
    assert_eq!(picks(BuiltIn::WeightedRoundRobin, &[1, 3], 8), [1, 0, 1, 1, 1, 0, 1, 1]);
}

#[test]
fn case_51_random_picks_follow_the_weights() {
    let even = counts(BuiltIn::Random, &[5; 4], 40_000);
    assert!(even.iter().all(|count| count.abs_diff(10_000) < 450), "{even:?}");
    let uneven = counts(BuiltIn::Random, &[1, 2, 1], 40_000);
    assert!(uneven.iter().zip([10_000, 20_000, 10_000]).all(|(a, b)| a.abs_diff(b) < 550), "{uneven:?}");
    let extreme = counts(BuiltIn::Random, &[u32::MAX, u32::MAX, 1], 10_000);
    assert!(extreme[2] <= 1 && extreme[0].abs_diff(5_000) < 250, "{extreme:?}");
}

/// With the load of each endpoint being the calls that it has got.
fn balls(strategy: BuiltIn, n: usize, calls: usize) -> Vec<u32> {
    let config = BalanceConfig::new().strategy(strategy);
    let loads = loads(&vec![1; n], config);
    let core = &loads[0].core;
    let picker = Chosen::new(config, 0).picker(&loads);
    let choice = Choice::new(&core.random, None, Clock::new(core.epoch));
    for _ in 0..calls {
        assert!(loads[picker.pick(&loads, &choice)].enter());
    }
    loads.iter().map(|load| load.in_flight()).collect()
}

#[test]
fn case_51_least_connections_keep_all_endpoints_level() {
    let exact = balls(BuiltIn::LeastConnectionsOfAll, 10, 1_005);
    assert!(exact.iter().all(|calls| (100..=101).contains(calls)), "{exact:?}");
    // Two choices stay within a few calls; a single random one would be off by thirty.
    let of_two = balls(BuiltIn::LeastConnections, 10, 1_000);
    assert!(of_two.iter().all(|calls| calls.abs_diff(100) <= 4), "{of_two:?}");
}

#[test]
fn a_heavy_endpoint_holds_more_calls() {
    for strategy in [BuiltIn::LeastConnections, BuiltIn::LeastConnectionsOfAll] {
        let config = BalanceConfig::new().strategy(strategy);
        let loads = loads(&[3, 1], config);
        let core = &loads[0].core;
        let picker = Chosen::new(config, 0).picker(&loads);
        let choice = Choice::new(&core.random, None, Clock::new(core.epoch));
        (0..400).for_each(|_| assert!(loads[picker.pick(&loads, &choice)].enter()));
        assert!(loads[0].in_flight().abs_diff(300) <= 2, "{strategy:?}: {}", loads[0].in_flight());
    }
}

#[test]
fn one_endpoint_is_always_picked() {
    for strategy in [
        BuiltIn::PeakEwma,
        BuiltIn::LeastConnections,
        BuiltIn::LeastConnectionsOfAll,
        BuiltIn::RoundRobin,
        BuiltIn::WeightedRoundRobin,
        BuiltIn::Random,
    ] {
        assert_eq!(picks(strategy, &[1], 3), [0, 0, 0], "{strategy:?}");
    }
}
