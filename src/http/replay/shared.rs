//! What a body shares with its copies.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::recording::{Piece, Recording, State};
use crate::rt::sync::{Mutex, lock};

/// The recording, the rest of the body, and whose that is.
pub(super) struct Shared<B> {
    inner: Arc<Mutex<Inner<B>>>,
}

struct Inner<B> {
    recording: Recording,
    /// `None` while somebody polls it, and after the end.
    rest: Option<Rest<B>>,
    /// Who may poll the rest.
    holder: Option<Number>,
    /// The holder's task, where it waits: for the body, or for who was relieved while he polled it.
    waker: Option<Waker>,
    passes: u64,
}

/// What tells one pass over the body from the others.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Number(u64);

/// What is left of the wrapped body. It moves from hand to hand, so it is pinned on the heap.
pub(super) type Rest<B> = Pin<Box<B>>;

/// What comes next for a pass that has read so many pieces.
pub(super) enum Next<'a, B> {
    Piece(Piece),
    /// All that was recorded has been read, and the rest of the body is this pass's.
    Rest(Loan<'a, B>),
    End,
    /// Somebody else streams what comes next, or it has been given up.
    Nothing,
}

/// The rest of the body in the hands of who polls it, without the lock: the body is somebody else's code.
///
/// It is to be returned; dropped, as a panic of the body drops it, it takes the recording with it.
pub(super) struct Loan<'a, B> {
    shared: &'a Shared<B>,
    to: Number,
    rest: Option<Rest<B>>,
}

impl<B> Shared<B> {
    /// What the first pass, whose the rest is, shares with those to come.
    pub(super) fn new(rest: Rest<B>, max_bytes: usize) -> (Self, Number) {
        let first = Number(0);
        let (recording, rest) = (Recording::new(max_bytes), Some(rest));
        let inner = Inner { recording, rest, holder: Some(first), waker: None, passes: 1 };
        (Self { inner: Arc::new(Mutex::new(inner)) }, first)
    }

    /// The same for one more pass.
    pub(super) fn join(&self) -> (Self, Number) {
        let mut inner = lock(&self.inner);
        let number = Number(inner.passes);
        inner.passes += 1;
        (Self { inner: self.inner.clone() }, number)
    }

    /// What comes after so many pieces, where it can be had.
    pub(super) fn next(&self, at: usize, who: Number, cx: &Context<'_>) -> Poll<Next<'_, B>> {
        let mut inner = lock(&self.inner);
        if let Some(piece) = inner.recording.piece(at) {
            return Poll::Ready(Next::Piece(piece.clone()));
        }
        match inner.recording.state() {
            State::Complete => return Poll::Ready(Next::End),
            State::Open if inner.claim(who) => {}
            State::Open | State::Lost => return Poll::Ready(Next::Nothing),
        }
        if let Some(rest) = inner.rest.take() {
            return Poll::Ready(Next::Rest(Loan { shared: self, to: who, rest: Some(rest) }));
        }
        // Who was relieved is polling it at this moment, and wakes us when it is back.
        let stale = inner.wait(cx.waker());
        drop(inner);
        drop(stale);
        Poll::Pending
    }

    /// The rest, for who has it already. `None` once that has been relieved.
    pub(super) fn lend(&self, who: Number) -> Option<Loan<'_, B>> {
        let mut inner = lock(&self.inner);
        let rest = if inner.holder == Some(who) { inner.rest.take() } else { None };
        rest.map(|rest| Loan { shared: self, to: who, rest: Some(rest) })
    }

    /// Claims the rest for this pass if it is nobody's.
    pub(super) fn claim(&self, who: Number) {
        lock(&self.inner).claim(who);
    }

    /// Makes the rest this pass's, whosever it is, and lets that one know. `false` if there is nothing to be had.
    pub(super) fn take_over(&self, who: Number) -> bool {
        let mut inner = lock(&self.inner);
        let waker = match inner.recording.state() {
            State::Lost => return false,
            // Whoever still reads can do so to the end.
            State::Complete => return true,
            State::Open if inner.holder == Some(who) => return true,
            State::Open => inner.waker.take(),
        };
        inner.holder = Some(who);
        drop(inner);
        if let Some(waker) = waker {
            waker.wake();
        }
        true
    }

    /// Leaves the rest, if it is this pass's, to the others.
    pub(super) fn leave(&self, who: Number) {
        let mut inner = lock(&self.inner);
        if inner.holder != Some(who) {
            return;
        }
        inner.holder = None;
        let waker = inner.waker.take();
        // Nobody can go on with it where what came before it is gone.
        let gone = if inner.recording.state() == State::Open { None } else { inner.rest.take() };
        drop(inner);
        drop((waker, gone));
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

    /// Whether a copy can be read to the end now, and nobody is relieved for it.
    pub(super) fn can_replay(&self) -> bool {
        let inner = lock(&self.inner);
        match inner.recording.state() {
            State::Complete => true,
            State::Open => inner.holder.is_none(),
            State::Lost => false,
        }
    }
}

impl<B: Body> Shared<B> {
    /// What is ahead of a pass that has read so many pieces, of so many bytes: whether it is nothing, and its size.
    pub(super) fn ahead(&self, pieces: usize, bytes: u64, who: Number) -> (bool, SizeHint) {
        let inner = lock(&self.inner);
        let rest = match inner.recording.state() {
            State::Complete => (true, SizeHint::with_exact(0)),
            State::Open if inner.holder.is_none_or(|holder| holder == who) => inner.of_rest(),
            State::Open => unknown(),
            // There is an error ahead, and nothing else.
            State::Lost => return unknown(),
        };
        let recorded = inner.recording.data_bytes().saturating_sub(bytes);
        let mut hint = longer(&rest.1, recorded);
        if inner.recording.has_trailers() {
            // HTTP/1.1 sends a body of exact size with a Content-Length, behind which there is no place for trailers.
            let lower = hint.lower();
            hint = SizeHint::new();
            hint.set_lower(lower);
        }
        (inner.recording.piece(pieces).is_none() && rest.0, hint)
    }

    /// The same of a pass that reads the rest. Who has been relieved has an error ahead, and no end.
    pub(super) fn ahead_of_rest(&self, who: Number) -> (bool, SizeHint) {
        let inner = lock(&self.inner);
        if inner.holder == Some(who) { inner.of_rest() } else { unknown() }
    }
}

impl<B> Inner<B> {
    /// Whether the rest is this pass's, or was nobody's and now is.
    fn claim(&mut self, who: Number) -> bool {
        *self.holder.get_or_insert(who) == who
    }

    /// The holder waits. Gives what is to be dropped without the lock.
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
        self.rest.as_mut().expect("only what returns it takes it out").as_mut()
    }

    /// The body waits: it wakes this pass, and so does who relieves it. `false` if somebody has already.
    pub(super) fn wait(mut self, waker: &Waker) -> bool {
        self.put_back(true, Some(waker))
    }

    /// A frame has come, and perhaps not the last.
    pub(super) fn go_on(mut self) {
        self.put_back(true, None);
    }

    /// Nothing more will come.
    pub(super) fn end(mut self) {
        self.put_back(false, None);
    }

    /// Says whether this pass still has the rest.
    fn put_back(&mut self, goes_on: bool, waits: Option<&Waker>) -> bool {
        let mut gone = self.rest.take();
        let mut inner = lock(&self.shared.inner);
        let is_holder = inner.holder == Some(self.to);
        // From a recording that is lost nobody else can go on.
        if goes_on && (is_holder || inner.recording.state() == State::Open) {
            std::mem::swap(&mut inner.rest, &mut gone);
        }
        // Who has relieved us may be waiting for it.
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
            // The body has panicked in the middle of a frame. Who waits for it is to learn that none will come.
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
        // A body whose bounds contradict each other must not make us panic.
        sum.set_upper(upper.saturating_add(by).max(lower));
    }
    sum
}

/// Of what somebody else reads, or nobody can.
fn unknown() -> (bool, SizeHint) {
    (false, SizeHint::new())
}
