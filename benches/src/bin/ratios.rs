//! Measures all crates in interleaved runs and writes the tables of `RESULTS.md`.
//!
//! `ratios --quick` measures for a moment, prints the tables, and writes nothing; `ratios --quick retry` does so for the
//! rows with `retry` in their names.

use std::{env, io, time::Duration};

use tower_reliability_benches::{
    bars::{self, Bar, Ratio},
    measure::{HELD_ROWS, Results, Spread, measure, measure_held},
    report::{self, Report},
    row::Row,
    runtime, tables,
};

fn main() -> io::Result<()> {
    let arguments: Vec<_> = env::args().skip(1).collect();
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    let (plan, part) = match arguments[..] {
        [] => (THOROUGH, ""),
        ["--quick"] => (QUICK, ""),
        ["--quick", part] => (QUICK, part),
        _ => return Err(io::Error::other("usage: ratios [--quick [part of a name]]")),
    };
    let machine = report::machine();
    let runtime = runtime();
    let _inside = runtime.enter();
    let pending = run(tables::pending().rows, &bars::PENDING, part, plan);
    let ready = run(tables::ready().rows, &bars::READY, part, plan);
    let held: Vec<_> = HELD_ROWS
        .into_iter()
        .filter(|(name, _)| name.contains(part))
        .map(|(name, request)| (name, measure_held(request, plan.runs, plan.held)))
        .collect();

    let mut bars = bars::judge("pending", &pending, &bars::PENDING);
    bars.extend(bars::judge_bytes(&pending));
    bars.extend(bars::judge("ready", &ready, &bars::READY));
    bars.extend(held.iter().map(|(name, [few, many])| {
        let claim = format!("1 000 000 held ÷ 10 held, {name}");
        Bar::at_most(bars::HELD, claim, Spread::of_ratio(many, few))
    }));

    let mut report = Report::default();
    report.region("machine", machine);
    report.region("pending", report::table("pending once, on a clone", &pending));
    report.region("ready", report::table("ready at once", &ready));
    report.region("held", report::held(&held));
    report.region("bars", report::bars(&bars));
    print!("{}", report.text());
    if plan.writes { report.write(RESULTS) } else { Ok(()) }
}

/// How long each run of a table takes, and whether the tables are written.
#[derive(Clone, Copy)]
struct Plan {
    runs: usize,
    pending_and_ready: Duration,
    held: Duration,
    writes: bool,
}

/// Measures the rows with `part` in their names, and their bare services.
fn run(mut rows: Vec<Row>, ratios: &[Ratio], part: &str, plan: Plan) -> Results {
    for name in ratios.iter().flat_map(|ratio| [ratio.ours, ratio.other]) {
        assert!(rows.iter().any(|row| row.name == name), "a bar needs the row `{name}`");
    }
    let floors: Vec<_> = rows.iter().filter(|row| row.name.contains(part)).map(|row| row.floor).collect();
    rows.retain(|row| row.name.contains(part) || floors.contains(&row.name));
    measure(&mut rows, plan.runs, plan.pending_and_ready)
}

const RESULTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/RESULTS.md");
/// In all about five and a half minutes.
const THOROUGH: Plan =
    Plan { runs: 3, pending_and_ready: Duration::from_secs(50), held: Duration::from_secs(4), writes: true };
const QUICK: Plan = Plan {
    runs: 1,
    pending_and_ready: Duration::from_secs(3),
    held: Duration::from_millis(200),
    writes: false,
};
