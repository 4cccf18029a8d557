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
        let mut terminal = Self::Terminal { drawn: 0 };
        terminal.enter();
        terminal
    }

    /// Takes the terminal. The next picture is below everything that is there.
    pub(crate) fn enter(&mut self) {
        if let Self::Terminal { drawn } = self {
            *drawn = 0;
            say(BEGIN);
        }
    }

    /// Leaves the terminal as it was, for the shell.
    pub(crate) fn leave(&self) {
        if let Self::Terminal { .. } = self {
            say(END);
        }
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
                let screen = fit(&picture.screen(), rows());
                say(&redraw(&screen, *drawn));
                *drawn = screen.lines().count();
            }
        }
    }
}

impl Drop for Display {
    fn drop(&mut self) {
        self.leave();
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

/// The part of the screen that fits on so many rows: without its empty lines if need be, and without its end.
///
/// A higher picture would scroll, and each redraw would leave its first lines behind.
fn fit(screen: &str, rows: usize) -> String {
    // The last row is for the cursor.
    let room = rows.saturating_sub(1);
    let fits = screen.lines().count() <= room;
    let lines = screen.lines().filter(|line| fits || !line.is_empty()).take(room);
    lines.flat_map(|line| [line, "\n"]).collect()
}

/// The rows of the terminal. They may change at any time.
fn rows() -> usize {
    #[cfg(unix)]
    let rows = rustix::termios::tcgetwinsize(stdout()).map_or(0, |size| size.ws_row.into());
    #[cfg(not(unix))]
    let rows = 0;
    // Some terminals do not know.
    if rows == 0 { usize::MAX } else { rows }
}

/// Hides the cursor, and lets a narrow terminal cut long lines. Wrapped lines would spoil the way back up.
const BEGIN: &str = "\x1b[?25l\x1b[?7l";
const END: &str = "\x1b[?7h\x1b[?25h";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_low_terminal_shows_the_beginning_without_empty_lines() {
        let screen = "title\n\nhealthy\n\nlegend\n";
        assert_eq!(fit(screen, 6), screen);
        assert_eq!(fit(screen, 5), "title\nhealthy\nlegend\n");
        assert_eq!(fit(screen, 3), "title\nhealthy\n");
        assert_eq!(fit(screen, 1), "");
        assert_eq!(fit(screen, usize::MAX), screen);
    }

    #[test]
    fn a_screen_is_written_over_the_last_one() {
        assert_eq!(redraw("a\nb\n", 0), "\ra\x1b[K\nb\x1b[K\n\x1b[J");
        assert_eq!(redraw("c\n", 2), "\r\x1b[2Ac\x1b[K\n\x1b[J");
    }
}
