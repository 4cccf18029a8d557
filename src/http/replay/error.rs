//! The error of a body that cannot be read to its end.

use std::{error::Error, fmt};

/// A copy of a request body cannot be read further.
///
/// Another copy has [taken the body over](super::ReplayBody::take_over), or streams the rest, or the recording was
/// given up. It is an error and not an end, because a backend takes an end for a whole, shorter body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CannotReplay;

impl fmt::Display for CannotReplay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("this copy of a request body cannot be read to its end")
    }
}

impl Error for CannotReplay {}
