//! The output: a picture that is redrawn on a terminal, and plain lines elsewhere.

use std::{
    env,
    fmt::Write as _,
    io::{IsTerminal, Write as _, stdout},
    time::Duration,
};

use super::screen::Picture;

/// The place of the running demo in the output. On drop, the terminal is as it was.
pub(crate) enum Display {
    /// A terminal that shows colours, with the height of the last picture.
    Terminal {
        drawn: usize,
    },
    Plain,
}

impl Display {
    /// Plain without a terminal, and for users who want no colours or have a terminal that can do nothing else.
    pub(crate) fn open() -> Self {
        let no_color = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let dumb = env::var_os("TERM").is_none_or(|term| term == "dumb");
        if !stdout().is_terminal() || no_color || dumb {
            say("Success so far in percent, protected/unprotected:\n");
            return Self::Plain;
        }
        say(BEGIN);
        Self::Terminal { drawn: 0 }
    }

    /// The time between two pictures.
    pub(crate) const fn period(&self) -> Duration {
        Duration::from_millis(match self {
            Self::Terminal { .. } => 100,
            Self::Plain => 1_000,
        })
    }

    pub(crate) fn show(&mut self, picture: &Picture) {
        match self {
            Self::Plain => say(&format!("{}\n", picture.text())),
            Self::Terminal { drawn } => {
                let screen = picture.screen();
                say(&redraw(&screen, *drawn));
                *drawn = screen.lines().count();
            }
        }
    }
}

impl Drop for Display {
    fn drop(&mut self) {
        if let Self::Terminal { .. } = self {
            say(END);
        }
    }
}

/// Prints, and ignores a closed output.
pub(crate) fn say(text: &str) {
    let mut out = stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// Writes the screen over the last one, of so many lines.
///
/// Each line erases the rest of its own row. Erasing all rows first makes the picture flicker.
fn redraw(screen: &str, drawn: usize) -> String {
    let mut out = String::from("\r");
    if drawn > 0 {
        let _ = write!(out, "\x1b[{drawn}A");
    }
    for line in screen.lines() {
        out.push_str(line);
        out.push_str("\x1b[K\n");
    }
    out + "\x1b[J"
}

/// Hides the cursor, and lets a narrow terminal cut long lines. Wrapped lines would spoil the way back up.
const BEGIN: &str = "\x1b[?25l\x1b[?7l";
const END: &str = "\x1b[?7h\x1b[?25h";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_screen_is_written_over_the_last_one() {
        assert_eq!(redraw("a\nb\n", 0), "\ra\x1b[K\nb\x1b[K\n\x1b[J");
        assert_eq!(redraw("c\n", 2), "\r\x1b[2Ac\x1b[K\n\x1b[J");
    }
}
