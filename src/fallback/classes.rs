//! A set of error classes.

use std::fmt;

use crate::ErrorClass;

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Classes(u8);

impl Classes {
    pub(super) const NONE: Self = Self(0);
    pub(super) const ALL: Self = Self((1 << ErrorClass::ALL.len()) - 1);

    #[must_use]
    pub(super) const fn and(self, class: ErrorClass) -> Self {
        Self(self.0 | 1 << class as u8)
    }

    pub(super) const fn has(self, class: ErrorClass) -> bool {
        self.0 & 1 << class as u8 != 0
    }

    pub(super) const fn bits(self) -> u64 {
        self.0 as u64
    }

    /// The set with these [`bits`](Self::bits).
    pub(super) fn from_bits(bits: u64) -> Self {
        ErrorClass::ALL.into_iter().filter(|class| bits & 1 << *class as u8 != 0).fold(Self::NONE, Self::and)
    }

    fn iter(self) -> impl Iterator<Item = ErrorClass> {
        ErrorClass::ALL.into_iter().filter(move |class| self.has(*class))
    }
}

impl fmt::Debug for Classes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

#[cfg(feature = "serde")]
impl serde::Serialize for Classes {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

#[cfg(feature = "serde")]
impl<'de> serde::Deserialize<'de> for Classes {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let classes: Vec<ErrorClass> = serde::Deserialize::deserialize(deserializer)?;
        Ok(classes.into_iter().fold(Self::NONE, Self::and))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_holds_what_was_put_in_and_nothing_else() {
        for class in ErrorClass::ALL {
            let set = Classes::NONE.and(class).and(class);
            assert_eq!(set.iter().collect::<Vec<_>>(), [class]);
            assert_eq!(Classes::from_bits(set.bits()), set);
        }
        assert_eq!(Classes::from_bits(u64::MAX), Classes::ALL);
        assert_eq!(ErrorClass::ALL.into_iter().fold(Classes::NONE, Classes::and), Classes::ALL);
    }
}
