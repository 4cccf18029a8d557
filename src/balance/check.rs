//! Active health checks: the balancer asks each endpoint at an interval.

use std::{collections::HashMap, future::Future, sync::Arc, time::Duration};

use tokio::{
    task::JoinSet,
    time::{sleep, timeout},
};

use super::{handle::BalanceHandle, set::Endpoint, shared::EndpointKey};
use crate::{
    algo::{after, between, spread},
    call::ConfigError,
    rt::clock,
};

/// How often endpoints are checked, and how many results take one down or up.
///
/// ```
/// use std::time::Duration;
/// use tower_reliability::balance::HealthCheckConfig;
///
/// const CHECKS: HealthCheckConfig =
///     HealthCheckConfig::new().interval(Duration::from_secs(2)).rise(3);
/// # let _ = CHECKS;
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields, expecting = "a table, such as { interval = \"5s\" }")
)]
pub struct HealthCheckConfig {
    #[cfg_attr(feature = "serde", serde(with = "crate::call::duration"))]
    interval: Duration,
    jitter: f64,
    #[cfg_attr(feature = "serde", serde(with = "crate::call::duration"))]
    timeout: Duration,
    rise: u32,
    fall: u32,
}

/// Running checks. Dropping it ends them, and the endpoints keep their state.
#[derive(Debug)]
#[must_use = "dropping it ends the checks"]
pub struct HealthChecks {
    /// One task, which ends with this value.
    _task: JoinSet<()>,
}

impl HealthCheckConfig {
    /// With the defaults.
    #[must_use]
    pub const fn new() -> Self {
        let (interval, timeout) = (Duration::from_secs(5), Duration::from_secs(1));
        Self { interval, jitter: 0.1, timeout, rise: 2, fall: 3 }
    }

    /// The time from the begin of one check of an endpoint to the next.
    ///
    /// A short interval finds a dead endpoint sooner, and asks all endpoints more often. 10 ms to 1 day. Default: 5 s.
    #[must_use]
    pub const fn interval(mut self, interval: Duration) -> Self {
        self.interval = interval;
        self
    }

    /// Moves each interval by at most this share of it, so that many clients do not check in the same instant.
    ///
    /// The checks of one round begin within the same share of the interval. 0 to 1. Default: 0.1.
    #[must_use]
    pub const fn jitter(mut self, ratio: f64) -> Self {
        self.jitter = ratio;
        self
    }

    /// A check that takes longer has failed, and its future is dropped. 1 ms to 1 day. Default: 1 s.
    #[must_use]
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// The checks in a row that must pass before an endpoint that is down gets calls. At least 1. Default: 2.
    #[must_use]
    pub const fn rise(mut self, checks: u32) -> Self {
        self.rise = checks;
        self
    }

    /// The checks in a row that must fail before an endpoint gets no more calls. At least 1. Default: 3.
    #[must_use]
    pub const fn fall(mut self, checks: u32) -> Self {
        self.fall = checks;
        self
    }

    /// Names the first field that breaks its rule.
    fn check(&self) -> Result<(), ConfigError> {
        let (milli, day) = (Duration::from_millis(1), Duration::from_secs(86_400));
        let interval = (10 * milli..=day).contains(&self.interval);
        ConfigError::check(interval, "interval", "must be at least 10 ms and at most 1 day")?;
        ConfigError::check((0.0..=1.0).contains(&self.jitter), "jitter", "must be at least 0 and at most 1")?;
        let timeout = (milli..=day).contains(&self.timeout);
        ConfigError::check(timeout, "timeout", "must be at least 1 ms and at most 1 day")?;
        ConfigError::check(self.rise >= 1, "rise", "must be at least 1")?;
        ConfigError::check(self.fall >= 1, "fall", "must be at least 1")
    }
}

impl Default for HealthCheckConfig {
    fn default() -> Self {
        Self::new()
    }
}

impl<K, S> BalanceHandle<K, S>
where
    K: EndpointKey + Send + Sync + 'static,
    S: Send + Sync + 'static,
{
    /// Checks each endpoint at an interval, until the returned value is dropped. Endpoints that come later are checked
    /// too.
    ///
    /// `probe` makes the check of one endpoint, of its key and its service. `true` is a check that passes. A check that
    /// panics or takes too long fails. A round of checks begins when the former one is over, so no endpoint has two checks
    /// at once. New endpoints get calls until their checks fail.
    ///
    /// # Errors
    ///
    /// Names the first field that breaks its rule.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime. The checks need a runtime with time enabled.
    pub fn check<F, P>(&self, config: HealthCheckConfig, probe: F) -> Result<HealthChecks, ConfigError>
    where
        F: Fn(&K, &S) -> P + Send + Sync + 'static,
        P: Future<Output = bool> + Send + 'static,
    {
        config.check()?;
        let (handle, mut task) = (self.clone(), JoinSet::new());
        task.spawn(async move {
            loop {
                let began = clock::now();
                handle.check_all(&config, &probe).await;
                let interval = spread(config.interval, config.jitter, handle.unit());
                clock::alarm(after(began, interval)).await;
            }
        });
        Ok(HealthChecks { _task: task })
    }

    /// One round: a check of each endpoint.
    async fn check_all<F, P>(&self, config: &HealthCheckConfig, probe: &F)
    where
        F: Fn(&K, &S) -> P,
        P: Future<Output = bool> + Send + 'static,
    {
        let endpoints: Vec<Arc<Endpoint<K, S>>> =
            self.shared.read(|state| state.members().iter().map(|member| Arc::clone(&member.it)).collect());
        let (mut checks, mut by_id) = (JoinSet::new(), HashMap::new());
        for endpoint in endpoints {
            let (check, limit) = (probe(&endpoint.key, &endpoint.service), config.timeout);
            let delay = between(Duration::ZERO, config.interval.mul_f64(config.jitter), self.unit());
            let task = checks.spawn(async move {
                sleep(delay).await;
                timeout(limit, check).await == Ok(true)
            });
            by_id.insert(task.id(), endpoint);
        }
        while let Some(ended) = checks.join_next_with_id().await {
            let (id, passed) = match ended {
                Ok(ended) => ended,
                // A panic: nothing else ends a task of this set before its time.
                Err(error) => (error.id(), false),
            };
            if let Some(endpoint) = by_id.remove(&id) {
                let needed = |passed| if passed { config.rise } else { config.fall };
                self.shared.checked(&endpoint.load, passed, needed);
            }
        }
    }

    /// A random number, 0 ‥ 1.
    fn unit(&self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "53 bits are exact")]
        let unit = (self.shared.core.random.draw() >> 11) as f64 / (1_u64 << 53) as f64;
        unit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_21_checks_out_of_range_are_refused_by_their_name() {
        let new = HealthCheckConfig::new();
        let refused = |config: HealthCheckConfig| config.check().err().map(|error| error.field());
        assert_eq!(refused(new), None);
        assert_eq!(refused(new.interval(Duration::ZERO)), Some("interval"));
        assert_eq!(refused(new.interval(Duration::MAX)), Some("interval"));
        assert_eq!(refused(new.timeout(Duration::ZERO)), Some("timeout"));
        assert_eq!(refused(new.timeout(Duration::MAX)), Some("timeout"));
        assert_eq!(refused(new.jitter(f64::NAN)), Some("jitter"));
        assert_eq!(refused(new.jitter(1.5)), Some("jitter"));
        assert_eq!(refused(new.rise(0)), Some("rise"));
        assert_eq!(refused(new.fall(0)), Some("fall"));
    }

    #[cfg(feature = "serde")]
    #[test]
    fn a_file_may_leave_out_every_number() {
        let new = HealthCheckConfig::new();
        assert_eq!(
            toml::from_str("fall = 5\ninterval = '1s'"),
            Ok(new.fall(5).interval(Duration::from_secs(1)))
        );
        assert!(toml::from_str::<HealthCheckConfig>("falls = 5").is_err());
    }
}
