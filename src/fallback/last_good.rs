//! The last good answers as the source of answers.

use std::{
    fmt,
    future::{Ready, ready},
    hash::Hash,
    sync::Arc,
};

use super::{
    answer::{Answer, Ended, Source},
    handle::FallbackHandle,
    memory::Memory,
};
use crate::rt::{
    clock,
    sync::{Mutex, lock},
};

/// The last good answer for the request's key. Made by
/// [`FallbackLayer::last_good`](super::FallbackBuilder::last_good).
///
/// # Clone
///
/// Clones share the remembered answers.
pub struct LastGood<F, K, Res> {
    key: Arc<F>,
    /// The answers are shared, so that none is cloned or dropped under the lock.
    memory: Arc<Mutex<Memory<K, Arc<Res>>>>,
}

impl<F, K, Res> LastGood<F, K, Res> {
    pub(super) fn new(key: Arc<F>) -> Self {
        Self { key, memory: Arc::new(Mutex::new(Memory::new())) }
    }
}

impl<F, K, Res> Source for LastGood<F, K, Res> {
    fn fresh(&self) -> Self {
        Self::new(Arc::clone(&self.key))
    }
}

impl<Req, Res, Err, F, K> Answer<Req, Res, Err> for LastGood<F, K, Res>
where
    F: Fn(&Req) -> Option<K>,
    K: Hash + Eq,
    Res: Clone,
{
    type Kept = Option<K>;
    type Future = Ready<Option<Res>>;

    fn keep(&self, request: &mut Req) -> Option<K> {
        (self.key)(request)
    }

    fn learn(self, key: Option<K>, response: &Res, handle: &FallbackHandle) {
        let Some(key) = key else { return };
        let (answer, config, now) = (Arc::new(response.clone()), handle.config(), clock::now());
        // Declared before the lock is taken, so that it is dropped after the lock is free.
        let mut gone = Vec::new();
        let mut memory = lock(&self.memory);
        memory.insert(key, answer, &config, now, &mut gone);
        handle.set_entries(memory.len());
    }

    fn answer(self, key: Option<K>, Ended { handle, .. }: Ended<'_, Res, Err>) -> Self::Future {
        let (config, now) = (handle.config(), clock::now());
        let mut gone = Vec::new();
        let found = key.and_then(|key| {
            let mut memory = lock(&self.memory);
            let found = memory.get(&key, &config, now, &mut gone).map(Arc::clone);
            handle.set_entries(memory.len());
            found
        });
        ready(found.map(|answer| Res::clone(&answer)))
    }
}

impl<F, K, Res> Clone for LastGood<F, K, Res> {
    fn clone(&self) -> Self {
        Self { key: Arc::clone(&self.key), memory: Arc::clone(&self.memory) }
    }
}

impl<F, K, Res> fmt::Debug for LastGood<F, K, Res> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LastGood").finish_non_exhaustive()
    }
}
