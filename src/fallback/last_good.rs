//! The last good answers as the source of answers.

use std::{
    fmt,
    future::{Ready, ready},
    hash::Hash,
    sync::Arc,
};

use super::{
    answers::Answers,
    cause::Failed,
    handle::FallbackHandle,
    source::{Isolate, Source},
};
use crate::rt::{
    clock,
    sync::{Mutex, lock},
};

/// The last good answer for the request's key. Made by
/// [`FallbackLayer::last_good`](super::FallbackLayer::last_good).
///
/// # Clone
///
/// Clones share what is remembered.
pub struct LastGood<F, K, Res> {
    shared: Arc<Shared<F, K, Res>>,
}

struct Shared<F, K, Res> {
    key: Arc<F>,
    /// The answers are shared, so that none is cloned or dropped under the lock.
    answers: Mutex<Answers<K, Arc<Res>>>,
    handle: FallbackHandle,
}

impl<F, K: Hash + Eq, Res> LastGood<F, K, Res> {
    pub(super) fn new(key: Arc<F>, handle: FallbackHandle) -> Self {
        Self { shared: Arc::new(Shared { key, answers: Mutex::new(Answers::new()), handle }) }
    }

    /// Does something with the answers, and tells the handle how many there are then.
    fn ask<T>(&self, question: impl FnOnce(&mut Answers<K, Arc<Res>>) -> T) -> T {
        let mut answers = lock(&self.shared.answers);
        let before = answers.len();
        let told = question(&mut answers);
        self.shared.handle.held(before, answers.len());
        told
    }
}

impl<Req, Res, Err, F, K> Source<Req, Res, Err> for LastGood<F, K, Res>
where
    F: Fn(&Req) -> Option<K>,
    K: Hash + Eq,
    Res: Clone,
{
    type Kept = Option<K>;
    type Future = Ready<Option<Res>>;

    fn keep(&self, request: &mut Req) -> Option<K> {
        (self.shared.key)(request)
    }

    fn learn(self, key: Option<K>, response: &Res) {
        let Some(key) = key else { return };
        let answer = Arc::new(response.clone());
        let (max, ttl, now) = (self.shared.handle.max_entries(), self.shared.handle.ttl(), clock::now());
        let mut surplus = Vec::new();
        let left = self.ask(|answers| answers.insert(key, answer, max, ttl, now, &mut surplus));
        drop((left, surplus));
    }

    fn answer(self, key: Option<K>, _: Failed<'_, Res, Err>) -> Self::Future {
        let (ttl, now) = (self.shared.handle.ttl(), clock::now());
        let mut expired = None;
        let found =
            key.and_then(|key| self.ask(|answers| answers.get(&key, ttl, now, &mut expired).map(Arc::clone)));
        drop(expired);
        ready(found.map(|answer| Res::clone(&answer)))
    }
}

impl<F, K: Hash + Eq, Res> Isolate for LastGood<F, K, Res> {
    fn isolated(&self, handle: &FallbackHandle) -> Self {
        Self::new(Arc::clone(&self.shared.key), handle.clone())
    }
}

impl<F, K, Res> Drop for Shared<F, K, Res> {
    fn drop(&mut self) {
        // The handle may be looked at for longer.
        self.handle.held(lock(&self.answers).len(), 0);
    }
}

impl<F, K, Res> Clone for LastGood<F, K, Res> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<F, K, Res> fmt::Debug for LastGood<F, K, Res> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LastGood").finish_non_exhaustive()
    }
}
