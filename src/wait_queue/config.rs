//! The numbers of a wait queue.

use std::time::Duration;

use crate::call::{ConfigError, Priority};

/// How many calls wait, for how long, and in which order.
///
/// ```
/// use std::time::Duration;
/// use tower_reliability::{Priority, wait_queue::WaitQueueConfig};
///
/// const QUEUE: WaitQueueConfig = WaitQueueConfig::new()
///     .capacity(200)
///     .per_key(20)
///     .max_wait(Duration::from_millis(500))
///     .minimum_share(Priority::Low, 0.01);
/// # let _ = QUEUE;
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields, expecting = "a table, such as { capacity = 100 }")
)]
pub struct WaitQueueConfig {
    pub(super) capacity: u32,
    pub(super) per_key: Option<u32>,
    #[cfg_attr(feature = "serde", serde(with = "crate::call::duration"))]
    pub(super) max_wait: Duration,
    pub(super) minimum_shares: MinimumShares,
    pub(super) shed: Shed,
}

/// The share of the served calls that a class gets while it waits.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields, expecting = "a table, such as { low = 0.001 }")
)]
pub(super) struct MinimumShares {
    pub(super) critical: f64,
    pub(super) high: f64,
    pub(super) normal: f64,
    pub(super) low: f64,
}

/// When the queue gives up calls before their time.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
pub(super) enum Shed {
    Off,
    Above {
        #[cfg_attr(feature = "serde", serde(with = "crate::call::duration"))]
        target: Duration,
        #[cfg_attr(feature = "serde", serde(with = "crate::call::duration"))]
        interval: Duration,
    },
}

/// A wait that is too long, and for how long it has to last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) wait: Duration,
    pub(super) interval: Duration,
}

impl WaitQueueConfig {
    /// Lets 1 000 calls wait for up to 1 s.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            capacity: 1_000,
            per_key: None,
            max_wait: Duration::from_secs(1),
            minimum_shares: MinimumShares::new(),
            shed: Shed::Above { target: Duration::from_millis(100), interval: Duration::from_millis(100) },
        }
    }

    /// Lets no call wait.
    #[must_use]
    pub const fn none() -> Self {
        Self { capacity: 0, ..Self::new() }
    }

    /// Lets at most so many calls wait. In a full queue, a call evicts the newest call of the lowest class below its
    /// own; if there is none, it is refused.
    ///
    /// A long queue survives a longer burst, and holds more requests in memory. 0 to 1 000 000; 0 refuses every call that
    /// would have to wait. Default: 1 000 calls.
    #[must_use]
    pub const fn capacity(mut self, calls: u32) -> Self {
        self.capacity = calls;
        self
    }

    /// Lets at most so many calls of one key wait, so that one client cannot fill the queue.
    ///
    /// A further call of the key evicts the newest call of the lowest class of the same key. If none of those calls can
    /// make room, the queue refuses the further call. The key comes from
    /// [`PrioritySource::queue_key`](crate::PrioritySource::queue_key). At least 1. Default: no limit.
    #[must_use]
    pub const fn per_key(mut self, calls: u32) -> Self {
        self.per_key = Some(calls);
        self
    }

    /// Refuses a call after it has waited for so long, and at once if it would have to wait longer.
    ///
    /// A long wait serves more calls, and serves them late. Above 0, at most 1 day. Default: 1 s.
    #[must_use]
    pub const fn max_wait(mut self, delay: Duration) -> Self {
        self.max_wait = delay;
        self
    }

    /// Serves calls of this class at least at this share of the served calls, while any of them waits.
    ///
    /// Without a share, a class starves while higher classes need the whole capacity. A share is taken from the higher
    /// classes, and reserves as large a part of the queue, of at least one place in a queue of eight or more. 0 to 0.5,
    /// all together at most 0.5. Default: 0.001 for every class below critical.
    #[must_use]
    pub const fn minimum_share(mut self, priority: Priority, share: f64) -> Self {
        let shares = &mut self.minimum_shares;
        match priority {
            Priority::Critical => shares.critical = share,
            Priority::High => shares.high = share,
            Priority::Normal => shares.normal = share,
            Priority::Low => shares.low = share,
        }
        self
    }

    /// Sheds calls that wait longer than `target`, once the oldest call of their class has done so for `interval`, until
    /// the class has drained.
    ///
    /// The rule is `CoDel`'s: a burst may wait, and a standing queue may not. Lower classes go first: the queue sheds a
    /// call only when no call of a lower class waits, except in reserved places. High and critical calls may wait for
    /// half of [`max_wait`](Self::max_wait), if that is longer than `target`. A short `target` keeps waits short in an
    /// overload, and refuses more calls. Both above 0, at most 1 day. In a file: `shed = { above = { target = "100ms",
    /// interval = "100ms" } }` or `shed = "off"`. Default: 100 ms for both.
    #[must_use]
    pub const fn shed_above(mut self, target: Duration, interval: Duration) -> Self {
        self.shed = Shed::Above { target, interval };
        self
    }

    /// Lets every call wait for up to [`max_wait`](Self::max_wait), also in a long overload.
    #[must_use]
    pub const fn without_shedding(mut self) -> Self {
        self.shed = Shed::Off;
        self
    }

    /// The wait above which calls of this class are shed.
    pub(super) fn target(&self, priority: Priority) -> Option<Target> {
        let Shed::Above { target, interval } = self.shed else { return None };
        let wait = if priority > Priority::Normal { target.max(self.max_wait / 2) } else { target };
        Some(Target { wait, interval })
    }

    /// The longest wait.
    pub(crate) const fn longest_wait(&self) -> Duration {
        self.max_wait
    }

    /// Whether no call may wait.
    pub(crate) const fn is_none(&self) -> bool {
        self.capacity == 0
    }

    /// Names the first field that breaks its rule. Each limit has its queue under the key `queue`.
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        let lasting = |delay: Duration| !delay.is_zero() && delay <= DAY;
        let shares = self.minimum_shares.all();
        let share = shares.iter().all(|share| (0.0..=MAX_SHARE).contains(share))
            && shares.iter().sum::<f64>() <= MAX_SHARE;
        let shed = match self.shed {
            Shed::Off => true,
            Shed::Above { target, interval } => lasting(target) && lasting(interval),
        };
        ConfigError::check(self.capacity <= MAX_CAPACITY, "queue.capacity", "must be at most 1000000")?;
        ConfigError::check(self.per_key != Some(0), "queue.per_key", "must be at least 1")?;
        ConfigError::check(lasting(self.max_wait), "queue.max_wait", "must be above 0 and at most 1 day")?;
        ConfigError::check(share, "queue.minimum_shares", "must be 0 to 0.5, and together at most 0.5")?;
        ConfigError::check(shed, "queue.shed", "must have two durations above 0, of at most 1 day")
    }
}

impl MinimumShares {
    const fn new() -> Self {
        Self { critical: 0.0, high: 0.001, normal: 0.001, low: 0.001 }
    }

    /// The shares, the lowest class first, as in the order of `Priority`.
    pub(super) const fn all(&self) -> [f64; Priority::ALL.len()] {
        [self.low, self.normal, self.high, self.critical]
    }
}

impl Default for MinimumShares {
    fn default() -> Self {
        Self::new()
    }
}

impl Default for WaitQueueConfig {
    fn default() -> Self {
        Self::new()
    }
}

/// About a hundred megabytes of places.
const MAX_CAPACITY: u32 = 1_000_000;
/// More would turn the order of the classes round.
const MAX_SHARE: f64 = 0.5;
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_21_a_number_out_of_range_is_refused_by_its_name() {
        let new = WaitQueueConfig::new;
        let second = Duration::from_secs(1);
        for (config, field) in [
            (new().capacity(u32::MAX), "queue.capacity"),
            (new().per_key(0), "queue.per_key"),
            (new().max_wait(Duration::ZERO), "queue.max_wait"),
            (new().max_wait(Duration::MAX), "queue.max_wait"),
            (new().minimum_share(Priority::Low, f64::NAN), "queue.minimum_shares"),
            (new().minimum_share(Priority::Low, -0.1), "queue.minimum_shares"),
            (
                new().minimum_share(Priority::Low, 0.3).minimum_share(Priority::High, 0.3),
                "queue.minimum_shares",
            ),
            (new().shed_above(Duration::ZERO, second), "queue.shed"),
            (new().shed_above(second, Duration::MAX), "queue.shed"),
        ] {
            assert_eq!(config.check().map_err(|error| error.field()), Err(field), "{config:?}");
        }
        assert_eq!(new().check(), Ok(()));
        assert_eq!(WaitQueueConfig::none().without_shedding().check(), Ok(()));
        assert!(WaitQueueConfig::none().is_none() && !new().is_none());
    }

    #[cfg(feature = "serde")]
    #[test]
    fn a_file_may_hold_every_number() {
        let text = r#"
            capacity = 10
            per_key = 2
            max_wait = "2s"
            minimum_shares = { low = 0.01 }
            shed = "off"
        "#;
        let config: WaitQueueConfig = toml::from_str(text).expect("valid");
        let expected = WaitQueueConfig::new().capacity(10).per_key(2).max_wait(Duration::from_secs(2));
        assert_eq!(config, expected.minimum_share(Priority::Low, 0.01).without_shedding());
        let written = toml::to_string(&WaitQueueConfig::new()).expect("valid");
        assert_eq!(toml::from_str(&written), Ok(WaitQueueConfig::new()));
    }
}
