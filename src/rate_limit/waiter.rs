//! A call that waits for its tokens.

use std::{sync::Arc, task::Context, time::Instant};

use super::{
    handle::{RateLimitShared, Tokens},
    state::{Newcomer, Step},
};
use crate::{
    call::Rejected,
    rt::{clock, sync::lock},
    wait_queue::{Ticket, Verdict, wake},
};

/// A call that waits for its tokens. Dropping it leaves the queue.
#[derive(Debug)]
#[must_use]
pub(super) struct Waiter {
    shared: Arc<RateLimitShared>,
    newcomer: Newcomer,
    /// `None` before the first poll, and once the call has its verdict.
    ticket: Option<Ticket>,
}

/// Where a call that waits stands.
#[derive(Debug)]
pub(super) enum Progress {
    Ended(Result<Tokens, Rejected>),
    /// The call has to be polled again at this instant, or when it is woken.
    Until(Instant),
}

impl Waiter {
    pub(super) fn new(shared: Arc<RateLimitShared>, newcomer: Newcomer) -> Self {
        Self { shared, newcomer, ticket: None }
    }

    /// Waits for the verdict. The call at the head of the queue keeps the time for all.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Progress {
        let now = clock::now();
        self.shared.clamp_debt(now);
        if self.ticket.is_none()
            && let Some(ended) = self.join(now)
        {
            return Progress::Ended(ended);
        }
        let mut ends = false;
        loop {
            let ticket = self.ticket.as_ref().expect("it has joined, and leaves at its end");
            let mut waker = Some(cx.waker().clone());
            let mut state = lock(&self.shared.state);
            if !state.register(ticket, &mut waker) {
                drop(state);
                return Progress::Ended(self.end(now, ends));
            }
            let expires = state.expires(ticket);
            if !state.is_head(ticket) {
                drop(state);
                if ends {
                    self.shared.wake_head();
                }
                if expires <= now {
                    return Progress::Ended(self.end(now, false));
                }
                return Progress::Until(expires);
            }
            let step = state.step(&self.shared.bucket, now);
            self.shared.publish(&state);
            drop(state);
            match step {
                Step::Dequeued(dequeued) => wake(dequeued.payload),
                Step::Due(due) => return Progress::Until(due.min(expires)),
                Step::Empty => unreachable!("this call waits"),
            }
            ends = true;
        }
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
        let enqueued = state.enqueue(&shared.bucket, &self.newcomer, None, now);
        shared.publish(&state);
        drop(state);
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
        shared.publish(&state);
        drop(state);
        drop(waker);
        if is_new_head {
            shared.wake_head();
        }
        match result {
            Ok(()) => Ok(shared.tokens(self.newcomer.arrival.cost)),
            Err(refused) => Err(shared.reject(refused)),
        }
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        let Some(ticket) = self.ticket.take() else { return };
        let mut state = lock(&self.shared.state);
        let was_head = state.is_head(&ticket);
        let dequeued = state.cancel(ticket);
        self.shared.publish(&state);
        drop(state);
        if dequeued.verdict == Verdict::Served {
            drop(self.shared.tokens(self.newcomer.arrival.cost));
        } else if was_head {
            self.shared.wake_head();
        }
    }
}
