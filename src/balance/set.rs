//! The endpoints that get calls now. A change makes another set, so calls read one without a lock.

use std::{
    hash::{BuildHasher, BuildHasherDefault, DefaultHasher, Hash},
    sync::Arc,
};

use super::{
    config::BalanceConfig,
    core::Core,
    load::EndpointLoad,
    pick::{accepts, below, ramp},
    state::Eligible,
    strategy::{Choice, Picker, Strategy},
};
use crate::call::Reason;

/// One endpoint.
#[derive(Debug)]
pub(super) struct Endpoint<K, S> {
    pub(super) key: K,
    pub(super) service: S,
    pub(super) load: Arc<EndpointLoad>,
}

pub(super) struct Set<K, S> {
    pub(super) config: BalanceConfig,
    pub(super) endpoints: Box<[Arc<Endpoint<K, S>>]>,
    loads: Box<[Arc<EndpointLoad>]>,
    /// `None` without an endpoint.
    picker: Option<Box<dyn Picker>>,
    pub(super) is_panic: bool,
    pub(super) no_endpoint: Reason,
}

/// How little an endpoint suits a call: the sum of these.
type Reluctance = u8;

impl<K: Hash, S> Endpoint<K, S> {
    pub(super) fn new(core: &Arc<Core>, key: K, service: S, weight: u32) -> Self {
        let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one(&key);
        Self { key, service, load: Arc::new(EndpointLoad::new(Arc::clone(core), hash, weight)) }
    }
}

impl<K, S> Set<K, S> {
    pub(super) fn new(
        config: BalanceConfig,
        eligible: &Eligible<'_, K, Arc<Endpoint<K, S>>>,
        strategy: &dyn Strategy,
    ) -> Self {
        let endpoints: Box<[_]> = eligible.members.iter().map(|member| Arc::clone(&member.it)).collect();
        let loads: Box<[_]> = endpoints.iter().map(|endpoint| Arc::clone(&endpoint.load)).collect();
        let picker = (!loads.is_empty()).then(|| strategy.picker(&loads));
        let no_endpoint = if eligible.is_empty { Reason::NoEndpoint } else { Reason::NoHealthyEndpoint };
        Self { config, endpoints, loads, picker, is_panic: eligible.is_panic, no_endpoint }
    }

    /// The endpoint for a call; `None` if there is none, or if the call has asked all of them.
    ///
    /// `has_asked` tells the endpoints that the call must not get, and `has_tried` those that it rather should not.
    #[inline]
    pub(super) fn choose(
        &self,
        choice: &mut Choice<'_>,
        has_asked: impl Fn(&Endpoint<K, S>) -> bool,
        has_tried: impl Fn(&Endpoint<K, S>) -> bool,
    ) -> Option<&Arc<Endpoint<K, S>>> {
        let picker = self.picker.as_ref()?;
        let reluctance = |at: usize, is_last: bool, choice: &Choice<'_>| {
            let endpoint = &self.endpoints[at];
            (if has_asked(endpoint) { ASKED } else { 0 })
                + (if has_tried(endpoint) { TRIED } else { 0 })
                + (if endpoint.load.is_avoided(|| choice.now()) { AVOIDED } else { 0 })
                + (if self.starts_slowly(&endpoint.load, is_last, choice) { SLOW_START } else { 0 })
        };
        let mut at = 0;
        for _ in 0..PICKS {
            at = self.place(picker.pick(&self.loads, choice));
            if reluctance(at, false, choice) == 0 {
                return Some(&self.endpoints[at]);
            }
            choice.next_attempt();
        }
        self.choose_best(at, choice, reluctance)
    }

    /// The endpoint that suits the call best, of all: the picked one, unless another one suits better.
    #[cold]
    fn choose_best(
        &self,
        picked: usize,
        choice: &Choice<'_>,
        reluctance: impl Fn(usize, bool, &Choice<'_>) -> Reluctance,
    ) -> Option<&Arc<Endpoint<K, S>>> {
        let len = self.endpoints.len();
        let first = below(len, choice.random());
        let others = (first..len).chain(0..first);
        let mut best = (reluctance(picked, true, choice), picked);
        for at in others {
            let next = reluctance(at, true, choice);
            if next < best.0 {
                best = (next, at);
            }
            if best.0 == 0 {
                break;
            }
        }
        (best.0 < ASKED).then(|| &self.endpoints[best.1])
    }

    /// Whether the endpoint starts slowly, and a draw leaves it out. The last look at all endpoints draws nothing.
    #[inline]
    fn starts_slowly(&self, load: &EndpointLoad, is_last: bool, choice: &Choice<'_>) -> bool {
        let Some(from) = load.ramps_from() else { return false };
        if is_last {
            return true;
        }
        let ratio = ramp(self.config.slow_start, self.config.slow_start_aggression, choice.now().since(from));
        if ratio >= 1.0 {
            load.has_started();
        }
        !accepts(ratio, choice.random())
    }

    /// A strategy of a user may return any number.
    #[inline]
    fn place(&self, picked: usize) -> usize {
        if picked < self.loads.len() { picked } else { picked % self.loads.len() }
    }
}

const ASKED: Reluctance = 8;
const TRIED: Reluctance = 4;
const AVOIDED: Reluctance = 2;
const SLOW_START: Reluctance = 1;

/// So many picks of the strategy are looked at before all endpoints are.
const PICKS: usize = 4;
