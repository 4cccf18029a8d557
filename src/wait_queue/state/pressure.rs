//! Whether the calls of a class have waited too long for too long: the rule of `CoDel`.

use std::time::Instant;

use crate::{algo::after, wait_queue::config::Shed};

/// The state of an overload.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Pressure {
    #[default]
    Calm,
    /// A call has waited longer than the target, at every look since this instant.
    Above { since: Instant },
    /// Calls above the target are shed, until the class has drained.
    Shedding,
}

impl Pressure {
    /// Looks at the oldest call outside of reserved places; `None` if the class has drained. Whether a call is to be shed
    /// now.
    pub(super) fn look(&mut self, shed: Shed, oldest: Option<Instant>, now: Instant) -> bool {
        let Shed::Above { target, interval } = shed else {
            *self = Self::Calm;
            return false;
        };
        let above = oldest.is_some_and(|since| now.saturating_duration_since(since) > target);
        *self = match *self {
            // Calm => Above
            Self::Calm if above => Self::Above { since: now },
            // Above => Shedding
            Self::Above { since } if above && now >= after(since, interval) => Self::Shedding,
            // Above => Calm
            Self::Above { .. } if !above => Self::Calm,
            // Shedding => Calm
            Self::Shedding if oldest.is_none() => Self::Calm,
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

    const SHED: Shed =
        Shed::Above { target: Duration::from_millis(20), interval: Duration::from_millis(100) };

    #[test]
    fn a_burst_may_wait_and_a_standing_queue_may_not() {
        let at = |millis| epoch() + Duration::from_millis(millis);
        let waits = |oldest: Option<u64>| oldest.map(at);
        let mut pressure = Pressure::default();
        // The time, the oldest call, whether a call is shed, and the state.
        let above = |millis| Pressure::Above { since: at(millis) };
        for (now, oldest, sheds, state) in [
            (20, Some(0), false, Pressure::Calm),
            (21, Some(0), false, above(21)),
            (120, Some(0), false, above(21)),
            (120, Some(110), false, Pressure::Calm),
            (131, Some(110), false, above(131)),
            (231, Some(110), true, Pressure::Shedding),
            (232, Some(220), false, Pressure::Shedding),
            (241, Some(220), true, Pressure::Shedding),
            (242, None, false, Pressure::Calm),
            (300, Some(242), false, above(300)),
            (400, None, false, Pressure::Calm),
        ] {
            assert_eq!(pressure.look(SHED, waits(oldest), at(now)), sheds, "at {now}");
            assert_eq!(pressure, state, "at {now}");
        }
        assert!(!Pressure::Shedding.look(Shed::Off, waits(Some(0)), at(500)));
    }
}
