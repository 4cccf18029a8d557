//! The config in a file: `per_second = 100`, or `per = { calls = 5, period = "1m" }`, and `window = { calls = 10, length = "1h" }`.

use std::time::Duration;

use super::{
    adaptive::AdaptiveRateConfig,
    config::{RateLimitConfig, Span},
};
use crate::wait_queue::WaitQueueConfig;

/// The keys of a file.
#[derive(serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table, such as { per_second = 100 }")]
pub(super) struct File {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    per_second: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    per: Option<Span>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    burst: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    window: Option<Window>,
    #[serde(default = "WaitQueueConfig::none")]
    queue: WaitQueueConfig,
    #[serde(default)]
    shadow: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    adaptive: Option<AdaptiveRateConfig>,
}

#[derive(serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table, such as { calls = 10, length = \"1h\" }")]
struct Window {
    calls: u32,
    #[serde(with = "crate::call::duration")]
    length: Duration,
}

impl TryFrom<File> for RateLimitConfig {
    type Error = &'static str;

    fn try_from(file: File) -> Result<Self, Self::Error> {
        let File { per_second, per, burst, window, queue, shadow, adaptive } = file;
        let rate = match (per_second, per) {
            (Some(_), Some(_)) => return Err("`per_second` and `per` exclude each other"),
            (Some(calls), None) => Some(Span { calls, period: SECOND }),
            (None, per) => per,
        };
        let window = window.map(|Window { calls, length }| Span { calls, period: length });
        if rate.is_none() && window.is_none() {
            return Err("a rate limit needs `per_second`, `per` or `window`");
        }
        Ok(Self { rate, burst, window, queue, shadow, adaptive })
    }
}

impl From<RateLimitConfig> for File {
    fn from(config: RateLimitConfig) -> Self {
        let RateLimitConfig { rate, burst, window, queue, shadow, adaptive } = config;
        let is_per_second = |span: &Span| span.period == SECOND;
        Self {
            per_second: rate.filter(is_per_second).map(|span| span.calls),
            per: rate.filter(|span| !is_per_second(span)),
            burst,
            window: window.map(|Span { calls, period }| Window { calls, length: period }),
            queue,
            shadow,
            adaptive,
        }
    }
}

const SECOND: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rate_limit::adaptive::Recovery;

    #[test]
    fn a_file_may_hold_every_number() {
        let text = r#"
            per_second = 100
            burst = 20
            window = { calls = 10000, length = "1h" }
            queue = { max_wait = "2s", shed = "off" }
            shadow = true
        "#;
        let hour = Duration::from_secs(60 * 60);
        let config = RateLimitConfig::per_second(100).burst(20).window(10_000, hour);
        let config = config.max_wait(Duration::from_secs(2)).shadow(true);
        assert_eq!(toml::from_str(text), Ok(config));
        let per = RateLimitConfig::per(5, Duration::from_secs(60));
        assert_eq!(toml::from_str("per = { calls = 5, period = \"1m\" }"), Ok(per));
        let adapts = "per_second = 50\nadaptive = { floor = 5, ceiling = 200, decrease_factor = 0.5, \
                      recovery = 'additive', recover_within = '9s', target_latency = '80ms' }";
        let numbers = AdaptiveRateConfig::new().floor(5).ceiling(200).decrease_factor(0.5);
        let numbers = numbers.recovery(Recovery::Additive).recover_within(Duration::from_secs(9));
        let numbers = numbers.target_latency(Duration::from_millis(80));
        let adaptive = RateLimitConfig::per_second(50).adaptive(numbers);
        assert_eq!(toml::from_str(adapts), Ok(adaptive));
        let default = RateLimitConfig::per_second(50).adaptive(AdaptiveRateConfig::new());
        assert_eq!(toml::from_str("per_second = 50\n[adaptive]"), Ok(default));
        let window = RateLimitConfig::sliding_window(1, hour);
        for config in [config, per, window, adaptive, default] {
            let written = toml::to_string(&config).expect("valid");
            assert_eq!(toml::from_str(&written), Ok(config), "{written}");
        }
    }

    #[test]
    fn a_file_with_an_unknown_or_missing_key_is_refused() {
        for text in [
            "",
            "per_minute = 1",
            "per_second = 1\nper = { calls = 1, period = \"1m\" }",
            "burst = 1",
            "per_second = 1\nadaptive = { floors = 1 }",
        ] {
            assert!(toml::from_str::<RateLimitConfig>(text).is_err(), "{text}");
        }
    }
}
