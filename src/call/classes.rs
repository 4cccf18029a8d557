//! What is said of each class of errors: a set of them, and a value for each.

use std::{
    fmt,
    ops::{Index, IndexMut},
};

use crate::call::ErrorClass;

/// A set of error classes. In a file it is a list of their names.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(from = "Vec<ErrorClass>", into = "Vec<ErrorClass>")
)]
pub(crate) struct ErrorClasses(u8);

impl ErrorClasses {
    /// No class.
    pub(crate) const NONE: Self = Self(0);
    /// Every class.
    pub(crate) const ALL: Self = Self::of(&ErrorClass::ALL);

    /// All of those named.
    pub(crate) const fn of(classes: &[ErrorClass]) -> Self {
        let (mut set, mut at) = (Self(0), 0);
        while at < classes.len() {
            set = set.with(classes[at]);
            at += 1;
        }
        set
    }

    /// All these, and this one.
    pub(crate) const fn with(self, class: ErrorClass) -> Self {
        Self(self.0 | 1 << class as u8)
    }

    /// All these but this one.
    pub(crate) const fn without(self, class: ErrorClass) -> Self {
        Self(self.0 & !(1 << class as u8))
    }

    /// Whether it is one of these.
    pub(crate) const fn contains(self, class: ErrorClass) -> bool {
        self.0 & (1 << class as u8) != 0
    }

    /// The set as a number, for an atomic.
    pub(crate) const fn bits(self) -> u64 {
        self.0 as u64
    }

    /// The set with these [`bits`](Self::bits).
    pub(crate) fn from_bits(bits: u64) -> Self {
        Self(u8::try_from(bits & Self::ALL.bits()).unwrap_or(Self::ALL.0))
    }
}

impl fmt::Debug for ErrorClasses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(Vec::from(*self)).finish()
    }
}

impl From<Vec<ErrorClass>> for ErrorClasses {
    fn from(classes: Vec<ErrorClass>) -> Self {
        Self::of(&classes)
    }
}

impl From<ErrorClasses> for Vec<ErrorClass> {
    fn from(set: ErrorClasses) -> Self {
        ErrorClass::ALL.into_iter().filter(|class| set.contains(*class)).collect()
    }
}

/// A value for each class of errors; indexed by the class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PerClass<T>([T; ErrorClass::ALL.len()]);

impl<T> PerClass<T> {
    /// The classes and their values, in the order in which the classes are documented.
    pub fn iter(&self) -> impl Iterator<Item = (ErrorClass, &T)> {
        ErrorClass::ALL.into_iter().zip(&self.0)
    }
}

impl<T: Copy> PerClass<T> {
    /// The same value for every class.
    pub(crate) const fn all(value: T) -> Self {
        Self([value; ErrorClass::ALL.len()])
    }

    /// The same values, but for this class another one.
    pub(crate) const fn with(mut self, class: ErrorClass, value: T) -> Self {
        self.0[class as usize] = value;
        self
    }
}

impl<T> Index<ErrorClass> for PerClass<T> {
    type Output = T;

    fn index(&self, class: ErrorClass) -> &T {
        &self.0[class as usize]
    }
}

impl<T> IndexMut<ErrorClass> for PerClass<T> {
    fn index_mut(&mut self, class: ErrorClass) -> &mut T {
        &mut self.0[class as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_holds_what_was_put_in() {
        let set = ErrorClasses::of(&[ErrorClass::Timeout, ErrorClass::Unknown]).with(ErrorClass::Server);
        let set = set.without(ErrorClass::Unknown);
        assert_eq!(Vec::from(set), [ErrorClass::Timeout, ErrorClass::Server]);
        assert_eq!(ErrorClasses::from(Vec::from(set)), set);
        assert_eq!(ErrorClasses::from_bits(set.bits()), set);
        assert_eq!(ErrorClasses::from_bits(u64::MAX), ErrorClasses::ALL);
        assert_eq!(format!("{set:?}"), "{Timeout, Server}");
    }

    #[test]
    fn every_class_has_a_place_of_its_own() {
        let mut counts = PerClass::<u32>::default();
        for class in ErrorClass::ALL {
            counts[class] += 1;
        }
        assert_eq!(counts, PerClass::all(1));
        assert_eq!(counts.with(ErrorClass::Server, 9)[ErrorClass::Server], 9);
        assert_eq!(counts.iter().count(), 7);
    }
}
