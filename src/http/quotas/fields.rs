//! The fields `RateLimit-Policy` and `RateLimit`, by which a server tells its quotas.

use std::time::Duration;

use ::http::{HeaderMap, HeaderName, HeaderValue};
use sfv::{Integer, ListSerializer, StringRef, key_ref};

use super::read::LIMIT;
use crate::{
    algo::whole_seconds_up,
    call::{ConfigError, QuotaState},
};

/// The quotas of a server, as response fields (draft-ietf-httpapi-ratelimit-headers-10).
///
/// `RateLimit-Policy` has the quotas, which do not change. `RateLimit` has the rest of each quota for the client of the
/// response. Both belong into every response, with any status. The names of the quotas are public. For a rate limit of
/// this crate, [`ReportQuotasLayer`](super::ReportQuotasLayer) writes the fields.
///
/// ```
/// use std::time::Duration;
/// use ::http::HeaderMap;
/// use tower_reliability::http::{QuotaPolicy, QuotaState, RateLimitFields};
///
/// let minute = QuotaPolicy::new("default", 100).window(Duration::from_secs(60));
/// let fields = RateLimitFields::new([minute])?;
/// let mut headers = HeaderMap::new();
/// let reset = Some(Duration::from_millis(29_100));
/// fields.write(&mut headers, &[QuotaState { remaining: 50, reset }]);
/// assert_eq!(headers["ratelimit-policy"], r#""default";q=100;w=60"#);
/// assert_eq!(headers["ratelimit"], r#""default";r=50;t=30"#);
/// # Ok::<(), tower_reliability::ConfigError>(())
/// ```
///
/// # Clone
///
/// Clones are independent values.
#[derive(Clone, Debug)]
pub struct RateLimitFields {
    names: Vec<String>,
    policy: HeaderValue,
}

/// One quota of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuotaPolicy {
    name: String,
    quota: u64,
    window: Option<Duration>,
}

impl QuotaPolicy {
    /// A quota of so many requests. The name tells quotas apart.
    #[must_use]
    pub fn new(name: impl Into<String>, quota: u64) -> Self {
        Self { name: name.into(), quota, window: None }
    }

    /// The time in which the quota holds. Default: none, and the field names no window.
    #[must_use]
    pub const fn window(mut self, window: Duration) -> Self {
        self.window = Some(window);
        self
    }
}

impl RateLimitFields {
    /// The fields of these quotas.
    ///
    /// # Errors
    ///
    /// If there is no quota, or if a name has characters beside printable ASCII.
    pub fn new(policies: impl IntoIterator<Item = QuotaPolicy>) -> Result<Self, ConfigError> {
        let mut list = ListSerializer::new();
        let mut names = Vec::new();
        for QuotaPolicy { name, quota, window } in policies {
            let text = StringRef::from_str(&name).map_err(|_| INVALID_NAME)?;
            let item = list.bare_item(text).parameter(key_ref("q"), integer(quota));
            if let Some(window) = window {
                let _ = item.parameter(key_ref("w"), integer(whole_seconds_up(window)));
            }
            names.push(name);
        }
        let policy = list.finish().ok_or(NO_POLICY)?;
        let policy = HeaderValue::try_from(policy).map_err(|_| INVALID_NAME)?;
        Ok(Self { names, policy })
    }

    /// Writes both fields, with one state per quota in the order of the quotas. Further states are left out.
    ///
    /// Times are whole seconds, rounded up. An earlier value of a field is replaced.
    pub fn write(&self, headers: &mut HeaderMap, states: &[QuotaState]) {
        headers.insert(POLICY, self.policy.clone());
        let mut list = ListSerializer::new();
        for (name, state) in self.names.iter().zip(states) {
            let Ok(name) = StringRef::from_str(name) else { continue };
            let item = list.bare_item(name).parameter(key_ref("r"), integer(state.remaining));
            if let Some(reset) = state.reset {
                let _ = item.parameter(key_ref("t"), integer(whole_seconds_up(reset)));
            }
        }
        if let Some(Ok(value)) = list.finish().map(HeaderValue::try_from) {
            headers.insert(LIMIT, value);
        }
    }
}

/// An integer of a structured field has at most 15 digits.
fn integer(number: u64) -> Integer {
    Integer::try_from(number).unwrap_or(Integer::MAX)
}

const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const INVALID_NAME: ConfigError = ConfigError::new("name", "must be printable ASCII");
const NO_POLICY: ConfigError = ConfigError::new("policies", "must not be empty");

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn written(policies: &[QuotaPolicy], states: &[QuotaState]) -> [Option<String>; 2] {
        let mut headers = HeaderMap::new();
        let fields = RateLimitFields::new(policies.iter().cloned()).expect("valid");
        fields.write(&mut headers, states);
        [POLICY, LIMIT].map(|name| headers.get(name).map(|value| value.to_str().expect("ASCII").to_owned()))
    }

    /// The fields of the draft's own examples, as RFC 9651 serialises them: a list has a space behind its commas.
    #[test]
    fn the_examples_of_the_draft_are_written() {
        let burst = QuotaPolicy::new("burst", 100).window(60 * SECOND);
        let daily = QuotaPolicy::new("daily", 1_000).window(86_400 * SECOND);
        let states = [
            QuotaState { remaining: 50, reset: Some(30 * SECOND) },
            QuotaState { remaining: 999, reset: None },
        ];
        assert_eq!(
            written(&[burst, daily], &states),
            [r#""burst";q=100;w=60, "daily";q=1000;w=86400"#, r#""burst";r=50;t=30, "daily";r=999"#]
                .map(|text| Some(text.to_owned()))
        );
    }

    #[test]
    fn case_33_times_are_rounded_up_and_never_zero() {
        let policy = QuotaPolicy::new("default", 1).window(Duration::from_millis(1));
        let state = QuotaState { remaining: 0, reset: Some(Duration::from_millis(1_001)) };
        let [policy, limit] = written(&[policy], &[state]);
        assert_eq!(policy.as_deref(), Some(r#""default";q=1;w=1"#));
        assert_eq!(limit.as_deref(), Some(r#""default";r=0;t=2"#));
    }

    #[test]
    fn numbers_beyond_a_structured_field_are_its_largest_and_names_are_escaped() {
        let policy = QuotaPolicy::new("a\"b\\", u64::MAX).window(Duration::MAX);
        let most = 999_999_999_999_999_u64;
        let expected = [format!(r#""a\"b\\";q={most};w={most}"#), format!(r#""a\"b\\";r={most}"#)];
        let state = QuotaState { remaining: u64::MAX, reset: None };
        assert_eq!(written(&[policy], &[state, state]), expected.map(Some));
    }

    #[test]
    fn a_name_that_no_field_can_carry_is_refused() {
        for name in ["\u{e9}", "a\r\nset-cookie: b", "\u{7f}"] {
            let error = RateLimitFields::new([QuotaPolicy::new(name, 1)]).expect_err(name);
            assert_eq!(error.field(), "name");
        }
        assert_eq!(RateLimitFields::new([]).expect_err("none").field(), "policies");
    }
}
