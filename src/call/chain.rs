//! The chain of an error and its sources: a search in it, and its text.

use std::{
    error::Error,
    fmt::{self, Write},
    io, iter,
};

/// The first error of a type in a chain.
pub(crate) fn find<'a, T: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a T> {
    chain(error).find_map(|error| error.downcast_ref())
}

/// An error and its sources, outermost first, at most 64.
pub(crate) fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    // The bound ends a chain that is a ring.
    iter::successors(Some(error), |error| next(*error)).take(MAX_DEPTH)
}

/// The next error of the chain.
fn next<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    // The source of an `io::Error` is the source of the error that it holds, which skips the held error itself.
    match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
        Some(held) => Some(held),
        None => error.source(),
    }
}

/// Whether an error displays as exactly this text. The comparison allocates nothing.
pub(super) fn reads(error: &dyn Error, text: &str) -> bool {
    struct Rest<'a>(&'a str);

    impl Write for Rest<'_> {
        fn write_str(&mut self, part: &str) -> fmt::Result {
            self.0 = self.0.strip_prefix(part).ok_or(fmt::Error)?;
            Ok(())
        }
    }

    let mut rest = Rest(text);
    write!(rest, "{error}").is_ok() && rest.0.is_empty()
}

/// An error and its sources in one line, for a snapshot. A peer may have chosen the text: it is escaped and has an end.
pub(crate) fn short_report(error: &(dyn Error + 'static)) -> String {
    Report(error).to_string().chars().take(MAX_REPORT).collect::<String>().escape_debug().to_string()
}

/// An error and its sources, as one line of text.
pub(super) struct Report<'a>(pub(super) &'a (dyn Error + 'static));

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut last = self.0.to_string();
        f.write_str(&last)?;
        // Not `chain`: an `io::Error` displays as the error it holds, so that one would repeat it.
        for source in iter::successors(self.0.source(), |error| (*error).source()).take(MAX_DEPTH - 1) {
            let text = source.to_string();
            if !last.ends_with(&text) {
                write!(f, ": {text}")?;
            }
            last = text;
        }
        Ok(())
    }
}

/// The characters of a short report.
const MAX_REPORT: usize = 256;

/// Longer than the chains of real programs.
const MAX_DEPTH: usize = 64;
