//! A set of error classes, and a value per error class.

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

    /// The classes of a list.
    pub(crate) const fn of(classes: &[ErrorClass]) -> Self {
        let (mut set, mut at) = (Self(0), 0);
        while at < classes.len() {
            set = set.with(classes[at]);
            at += 1;
        }
        set
    }

    /// The set with this class added.
    pub(crate) const fn with(self, class: ErrorClass) -> Self {
        Self(self.0 | 1 << class as u8)
    }

    /// The set with this class removed.
    pub(crate) const fn without(self, class: ErrorClass) -> Self {
        Self(self.0 & !(1 << class as u8))
    }

    /// Whether the set contains this class.
    pub(crate) const fn contains(self, class: ErrorClass) -> bool {
        self.0 & (1 << class as u8) != 0
    }

    /// The set as a number, to store in an atomic.
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

/// A value per error class, indexed by the class.
///
/// ```
/// use tower_reliability::{ErrorClass, PerClass};
///
/// let mut counts = PerClass::<u64>::default();
/// counts[ErrorClass::Server] += 1;
/// assert_eq!(counts[ErrorClass::Server], 1);
/// ```
///
/// `Debug` and `Display` print the classes by name, and so does the feature `serde`.
///
/// Clones are independent copies.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct PerClass<T>([T; ErrorClass::ALL.len()]);

impl<T> PerClass<T> {
    /// The classes and their values, in their documented order.
    pub fn iter(&self) -> impl Iterator<Item = (ErrorClass, &T)> {
        ErrorClass::ALL.into_iter().zip(&self.0)
    }
}

impl<T> PerClass<T> {
    /// The results of `f`, per class.
    pub(crate) fn map<U>(&self, f: impl FnMut(&T) -> U) -> PerClass<U> {
        PerClass(self.0.each_ref().map(f))
    }
}

impl<T: Copy> PerClass<T> {
    /// The same value for every class.
    pub(crate) const fn all(value: T) -> Self {
        Self([value; ErrorClass::ALL.len()])
    }

    /// The same values, except for this class.
    pub(crate) const fn with(mut self, class: ErrorClass, value: T) -> Self {
        self.0[class as usize] = value;
        self
    }
}

impl<T: fmt::Debug> fmt::Debug for PerClass<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter().map(|(class, value)| (class.as_str(), value))).finish()
    }
}

/// Such as `connection: 1, timeout: 0, …`, with every class.
impl<T: fmt::Display> fmt::Display for PerClass<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.iter().try_for_each(|(class, value)| {
            let comma = if class == ErrorClass::ALL[0] { "" } else { ", " };
            write!(f, "{comma}{class}: {value}")
        })
    }
}

/// A map from the name of each class to its value.
#[cfg(feature = "serde")]
impl<T: serde::Serialize> serde::Serialize for PerClass<T> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
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
    fn a_set_contains_the_added_classes() {
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
        assert_eq!(counts.map(|count| count + 1), PerClass::all(2));
        assert!(format!("{counts:?}").starts_with(r#"{"connection": 1, "timeout": 1"#), "{counts:?}");
        assert!(counts.to_string().starts_with("connection: 1, timeout: 1, rate_limit: 1, "), "{counts}");
    }
}
