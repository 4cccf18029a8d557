//! Stacks from a config, from setters and from options: one behaviour.

use std::time::Duration;

use rand::{RngExt, SeedableRng, rngs::StdRng};
use serde::Deserialize;
use tokio::{runtime, task::JoinSet, time};
use tower::{Layer, Service, ServiceExt, util::BoxCloneSyncService};
use tower_reliability::{
    Error, ErrorClass, EventKind, ReliabilityStack,
    circuit_breaker::CircuitBreakerConfig,
    concurrency_limit::ConcurrencyLimitConfig,
    hedge::HedgeConfig,
    rate_limit::RateLimitConfig,
    retry::{Jitter, RetryConfig},
    retry_budget::RetryBudgetConfig,
    stack::StackConfig,
    timeout::TimeoutConfig,
    wait_queue::WaitQueueConfig,
};

use crate::scripted::{Act, Answer, ByPeer, Diary, Peer, Script};

/// Without jitter and without the health gate, which draw random numbers.
const FILE: &str = r#"
    timeout = "800ms"
    attempt_timeout = "300ms"
    [rate_limit]
    per_second = 6
    burst = 3
    queue = { max_wait = "300ms", shed = "off" }
    [pacing]
    per = { calls = 120, period = "10s" }
    burst = 3
    queue = { max_wait = "80ms", shed = "off" }
    [concurrency_limit]
    limit = 2
    queue = { max_wait = "60ms" }
    [retry]
    backoff = { linear = "40ms" }
    jitter = "none"
    max_attempts = 4
    [hedge]
    after = { fixed = "90ms" }
    [circuit_breaker]
    consecutive_failures = 3
    open_jitter = 0.0
    [retry_budget]
    reserve = 60
    health_gate = "off"
"#;

const TIMEOUT: Duration = millis(800);
const ATTEMPT: Duration = millis(300);
const RATE: RateLimitConfig = RateLimitConfig::per_second(6).burst(3).max_wait(millis(300));
const PACING: RateLimitConfig = RateLimitConfig::per(120, millis(10_000)).burst(3).max_wait(millis(80));
const LIMIT: ConcurrencyLimitConfig =
    ConcurrencyLimitConfig::new(2).queue(WaitQueueConfig::new().max_wait(millis(60)));
const RETRY: RetryConfig = RetryConfig::linear(millis(40)).jitter(Jitter::None).max_attempts(4);
const HEDGE: HedgeConfig = HedgeConfig::fixed(millis(90));
const BREAKER: CircuitBreakerConfig = CircuitBreakerConfig::new().consecutive_failures(3).open_jitter(0.0);
const BUDGET: RetryBudgetConfig = RetryBudgetConfig::new().reserve(60).without_health_gate();

const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn file() -> StackConfig {
    toml::from_str(FILE).expect("it is in order")
}

/// Everything that a caller, a backend and a listener see.
#[derive(Debug, Default, PartialEq)]
struct Seen {
    /// The number of each call, its end in milliseconds, and its answer.
    answers: Vec<(usize, u128, String)>,
    asked: Vec<u128>,
    events: Vec<EventKind>,
}

type Backend = BoxCloneSyncService<u32, (), Error<Peer>>;

/// Plays the random script of this seed on a stack, in a runtime of its own that starts at zero.
fn play<L>(layer: &L, diary: &Diary, seed: u64) -> Seen
where
    L: Layer<Backend, Service: Service<u32, Response = (), Error = Error<Peer>, Future: Send>>,
    L::Service: Clone + Send + 'static,
{
    let mut random = StdRng::seed_from_u64(seed);
    let acts: Vec<Act> = (0..400)
        .map(|_| {
            let answer = match random.random_range(0..10) {
                0..5 => Answer::Good,
                5..9 => Answer::Fail(ErrorClass::Server),
                _ => Answer::Hang,
            };
            Act::now(answer).after(millis(random.random_range(0..200)))
        })
        .collect();
    let pauses: Vec<Duration> = (0..60).map(|_| millis(random.random_range(0..300))).collect();
    let script = Script::<u32>::new(acts);
    let runtime = runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let mut answers = runtime.expect("a runtime").block_on(async {
        let service = layer.layer(BoxCloneSyncService::new(script.service()));
        let (start, mut calls) = (time::Instant::now(), JoinSet::new());
        for (n, pause) in pauses.into_iter().enumerate() {
            let service = service.clone();
            calls.spawn(async move {
                let answer = match service.oneshot(0).await {
                    Ok(()) => "good".to_owned(),
                    Err(error) => error.report().to_string(),
                };
                (n, start.elapsed().as_millis(), answer)
            });
            time::sleep(pause).await;
        }
        calls.join_all().await
    });
    answers.sort();
    Seen { answers, asked: script.asked(), events: diary.events() }
}

/// The stack of a builder, with the behaviour that a config does not hold, and what the script of a seed shows of it.
macro_rules! played {
    ($seed:expr, $builder:expr) => {{
        let diary = Diary::default();
        let builder = $builder.flat_errors().classify(ByPeer).listen(diary.writer());
        play(&builder.build().expect("the numbers go together"), &diary, $seed)
    }};
}

fn budget() -> tower_reliability::retry_budget::RetryBudget {
    BUDGET.build().expect("it is in range")
}

#[test]
fn case_84_a_file_setters_in_any_order_and_options_build_one_stack() {
    let (mut too_fast, mut paced) = (0, 0);
    let (mut rejected, mut limited, mut timed_out, mut good, mut hedged, mut events) = (0, 0, 0, 0, 0, 0);
    for seed in 0..12 {
        let from_file = played!(seed, file().builder());
        let from_setters = played!(
            seed,
            ReliabilityStack::builder()
                .timeout(TIMEOUT)
                .rate_limit(RATE)
                .concurrency_limit(LIMIT)
                .retry(RETRY)
                .hedge(HEDGE)
                .pacing(PACING)
                .circuit_breaker(BREAKER)
                .attempt_timeout(ATTEMPT)
                .retry_budget(budget())
        );
        let in_another_order = played!(
            seed,
            ReliabilityStack::builder()
                .retry_budget(budget())
                .attempt_timeout(TimeoutConfig::new(ATTEMPT))
                .classify(ByPeer)
                .pacing(PACING)
                .circuit_breaker(BREAKER)
                .rate_limit(RATE)
                .concurrency_limit(LIMIT)
                .timeout(millis(1))
                .hedge(HEDGE)
                .timeout(TIMEOUT)
                .retry(RETRY)
        );
        let from_options = played!(
            seed,
            ReliabilityStack::builder()
                .timeout(Some(TIMEOUT))
                .concurrency_limit(Some(LIMIT))
                .hedge(Some(HEDGE))
                .attempt_timeout(Some(ATTEMPT))
                .circuit_breaker(Some(BREAKER))
                .pacing(Some(PACING))
                .rate_limit(Some(RATE))
                .retry(Some(RETRY))
                .retry_budget(budget())
        );
        assert_eq!(from_file, from_setters, "seed {seed}");
        assert_eq!(from_file, in_another_order, "seed {seed}");
        assert_eq!(from_file, from_options, "seed {seed}");
        let count = |text: &str| from_file.answers.iter().filter(|(_, _, it)| it.contains(text)).count();
        too_fast += count("rate_limit");
        paced += count("pacing");
        rejected += count("circuit_breaker");
        limited += count("concurrency_limit");
        timed_out += count("timeout");
        good += count("good");
        hedged += from_file.events.iter().filter(|it| matches!(it, EventKind::Hedged { .. })).count();
        events += from_file.events.len();
    }
    let all = [too_fast, paced, rejected, limited, timed_out, good, hedged, events];
    assert!(all.iter().all(|count| *count > 5), "the script shows too little: {all:?}");
}

#[test]
fn case_84_a_stage_that_is_none_behaves_as_an_absent_stage() {
    for seed in 0..6 {
        let without = |leave_out: fn(&mut StackConfig)| {
            let mut config = file();
            leave_out(&mut config);
            played!(seed, config.builder())
        };
        let all = || ReliabilityStack::builder().retry_budget(budget());
        macro_rules! check {
            ($stage:ident: $($setter:ident($config:expr)),+) => {
                let absent = played!(seed, all()$(.$setter($config))+);
                let none = without(|config| config.$stage = None);
                assert_eq!(none, absent, "{}, seed {seed}", stringify!($stage));
            };
        }
        check!(timeout: rate_limit(RATE), concurrency_limit(LIMIT), retry(RETRY), hedge(HEDGE), pacing(PACING), circuit_breaker(BREAKER), attempt_timeout(ATTEMPT));
        check!(rate_limit: timeout(TIMEOUT), concurrency_limit(LIMIT), retry(RETRY), hedge(HEDGE), pacing(PACING), circuit_breaker(BREAKER), attempt_timeout(ATTEMPT));
        check!(concurrency_limit: timeout(TIMEOUT), rate_limit(RATE), retry(RETRY), hedge(HEDGE), pacing(PACING), circuit_breaker(BREAKER), attempt_timeout(ATTEMPT));
        check!(retry: timeout(TIMEOUT), rate_limit(RATE), concurrency_limit(LIMIT), hedge(HEDGE), pacing(PACING), circuit_breaker(BREAKER), attempt_timeout(ATTEMPT));
        check!(hedge: timeout(TIMEOUT), rate_limit(RATE), concurrency_limit(LIMIT), retry(RETRY), pacing(PACING), circuit_breaker(BREAKER), attempt_timeout(ATTEMPT));
        check!(pacing: timeout(TIMEOUT), rate_limit(RATE), concurrency_limit(LIMIT), retry(RETRY), hedge(HEDGE), circuit_breaker(BREAKER), attempt_timeout(ATTEMPT));
        check!(circuit_breaker: timeout(TIMEOUT), rate_limit(RATE), concurrency_limit(LIMIT), retry(RETRY), hedge(HEDGE), pacing(PACING), attempt_timeout(ATTEMPT));
        check!(attempt_timeout: timeout(TIMEOUT), rate_limit(RATE), concurrency_limit(LIMIT), retry(RETRY), hedge(HEDGE), pacing(PACING), circuit_breaker(BREAKER));
    }
}

#[test]
fn case_84_a_file_with_one_key_behaves_as_without_keys_and_a_stage_may_be_none() {
    type LeaveOut = fn(&mut StackConfig);
    let leave_out: [LeaveOut; 4] = [
        |_| {},
        |config| config.retry = None,
        |config| config.hedge = None,
        |config| config.circuit_breaker = None,
    ];
    for seed in 0..3 {
        for change in leave_out {
            let mut config = file();
            // A breaker with one circuit sees the end of an open period earlier than one with keys: when a call that
            // a limit then rejects finds it ready.
            (config.rate_limit, config.pacing) = (None, None);
            change(&mut config);
            let keyed = played!(seed, config.builder().per_key(|_: &u32| "one"));
            let mut alone = played!(seed, config.builder());
            for answer in &mut alone.answers {
                answer.2 = answer.2.replace("circuit_breaker", "circuit_breaker:one");
            }
            assert_eq!(keyed, alone, "seed {seed}, {config:?}");
        }
    }
}

#[test]
fn a_handle_exists_exactly_when_the_file_has_the_stage() {
    let stack = toml::from_str::<StackConfig>("[retry]").expect("in order").builder().build();
    let stack = stack.expect("in range");
    assert!(stack.retry().is_some() && stack.hedge().is_none() && stack.circuit_breaker().is_none());
    assert!(stack.timeout().is_none() && stack.attempt_timeout().is_none());
    assert!(stack.concurrency_limit().is_none() && stack.rate_limit().is_none() && stack.pacing().is_none());
    let stack = file().builder().build().expect("in range");
    let retry = stack.retry().expect("the file has it");
    retry.update(RETRY.max_attempts(2)).expect("in range");
    assert!(stack.hedge().is_some() && stack.timeout().is_some());
}

#[test]
fn a_config_survives_a_round_trip() {
    for config in [file(), StackConfig::default()] {
        let text = toml::to_string(&config).expect("it can be written");
        assert_eq!(toml::from_str::<StackConfig>(&text).expect("and read"), config, "{text}");
        let json = serde_json::to_string(&config).expect("it can be written");
        assert_eq!(serde_json::from_str::<StackConfig>(&json).expect("and read"), config, "{json}");
    }
}

#[test]
fn checked_numbers_are_those_of_the_stack() {
    let mut defaults = StackConfig::default();
    defaults.timeout = Some(TimeoutConfig::new(TIMEOUT).yielding());
    defaults.attempt_timeout = Some(TimeoutConfig::new(ATTEMPT).yielding());
    let lone: StackConfig = toml::from_str("timeout = '20ms'").expect("in order");
    let config = lone.or(defaults).checked().expect("the default yields");
    let stack = lone.or(defaults).builder().build().expect("the default yields");
    assert_eq!(config.attempt_timeout.map(|attempt| attempt.limit()), Some(millis(20)));
    assert_eq!(stack.attempt_timeout().map(|attempt| attempt.limit()), Some(millis(20)));
}

/// A file of a user, with the stack under a key.
#[derive(Debug, Deserialize)]
struct File {
    #[serde(default)]
    stack: StackConfig,
}

/// Reads and builds the stack of a file. Returns the error as a program shows it.
fn refused(lines: &str) -> String {
    let read = toml::Deserializer::parse(lines).expect("it is TOML");
    match serde_path_to_error::deserialize::<_, File>(read) {
        Err(error) => format!("{}: {}", error.path(), error.inner().message()),
        Ok(file) => {
            let error = file.stack.builder().build().expect_err(lines);
            assert_eq!(file.stack.checked(), Err(error.clone()));
            format!("stack.{error}")
        }
    }
}

#[test]
fn an_error_begins_with_the_path_in_the_file() {
    for (lines, expected) in [
        (
            "[stack]\ntimout = '1s'",
            "stack.timout: unknown field `timout`, expected one of `timeout`, `rate_limit`",
        ),
        ("[stack.fallback]", "stack.fallback: unknown field `fallback`"),
        ("[stack.retry]\nmax_atempts = 2", "stack.retry.max_atempts: unknown field `max_atempts`"),
        (
            "stack.timeout = 10",
            "stack.timeout: invalid type: integer `10`, expected a duration, such as \"10s\"",
        ),
        (
            "stack.retry = true",
            "stack.retry: invalid type: boolean `true`, expected a table, such as { max_attempts = 3 }",
        ),
        (
            "stack.retry.backoff = 'soon'",
            "stack.retry.backoff: invalid value: string \"soon\", expected \"fixed\"",
        ),
        ("stack.retry.backoff.fixed = 3", "stack.retry.backoff.fixed: invalid type: integer `3`"),
        ("stack.hedge.after = 'fixed'", "stack.hedge.after: invalid value: string \"fixed\""),
        ("stack.retry.max_attempts = 0", "stack.retry.max_attempts must be at least 1"),
        ("stack.hedge.after.quantile = 2.0", "stack.hedge.after.quantile must be above 0 and below 1"),
        ("stack.retry_budget.ratio = 11.0", "stack.retry_budget.ratio must be at least 0"),
        ("stack.concurrency_limit = {}", "stack.concurrency_limit: missing field `limit`"),
        (
            "stack.concurrency_limit = { limit = 1, queue.capacity = 2000000 }",
            "stack.concurrency_limit.queue.capacity must be at most",
        ),
        ("stack.pacing = {}", "stack.pacing: a rate limit needs `per_second`, `per` or `window`"),
        ("stack.rate_limit.per_second = 0", "stack.rate_limit.per_second must be from 1 call per hour"),
        (
            "stack = { timeout = '1s', pacing = { per_second = 1, queue.max_wait = '2s' } }",
            "stack.pacing.queue.max_wait must be at most timeout, which ends the wait",
        ),
        ("stack.timeout = '0s'", "stack.timeout must be above 0"),
        (
            "stack = { timeout = '1s', attempt_timeout = '2s' }",
            "stack.attempt_timeout must be at most timeout, which ends every attempt",
        ),
        (
            "stack = { timeout = '1s', hedge.after.fixed = '2s' }",
            "stack.hedge.after.fixed must be below timeout, which ends the call before a hedge",
        ),
    ] {
        let error = refused(lines);
        assert!(error.starts_with(expected), "{error}");
    }
}

#[test]
fn a_chosen_number_is_not_refused_for_a_default() {
    for limit in ["1ms", "10ms", "1s", "10h"] {
        for stages in ["", "[retry]\n[hedge]\n[circuit_breaker]\n[retry_budget]"] {
            for key in ["timeout", "attempt_timeout"] {
                let text = format!("{key} = '{limit}'\n{stages}");
                let config: StackConfig = toml::from_str(&text).expect(&text);
                config.builder().build().expect(&text);
            }
        }
    }
    for text in [
        "circuit_breaker.half_open_probes = 1",
        "circuit_breaker.half_open_successes = 9",
        "hedge.min_delay = '1m'",
        "hedge.max_delay = '1us'",
        "timeout = '1ms'\nhedge.start = '0s'",
    ] {
        let config: StackConfig = toml::from_str(text).expect(text);
        config.builder().build().expect(text);
    }
}
