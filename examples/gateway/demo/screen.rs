//! The picture of the running demo, made from the counts. Nothing here is asynchronous or reads a clock.

use std::{collections::BTreeMap, fmt::Write as _, time::Duration};

use super::{
    circuits::{self, Circuit},
    plan::{Kind, PATIENCE, Phase, RATE, Side},
    score::{Counts, Row, SPAN},
};

/// The numbers at one instant.
pub(crate) struct Picture {
    pub(crate) elapsed: Duration,
    pub(crate) length: Duration,
    /// The state of the fading upstream.
    pub(crate) phase: Phase,
    /// By side and upstream.
    pub(crate) rows: [[Row; 3]; 2],
    pub(crate) circuits: BTreeMap<String, Circuit>,
    /// The requests that reached the fading upstream while it was dead, by side.
    pub(crate) dead: [u32; 2],
}

/// The lines above the first picture. Together they fit on a terminal of 24 rows.
pub(crate) fn opening() -> String {
    format!(
        "Two gateways stand in front of the same upstreams. Only the protected one has
breakers, timeouts, retries and a fallback. Clients wait for {} s at most.
The fading upstream is going to die and to come back. Ctrl-C ends the demo.\n\n",
        PATIENCE.as_secs(),
    )
}

impl Picture {
    /// The picture for a terminal with colours, at most [`WIDTH`] columns wide and always as high.
    pub(crate) fn screen(&self) -> String {
        let progress = self.progress();
        let title = format!("Each gateway gets {RATE} requests a second for each upstream");
        let mut out = format!("{title}{progress:>rest$}\n", rest = WIDTH - title.chars().count());
        for kind in Kind::ALL {
            let _ = writeln!(out, "\n{BOLD}{:<10}{PLAIN}{}", kind.name(), self.does(kind));
            for side in Side::ALL {
                let _ = writeln!(out, "  {:<13}{}", side.name(), self.line(side, kind));
            }
            let _ = writeln!(out, "  {:<13}{}", "circuit", circuits::line(&self.circuits, kind));
        }
        out.push('\n');
        for (cell, meaning) in LEGEND {
            let _ = write!(out, "{cell}{PLAIN} {meaning}  ");
        }
        out.truncate(out.trim_end().len());
        out.push_str("\nA cell is half a second: the strip shows the last ten seconds.\n");
        out
    }

    /// The success so far in a line of text.
    pub(crate) fn text(&self) -> String {
        let mut out = format!("{:5.1} s", self.elapsed.as_secs_f64());
        for kind in Kind::ALL {
            let [protected, unprotected] =
                Side::ALL.map(|side| self.rows[side as usize][kind as usize].total());
            let _ = write!(
                out,
                "  {} {}/{}",
                kind.name(),
                percent(protected).trim(),
                percent(unprotected).trim()
            );
        }
        out
    }

    fn progress(&self) -> String {
        let [elapsed, length] = [self.elapsed.min(self.length), self.length].map(|time| time.as_secs_f64());
        format!("{elapsed:.1} of {length} s")
    }

    /// The strip and the numbers of one gateway in front of one upstream.
    fn line(&self, side: Side, kind: Kind) -> String {
        let row = &self.rows[side as usize][kind as usize];
        // No request is sent in the span after the end.
        let now = self.elapsed.min(self.length.saturating_sub(SPAN));
        let strip: String = row.last_spans::<STRIP>(now).into_iter().map(cell).collect();
        let waited = row.waited.as_secs_f64();
        let mut line = format!("{strip}  {} %  waited {waited:5.0} s", percent(row.total()));
        if kind == Kind::Fading {
            let _ = write!(line, "  {:3} while dead", self.dead[side as usize]);
        }
        line
    }

    const fn does(&self, kind: Kind) -> &'static str {
        match (kind, self.phase) {
            (Kind::Healthy, _) => "answers at once",
            (Kind::Flaky, _) => "two servers that now and then fail, hang up or pause",
            (Kind::Fading, Phase::Healthy) => "answers at once, at present",
            (Kind::Fading, Phase::Slowing(_)) => "gets slower and slower",
            (Kind::Fading, Phase::Silent) => "is dead: takes requests and does not answer",
            (Kind::Fading, Phase::HangingUp) => "is dead: takes requests and hangs up",
        }
    }
}

/// The success in percent, in five columns.
pub(crate) fn percent(counts: Counts) -> String {
    counts.success().map_or_else(|| "    -".into(), |tenths| format!("{:3}.{}", tenths / 10, tenths % 10))
}

/// A bar of one column. A single failure shows: the bar then holds all answers, and the failures are behind it.
///
/// Without a failure, and with every answer there, the bar holds the answers of the first server.
fn cell(counts: Counts) -> String {
    let (all, helped) = (counts.all(), counts.helped());
    let answered = counts.first + helped;
    let (bar, colour, [alone, behind]) = if answered < all {
        let colour = if counts.first < helped { BLUE } else { GREEN };
        (answered, colour, if counts.failed > 0 { FAILED } else { WAITING })
    } else {
        (counts.first, GREEN, HELPED)
    };
    match bar {
        _ if all == 0 => " ".into(),
        0 => format!("{alone}{PLAIN}"),
        _ if bar == all => format!("{FIRST}{PLAIN}"),
        _ => {
            // Rounded, but each part is seen.
            let eighths = ((8 * bar + all / 2) / all).clamp(1, 7);
            format!("{behind}{colour}{}{PLAIN}", BARS[eighths as usize - 1])
        }
    }
}

/// The widest line.
pub(crate) const WIDTH: usize = 78;
/// The cells of a strip.
const STRIP: usize = 20;

const BARS: [char; 7] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇'];
const PLAIN: &str = "\x1b[0m";
const BOLD: &str = "\x1b[1m";
const GREEN: &str = "\x1b[32m";
const BLUE: &str = "\x1b[34m";

const FIRST: &str = "\x1b[32m█";
/// A cell of one ending alone, and the background of a bar. The shapes differ, for readers who see few colours.
const HELPED: [&str; 2] = ["\x1b[34m▓", "\x1b[44m"];
const FAILED: [&str; 2] = ["\x1b[31m×", "\x1b[41m"];
const WAITING: [&str; 2] = ["\x1b[90m·", "\x1b[100m"];
const LEGEND: [(&str, &str); 4] = [
    (FIRST, "answered"),
    (HELPED[0], "by another server or the fallback"),
    (FAILED[0], "failed"),
    (WAITING[0], "waiting"),
];

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::demo::{
        score::{Ending, Scores},
        upstreams::Source,
    };

    /// The text without its colours.
    fn seen(text: &str) -> String {
        let mut parts = text.split("\x1b[");
        let first = parts.next().unwrap_or_default().to_string();
        parts.fold(first, |seen, part| seen + part.split_once('m').map_or("", |(_, rest)| rest))
    }

    /// Asserts that no line wraps on a terminal of 78 columns.
    pub(crate) fn assert_narrow(text: &str) {
        for line in seen(text).lines() {
            assert!(line.chars().count() <= WIDTH, "{} columns: {line}", line.chars().count());
        }
    }

    /// A picture in which every request ends by `source`, with as many digits as the longest demo has.
    pub(crate) fn picture(seconds: u64, source: Option<Source>) -> Picture {
        let (scores, elapsed) = (Scores::default(), Duration::from_secs(seconds));
        for side in Side::ALL {
            for kind in Kind::ALL {
                for n in 0..u64::from(RATE) * seconds {
                    let sent = Duration::from_secs(n) / RATE;
                    scores.sent(side, kind, sent);
                    let took = Duration::from_millis(700);
                    if sent + took < elapsed {
                        scores.ended(side, kind, Ending { sent, took, source });
                    }
                }
            }
        }
        Picture {
            elapsed,
            length: elapsed,
            phase: Phase::Silent,
            rows: Side::ALL.map(|side| Kind::ALL.map(|kind| scores.row(side, kind))),
            circuits: BTreeMap::new(),
            dead: [9_000, 9_000],
        }
    }

    #[test]
    fn no_line_wraps_and_every_picture_is_as_high() {
        for seconds in [0, 3, 600] {
            for source in [None, Some(Source::First), Some(Source::Another), Some(Source::Fallback)] {
                let picture = picture(seconds, source);
                assert_narrow(&picture.screen());
                assert_narrow(&picture.text());
                assert_eq!(picture.screen().lines().count(), 19);
            }
        }
        assert_narrow(&opening());
        assert_eq!(opening().lines().count() + 19 + 1, 24, "the last row is for the cursor");
    }

    #[test]
    fn a_strip_has_twenty_cells_and_ends_with_the_requests_that_wait() {
        for (source, ended) in [(None, "×"), (Some(Source::First), "█"), (Some(Source::Fallback), "▓")] {
            let screen = seen(&picture(12, source).screen());
            let lines: Vec<&str> = screen.lines().filter(|line| line.contains("protected")).collect();
            assert_eq!(lines.len(), 6);
            for line in lines {
                let strip: String = line.chars().skip(15).take(STRIP).collect();
                let rest: String = line.chars().skip(15 + STRIP).collect();
                assert!(strip.starts_with(&ended.repeat(STRIP - 2)) && strip.ends_with('·'), "{line}");
                assert!(rest.starts_with("  ") && rest.contains(" %  waited "), "{line}");
            }
        }
        let early = seen(&picture(1, Some(Source::First)).screen());
        assert!(early.contains(&format!("protected    {}", " ".repeat(STRIP - 3))), "{early}");
        assert_eq!(SPAN * 2, Duration::from_secs(1), "the legend says so");
    }

    #[test]
    fn a_cell_shows_each_kind_of_ending() {
        let counts =
            |first, another, fallback, failed, waiting| Counts { first, another, fallback, failed, waiting };
        for (counts, expected) in [
            (counts(0, 0, 0, 0, 0), " "),
            (counts(25, 0, 0, 0, 0), "\x1b[32m█\x1b[0m"),
            (counts(0, 0, 25, 0, 0), "\x1b[34m▓\x1b[0m"),
            (counts(0, 0, 0, 25, 0), "\x1b[31m×\x1b[0m"),
            (counts(0, 0, 0, 0, 25), "\x1b[90m·\x1b[0m"),
            // One failure of 25 shows, one answer of 25 too.
            (counts(24, 0, 0, 1, 0), "\x1b[41m\x1b[32m▇\x1b[0m"),
            (counts(1, 0, 0, 24, 0), "\x1b[41m\x1b[32m▁\x1b[0m"),
            (counts(12, 7, 6, 0, 0), "\x1b[44m\x1b[32m▄\x1b[0m"),
            (counts(13, 2, 0, 10, 0), "\x1b[41m\x1b[32m▅\x1b[0m"),
            (counts(0, 0, 24, 1, 0), "\x1b[41m\x1b[34m▇\x1b[0m"),
            (counts(20, 0, 0, 1, 4), "\x1b[41m\x1b[32m▆\x1b[0m"),
            (counts(20, 0, 0, 0, 5), "\x1b[100m\x1b[32m▆\x1b[0m"),
        ] {
            assert_eq!(cell(counts), expected, "{counts:?}");
        }
    }
}
