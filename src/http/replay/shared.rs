//! What a body shares with its copies.

use std::{pin::Pin, sync::Arc};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::recording::{Piece, Recording, State};
use crate::sync::{Mutex, lock};

/// The recording, and the rest of the body while nobody streams it.
pub(super) struct Shared<B> {
    inner: Arc<Mutex<Inner<B>>>,
}

struct Inner<B> {
    recording: Recording,
    /// `None` while one of the copies has it, and after the end.
    rest: Option<Rest<B>>,
}

/// What is left of the wrapped body. It moves from one copy to the next, so it is pinned on the heap.
pub(super) type Rest<B> = Pin<Box<B>>;

/// What comes next for a copy that has read so many pieces.
pub(super) enum Next<B> {
    Piece(Piece),
    /// All that was recorded has been read, and the rest of the body is free.
    Rest(Rest<B>),
    End,
    /// Somebody else streams what comes next, or it has been given up.
    Nothing,
}

impl<B> Shared<B> {
    pub(super) fn new(max_bytes: usize) -> Self {
        let inner = Inner { recording: Recording::new(max_bytes), rest: None };
        Self { inner: Arc::new(Mutex::new(inner)) }
    }

    /// What comes after so many pieces, where it can be had.
    pub(super) fn next(&self, at: usize) -> Next<B> {
        let mut inner = lock(&self.inner);
        if let Some(piece) = inner.recording.piece(at) {
            return Next::Piece(piece.clone());
        }
        match inner.recording.state() {
            State::Complete => Next::End,
            State::Open => inner.rest.take().map_or(Next::Nothing, Next::Rest),
            State::Lost => Next::Nothing,
        }
    }

    /// The rest of the body, if nobody has it.
    pub(super) fn take_rest(&self) -> Option<Rest<B>> {
        lock(&self.inner).rest.take()
    }

    /// Gives the rest of the body back, for the other copies to go on with.
    pub(super) fn give_back(&self, rest: Rest<B>) {
        let mut inner = lock(&self.inner);
        if inner.recording.state() == State::Open {
            inner.rest = Some(rest);
        } else {
            // The body is somebody else's code: it is not dropped under our lock.
            drop(inner);
            drop(rest);
        }
    }

    /// Keeps a frame that went by, and the end if there is nothing behind it.
    pub(super) fn record(&self, frame: &Frame<Bytes>, was_last: bool) {
        if Arc::strong_count(&self.inner) == 1 {
            // No copy is left, and none can come but from the caller, who is reading.
            return self.lose();
        }
        let mut inner = lock(&self.inner);
        let given_up = inner.recording.push(frame);
        if was_last {
            inner.recording.complete();
        }
        drop(inner);
        drop(given_up);
    }

    pub(super) fn complete(&self) {
        lock(&self.inner).recording.complete();
    }

    /// The body has failed, or nobody is left who would want it again.
    pub(super) fn lose(&self) {
        let given_up = lock(&self.inner).recording.lose();
        drop(given_up);
    }

    pub(super) fn is_lost(&self) -> bool {
        lock(&self.inner).recording.state() == State::Lost
    }

    /// Whether a copy can be read to the end now, for all that is known.
    pub(super) fn can_replay(&self) -> bool {
        let inner = lock(&self.inner);
        match inner.recording.state() {
            State::Complete => true,
            State::Open => inner.rest.is_some(),
            State::Lost => false,
        }
    }
}

impl<B: Body> Shared<B> {
    /// What is ahead of a copy that has read so many pieces, of so many bytes, and may hold the rest of the body
    /// itself: whether it is nothing, and its size.
    pub(super) fn ahead(&self, pieces: usize, bytes: u64, own: Option<&Rest<B>>) -> (bool, SizeHint) {
        let inner = lock(&self.inner);
        let rest = match inner.recording.state() {
            State::Complete => (true, SizeHint::with_exact(0)),
            State::Open => match own.or(inner.rest.as_ref()) {
                Some(rest) => (rest.is_end_stream(), rest.size_hint()),
                None => (false, SizeHint::new()),
            },
            // There is an error ahead, and nothing else.
            State::Lost => return (false, SizeHint::new()),
        };
        let recorded = inner.recording.data_bytes().saturating_sub(bytes);
        (inner.recording.piece(pieces).is_none() && rest.0, longer(&rest.1, recorded))
    }
}

impl<B> Clone for Shared<B> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone() }
    }
}

fn longer(hint: &SizeHint, by: u64) -> SizeHint {
    let mut sum = SizeHint::new();
    let lower = hint.lower().saturating_add(by);
    sum.set_lower(lower);
    if let Some(upper) = hint.upper() {
        // A body whose bounds contradict each other must not make us panic.
        sum.set_upper(upper.saturating_add(by).max(lower));
    }
    sum
}
