//! Why a body came to no end.

use std::{error::Error, fmt};

/// The error of a body whose rest a copy has [taken over](super::ReplayBody::take_over); and of a copy that was read
/// although it [could not be replayed](super::ReplayBody::can_replay): another is still streaming the rest, or what was
/// recorded has been given up.
///
/// It is an error and not an end, because a peer could take an end for a shorter body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CannotReplay;

impl fmt::Display for CannotReplay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("this copy of a request body cannot be read to its end")
    }
}

impl Error for CannotReplay {}
