//! The error of a config.

use std::{error, fmt};

/// A config holds a number out of its range. The error names the field.
///
/// ```
/// use tower_reliability::circuit_breaker::CircuitBreakerConfig;
///
/// let error = CircuitBreakerConfig::new().failure_rate(1.5).build().unwrap_err();
/// assert_eq!(error.to_string(), "failure_rate must be above 0 and at most 1");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    stage: Option<&'static str>,
    field: &'static str,
    rule: &'static str,
}

impl ConfigError {
    /// The field breaks this rule.
    #[must_use]
    pub const fn new(field: &'static str, rule: &'static str) -> Self {
        Self { stage: None, field, rule }
    }

    /// The same error, in a stage of a stack.
    #[must_use]
    pub const fn within(mut self, stage: &'static str) -> Self {
        self.stage = Some(stage);
        self
    }

    /// The stage of the stack that has the field; `None` for a single layer.
    #[must_use]
    pub const fn stage(&self) -> Option<&'static str> {
        self.stage
    }

    /// The field, spelled as its setter.
    #[must_use]
    pub const fn field(&self) -> &'static str {
        self.field
    }

    /// The rule that the field breaks, such as "must be at least 1".
    #[must_use]
    pub const fn rule(&self) -> &'static str {
        self.rule
    }

    /// An error for this field unless the rule holds.
    pub(crate) const fn check(holds: bool, field: &'static str, rule: &'static str) -> Result<(), Self> {
        if holds { Ok(()) } else { Err(Self::new(field, rule)) }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(stage) = self.stage {
            write!(f, "{stage}.")?;
        }
        write!(f, "{} {}", self.field, self.rule)
    }
}

impl error::Error for ConfigError {}
