//! The last words of the demo, made from the counts: the verdict, the circuits, and the next command.

use std::fmt::Write as _;

use super::{
    plan::Side,
    score::{Counts, Row},
    screen::{Picture, percent},
};

/// The verdict on all upstreams together, then a line per circuit that opened, then the next command.
pub(crate) fn verdict(picture: &Picture, retries: [u32; 2]) -> String {
    let rows = Side::ALL.map(|side| &picture.rows[side as usize]);
    let counts = rows.map(|rows| rows.iter().map(Row::total).fold(Counts::default(), Counts::plus));
    let waited = rows.map(|rows| rows.iter().map(|row| row.waited.as_secs_f64()).sum::<f64>());
    let Counts { another, fallback, .. } = counts[Side::Protected as usize];

    let sides = Side::ALL.map(|side| side.name().to_string());
    let mut out = String::from("\n");
    line(&mut out, "", sides, "");
    let helped = format!("{another} by another server, {fallback} by fallback");
    line(&mut out, "success", counts.map(|counts| format!("{} %", percent(counts))), &helped);
    line(
        &mut out,
        "client time",
        waited.map(|seconds| format!("{seconds:.1} s")),
        "waited by the clients in total",
    );
    let dead = picture.dead.map(|count| count.to_string());
    line(&mut out, "mercy", dead, "requests sent to a server that was dead");
    line(&mut out, "retries", retries.map(|count| count.to_string()), "requests that reached a server again");

    if !picture.circuits.is_empty() {
        out.push('\n');
    }
    for (name, circuit) in &picture.circuits {
        let _ = writeln!(out, "{name}: {circuit}");
    }
    out + NEXT
}

/// A line of the table. The unprotected gateway stands first, because a reader compares with it.
fn line(out: &mut String, name: &str, [protected, unprotected]: [String; 2], remark: &str) {
    let line = format!("{name:11}{unprotected:>13}{protected:>11}  {remark}");
    out.push_str(line.trim_end());
    out.push('\n');
}

const NEXT: &str = "
Next, a gateway for servers of your own, from a file:
cargo run --example gateway -- --config examples/gateway/gateway.toml
";

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, time::Duration};

    use super::*;
    use crate::demo::{
        circuits::Circuit,
        plan::{Kind, Phase},
        score::{Ending, Scores},
        screen::tests::{assert_narrow, picture},
        upstreams::Source,
    };

    #[test]
    fn the_verdict_compares_the_gateways() {
        let scores = Scores::default();
        let (sent, took) = (Duration::ZERO, Duration::from_millis(1_500));
        for side in Side::ALL {
            for (kind, source) in [
                (Kind::Healthy, Some(Source::First)),
                (Kind::Flaky, Some(Source::Another)),
                (Kind::Fading, Some(Source::Fallback)),
            ] {
                scores.sent(side, kind, sent);
                let source = source.filter(|_| side == Side::Protected);
                scores.ended(side, kind, Ending { sent, took, source });
            }
        }
        let picture = Picture {
            elapsed: took,
            length: took,
            phase: Phase::Healthy,
            rows: Side::ALL.map(|side| Kind::ALL.map(|kind| scores.row(side, kind))),
            circuits: BTreeMap::from([("fading".to_string(), Circuit::default())]),
            dead: [12, 300],
        };

        let verdict = verdict(&picture, [7, 0]);

        let expected = "
             unprotected  protected
success            0.0 %    100.0 %  1 by another server, 1 by fallback
client time        4.5 s      4.5 s  waited by the clients in total
mercy                300         12  requests sent to a server that was dead
retries                0          7  requests that reached a server again

fading: closed all the time
";
        assert_eq!(verdict, format!("{expected}{NEXT}"));
    }

    #[test]
    fn no_line_of_the_longest_demo_wraps() {
        for source in [Source::Another, Source::Fallback] {
            assert_narrow(&verdict(&picture(600, Some(source)), [90_000, 90_000]));
        }
    }
}
