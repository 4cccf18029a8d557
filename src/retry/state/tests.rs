//! Tests of the decision alone.

use super::*;
use crate::{retry::Jitter, rt::clock::epoch};

const SECOND: Duration = Duration::from_secs(1);
const SEQUENCE: RetryConfig = RetryConfig::exponential(SECOND).jitter(Jitter::None).max_attempts(4);

fn failed(class: ErrorClass) -> Failed {
    Failed {
        outcome: Outcome::failure(class),
        started: None,
        was_last: false,
        may_resend: true,
        retried_inside: false,
        other_endpoint: false,
        circuit_open: false,
        has_runtime: true,
    }
}

fn after_one(config: RetryConfig, failed: Failed) -> Result<Duration, Stop> {
    drawn(config, failed, 0.0)
}

/// The same with another random number.
fn drawn(config: RetryConfig, failed: Failed, unit: f64) -> Result<Duration, Stop> {
    Call::new(epoch(), None).judge(&config, &failed, &Stats::new(), unit, epoch())
}

/// The delays of a call whose attempts fail like this, all at the same instant.
fn delays(config: RetryConfig, unit: f64, all: &[Failed]) -> Vec<Result<u64, Stop>> {
    let mut call = Call::new(epoch(), None);
    all.iter()
        .map(|failed| call.judge(&config, failed, &Stats::new(), unit, epoch()).map(|delay| delay.as_secs()))
        .collect()
}

/// A memory in which attempts typically take this long.
fn typically(latency: Duration) -> Stats {
    let mut stats = Stats::new();
    (0..8).for_each(|_| stats.latencies.record(latency));
    stats
}

#[test]
fn the_sequence_is_followed_to_the_last_attempt() {
    let all = [failed(ErrorClass::Server); 4];
    assert_eq!(delays(SEQUENCE, 0.0, &all), [Ok(1), Ok(2), Ok(4), Err(Stop::Exhausted)]);
    assert_eq!(after_one(SEQUENCE.max_attempts(1), all[0]), Err(Stop::Exhausted));
    let sent_as_last = Failed { was_last: true, may_resend: false, ..all[0] };
    assert_eq!(after_one(SEQUENCE, sent_as_last), Err(Stop::Exhausted));
}

#[test]
fn four_classes_are_retried_and_three_are_not() {
    let retried = |class| after_one(SEQUENCE, failed(class)).is_ok();
    assert_eq!(ErrorClass::ALL.map(retried), [true, true, true, true, false, false, false]);
    let other = SEQUENCE.never(ErrorClass::Server).on(ErrorClass::Unknown);
    assert_eq!(after_one(other, failed(ErrorClass::Server)), Err(Stop::NotRetryable));
    assert!(after_one(other, failed(ErrorClass::Unknown)).is_ok());
}

#[test]
fn a_class_may_have_a_sequence_of_its_own() {
    let config = SEQUENCE.class_delay(ErrorClass::RateLimit, 10 * SECOND);
    let all = [ErrorClass::Server, ErrorClass::RateLimit, ErrorClass::Server].map(failed);
    assert_eq!(delays(config, 0.0, &all), [Ok(1), Ok(20), Ok(4)]);
}

#[test]
fn case_42_a_local_rejection_is_retried_at_another_endpoint_only() {
    let outcome = |outcome| Failed { outcome, ..failed(ErrorClass::Server) };
    assert_eq!(after_one(SEQUENCE, outcome(Outcome::Ignored)), Err(Stop::NotRetryable));
    assert_eq!(after_one(SEQUENCE.other_endpoints(), outcome(Outcome::Ignored)), Err(Stop::NotRetryable));
    assert_eq!(after_one(SEQUENCE, outcome(Outcome::EndpointUnavailable)), Err(Stop::NotRetryable));
    let elsewhere = after_one(SEQUENCE.other_endpoints(), outcome(Outcome::EndpointUnavailable));
    assert_eq!(elsewhere, Ok(Duration::ZERO));
    assert_eq!(after_one(SEQUENCE, outcome(Outcome::Success)), Err(Stop::NotRetryable));
    assert_eq!(after_one(SEQUENCE, outcome(Outcome::Deferred)), Err(Stop::NotRetryable));
}

#[test]
fn a_hint_lies_between_the_sequence_and_the_cap() {
    let hinted = |seconds, unit| {
        let outcome = Outcome::failure(ErrorClass::RateLimit).retry_after(seconds * SECOND);
        drawn(SEQUENCE, Failed { outcome, ..failed(ErrorClass::RateLimit) }, unit)
    };
    assert_eq!(hinted(0, 0.0), Ok(SECOND));
    assert_eq!(hinted(10, 0.0), Ok(10 * SECOND));
    assert_eq!(hinted(10, 1.0), Ok(11 * SECOND));
    assert_eq!(hinted(3_600, 0.0), Ok(60 * SECOND));
    assert_eq!(hinted(u32::MAX, 1.0), Ok(66 * SECOND));
}

#[test]
fn after_a_hint_the_sequence_restarts() {
    let hint = Outcome::failure(ErrorClass::Server).retry_after(10 * SECOND);
    let server = failed(ErrorClass::Server);
    let all = [server, Failed { outcome: hint, ..server }, server];
    assert_eq!(delays(SEQUENCE, 0.0, &all), [Ok(1), Ok(10), Ok(1)]);
}

#[test]
fn after_a_hint_a_decorrelated_sequence_restarts_too() {
    let config = SEQUENCE.jitter(Jitter::Decorrelated);
    let hint = Outcome::failure(ErrorClass::Server).retry_after(10 * SECOND);
    let server = failed(ErrorClass::Server);
    let all = [Failed { outcome: hint, ..server }, server, server];
    assert_eq!(delays(config, 1.0, &all), [Ok(11), Ok(3), Ok(9)]);
}

#[test]
fn no_retry_against_the_backend_the_request_or_an_open_circuit() {
    let server = failed(ErrorClass::Server);
    let never = Failed { outcome: server.outcome.not_retryable(), ..server };
    assert_eq!(after_one(SEQUENCE, never), Err(Stop::Forbidden));
    assert_eq!(after_one(SEQUENCE, Failed { retried_inside: true, ..server }), Err(Stop::Forbidden));
    assert_eq!(after_one(SEQUENCE, Failed { may_resend: false, ..server }), Err(Stop::NotResendable));
    assert_eq!(after_one(SEQUENCE, Failed { circuit_open: true, ..server }), Err(Stop::CircuitOpen));
    let rejected = Failed { outcome: Outcome::EndpointUnavailable, circuit_open: true, ..server };
    assert_eq!(after_one(SEQUENCE, rejected), Err(Stop::CircuitOpen));
    let refused = Failed { circuit_open: true, ..failed(ErrorClass::Validation) };
    assert_eq!(after_one(SEQUENCE, refused), Err(Stop::NotRetryable));
}

#[test]
fn case_41_no_attempt_begins_that_cannot_end_in_time() {
    let left = |remaining: u64, stats: &Stats| {
        let ends = epoch() + Duration::from_millis(remaining);
        Call::new(epoch(), Some(ends)).judge(&SEQUENCE, &failed(ErrorClass::Server), stats, 0.0, epoch())
    };
    assert_eq!(left(1_001, &Stats::new()), Ok(SECOND));
    assert_eq!(left(1_000, &Stats::new()), Err(Stop::OutOfTime));
    // The histogram knows the typical time to a few per cent.
    let typically = typically(Duration::from_millis(500));
    assert_eq!(left(1_450, &typically), Err(Stop::OutOfTime));
    assert_eq!(left(1_550, &typically), Ok(SECOND));
}

#[test]
fn case_41_no_attempt_at_another_endpoint_begins_that_cannot_end_in_time() {
    let stats = typically(Duration::from_millis(100));
    let unavailable = Failed { outcome: Outcome::EndpointUnavailable, ..failed(ErrorClass::Server) };
    let left = |remaining| {
        let ends = epoch() + Duration::from_millis(remaining);
        Call::new(epoch(), Some(ends)).judge(&SEQUENCE.other_endpoints(), &unavailable, &stats, 0.0, epoch())
    };
    assert_eq!(left(0), Err(Stop::OutOfTime));
    assert_eq!(left(90), Err(Stop::OutOfTime));
    assert_eq!(left(110), Ok(Duration::ZERO));
}

#[test]
fn no_attempt_begins_after_the_longest_time() {
    let config = SEQUENCE.max_elapsed(3 * SECOND);
    let judge = |elapsed: u64| {
        let now = epoch() + Duration::from_millis(elapsed);
        let mut call = Call::new(epoch(), None);
        call.judge(&config, &failed(ErrorClass::Server), &Stats::new(), 0.0, now).is_ok()
    };
    assert_eq!([0, 1_999, 2_000, 99_000].map(judge), [true, true, false, false]);
}

#[test]
fn jitter_never_exceeds_the_longest_delay() {
    let config = SEQUENCE.jitter(Jitter::Spread(1.0)).max_delay(SECOND);
    assert_eq!(drawn(config, failed(ErrorClass::Server), 1.0), Ok(SECOND));
}

#[test]
fn case_80_a_hint_binds_the_endpoint_that_gave_it() {
    let config = SEQUENCE.other_endpoints();
    let hinted = Outcome::failure(ErrorClass::RateLimit).retry_after(20 * SECOND);
    let hinted = Failed { outcome: hinted, ..failed(ErrorClass::RateLimit) };
    let at_others = Failed { other_endpoint: true, ..hinted };
    assert_eq!(delays(config, 0.0, &[at_others, hinted]), [Ok(1), Ok(20)]);
    // The other endpoint rejects the attempt at once, so the next attempt may go to the first endpoint again.
    let unavailable = Failed { outcome: Outcome::EndpointUnavailable, ..hinted };
    assert_eq!(delays(config, 0.0, &[at_others, unavailable]), [Ok(1), Ok(20)]);
    let third = Failed { other_endpoint: true, ..unavailable };
    let server = Failed { other_endpoint: true, ..failed(ErrorClass::Server) };
    assert_eq!(delays(config, 0.0, &[at_others, third, unavailable]), [Ok(1), Ok(0), Ok(20)]);
    assert_eq!(delays(config, 0.0, &[at_others, server, unavailable]), [Ok(1), Ok(2), Ok(20)]);
}
