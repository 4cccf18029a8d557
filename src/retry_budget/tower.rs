//! A budget of tower's, in the place of ours.

use tower::retry::budget::Budget;

use super::handle::{Foreign, RetryBudget};

impl RetryBudget {
    /// Takes one of tower's budgets, or one of your own that has its trait.
    ///
    /// It knows nothing of the peer's health. A retry that is given up before it is sent gives back one deposit, which is
    /// all that tower's trait allows.
    ///
    /// ```
    /// use tower::retry::budget::TpsBudget;
    /// use tower_reliability::{retry::RetryConfig, retry_budget::RetryBudget};
    ///
    /// let layer = RetryConfig::new().build()?.budget(RetryBudget::of(TpsBudget::default()));
    /// # Ok::<(), tower_reliability::ConfigError>(())
    /// ```
    pub fn of(budget: impl Budget + Send + Sync + 'static) -> Self {
        Self::foreign(Theirs(budget))
    }
}

struct Theirs<B>(B);

impl<B: Budget + Send + Sync> Foreign for Theirs<B> {
    fn deposit(&self) {
        self.0.deposit();
    }

    fn withdraw(&self) -> bool {
        self.0.withdraw()
    }
}
