//! The output of the demo.

use std::{
    fmt::Write as _,
    io::{IsTerminal, Write as _, stdout},
    time::Duration,
};

use tokio::time::Instant;
use tower_reliability::circuit_breaker::CircuitBreakerHandle;

use super::{
    Journal,
    plan::{Kind, PATIENCE, RATE, Side, Timeline},
    score::{Scores, Summary},
    tick,
    upstreams::Reached,
};

/// Announces the demo.
pub(crate) fn opening(timeline: Timeline) {
    let (dies, back) = timeline.dead();
    say(&format!(
        "Two gateways over the same three upstreams, one protected and one not; {RATE} requests per second to each \
         upstream through each.\nOne upstream is healthy, one is flaky, and one fades: it slows down, is dead from \
         {:.1}s to {:.1}s, and comes back.\nClients wait for {} at most.\n\n",
        dies.as_secs_f64(),
        back.as_secs_f64(),
        humantime::format_duration(PATIENCE),
    ));
}

/// A table of the last second, redrawn all the time.
pub(crate) struct Live<'a> {
    timeline: Timeline,
    scores: &'a Scores,
    breakers: [Option<CircuitBreakerHandle>; 3],
}

impl<'a> Live<'a> {
    pub(crate) const fn new(
        timeline: Timeline,
        scores: &'a Scores,
        breakers: [Option<CircuitBreakerHandle>; 3],
    ) -> Self {
        Self { timeline, scores, breakers }
    }

    /// Redraws the table on a terminal, and prints a line per second elsewhere. It never ends.
    pub(crate) async fn run(self) {
        let terminal = stdout().is_terminal();
        let period = Duration::from_millis(if terminal { 250 } else { 1_000 });
        let start = Instant::now();
        let mut drawn = 0;
        for n in 1.. {
            tick(start, period, n).await;
            if terminal {
                let picture = self.picture();
                // Moves up to the start of the last table and erases it.
                let up = if drawn == 0 { String::new() } else { format!("\x1b[{drawn}A\x1b[J") };
                say(&format!("{up}{picture}"));
                drawn = picture.lines().count();
            } else {
                say(&self.line());
            }
        }
    }

    fn picture(&self) -> String {
        let mut out = format!(
            "{}, the last second\n\n{:26}{:^20}  {:^20}\n  {:<10}{:<12}  {:>8}{:>12}  {:>8}{:>12}\n",
            self.progress(),
            "",
            Side::Protected.name(),
            Side::Unprotected.name(),
            "upstream",
            "circuit",
            "success",
            "p99",
            "success",
            "p99",
        );
        for kind in Kind::ALL {
            let _ = write!(out, "  {:<10}{:<12}", kind.name(), self.circuit(kind));
            for side in Side::ALL {
                let Summary { p99, .. } = self.scores.recent(side, kind);
                let _ = write!(out, "  {:>8}{:>12}", self.success(side, kind), millis(p99));
            }
            out.push('\n');
        }
        out
    }

    fn line(&self) -> String {
        let mut out = self.progress();
        for kind in Kind::ALL {
            let [good, bare_good] = Side::ALL.map(|side| self.success(side, kind));
            let [p99, bare_p99] = Side::ALL.map(|side| millis(self.scores.recent(side, kind).p99));
            let circuit = self.circuit(kind);
            let _ = write!(out, " | {} {circuit}: {good} / {bare_good}, p99 {p99} / {bare_p99}", kind.name());
        }
        out.push('\n');
        out
    }

    fn progress(&self) -> String {
        let length = self.timeline.length();
        let elapsed = self.timeline.elapsed().min(length);
        format!("{:5.1}s / {}", elapsed.as_secs_f64(), humantime::format_duration(length))
    }

    fn circuit(&self, kind: Kind) -> &'static str {
        self.breakers[kind as usize].as_ref().map_or("-", |breaker| breaker.state().as_str())
    }

    fn success(&self, side: Side, kind: Kind) -> String {
        percent(self.scores.recent(side, kind).success())
    }
}

/// Prints the results.
pub(crate) fn closing(timeline: Timeline, scores: &Scores, reached: &Reached, journal: &Journal) {
    let [protected, unprotected] = Side::ALL.map(Side::name);
    let mut out = format!(
        "\nAfter {:.1}s, as the clients saw it:\n\n  {:<10}{:<13}{:>10}{:>10}{:>12}{:>12}{:>16}\n",
        timeline.elapsed().as_secs_f64(),
        "upstream",
        "gateway",
        "requests",
        "success",
        "p50",
        "p99",
        "wait, failed",
    );
    for kind in Kind::ALL {
        for side in Side::ALL {
            let total = scores.total(side, kind);
            let _ = writeln!(
                out,
                "  {:<10}{:<13}{:>10}{:>10}{:>12}{:>12}{:>16}",
                kind.name(),
                side.name(),
                total.requests,
                percent(total.success()),
                millis(total.p50),
                millis(total.p99),
                format!("{:.1} s", total.waited.as_secs_f64()),
            );
        }
    }
    let (dies, back) = timeline.dead();
    let _ = writeln!(
        out,
        "\nRequests that reached the fading upstream while it was dead, {:.1}s to {:.1}s: {protected} {}, \
         {unprotected} {}.",
        dies.as_secs_f64(),
        back.as_secs_f64(),
        reached.by(Side::Protected),
        reached.by(Side::Unprotected),
    );
    out.push_str("\nWhat the circuit breakers did:\n\n");
    let entries = journal.entries();
    if entries.is_empty() {
        out.push_str("  nothing yet\n");
    }
    for (at, event) in entries {
        let _ = writeln!(out, "  {:5.1}s  {event}", at.as_secs_f64());
    }
    say(&out);
}

fn percent(value: Option<f64>) -> String {
    value.map_or_else(|| "-".into(), |value| format!("{value:.1} %"))
}

fn millis(time: Duration) -> String {
    format!("{:.1} ms", 1_000.0 * time.as_secs_f64())
}

/// Prints, and ignores a closed output.
fn say(text: &str) {
    let mut out = stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}
