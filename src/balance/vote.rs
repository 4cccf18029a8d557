//! The vote of an outcome on the endpoint that gave it: its latency, its health, and how long calls avoid it.

use std::time::Duration;

use super::config::BalanceConfig;
use crate::call::{ErrorClass, Outcome};

/// The effect of one call on its endpoint.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Vote {
    pub(super) latency: Latency,
    pub(super) health: Health,
    /// Calls avoid the endpoint for so long.
    pub(super) avoid: Option<Duration>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Latency {
    /// The time that the call took.
    Elapsed,
    /// At least the time that the call took: it ended without an answer.
    AtLeast,
    /// This time, in place of a failure that came soon.
    Penalty(Duration),
    Unknown,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Health {
    Success,
    Failure {
        /// Whether the failure is one of a sequence that ejects the endpoint.
        consecutive: bool,
    },
    Unknown,
}

impl Vote {
    pub(super) const SUCCESS: Self = Self { latency: Latency::Elapsed, health: Health::Success, avoid: None };

    /// The vote of a call that was dropped.
    pub(super) const CUT: Self = Self { latency: Latency::AtLeast, health: Health::Unknown, avoid: None };

    pub(super) fn of(outcome: Outcome, config: &BalanceConfig) -> Self {
        match outcome {
            Outcome::Success | Outcome::Deferred => Self::SUCCESS,
            Outcome::Failure { class, retry_after, .. } => {
                let hint = retry_after.map(|hint| hint.min(config.max_retry_after));
                let penalty = Latency::Penalty(config.failure_penalty.max(hint.unwrap_or_default()));
                let (latency, health) = match class {
                    ErrorClass::Validation | ErrorClass::Authentication => {
                        (Latency::Elapsed, Health::Success)
                    }
                    // An endpoint that asks for fewer calls is not dead.
                    ErrorClass::RateLimit => (penalty, Health::Failure { consecutive: false }),
                    // The time-out is the penalty.
                    ErrorClass::Timeout => (Latency::Elapsed, Health::Failure { consecutive: true }),
                    ErrorClass::Server | ErrorClass::Connection | ErrorClass::Unknown => {
                        (penalty, Health::Failure { consecutive: true })
                    }
                };
                Self { latency, health, avoid: hint }
            }
            Outcome::Ignored | Outcome::DeadlineExceeded => Self::CUT,
            // The endpoint has not seen the call. It may take one a moment later.
            Outcome::EndpointUnavailable => {
                Self { latency: Latency::Unknown, health: Health::Unknown, avoid: Some(RECHECK) }
            }
        }
    }
}

/// How long calls avoid an endpoint that was not ready, as long as another one is.
///
/// An endpoint that recovers is found in this time. One call a second is nothing beside the load of an endpoint.
pub(super) const RECHECK: Duration = Duration::from_secs(1);

#[cfg(all(test, not(shuttle)))]
mod tests {
    use super::*;
    use crate::balance::pick::vectors::{numbers, vectors};

    const SECOND: Duration = Duration::from_secs(1);

    fn of(class: ErrorClass) -> Vote {
        Vote::of(Outcome::failure(class), &BalanceConfig::new())
    }

    #[test]
    fn each_class_votes_as_the_table_says() {
        let penalty = Latency::Penalty(5 * SECOND);
        let failure = Health::Failure { consecutive: true };
        let expected = [
            (ErrorClass::Connection, penalty, failure),
            (ErrorClass::Timeout, Latency::Elapsed, failure),
            (ErrorClass::RateLimit, penalty, Health::Failure { consecutive: false }),
            (ErrorClass::Server, penalty, failure),
            (ErrorClass::Authentication, Latency::Elapsed, Health::Success),
            (ErrorClass::Validation, Latency::Elapsed, Health::Success),
            (ErrorClass::Unknown, penalty, failure),
        ];
        for (class, latency, health) in expected {
            assert_eq!(of(class), Vote { latency, health, avoid: None }, "{class:?}");
        }
        let config = BalanceConfig::new();
        let success = Vote { latency: Latency::Elapsed, health: Health::Success, avoid: None };
        assert_eq!(Vote::of(Outcome::Success, &config), success);
        assert_eq!(Vote::of(Outcome::Deferred, &config), success);
        assert_eq!(Vote::of(Outcome::Ignored, &config), Vote::CUT);
        assert_eq!(Vote::of(Outcome::DeadlineExceeded, &config), Vote::CUT);
        let unavailable = Vote::of(Outcome::EndpointUnavailable, &config);
        assert_eq!((unavailable.health, unavailable.avoid), (Health::Unknown, Some(RECHECK)));
    }

    #[test]
    fn case_80_a_hint_keeps_calls_away_up_to_its_cap() {
        let vector = vectors("retry_after", "failure penalty for balancer");
        let cap = Duration::from_secs(vector["given"]["cap_s"].as_u64().expect("a number"));
        let config = BalanceConfig::new().max_retry_after(cap);
        let hints =
            vector["given"]["hint_s"].as_array().expect("a list").iter().map(serde_json::Value::as_u64);
        for (hint, recorded) in hints.zip(numbers(&vector["expect"]["recorded_rtt_s"])) {
            let limited = Outcome::failure(ErrorClass::RateLimit);
            let outcome = hint.map_or(limited, |hint| limited.retry_after(Duration::from_secs(hint)));
            let vote = Vote::of(outcome, &config);
            assert_eq!(vote.latency, Latency::Penalty(Duration::from_secs_f64(recorded)));
            assert_eq!(vote.avoid, hint.map(|hint| Duration::from_secs(hint).min(cap)));
        }
    }
}
