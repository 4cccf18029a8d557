//! The requests as the clients saw them.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use super::{
    plan::{Kind, Side},
    upstreams::Source,
};

/// The requests of all clients, by side and upstream.
#[derive(Default)]
pub(crate) struct Scores([[Mutex<Row>; 3]; 2]);

/// The requests to one upstream through one gateway.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Row {
    /// The requests by the time at which they were sent. The first span begins with the demo.
    spans: Vec<Counts>,
    /// The time that clients waited for requests that have ended, in total.
    pub(crate) waited: Duration,
}

/// Requests by their endings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Answered by the first server that the request reached.
    pub(crate) first: u32,
    /// Answered by another server of the upstream.
    pub(crate) another: u32,
    pub(crate) fallback: u32,
    /// Answered with an error, or not within the patience of the client.
    pub(crate) failed: u32,
    /// Not ended yet.
    pub(crate) waiting: u32,
}

/// The end of a request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ending {
    pub(crate) sent: Duration,
    pub(crate) took: Duration,
    /// `None` if it failed.
    pub(crate) source: Option<Source>,
}

impl Scores {
    /// Counts a request that a client has sent.
    pub(crate) fn sent(&self, side: Side, kind: Kind, sent: Duration) {
        self.with(side, kind, |row| row.span(sent).waiting += 1);
    }

    /// Counts the end of a request that was counted as sent.
    pub(crate) fn ended(&self, side: Side, kind: Kind, ending: Ending) {
        self.with(side, kind, |row| row.end(ending));
    }

    /// A copy of the counts so far.
    pub(crate) fn row(&self, side: Side, kind: Kind) -> Row {
        self.with(side, kind, |row| row.clone())
    }

    fn with<R>(&self, side: Side, kind: Kind, f: impl FnOnce(&mut Row) -> R) -> R {
        let cell = &self.0[side as usize][kind as usize];
        f(&mut cell.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Row {
    /// The last spans up to `now`, oldest first. Spans before the demo are empty.
    pub(crate) fn last_spans<const N: usize>(&self, now: Duration) -> [Counts; N] {
        let end = index(now) + 1;
        std::array::from_fn(|n| {
            let span = (end + n).checked_sub(N).and_then(|n| self.spans.get(n));
            span.copied().unwrap_or_default()
        })
    }

    /// All requests.
    pub(crate) fn total(&self) -> Counts {
        self.spans.iter().copied().fold(Counts::default(), Counts::plus)
    }

    fn end(&mut self, ending: Ending) {
        let counts = self.span(ending.sent);
        counts.waiting = counts.waiting.saturating_sub(1);
        *match ending.source {
            Some(Source::First) => &mut counts.first,
            Some(Source::Another) => &mut counts.another,
            Some(Source::Fallback) => &mut counts.fallback,
            None => &mut counts.failed,
        } += 1;
        self.waited += ending.took;
    }

    fn span(&mut self, sent: Duration) -> &mut Counts {
        let index = index(sent);
        if self.spans.len() <= index {
            self.spans.resize(index + 1, Counts::default());
        }
        &mut self.spans[index]
    }
}

impl Counts {
    pub(crate) const fn plus(self, other: Self) -> Self {
        Self {
            first: self.first + other.first,
            another: self.another + other.another,
            fallback: self.fallback + other.fallback,
            failed: self.failed + other.failed,
            waiting: self.waiting + other.waiting,
        }
    }

    /// The answers that needed another server or the fallback.
    pub(crate) const fn helped(self) -> u32 {
        self.another + self.fallback
    }

    pub(crate) const fn ended(self) -> u32 {
        self.first + self.helped() + self.failed
    }

    pub(crate) const fn all(self) -> u32 {
        self.ended() + self.waiting
    }

    /// The answered requests of all that have ended, in tenths of a percent, rounded down. `None` before the first end.
    pub(crate) fn success(self) -> Option<u32> {
        (1_000 * (self.first + self.helped())).checked_div(self.ended())
    }
}

/// The span that contains this time.
fn index(at: Duration) -> usize {
    usize::try_from(at.as_millis() / SPAN.as_millis()).expect("a demo takes minutes")
}

/// The length of a span.
pub(crate) const SPAN: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests {
    use super::*;

    const fn ending(sent: u64, source: Option<Source>) -> Ending {
        Ending { sent: Duration::from_millis(sent), took: Duration::from_millis(40), source }
    }

    #[test]
    fn a_request_is_waiting_until_it_ends_in_the_span_in_which_it_was_sent() {
        let (scores, side, kind) = (Scores::default(), Side::Protected, Kind::Flaky);
        for n in [0, 499, 500, 1_100] {
            scores.sent(side, kind, Duration::from_millis(n));
        }
        scores.ended(side, kind, ending(0, Some(Source::First)));
        scores.ended(side, kind, ending(499, None));
        scores.ended(side, kind, ending(500, Some(Source::Another)));

        let row = scores.row(side, kind);
        let [before, first, second, third] = row.last_spans(Duration::from_millis(1_499));
        assert_eq!(before, Counts::default());
        assert_eq!(first, Counts { first: 1, failed: 1, ..Counts::default() });
        assert_eq!(second, Counts { another: 1, ..Counts::default() });
        assert_eq!(third, Counts { waiting: 1, ..Counts::default() });
        assert_eq!(row.total(), first.plus(second).plus(third));
        assert_eq!(row.waited, Duration::from_millis(120));
        assert_eq!(scores.row(Side::Unprotected, kind), Row::default());
    }

    #[test]
    fn one_failure_in_many_is_not_rounded_to_full_success() {
        let counts = Counts { first: 9_000, fallback: 999, failed: 1, waiting: 5, ..Counts::default() };
        assert_eq!(counts.success(), Some(999));
        assert_eq!(Counts { waiting: 5, ..Counts::default() }.success(), None);
        assert_eq!(Counts { another: 2, ..Counts::default() }.success(), Some(1_000));
    }
}
