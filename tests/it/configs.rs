//! Configs from files: what they may say, and that they come back as they went.

use std::time::Duration;

use serde::Deserialize;
use tower_reliability::{
    ErrorClass,
    circuit_breaker::{Abandoned, CircuitBreakerConfig, Window},
    fallback::FallbackConfig,
    timeout::TimeoutConfig,
};

#[derive(Debug, Deserialize, PartialEq)]
struct File {
    timeout: TimeoutConfig,
    circuit_breaker: CircuitBreakerConfig,
}

#[test]
fn a_file_names_what_it_changes_and_leaves_the_rest() {
    let file: File = toml::from_str(
        r#"
        timeout = "2s 500ms"
        [circuit_breaker]
        failure_rate = 0.25
        window = { calls = 200 }
        slow_call = { over = "2s", share = 0.8 }
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
fn every_config_comes_back_as_it_went() {
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
fn what_is_misspelt_is_refused_by_its_name() {
    let refused = |text| toml::from_str::<CircuitBreakerConfig>(text).expect_err("it is wrong").to_string();
    assert!(refused("failure_rat = 0.5").contains("failure_rat"));
    assert!(refused("open_for = \"soon\"").contains("open_for"));
    assert!(refused("window = { hours = 3 }").contains("hours"));
    assert!(refused("failure_rate = \"on\"").contains("a share above 0 and at most 1, or \"off\""));
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
