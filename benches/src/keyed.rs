//! One breaker per key.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
};

use recloser::{AnyError, AsyncRecloser, RecloserFuture};
use tower::{Layer, Service};

use crate::{
    backend::{Backend, Down, OurError},
    breakers::{VALID, count},
    other_crates,
    row::Table,
};

/// Ours, and recloser's in a map.
pub fn add<const PENDING: bool>(table: &mut Table<PENDING>) {
    let inner = Backend::<OurError, PENDING>::new();
    let keyed = |keys: u64| count().build().expect(VALID).keyed(move |request: &u64| request % keys);
    table.row("ours, keyed, 1 key", keyed(1).layer(inner));
    table.row("ours, keyed, 1 000 keys", keyed(1_000).layer(inner));
    table.row("recloser in a map, 1 key", ReclosersByKey::new(Backend::<Down, PENDING>::new(), 1));
    table.row("recloser in a map, 1 000 keys", ReclosersByKey::new(Backend::<Down, PENDING>::new(), 1_000));
}

/// recloser's async form, which is an `Arc<Recloser>`, by key.
#[derive(Clone, Debug)]
pub struct ReclosersByKey<S> {
    inner: S,
    keys: u64,
    by_key: Arc<Mutex<HashMap<u64, AsyncRecloser>>>,
}

impl<S> ReclosersByKey<S> {
    fn new(inner: S, keys: u64) -> Self {
        Self { inner, keys, by_key: Arc::default() }
    }
}

impl<S: Service<u64>> Service<u64> for ReclosersByKey<S> {
    type Response = S::Response;
    type Error = recloser::Error<S::Error>;
    type Future = RecloserFuture<S::Future, AnyError>;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx).map_err(recloser::Error::Inner)
    }

    #[inline]
    fn call(&mut self, request: u64) -> Self::Future {
        let future = self.inner.call(request);
        let mut by_key = self.by_key.lock().unwrap_or_else(PoisonError::into_inner);
        let breaker = by_key
            .entry(request % self.keys)
            .or_insert_with(|| AsyncRecloser::from(other_crates::recloser()));
        // This counts the reference that an `Arc` from the map would count.
        breaker.call(future)
    }
}
