//! One budget per key, for the layers of a stack that share a key.

use std::{fmt, hash::Hash, sync::Arc, time::Duration};

use super::RetryBudget;
use crate::{
    keyed::{KeyedState, Registry},
    rt::descent,
};

/// One budget per key, of retry and hedge together. Clones share the budgets.
///
/// Each layer holds the budget in its state of the key. The registry therefore forgets a budget only when no layer has a
/// state of the key, and a layer that makes a state again finds the budget of the other layer.
pub(crate) struct BudgetsPerKey<K>(Arc<Registry<K, RetryBudget>>);

impl<K: Hash + Eq + Clone> BudgetsPerKey<K> {
    /// `max_keys` is the sum of the keys of all layers, so that a budget always finds its place.
    pub(crate) fn new(max_keys: usize) -> Self {
        Self(Arc::new(Registry::new(max_keys)))
    }

    /// The budget of a key. A new one has the numbers of `numbers`.
    pub(crate) fn of_key(&self, key: &K, numbers: &RetryBudget) -> RetryBudget {
        let found = self.0.for_call(key, || numbers.isolated(), descent::now());
        found.unwrap_or_else(|_| numbers.isolated())
    }
}

impl<K> Clone for BudgetsPerKey<K> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<K> fmt::Debug for BudgetsPerKey<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BudgetsPerKey").field("keys", &self.0.len()).finish()
    }
}

impl KeyedState for RetryBudget {
    fn is_in_use(&self) -> bool {
        self.is_shared()
    }

    fn is_evictable(&self, idle: Duration) -> bool {
        self.is_forgettable(idle)
    }
}
