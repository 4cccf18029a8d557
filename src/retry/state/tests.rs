//! The decision, told everything.

use super::*;
use crate::{retry::Jitter, rt::clock::epoch};

const SECOND: Duration = Duration::from_secs(1);
const ROW: RetryConfig = RetryConfig::exponential(SECOND).jitter(Jitter::None).max_attempts(4);

fn failed(class: ErrorClass) -> Facts {
    Facts {
        outcome: Outcome::failure(class),
        was_last: false,
        may_resend: true,
        retried_below: false,
        remaining: None,
        total: None,
        typical: Duration::ZERO,
        learnt: None,
        unit: 0.0,
    }
}

fn after_one(config: RetryConfig, facts: Facts) -> Result<Duration, Stop> {
    Progress::new(epoch()).judge(&config, &facts, epoch()).map(|next| next.delay)
}

/// The delays of a call all of whose attempts fail like this.
fn delays(config: RetryConfig, facts: &[Facts]) -> Vec<Result<u64, Stop>> {
    let mut call = Progress::new(epoch());
    let judge = |facts: &Facts| {
        let next = call.judge(&config, facts, epoch());
        call.sent();
        next.map(|next| next.delay.as_secs())
    };
    facts.iter().map(judge).collect()
}

#[test]
fn the_row_is_followed_to_the_last_attempt() {
    let facts = [failed(ErrorClass::Server); 4];
    assert_eq!(delays(ROW, &facts), [Ok(1), Ok(2), Ok(4), Err(Stop::Exhausted)]);
    assert_eq!(after_one(ROW.max_attempts(1), facts[0]), Err(Stop::Exhausted));
    let sent_as_last = Facts { was_last: true, may_resend: false, ..facts[0] };
    assert_eq!(after_one(ROW, sent_as_last), Err(Stop::Exhausted));
}

#[test]
fn four_classes_are_tried_again_and_three_are_not() {
    let retried = |class| after_one(ROW, failed(class)).is_ok();
    assert_eq!(ErrorClass::ALL.map(retried), [true, true, true, true, false, false, false]);
    let other = ROW.never(ErrorClass::Server).on(ErrorClass::Unknown);
    assert_eq!(after_one(other, failed(ErrorClass::Server)), Err(Stop::NotRetryable));
    assert!(after_one(other, failed(ErrorClass::Unknown)).is_ok());
}

#[test]
fn a_class_may_have_a_row_of_its_own() {
    let config = ROW.class_delay(ErrorClass::RateLimit, 10 * SECOND);
    let facts = [ErrorClass::Server, ErrorClass::RateLimit, ErrorClass::Server].map(failed);
    assert_eq!(delays(config, &facts), [Ok(1), Ok(20), Ok(4)]);
}

#[test]
fn case_42_what_this_side_turned_away_is_not_tried_again_unless_elsewhere() {
    let outcome = |outcome| Facts { outcome, ..failed(ErrorClass::Server) };
    assert_eq!(after_one(ROW, outcome(Outcome::Ignored)), Err(Stop::NotRetryable));
    assert_eq!(after_one(ROW.other_endpoints(), outcome(Outcome::Ignored)), Err(Stop::NotRetryable));
    assert_eq!(after_one(ROW, outcome(Outcome::EndpointUnavailable)), Err(Stop::NotRetryable));
    let next =
        Progress::new(epoch()).judge(&ROW.other_endpoints(), &outcome(Outcome::EndpointUnavailable), epoch());
    assert_eq!(next, Ok(Next { delay: Duration::ZERO, free: true }));
    assert_eq!(after_one(ROW, outcome(Outcome::Success)), Err(Stop::NotRetryable));
    assert_eq!(after_one(ROW, outcome(Outcome::Deferred)), Err(Stop::NotRetryable));
}

#[test]
fn the_peers_word_is_taken_between_the_row_and_the_cap() {
    let hinted = |seconds, unit| {
        let outcome = Outcome::failure(ErrorClass::RateLimit).retry_after(seconds * SECOND);
        after_one(ROW, Facts { outcome, unit, ..failed(ErrorClass::RateLimit) })
    };
    assert_eq!(hinted(0, 0.0), Ok(SECOND));
    assert_eq!(hinted(10, 0.0), Ok(10 * SECOND));
    assert_eq!(hinted(10, 1.0), Ok(11 * SECOND));
    assert_eq!(hinted(3_600, 0.0), Ok(60 * SECOND));
    assert_eq!(hinted(u32::MAX, 1.0), Ok(66 * SECOND));
}

#[test]
fn after_the_peers_word_the_row_begins_anew() {
    let hint = Outcome::failure(ErrorClass::Server).retry_after(10 * SECOND);
    let facts = [
        failed(ErrorClass::Server),
        Facts { outcome: hint, ..failed(ErrorClass::Server) },
        failed(ErrorClass::Server),
    ];
    assert_eq!(delays(ROW, &facts), [Ok(1), Ok(10), Ok(1)]);
}

#[test]
fn after_the_peers_word_a_decorrelated_row_begins_anew_too() {
    let config = ROW.jitter(Jitter::Decorrelated);
    let unit = 1.0;
    let hint = Outcome::failure(ErrorClass::Server).retry_after(10 * SECOND);
    let facts = [
        Facts { outcome: hint, unit, ..failed(ErrorClass::Server) },
        Facts { unit, ..failed(ErrorClass::Server) },
        Facts { unit, ..failed(ErrorClass::Server) },
    ];
    assert_eq!(delays(config, &facts), [Ok(11), Ok(3), Ok(9)]);
}

#[test]
fn nobody_tries_again_what_the_peer_or_the_request_forbids() {
    let server = failed(ErrorClass::Server);
    let never = Facts { outcome: server.outcome.not_retryable(), ..server };
    assert_eq!(after_one(ROW, never), Err(Stop::Forbidden));
    assert_eq!(after_one(ROW, Facts { retried_below: true, ..server }), Err(Stop::Forbidden));
    assert_eq!(after_one(ROW, Facts { may_resend: false, ..server }), Err(Stop::NotRepeatable));
}

#[test]
fn case_41_no_attempt_begins_that_cannot_end_in_time() {
    let left = |remaining: u64, typical: u64| {
        let (remaining, typical) = (Some(Duration::from_millis(remaining)), Duration::from_millis(typical));
        after_one(ROW, Facts { remaining, typical, ..failed(ErrorClass::Server) })
    };
    assert_eq!(left(1_001, 0), Ok(SECOND));
    assert_eq!(left(1_000, 0), Err(Stop::OutOfTime));
    assert_eq!(left(1_500, 500), Err(Stop::OutOfTime));
    assert_eq!(left(1_501, 500), Ok(SECOND));
}

#[test]
fn case_41_no_attempt_goes_elsewhere_that_cannot_end_in_time() {
    let left = |remaining| {
        let facts = Facts {
            outcome: Outcome::EndpointUnavailable,
            remaining: Some(Duration::from_millis(remaining)),
            typical: Duration::from_millis(100),
            ..failed(ErrorClass::Server)
        };
        after_one(ROW.other_endpoints(), facts)
    };
    assert_eq!(left(0), Err(Stop::OutOfTime));
    assert_eq!(left(100), Err(Stop::OutOfTime));
    assert_eq!(left(101), Ok(Duration::ZERO));
}

#[test]
fn no_attempt_begins_after_the_longest_time() {
    let config = ROW.max_elapsed(3 * SECOND);
    let judge = |elapsed: u64| {
        let now = epoch() + Duration::from_millis(elapsed);
        Progress::new(epoch()).judge(&config, &failed(ErrorClass::Server), now).is_ok()
    };
    assert_eq!([0, 1_999, 2_000, 99_000].map(judge), [true, true, false, false]);
}

#[test]
fn jitter_never_exceeds_the_longest_delay() {
    let config = ROW.jitter(Jitter::Spread(1.0)).max_delay(SECOND);
    assert_eq!(after_one(config, Facts { unit: 1.0, ..failed(ErrorClass::Server) }), Ok(SECOND));
}
