//! A call that waits for its tokens.

use std::{sync::Arc, task::Context, time::Instant};

use super::{
    handle::{RateLimitShared, Tokens},
    state::{Newcomer, Refused, Step},
};
use crate::{
    call::{Reason, Rejected},
    rt::{clock, sync::lock},
    wait_queue::{Arrival, Ticket, Verdict, wake},
};

/// A call that waits for its tokens. Dropping it leaves the queue.
#[derive(Debug)]
#[must_use]
pub(super) struct Waiter {
    shared: Arc<RateLimitShared>,
    newcomer: Newcomer,
    /// From here on the call serves the calls ahead of it too: their tasks may not run.
    turn: Instant,
    /// `None` before the first poll, and once the call has its verdict.
    ticket: Option<Ticket>,
}

/// The progress of a call that waits.
#[derive(Debug)]
pub(super) enum Progress {
    Ended(Result<Tokens, Rejected>),
    /// The call has to be polled again at this instant, or when it is woken.
    Until(Instant),
}

impl Waiter {
    pub(super) fn new(shared: Arc<RateLimitShared>, newcomer: Newcomer) -> Self {
        Self { shared, newcomer, turn: newcomer.at, ticket: None }
    }

    /// Waits for the verdict. The call at the head of the queue keeps the time for all. A call that has missed its turn
    /// keeps it too: the task of the head may not run.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Progress {
        let now = clock::now();
        if self.ticket.is_none()
            && let Some(ended) = self.join(now)
        {
            return Progress::Ended(ended);
        }
        let mut ends = false;
        loop {
            let ticket = self.ticket.as_ref().expect("it has joined, and leaves at its end");
            let mut waker = Some(cx.waker().clone());
            let mut state = self.shared.lock(now);
            if !state.register(ticket, &mut waker) {
                drop(state);
                return Progress::Ended(self.end(now, ends));
            }
            let (expires, is_head) = (state.expires(ticket), state.is_head(ticket));
            let mut change = None;
            if is_head || self.turn <= now {
                let step = state.step(&self.shared.bucket, now);
                change = self.shared.settle(&mut state);
                match step {
                    Step::Dequeued(dequeued) => {
                        drop(state);
                        self.shared.report(change);
                        wake(dequeued.payload);
                        ends = true;
                        continue;
                    }
                    Step::Due(due) if is_head => {
                        drop(state);
                        self.shared.report(change);
                        return Progress::Until(due.min(expires));
                    }
                    // The calls ahead were late, and may be late again.
                    Step::Due(due) if ends => self.turn = due,
                    // More important calls have come.
                    Step::Due(due) => {
                        self.turn = state.turn(&self.shared.bucket, &self.newcomer.arrival, now).max(due);
                    }
                    Step::Empty => unreachable!("this call waits"),
                }
            }
            drop(state);
            self.shared.report(change);
            if ends {
                self.shared.wake_head();
            }
            if expires <= now {
                return Progress::Ended(self.end(now, false));
            }
            return Progress::Until(self.turn.min(expires));
        }
    }

    /// The rejection of a call whose wait no timer would end. The drop of this counts the call as cancelled.
    pub(super) fn without_runtime(&self) -> Rejected {
        let Newcomer { arrival: Arrival { priority, .. }, at } = self.newcomer;
        self.shared.reject(Refused { reason: Reason::NoRuntime, priority, since: Some(at), retry_at: None })
    }

    /// Joins the queue, unless the call ends at once.
    fn join(&mut self, now: Instant) -> Option<Result<Tokens, Rejected>> {
        let shared = &self.shared;
        match shared.decide(&self.newcomer, now) {
            Ok(Some(tokens)) => return Some(Ok(tokens)),
            Err(refused) => return Some(Err(shared.reject(refused))),
            Ok(None) => {}
        }
        let mut state = lock(&shared.state);
        self.turn = state.turn(&shared.bucket, &self.newcomer.arrival, now);
        let enqueued = state.enqueue(&shared.bucket, &self.newcomer, None, now);
        let change = shared.settle(&mut state);
        drop(state);
        shared.report(change);
        match enqueued {
            Ok(enqueued) => {
                self.ticket = Some(enqueued.ticket);
                if let Some(waker) = enqueued.evicted {
                    wake(waker);
                    shared.wake_head();
                }
                None
            }
            Err(refused) => Some(Err(shared.reject(refused))),
        }
    }

    /// Leaves the queue: with the verdict, or because the time is over.
    fn end(&mut self, now: Instant, is_new_head: bool) -> Result<Tokens, Rejected> {
        let shared = &self.shared;
        let ticket = self.ticket.take().expect("it has joined, and leaves once");
        let mut state = lock(&shared.state);
        let (result, waker) = state.end(ticket, &shared.bucket, &self.newcomer, now);
        let change = shared.settle(&mut state);
        drop(state);
        shared.report(change);
        drop(waker);
        if is_new_head {
            shared.wake_head();
        }
        match result {
            Ok(at) if at < now => Ok(shared.tokens_since(self.newcomer.arrival.cost, at)),
            Ok(_) => Ok(shared.tokens(self.newcomer.arrival.cost)),
            Err(refused) => Err(shared.reject(refused)),
        }
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        let Some(ticket) = self.ticket.take() else { return };
        let mut state = lock(&self.shared.state);
        let (was_head, served_at) = (state.is_head(&ticket), state.expires(&ticket));
        let dequeued = state.cancel(ticket);
        let change = self.shared.settle(&mut state);
        drop(state);
        self.shared.report(change);
        if dequeued.verdict == Verdict::Served {
            drop(self.shared.tokens_since(self.newcomer.arrival.cost, served_at));
        } else if was_head {
            self.shared.wake_head();
        }
    }
}
