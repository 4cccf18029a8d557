//! The layer of a stage that was given as an `Option`.

use tower_layer::Layer;

use crate::rate_limit::{QuotaSource, Quotas};

/// The layer of a stage that was given as an `Option`: it remembers whether the stage is present.
///
/// An absent stage has the same layer, which hands every call on. So the types are the same in both cases: an optional
/// retry asks for requests that can be copied.
///
/// # Clone
///
/// Clones share the state of the layer.
#[derive(Clone, Copy, Debug)]
pub struct OptionalLayer<L> {
    pub(super) layer: L,
    pub(super) is_present: bool,
}

impl<L> OptionalLayer<L> {
    /// The layer, if the stage is present.
    pub fn get_ref(&self) -> Option<&L> {
        self.is_present.then_some(&self.layer)
    }
}

impl<S, L: Layer<S>> Layer<S> for OptionalLayer<L> {
    type Service = L::Service;

    fn layer(&self, inner: S) -> L::Service {
        self.layer.layer(inner)
    }
}

impl<Req, L: QuotaSource<Req>> QuotaSource<Req> for OptionalLayer<L> {
    type Key = L::Key;

    fn key(&self, request: &Req) -> L::Key {
        self.layer.key(request)
    }

    fn quotas(&self, key: &L::Key) -> Option<Quotas> {
        self.get_ref()?.quotas(key)
    }
}
