//! The state that a body shares with its copies.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::recording::{Recording, State};
use crate::rt::sync::{Mutex, lock};

/// The recording, the rest of the body, and the pass that holds the rest.
pub(super) struct ReplayShared<B> {
    inner: Arc<Mutex<Inner<B>>>,
}

struct Inner<B> {
    recording: Recording,
    /// `None` while a pass polls it, and after the end.
    rest: Option<Rest<B>>,
    /// The pass that may poll the rest.
    holder: Option<Number>,
    /// The holder's task. It waits for the body, or for an earlier holder that is still polling it.
    waker: Option<Waker>,
    passes: u64,
}

/// Identifies one pass over the body.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Number(u64);

/// The unread part of the inner body. It moves between passes, so it is pinned on the heap.
pub(super) type Rest<B> = Pin<Box<B>>;

/// The next step of a pass that reads the recording.
pub(super) enum Next<'a, B> {
    Frame(Frame<Bytes>),
    /// The recording has been read, and this pass holds the rest.
    Rest(Loan<'a, B>),
    End,
    /// Another pass holds the rest, or the recording was given up.
    Unavailable,
}

/// The rest of the body, lent to the pass that polls it. The lock is free meanwhile: the body is foreign code.
///
/// The pass returns the loan. A loan that a panic drops takes the recording with it.
pub(super) struct Loan<'a, B> {
    shared: &'a ReplayShared<B>,
    to: Number,
    rest: Option<Rest<B>>,
}

impl<B> ReplayShared<B> {
    /// The state for a first pass, which holds the rest.
    pub(super) fn new(rest: Rest<B>, max_bytes: usize) -> (Self, Number) {
        let first = Number(0);
        let (recording, rest) = (Recording::new(max_bytes), Some(rest));
        let inner = Inner { recording, rest, holder: Some(first), waker: None, passes: 1 };
        (Self { inner: Arc::new(Mutex::new(inner)) }, first)
    }

    /// The same state for one more pass.
    pub(super) fn join(&self) -> (Self, Number) {
        let mut inner = lock(&self.inner);
        let number = Number(inner.passes);
        inner.passes += 1;
        (Self { inner: self.inner.clone() }, number)
    }

    /// The frame at this position of the recording, or the rest behind it.
    pub(super) fn next(&self, at: usize, pass: Number, cx: &Context<'_>) -> Poll<Next<'_, B>> {
        let mut inner = lock(&self.inner);
        if let Some(frame) = inner.recording.frame(at) {
            return Poll::Ready(Next::Frame(frame));
        }
        match inner.recording.state() {
            State::Complete => return Poll::Ready(Next::End),
            State::Open if inner.claim(pass) => {}
            State::Open | State::Lost => return Poll::Ready(Next::Unavailable),
        }
        if let Some(rest) = inner.rest.take() {
            return Poll::Ready(Next::Rest(Loan { shared: self, to: pass, rest: Some(rest) }));
        }
        // The earlier holder is polling the rest at this moment, and wakes this pass when it returns the loan.
        let stale = inner.wait(cx.waker());
        drop(inner);
        drop(stale);
        Poll::Pending
    }

    /// The rest, for the pass that holds it. `None` after a take-over.
    pub(super) fn lend(&self, pass: Number) -> Option<Loan<'_, B>> {
        let mut inner = lock(&self.inner);
        let rest = if inner.holder == Some(pass) { inner.rest.take() } else { None };
        rest.map(|rest| Loan { shared: self, to: pass, rest: Some(rest) })
    }

    /// Gives the rest to this pass if no other pass holds it.
    pub(super) fn claim(&self, pass: Number) {
        lock(&self.inner).claim(pass);
    }

    /// Gives the rest to this pass and wakes the earlier holder. `false` if the recording was given up.
    pub(super) fn take_over(&self, pass: Number) -> bool {
        let mut inner = lock(&self.inner);
        let waker = match inner.recording.state() {
            State::Lost => return false,
            // Every pass can read to the end.
            State::Complete => return true,
            State::Open if inner.holder == Some(pass) => return true,
            State::Open => inner.waker.take(),
        };
        inner.holder = Some(pass);
        drop(inner);
        if let Some(waker) = waker {
            waker.wake();
        }
        true
    }

    /// Releases the rest if this pass holds it.
    pub(super) fn leave(&self, pass: Number) {
        let mut inner = lock(&self.inner);
        if inner.holder != Some(pass) {
            return;
        }
        inner.holder = None;
        let waker = inner.waker.take();
        // Without its recorded beginning the rest is of no use to another pass.
        let gone = if inner.recording.state() == State::Open { None } else { inner.rest.take() };
        drop(inner);
        drop((waker, gone));
    }

    /// Records a frame, and the end of the body if nothing follows.
    pub(super) fn record(&self, frame: &Frame<Bytes>, was_last: bool) {
        if Arc::strong_count(&self.inner) == 1 {
            // No copy is left, and only the pass that calls this could make one.
            return self.lose();
        }
        let mut inner = lock(&self.inner);
        inner.recording.push(frame);
        if was_last {
            inner.recording.complete();
        }
    }

    pub(super) fn complete(&self) {
        lock(&self.inner).recording.complete();
    }

    /// Gives the recording up: the body has failed, or no copy is left.
    pub(super) fn lose(&self) {
        lock(&self.inner).recording.lose();
    }

    pub(super) fn is_lost(&self) -> bool {
        lock(&self.inner).recording.state() == State::Lost
    }

    /// Whether a copy can be read to its end now, without a take-over.
    pub(super) fn can_replay(&self) -> bool {
        let inner = lock(&self.inner);
        match inner.recording.state() {
            State::Complete => true,
            State::Open => inner.holder.is_none(),
            State::Lost => false,
        }
    }
}

impl<B: Body> ReplayShared<B> {
    /// Whether a pass that has read so much of the recording is at its end, and the size of the data that follows.
    pub(super) fn ahead(&self, frames: usize, bytes: usize, pass: Number) -> (bool, SizeHint) {
        let inner = lock(&self.inner);
        let rest = match inner.recording.state() {
            State::Complete => (true, SizeHint::with_exact(0)),
            State::Open if inner.holder.is_none_or(|holder| holder == pass) => inner.of_rest(),
            State::Open => unknown(),
            // Only an error follows.
            State::Lost => return unknown(),
        };
        let recorded = inner.recording.data_bytes().saturating_sub(bytes);
        let mut hint = longer(&rest.1, recorded as u64);
        if inner.recording.has_trailers() {
            // HTTP/1.1 sends a body of exact size with a Content-Length, which leaves no place for trailers.
            let lower = hint.lower();
            hint = SizeHint::new();
            hint.set_lower(lower);
        }
        (inner.recording.ends_before(frames) && rest.0, hint)
    }

    /// The same for a pass that reads the rest. After a take-over an error follows, and no end.
    pub(super) fn ahead_of_rest(&self, pass: Number) -> (bool, SizeHint) {
        let inner = lock(&self.inner);
        if inner.holder == Some(pass) { inner.of_rest() } else { unknown() }
    }
}

impl<B> Inner<B> {
    /// Whether this pass holds the rest, after it was given an unclaimed one.
    fn claim(&mut self, pass: Number) -> bool {
        *self.holder.get_or_insert(pass) == pass
    }

    /// Keeps the holder's waker. Returns the replaced one, to be dropped without the lock.
    fn wait(&mut self, waker: &Waker) -> Option<Waker> {
        match &self.waker {
            Some(known) if known.will_wake(waker) => None,
            _ => self.waker.replace(waker.clone()),
        }
    }
}

impl<B: Body> Inner<B> {
    fn of_rest(&self) -> (bool, SizeHint) {
        self.rest.as_ref().map_or_else(unknown, |rest| (rest.is_end_stream(), rest.size_hint()))
    }
}

impl<B> Loan<'_, B> {
    pub(super) fn rest(&mut self) -> Pin<&mut B> {
        self.rest.as_mut().expect("only the methods that consume the loan take it out").as_mut()
    }

    /// Returns the rest while the pass waits for it. `false` if another pass has taken it over.
    pub(super) fn wait(mut self, waker: &Waker) -> bool {
        self.put_back(true, Some(waker))
    }

    /// Returns the rest after a frame that may not be the last.
    pub(super) fn go_on(mut self) {
        self.put_back(true, None);
    }

    /// Drops the rest: the body has ended.
    pub(super) fn end(mut self) {
        self.put_back(false, None);
    }

    /// Whether this pass still holds the rest.
    fn put_back(&mut self, goes_on: bool, waits: Option<&Waker>) -> bool {
        let mut gone = self.rest.take();
        let mut inner = lock(&self.shared.inner);
        let is_holder = inner.holder == Some(self.to);
        // After the recording was given up, no other pass can go on.
        if goes_on && (is_holder || inner.recording.state() == State::Open) {
            std::mem::swap(&mut inner.rest, &mut gone);
        }
        // A pass that took over during the poll may wait for the rest.
        let relief = if is_holder { None } else { inner.waker.take() };
        let stale = waits.filter(|_| is_holder).and_then(|waker| inner.wait(waker));
        drop(inner);
        if let Some(waker) = relief {
            waker.wake();
        }
        drop((stale, gone));
        is_holder
    }
}

impl<B> Drop for Loan<'_, B> {
    fn drop(&mut self) {
        if self.rest.is_some() {
            // The body has panicked during a poll. A waiting pass must learn that no frame will come.
            self.shared.lose();
            self.put_back(false, None);
        }
    }
}

fn longer(hint: &SizeHint, by: u64) -> SizeHint {
    let mut sum = SizeHint::new();
    let lower = hint.lower().saturating_add(by);
    sum.set_lower(lower);
    if let Some(upper) = hint.upper() {
        // `set_upper` panics where a body's bounds contradict each other.
        sum.set_upper(upper.saturating_add(by).max(lower));
    }
    sum
}

/// The size of data that another pass reads, or that cannot be read.
fn unknown() -> (bool, SizeHint) {
    (false, SizeHint::new())
}
