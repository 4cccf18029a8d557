//! Whether the calls of a class have waited too long for too long: the rule of `CoDel`.

use std::time::Instant;

use crate::{algo::after, wait_queue::config::Target};

/// The state of the rule for one class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum CoDel {
    /// No call outside of reserved places waits for longer than the target.
    #[default]
    Below,
    /// A call has waited longer than the target, at every observation since this instant.
    Above { since: Instant },
    /// Calls above the target are shed, until the class has drained.
    Shedding,
}

impl CoDel {
    /// Observes since when the oldest call outside of reserved places waits; `None` if the class has drained. Without a
    /// target no call is shed. Whether a call is to be shed now.
    pub(super) fn observe(&mut self, target: Option<Target>, oldest: Option<Instant>, now: Instant) -> bool {
        let Some(Target { wait, interval }) = target else {
            *self = Self::Below;
            return false;
        };
        let above = oldest.is_some_and(|since| now.saturating_duration_since(since) > wait);
        *self = match *self {
            // Below => Above
            Self::Below if above => Self::Above { since: now },
            // Above => Shedding
            Self::Above { since } if above && now >= after(since, interval) => Self::Shedding,
            // Above => Below
            Self::Above { .. } if !above => Self::Below,
            // Shedding => Below
            Self::Shedding if oldest.is_none() => Self::Below,
            same => same,
        };
        *self == Self::Shedding && above
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::rt::clock::epoch;

    const TARGET: Target = Target { wait: Duration::from_millis(20), interval: Duration::from_millis(100) };

    #[test]
    fn a_burst_may_wait_and_a_standing_queue_may_not() {
        let at = |millis| epoch() + Duration::from_millis(millis);
        let waits = |oldest: Option<u64>| oldest.map(at);
        let mut codel = CoDel::default();
        // The time, the oldest call, whether a call is shed, and the state.
        let above = |millis| CoDel::Above { since: at(millis) };
        for (now, oldest, sheds, state) in [
            (20, Some(0), false, CoDel::Below),
            (21, Some(0), false, above(21)),
            (120, Some(0), false, above(21)),
            (120, Some(110), false, CoDel::Below),
            (131, Some(110), false, above(131)),
            (231, Some(110), true, CoDel::Shedding),
            (232, Some(220), false, CoDel::Shedding),
            (241, Some(220), true, CoDel::Shedding),
            (242, None, false, CoDel::Below),
            (300, Some(242), false, above(300)),
            (400, None, false, CoDel::Below),
        ] {
            assert_eq!(codel.observe(Some(TARGET), waits(oldest), at(now)), sheds, "at {now}");
            assert_eq!(codel, state, "at {now}");
        }
        codel = CoDel::Shedding;
        assert!(!codel.observe(None, waits(Some(0)), at(500)));
        assert_eq!(codel, CoDel::Below);
    }
}
