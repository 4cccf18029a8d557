//! How much a request matters when there is not room for all of them.

/// Four classes, the most important first: `Critical > High > Normal > Low`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
pub enum Priority {
    /// Work that nobody waits for: prefetching, batch jobs.
    Low,
    /// What a request is that says nothing. The default.
    #[default]
    Normal,
    /// A user is waiting.
    High,
    /// The system itself depends on it: payments, health, control.
    Critical,
}

impl Priority {
    /// All classes, the most important first.
    pub const ALL: [Self; 4] = [Self::Critical, Self::High, Self::Normal, Self::Low];
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn critical_comes_first_and_normal_is_the_default() {
        assert!(Priority::ALL.is_sorted_by(|prior, later| prior > later));
        assert_eq!(Priority::default(), Priority::Normal);
    }
}
