//! The config in a file: `per_second = 100`, or `per = { calls = 5, period = "1m" }`, and `window = { calls = 10, length = "1h" }`.

use std::time::Duration;

use super::config::{RateLimitConfig, Span};
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
        let File { per_second, per, burst, window, queue, shadow } = file;
        let rate = match (per_second, per) {
            (Some(_), Some(_)) => return Err("`per_second` and `per` exclude each other"),
            (Some(calls), None) => Some(Span { calls, period: SECOND }),
            (None, per) => per,
        };
        let window = window.map(|Window { calls, length }| Span { calls, period: length });
        if rate.is_none() && window.is_none() {
            return Err("a rate limit needs `per_second`, `per` or `window`");
        }
        Ok(Self { rate, burst, window, queue, shadow })
    }
}

impl From<RateLimitConfig> for File {
    fn from(config: RateLimitConfig) -> Self {
        let RateLimitConfig { rate, burst, window, queue, shadow } = config;
        let is_per_second = |span: &Span| span.period == SECOND;
        Self {
            per_second: rate.filter(is_per_second).map(|span| span.calls),
            per: rate.filter(|span| !is_per_second(span)),
            burst,
            window: window.map(|Span { calls, period }| Window { calls, length: period }),
            queue,
            shadow,
        }
    }
}

const SECOND: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

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
        for config in [config, per, RateLimitConfig::sliding_window(1, hour)] {
            let written = toml::to_string(&config).expect("valid");
            assert_eq!(toml::from_str(&written), Ok(config), "{written}");
        }
    }

    #[test]
    fn a_file_with_an_unknown_or_missing_key_is_refused() {
        for text in
            ["", "per_minute = 1", "per_second = 1\nper = { calls = 1, period = \"1m\" }", "burst = 1"]
        {
            assert!(toml::from_str::<RateLimitConfig>(text).is_err(), "{text}");
        }
    }
}
