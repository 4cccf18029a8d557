//! Configs from files: accepted keys, refused keys, and round trips.

use std::{fmt::Debug, time::Duration};

use serde::{Deserialize, de::DeserializeOwned};
use tower_reliability::{
    ErrorClass,
    circuit_breaker::{Abandoned, CircuitBreakerConfig, Window},
    fallback::FallbackConfig,
    hedge::HedgeConfig,
    rate_limit::RateLimitConfig,
    retry::{Jitter, RetryConfig},
    retry_budget::RetryBudgetConfig,
    stack::StackConfig,
    timeout::TimeoutConfig,
};

#[derive(Debug, Deserialize, PartialEq)]
struct File {
    timeout: TimeoutConfig,
    circuit_breaker: CircuitBreakerConfig,
}

#[test]
fn a_file_changes_its_keys_and_leaves_the_defaults() {
    let file: File = toml::from_str(
        r#"
        timeout = "2s 500ms"
        [circuit_breaker]
        failure_rate = 0.25
        window = { calls = 200 }
        slow_call = { over = "2s", rate = 0.8 }
        consecutive_failures = 7
        open_for = "30s"
        abandoned = "ignore"
        "#,
    )
    .expect("it is in order");
    let expected = CircuitBreakerConfig::new()
        .failure_rate(0.25)
        .window(Window::Calls(200))
        .slow_call(Duration::from_secs(2), 0.8)
        .consecutive_failures(7)
        .open_for(Duration::from_secs(30))
        .abandoned(Abandoned::Ignore);
    assert_eq!(file.timeout, TimeoutConfig::new(Duration::from_millis(2_500)));
    assert_eq!(file.circuit_breaker, expected);
}

#[test]
fn every_config_survives_a_round_trip() {
    for config in [
        CircuitBreakerConfig::new(),
        CircuitBreakerConfig::consecutive(5),
        CircuitBreakerConfig::new().window(Window::Time(Duration::from_millis(2_500))),
        CircuitBreakerConfig::new().window(Window::Calls(3)).slow_call(Duration::from_millis(1), 1.0),
    ] {
        let text = toml::to_string(&config).expect("it can be written");
        assert_eq!(toml::from_str::<CircuitBreakerConfig>(&text).expect("and read"), config, "{text}");
    }
}

#[test]
fn a_misspelt_key_is_refused_by_its_name() {
    let refused = |text| toml::from_str::<CircuitBreakerConfig>(text).expect_err("it is wrong").to_string();
    assert!(refused("failure_rat = 0.5").contains("failure_rat"));
    assert!(refused("open_for = \"soon\"").contains("open_for"));
    assert!(refused("window = { hours = 3 }").contains("hours"));
    assert!(refused("failure_rate = \"on\"").contains("expected a rate above 0 and at most 1, or \"off\""));
}

#[test]
fn a_value_in_the_place_of_a_table_is_refused_with_an_example_of_the_table() {
    #[derive(Debug, Default, Deserialize)]
    #[serde(default)]
    struct Tables {
        fallback: FallbackConfig,
        hedge: HedgeConfig,
        rate_limit: Option<RateLimitConfig>,
        retry_budget: RetryBudgetConfig,
        stack: StackConfig,
    }
    for (text, table) in [
        ("fallback = 1", "{ ttl = \"1h\" }"),
        ("hedge = true", "{ max_hedges = 1 }"),
        ("rate_limit = 100", "{ per_second = 100 }"),
        ("rate_limit.per = 5", "{ calls = 5, period = \"1m\" }"),
        ("rate_limit.window = \"1h\"", "{ calls = 10, length = \"1h\" }"),
        ("rate_limit = { per_second = 1, adaptive = true }", "{ ceiling = 200 }"),
        ("retry_budget = 0.2", "{ ratio = 0.2 }"),
        ("stack.circuit_breaker = true", "{ failure_rate = 0.5 }"),
        ("stack.circuit_breaker.slow_call = \"1s\"", "{ over = \"1s\", rate = 0.8 }"),
        ("stack.concurrency_limit = 100", "{ limit = 100 }"),
        ("stack.concurrency_limit = { limit = 1, queue = \"off\" }", "{ capacity = 100 }"),
        ("stack.concurrency_limit = { limit = 1, queue.minimum_shares = 0.1 }", "{ low = 0.001 }"),
        ("stack.retry = 3", "{ max_attempts = 3 }"),
    ] {
        let refused = toml::from_str::<Tables>(text).expect_err(text).to_string();
        assert!(refused.contains(&format!("expected a table, such as {table}")), "{text}: {refused}");
    }
}

#[test]
fn a_fallback_names_its_classes_in_a_list() {
    let text = "on = [\"server\", \"rate_limit\"]\nttl = \"10m\"";
    let config: FallbackConfig = toml::from_str(text).expect("it is in order");
    let ttl = Duration::from_secs(600);
    let expected = FallbackConfig::new().on(ErrorClass::RateLimit).on(ErrorClass::Server).ttl(ttl);
    assert_eq!(config, expected);
    let written = toml::to_string(&config).expect("it can be written");
    assert_eq!(toml::from_str::<FallbackConfig>(&written).expect("and read"), config, "{written}");
    assert!(toml::from_str::<FallbackConfig>("on = [\"servers\"]").is_err());
    assert!(toml::from_str::<FallbackConfig>("max_entris = 1").is_err());
}

const MILLI: Duration = Duration::from_millis(1);

#[derive(Debug, Deserialize, PartialEq)]
struct Retries {
    retry: RetryConfig,
    retry_budget: RetryBudgetConfig,
}

#[test]
fn a_file_names_the_backoff_the_jitter_and_the_classes_of_a_retry() {
    let file: Retries = toml::from_str(
        r#"
        [retry]
        backoff = { exponential = "50ms" }
        multiplier = 3.0
        max_attempts = 5
        max_delay = "10s"
        jitter = "full"
        max_elapsed = "1m"
        max_retry_after = "30s"
        on = ["connection", "rate_limit"]
        class_delays = { rate_limit = "1s" }
        other_endpoints = true
        [retry_budget]
        ratio = 0.1
        window = "10s"
        reserve = 3
        health_gate = { between = [0.1, 0.3] }
        health_window = "1s"
        "#,
    )
    .expect("it is in order");
    let retry = RetryConfig::exponential(50 * MILLI)
        .multiplier(3.0)
        .max_attempts(5)
        .max_delay(Duration::from_secs(10))
        .jitter(Jitter::Full)
        .max_elapsed(Duration::from_secs(60))
        .max_retry_after(Duration::from_secs(30))
        .never(ErrorClass::Timeout)
        .never(ErrorClass::Server)
        .class_delay(ErrorClass::RateLimit, Duration::from_secs(1))
        .other_endpoints();
    let retry_budget = RetryBudgetConfig::new()
        .ratio(0.1)
        .window(Duration::from_secs(10))
        .reserve(3)
        .health_gate(0.1, 0.3)
        .health_window(Duration::from_secs(1));
    assert_eq!(file, Retries { retry, retry_budget });
}

#[test]
fn a_retry_with_any_backoff_survives_a_round_trip() {
    let backoffs = [
        ("", RetryConfig::new()),
        ("backoff = { fixed = \"1s\" }", RetryConfig::fixed(Duration::from_secs(1))),
        ("backoff = { linear = \"50ms\" }", RetryConfig::linear(50 * MILLI)),
        ("backoff = { fibonacci = \"50ms\" }", RetryConfig::fibonacci(50 * MILLI)),
        ("backoff = { adaptive = \"50ms\" }", RetryConfig::adaptive(50 * MILLI)),
        (
            "backoff = { schedule = [\"50ms\", \"1s\"] }",
            RetryConfig::schedule(&[50 * MILLI, Duration::from_secs(1)]),
        ),
        ("jitter = \"none\"", RetryConfig::new().jitter(Jitter::None)),
        ("jitter = \"equal\"", RetryConfig::new().jitter(Jitter::Equal)),
        ("jitter = \"decorrelated\"", RetryConfig::new().jitter(Jitter::Decorrelated)),
        ("jitter = { spread = 0.1 }", RetryConfig::new().jitter(Jitter::Spread(0.1))),
        ("max_elapsed = \"2s\"", RetryConfig::new().max_elapsed(Duration::from_secs(2))),
    ];
    for (text, config) in backoffs {
        assert_eq!(toml::from_str::<RetryConfig>(text).expect("it is in order"), config, "{text}");
        let written = toml::to_string(&config).expect("it can be written");
        assert_eq!(toml::from_str::<RetryConfig>(&written).expect("and read"), config, "{written}");
    }
    let budget = RetryBudgetConfig::new().ratio(0.3).without_health_gate();
    let written = toml::to_string(&budget).expect("it can be written");
    assert_eq!(toml::from_str::<RetryBudgetConfig>(&written).expect("and read"), budget, "{written}");
}

#[test]
fn a_misspelt_key_of_a_retry_is_refused_by_its_name() {
    let refused = |text| toml::from_str::<RetryConfig>(text).expect_err("it is wrong").to_string();
    assert!(refused("max_atempts = 2").contains("max_atempts"));
    assert!(refused("backoff = { exponental = \"50ms\" }").contains("exponental"));
    assert!(refused("jitter = \"fully\"").contains("fully"));
    assert!(refused("on = [\"servers\"]").contains("servers"));
    assert!(refused("class_delays = { servers = \"1s\" }").contains("servers"));
    let refused = |text| toml::from_str::<RetryBudgetConfig>(text).expect_err("it is wrong").to_string();
    assert!(refused("health_gate = [0.1, 0.3]").contains("health_gate"));
    // `build` checks the length of the list, with all other numbers.
    let long = format!("backoff = {{ schedule = [{}] }}", "\"1s\",".repeat(9));
    let refused = toml::from_str::<RetryConfig>(&long).expect("it can be read").build();
    assert_eq!(refused.map(drop).map_err(|error| error.field()), Err("backoff"));
}

#[test]
fn a_name_stands_for_the_default_number() {
    let retry = |text| toml::from_str::<RetryConfig>(text).expect(text);
    let first = 50 * MILLI;
    assert_eq!(retry("backoff = 'exponential'"), RetryConfig::new());
    assert_eq!(retry("backoff = 'fixed'"), RetryConfig::fixed(first));
    assert_eq!(retry("backoff = 'linear'"), RetryConfig::linear(first));
    assert_eq!(retry("backoff = 'fibonacci'"), RetryConfig::fibonacci(first));
    assert_eq!(retry("backoff = 'adaptive'"), RetryConfig::adaptive(first));
    let hedge = |text| toml::from_str::<HedgeConfig>(text).expect(text);
    assert_eq!(hedge("after = 'quantile'"), HedgeConfig::new());
    assert_eq!(hedge("after = 'on_failure'"), HedgeConfig::on_failure());
    assert_eq!(hedge("after = { fixed = '1s' }"), HedgeConfig::fixed(Duration::from_secs(1)));
}

#[test]
fn an_error_says_what_to_write() {
    fn refused<T: DeserializeOwned + Debug>(text: &str) -> String {
        toml::from_str::<T>(text).expect_err(text).to_string()
    }
    for (error, expected) in [
        (refused::<RetryConfig>("backoff = 'schedule'"), "or { schedule = [\"1s\", \"5s\"] }"),
        (refused::<RetryConfig>("backoff = '50ms'"), "such as { exponential = \"50ms\" }"),
        (refused::<RetryConfig>("backoff = 50"), "such as { exponential = \"50ms\" }"),
        (refused::<RetryConfig>("backoff = { fixed = '1s', linear = '1s' }"), "more than one key"),
        (refused::<RetryConfig>("backoff = { fixed = 1 }"), "expected a duration, such as \"10s\""),
        (refused::<RetryConfig>("jitter = 'spread'"), "such as { spread = 0.1 }"),
        (refused::<RetryConfig>("max_elapsed = 'soon'"), "expected a duration, such as \"10s\""),
        (refused::<RetryConfig>("class_delays = { server = 3 }"), "expected a duration, such as \"10s\""),
        (refused::<RetryBudgetConfig>("health_gate = 'on'"), "such as { between = [0.25, 0.5] }"),
        (refused::<HedgeConfig>("after = 'fixed'"), "or { fixed = \"100ms\" }"),
        (refused::<HedgeConfig>("after = '1s'"), "such as { quantile = 0.95 }"),
        (refused::<CircuitBreakerConfig>("window = '10s'"), "expected a table, { calls = 100 } or"),
        (refused::<CircuitBreakerConfig>("slow_call = { over = 2, rate = 0.5 }"), "such as \"10s\""),
        (refused::<FallbackConfig>("ttl = 300"), "expected a duration, such as \"10s\""),
    ] {
        assert!(error.contains(expected), "{error}");
    }
}
