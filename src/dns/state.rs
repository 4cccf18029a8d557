//! The machine: answers of a resolver become changes of the set, and the pause before the next lookup.

use std::{
    collections::{BTreeSet, HashSet},
    net::IpAddr,
    time::Duration,
};

use super::{
    config::DnsConfig,
    resolve::{Family, Resolved},
    snapshot::DnsSnapshot,
};
use crate::algo::exponential;

/// The last good set, and the counts of the lookups.
#[derive(Debug, Default)]
pub(super) struct State {
    known: BTreeSet<IpAddr>,
    lookups: u64,
    failed: u64,
    consecutive_failures: u32,
    left_out: usize,
    last_failure: Option<String>,
}

/// The consequence of a lookup.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) added: Vec<IpAddr>,
    pub(super) removed: Vec<IpAddr>,
    /// The number of failed lookups in a row, if this one failed.
    pub(super) failures: Option<u32>,
    /// The pause before the next lookup.
    pub(super) pause: Duration,
}

impl State {
    /// Counts a lookup. A failed one keeps the set; a lookup that failed for one family keeps that family.
    pub(super) fn record(&mut self, result: Result<Resolved, String>, config: DnsConfig) -> Step {
        self.lookups += 1;
        let result = result.and_then(|it| if it.addresses.is_empty() { Err(empty(it)) } else { Ok(it) });
        let (ttl, added, removed, failure) = match result {
            Ok(Resolved { addresses, ttl, without }) => {
                let (added, removed) = self.replace(addresses, without.as_ref().map(|it| it.0), config);
                (ttl, added, removed, without.map(|(_, reason)| reason))
            }
            Err(reason) => (config.max_ttl, Vec::new(), Vec::new(), Some(reason)),
        };
        let ttl = ttl.clamp(config.min_ttl, config.max_ttl);
        let Some(reason) = failure else {
            self.consecutive_failures = 0;
            return Step { added, removed, failures: None, pause: ttl };
        };
        let backoff = exponential(config.min_ttl, 2.0, self.consecutive_failures, config.max_ttl);
        self.failed += 1;
        self.consecutive_failures = self.consecutive_failures.saturating_add(1);
        self.last_failure = Some(reason);
        Step { added, removed, failures: Some(self.consecutive_failures), pause: ttl.min(backoff) }
    }

    /// The set of a host that is an address.
    pub(super) fn fix(&mut self, address: IpAddr) {
        self.known = BTreeSet::from([address]);
    }

    pub(super) fn len(&self) -> usize {
        self.known.len()
    }

    pub(super) fn snapshot(&self) -> DnsSnapshot {
        DnsSnapshot {
            endpoints: self.known.len(),
            left_out: self.left_out,
            lookups: self.lookups,
            failed: self.failed,
            last_failure: self.last_failure.clone(),
        }
    }

    /// Makes the set that of an answer. The addresses of the family `keep` stay.
    fn replace(
        &mut self,
        answer: Vec<IpAddr>,
        keep: Option<Family>,
        config: DnsConfig,
    ) -> (Vec<IpAddr>, Vec<IpAddr>) {
        let answer: HashSet<IpAddr> = answer.into_iter().map(|it| it.to_canonical()).collect();
        let stays = |it: &IpAddr| answer.contains(it) || keep == Some(Family::of(*it));
        let removed: Vec<IpAddr> = self.known.iter().copied().filter(|it| !stays(it)).collect();
        self.known.retain(stays);
        let mut added: Vec<IpAddr> = answer.into_iter().filter(|it| !self.known.contains(it)).collect();
        // The lowest ones, so that two lookups choose the same.
        added.sort_unstable();
        let room = config.max_endpoints.saturating_sub(self.known.len());
        self.left_out = added.len().saturating_sub(room);
        added.truncate(room);
        self.known.extend(&added);
        (added, removed)
    }
}

/// The reason why an answer without addresses failed.
fn empty(answer: Resolved) -> String {
    answer.without.map_or_else(|| "the name has no addresses".to_owned(), |(_, reason)| reason)
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng, rngs::StdRng};

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn v4(last: u8) -> IpAddr {
        [10, 0, 0, last].into()
    }

    fn v6(last: u16) -> IpAddr {
        [0xfd00, 0, 0, 0, 0, 0, 0, last].into()
    }

    fn answer(addresses: &[IpAddr], seconds: u64) -> Resolved {
        Resolved::new(addresses.to_vec(), Duration::from_secs(seconds))
    }

    #[test]
    fn the_pause_is_the_ttl_within_its_bounds() {
        let mut state = State::default();
        let mut pause = |ttl| state.record(Ok(answer(&[v4(1)], ttl)), DnsConfig::new()).pause.as_secs();
        assert_eq!([pause(0), pause(5), pause(30), pause(60), pause(u64::MAX / 2)], [5, 5, 30, 60, 60]);
    }

    #[test]
    fn a_failed_or_empty_lookup_keeps_the_set_and_is_tried_again_ever_later() {
        let mut state = State::default();
        state.record(Ok(answer(&[v4(1), v6(1)], 30)), DnsConfig::new());
        let failures =
            [Err("down".to_owned()), Ok(answer(&[], 0)), Ok(answer(&[], 600)), Err("down".to_owned())];
        let steps = failures.map(|it| state.record(it, DnsConfig::new()));
        assert_eq!(steps.each_ref().map(|it| it.pause.as_secs()), [5, 10, 20, 40]);
        assert_eq!(steps.each_ref().map(|it| it.failures), [1, 2, 3, 4].map(Some));
        assert!(steps.iter().all(|it| it.added.is_empty() && it.removed.is_empty()));
        for _ in 0..5_000 {
            assert!(state.record(Err(String::new()), DnsConfig::new()).pause <= 60 * SECOND);
        }
        assert_eq!(state.len(), 2);
        let again = state.record(Ok(answer(&[v4(1)], 30)), DnsConfig::new());
        assert_eq!((again.removed, again.failures, again.pause), (vec![v6(1)], None, 30 * SECOND));
        let first = state.record(Err(String::new()), DnsConfig::new());
        assert_eq!((first.failures, first.pause), (Some(1), 5 * SECOND));
    }

    #[test]
    fn a_family_that_could_not_be_read_keeps_its_addresses() {
        let mut state = State::default();
        state.record(Ok(answer(&[v4(1), v4(2), v6(1)], 30)), DnsConfig::new());
        let partial = Resolved::new([v4(2), v4(3)], 30 * SECOND).without(Family::V6, "server failure");
        let step = state.record(Ok(partial), DnsConfig::new());
        assert_eq!((step.added, step.removed), (vec![v4(3)], vec![v4(1)]));
        assert_eq!((step.failures, step.pause), (Some(1), 5 * SECOND));
        let snapshot = state.snapshot();
        assert_eq!((snapshot.endpoints, snapshot.failed), (3, 1));
        assert_eq!(snapshot.last_failure.as_deref(), Some("server failure"));
    }

    #[test]
    fn known_addresses_stay_before_further_ones_come() {
        let mut state = State::default();
        let config = DnsConfig::new().max_endpoints(2);
        let step = state.record(Ok(answer(&[v4(9), v4(8), v4(7), v4(8)], 30)), config);
        assert_eq!((step.added, state.snapshot().left_out), (vec![v4(7), v4(8)], 1));
        let step = state.record(Ok(answer(&[v4(1), v4(8), v4(9)], 30)), config);
        assert_eq!((step.added, step.removed), (vec![v4(1)], vec![v4(7)]));
        assert_eq!((state.len(), state.snapshot().left_out), (2, 1));
    }

    #[test]
    fn an_ipv4_address_in_an_ipv6_record_is_the_same_address() {
        let mut state = State::default();
        let mapped = "::ffff:10.0.0.1".parse().expect("an address");
        assert_eq!(state.record(Ok(answer(&[v4(1), mapped], 30)), DnsConfig::new()).added, [v4(1)]);
    }

    #[test]
    fn the_set_is_that_of_a_naive_one() {
        for seed in 0..300 {
            println!("seed {seed}");
            let mut random = StdRng::seed_from_u64(seed);
            let mut state = State::default();
            let mut naive = BTreeSet::new();
            let mut built = BTreeSet::new();
            for _ in 0..100 {
                let addresses: Vec<IpAddr> = (0..random.random_range(0..6))
                    .map(|_| {
                        let last = random.random_range(0..6);
                        if random.random() { v4(last) } else { v6(last.into()) }
                    })
                    .collect();
                let lost = random.random_bool(0.3).then_some(Family::V6);
                let fails = random.random_bool(0.2);
                if !fails && !addresses.is_empty() {
                    let kept = naive.iter().copied().filter(|it| lost == Some(Family::of(*it)));
                    naive = addresses.iter().copied().chain(kept.collect::<Vec<_>>()).collect();
                }
                let mut resolved = Resolved::new(addresses, SECOND);
                if let Some(family) = lost {
                    resolved = resolved.without(family, "lost");
                }
                let result = if fails { Err(String::new()) } else { Ok(resolved) };
                let step = state.record(result, DnsConfig::new());
                // A caller that follows the changes has the same set. No change is said twice.
                assert!(step.removed.iter().all(|it| built.remove(it)));
                assert!(step.added.iter().all(|it| built.insert(*it)));
                assert_eq!((&built, &state.known), (&naive, &naive));
            }
        }
    }
}
