//! The descent context: the instant and the timer that the stages of one stack share.
//!
//! The stages of a `ReliabilityStack` run nested in one `call` or one `poll`, on one thread. Meanwhile they share
//!
//! - **the instant**: the first stage that needs the time reads the clock, and the inner stages take that reading;
//! - **the timer**: an inner timeout announces that its timer wakes the task. An outer timeout that ends later then
//!   sets no timer of its own.
//!
//! A stack opens the context around its stages and closes it around the user's service. That service may take any time,
//! and may poll a future once and then move it to another task. So a reading ends when the service is entered, and the
//! context ignores what the service announces. Outside the context each reading is the clock's, and nothing is announced:
//! layers that are stacked by hand share nothing.

use std::{cell::Cell, time::Instant};

use super::clock;

struct Context {
    inside: Cell<bool>,
    /// The reading of the clock since the last scope began or ended.
    now: Cell<Option<Instant>>,
    /// When a timer fires that wakes the task.
    wakes_at: Cell<Option<Instant>>,
}

// Constant and without `Drop`, so that it can be used in the destructors of other thread-locals.
thread_local! {
    static CONTEXT: Context =
        const { Context { inside: Cell::new(false), now: Cell::new(None), wakes_at: Cell::new(None) } };
}

/// Opens or closes the context until it is dropped, by a panic too.
#[must_use]
pub(crate) struct Scope {
    outer: bool,
}

impl Scope {
    /// Opens the context, or closes it.
    #[inline]
    pub(crate) fn new(inside: bool) -> Self {
        Self { outer: Self::switch(inside) }
    }

    /// Forgets the instant and the timer on each way: the code in between took an unknown time.
    #[inline]
    fn switch(inside: bool) -> bool {
        CONTEXT.with(|context| {
            context.now.set(None);
            context.wakes_at.set(None);
            context.inside.replace(inside)
        })
    }
}

impl Drop for Scope {
    #[inline]
    fn drop(&mut self) {
        Self::switch(self.outer);
    }
}

/// The current instant: inside the context one reading for all stages that no other code ran between.
#[inline]
pub(crate) fn now() -> Instant {
    reading().unwrap_or_else(|| {
        let now = clock::now();
        CONTEXT.with(|context| {
            if context.inside.get() {
                context.now.set(Some(now));
            }
        });
        now
    })
}

/// The current instant, if a stage has read it.
#[inline]
pub(crate) fn reading() -> Option<Instant> {
    CONTEXT.with(|context| context.now.get())
}

/// A waiting call keeps it. Its drop withdraws every announcement, because the announced timer may be that of the call.
#[derive(Debug)]
pub(crate) struct Announced;

/// A timer wakes the task at this instant.
#[inline]
pub(crate) fn announce(at: Instant) {
    CONTEXT.with(|context| {
        if context.inside.get() {
            context.wakes_at.set(Some(at));
        }
    });
}

/// Whether a timer that was announced wakes the task at this instant at the latest.
#[inline]
pub(crate) fn wakes_by(at: Instant) -> bool {
    CONTEXT.with(|context| context.wakes_at.get().is_some_and(|wakes_at| wakes_at <= at))
}

impl Drop for Announced {
    #[inline]
    fn drop(&mut self) {
        CONTEXT.with(|context| context.wakes_at.set(None));
    }
}

#[cfg(test)]
mod tests {
    use std::{panic, time::Duration};

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn one_reading_holds_until_other_code_runs() {
        let begin = clock::now();
        let _stack = Scope::new(true);
        assert_eq!((reading(), now()), (None, begin));
        tokio::time::advance(SECOND).await;
        assert_eq!((reading(), now()), (Some(begin), begin));
        drop(Scope::new(false));
        assert_eq!((reading(), now()), (None, begin + SECOND));
    }

    #[tokio::test(start_paused = true)]
    async fn outside_every_reading_is_the_clocks() {
        let begin = now();
        tokio::time::advance(SECOND).await;
        assert_eq!((reading(), now()), (None, begin + SECOND));
        let _stack = Scope::new(true);
        let _service = Scope::new(false);
        assert_eq!((now(), reading()), (begin + SECOND, None));
    }

    #[test]
    fn only_stages_announce_timers() {
        let (now, soon) = (clock::epoch(), clock::epoch() + SECOND);
        announce(soon);
        assert!(!wakes_by(soon), "outside");
        let _stack = Scope::new(true);
        {
            let _service = Scope::new(false);
            announce(soon);
        }
        assert!(!wakes_by(soon), "the user's service announced it");
        announce(soon);
        assert!(wakes_by(soon) && wakes_by(soon + SECOND) && !wakes_by(now));
        drop(Announced);
        assert!(!wakes_by(soon), "the call with the timer is gone");
    }

    #[test]
    fn a_panic_closes_what_it_unwinds() {
        let unwound = panic::catch_unwind(|| {
            let _stack = Scope::new(true);
            now();
            panic::resume_unwind(Box::new(()));
        });
        assert!(unwound.is_err());
        announce(clock::epoch());
        assert!(reading().is_none() && !wakes_by(clock::epoch()));
    }
}
