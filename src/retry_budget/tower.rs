//! A tower budget in place of this crate's.

use tower::retry::budget::Budget;

use super::handle::{Foreign, RetryBudget};

impl RetryBudget {
    /// Wraps a tower budget, or any other type with tower's trait.
    ///
    /// As in tower, each success is a deposit. The budget knows nothing of the backend's health. A retry that is
    /// withdrawn and not sent gives back one deposit, which is all that tower's trait allows.
    ///
    /// ```
    /// use tower::retry::budget::TpsBudget;
    /// use tower_reliability::{retry::RetryConfig, retry_budget::RetryBudget};
    ///
    /// let budget = RetryBudget::of(TpsBudget::default());
    /// let layer = RetryConfig::new().build()?.budget(budget);
    /// # Ok::<(), tower_reliability::ConfigError>(())
    /// ```
    pub fn of(budget: impl Budget + Send + Sync + 'static) -> Self {
        Self::foreign(Adapter(budget))
    }
}

struct Adapter<B>(B);

impl<B: Budget + Send + Sync> Foreign for Adapter<B> {
    fn deposit(&self) {
        self.0.deposit();
    }

    fn withdraw(&self) -> bool {
        self.0.withdraw()
    }
}
