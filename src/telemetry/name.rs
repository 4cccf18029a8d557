//! The name of a layer in rejections, events and snapshots.

use std::{fmt, sync::Arc};

/// The name of a layer: a constant, or a shared string.
///
/// A name may contain user data: a keyed layer puts its key into the names of its circuits. So `Display` and `Debug`
/// escape control characters, line breaks and quotes, and a name cannot forge a line of a log:
///
/// ```
/// use tower_reliability::Name;
///
/// let name = Name::from("tenant\n2026-01-01 ERROR forged".to_owned());
/// assert_eq!(name.to_string(), r"tenant\n2026-01-01 ERROR forged");
/// assert_eq!(name.as_str().lines().count(), 2);
/// ```
///
/// # Clone
///
/// Clones share the string, and cloning allocates nothing.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name(Repr);

#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Repr {
    Static(&'static str),
    Shared(Arc<str>),
}

impl Name {
    /// A constant name.
    #[must_use]
    pub const fn new(name: &'static str) -> Self {
        Self(Repr::Static(name))
    }

    /// The name as it was given, not escaped.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match &self.0 {
            Repr::Static(name) => name,
            Repr::Shared(name) => name,
        }
    }
}

impl From<&'static str> for Name {
    fn from(name: &'static str) -> Self {
        Self::new(name)
    }
}

impl From<String> for Name {
    fn from(name: String) -> Self {
        Self(Repr::Shared(name.into()))
    }
}

impl From<Arc<str>> for Name {
    fn from(name: Arc<str>) -> Self {
        Self(Repr::Shared(name))
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_str().escape_debug().fmt(f)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        call::{Error, Reason, Rejected},
        telemetry::{Event, EventKind},
    };

    #[test]
    fn case_74_a_name_made_of_user_data_forges_no_line_of_a_log() {
        // A line break, a terminal escape, a quote, a right-to-left override, a line separator.
        let hostile = "a\r\nb\u{1b}[2Jc\"d\u{202e}e\u{2028}f\u{0}";
        let name = Name::from(hostile.to_owned());
        let escaped = r#"a\r\nb\u{1b}[2Jc\"d\u{202e}e\u{2028}f\0"#;
        assert_eq!((name.to_string(), name.as_str()), (escaped.to_owned(), hostile));

        let rejected = Rejected::new(name.clone(), Reason::DeadlineExceeded);
        let event = Event { layer: name.clone(), kind: EventKind::Reconfigured };
        let error: Error<std::io::Error> = rejected.clone().into();
        for text in [
            rejected.to_string(),
            event.to_string(),
            error.report().to_string(),
            format!("{name:?}"),
            format!("{rejected:?}"),
            format!("{event:?}"),
        ] {
            assert!(text.contains(escaped), "{text}");
            assert!(!text.chars().any(char::is_control), "{text}");
        }
    }

    #[test]
    fn letters_of_any_language_stay_as_they_are() {
        assert_eq!(Name::new("bänk.銀行-1:/api").to_string(), "bänk.銀行-1:/api");
    }
}
