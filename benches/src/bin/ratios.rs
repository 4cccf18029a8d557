//! Measures all crates in one interleaved run and prints the tables of `RESULTS.md`.
#![allow(clippy::disallowed_methods, reason = "the clock itself is measured, and by real time")]

use std::mem::size_of_val;

use tower::Service;
use tower_reliability_benches::{
    allocations, breakers,
    drive::Contender,
    fallbacks, hedges,
    inner::{Bare, Down, FAIL, OurError},
    pending, retries,
    rounds::{fastest, fastest_shared, per_call},
    stacks, timeouts,
};

fn main() {
    let runtime = breakers::runtime();
    let _inside = runtime.enter();
    let mut bars = pending();
    bars.extend(alone());
    bars.extend(shared());
    bars.extend(held());
    println!("| bar | measured | limit | |\n|---|---:|---:|---|");
    for Bar { claim, measured, limit, met } in bars {
        println!("| {claim} | {measured:.3} | {limit} | {} |", if met { "met" } else { "**missed**" });
    }
    println!("\nBytes that a response future is wider than the inner one: {}.", extra_bytes());
}

/// A limit that a measured ratio should keep.
struct Bar {
    claim: String,
    measured: f64,
    limit: String,
    met: bool,
}

impl Bar {
    fn at_most(limit: f64, claim: &str, measured: f64) -> Self {
        Self { claim: claim.to_owned(), measured, limit: format!("≤ {limit}"), met: measured <= limit }
    }

    fn at_least(limit: f64, claim: &str, measured: f64) -> Self {
        Self { claim: claim.to_owned(), measured, limit: format!("≥ {limit}"), met: measured >= limit }
    }
}

/// Calls that are pending once, on a clone, with one thread and with two.
fn pending() -> Vec<Bar> {
    let rows = pending::rows();
    let nanos = fastest_shared(&rows, PENDING_ROUNDS, PENDING_CALLS);
    let (floor, _) = nanos[0];
    println!("| pending once, on a clone | ns per call, one thread | over bare | two threads | two ÷ one |");
    println!("|---|---:|---:|---:|---:|");
    for (row, (one, two)) in rows.iter().zip(&nanos) {
        println!("| {} | {one:.1} | {:.1} | {two:.1} | {:.2} |", row.name, one - floor, one / two);
    }
    println!();
    let one = |name: &str| nanos[rows.iter().position(|row| row.name == name).expect("the row exists")].0;
    PENDING_RATIOS
        .iter()
        .map(|(ours, other, limit)| {
            let ratio = (one(ours) - floor) / (one(other) - floor);
            Bar::at_most(*limit, &format!("pending: {ours} ÷ {other}"), ratio)
        })
        .collect()
}

/// One thread.
fn alone() -> Vec<Bar> {
    let clock = Contender::step("tokio's `Instant::now()`", tokio::time::Instant::now);
    let rooms = [
        breakers::bare(),
        breakers::closed(),
        breakers::open(),
        breakers::half_way(),
        timeouts::ready(),
        retries::ready(),
        hedges::ready(),
        fallbacks::ready(),
        stacks::ready(),
        vec![clock],
    ];
    let mut contenders: Vec<_> = rooms.into_iter().flatten().collect();
    for contender in &mut contenders {
        contender.run(CALLS);
    }
    let nanos = fastest(&mut contenders, ROUNDS, CALLS);
    let allocations: Vec<_> = contenders
        .iter_mut()
        .map(|contender| rate(allocations::count(|| contender.run(CALLS)), CALLS))
        .collect();

    let floor = nanos[0];
    println!(
        "| ready at once, one thread | ns per call | over bare | allocations per call |\n|---|---:|---:|---:|"
    );
    for ((contender, nanos), allocations) in contenders.iter().zip(&nanos).zip(&allocations) {
        println!("| {} | {nanos:.1} | {:.1} | {allocations:.1} |", contender.name, nanos - floor);
    }
    println!();

    let find =
        |name: &str| contenders.iter().position(|contender| contender.name == name).expect("the row exists");
    let mut bars: Vec<_> = RATIOS
        .iter()
        .map(|(ours, other, limit)| {
            Bar::at_most(*limit, &format!("{ours} ÷ {other}"), nanos[find(ours)] / nanos[find(other)])
        })
        .collect();
    let added = |name| nanos[find(name)] - floor;
    bars.push(Bar::at_most(
        0.4,
        "added by ours, retry ÷ added by tower, retry",
        added("ours, retry") / added("tower, retry"),
    ));
    for ours in contenders.iter().map(|contender| contender.name).filter(|name| name.starts_with("ours")) {
        bars.push(Bar::at_most(0.0, &format!("allocations, {ours}"), allocations[find(ours)]));
    }
    bars
}

/// One breaker, two threads.
fn shared() -> Vec<Bar> {
    let crowds = breakers::shared();
    let nanos = fastest_shared(&crowds, SHARED_ROUNDS, SHARED_CALLS);
    println!(
        "| one breaker | ns per call, one thread | two threads | throughput, two ÷ one |\n|---|---:|---:|---:|"
    );
    for (crowd, (one, two)) in crowds.iter().zip(&nanos) {
        println!("| {} | {one:.1} | {two:.1} | {:.2} |", crowd.name, one / two);
    }
    println!();
    let scale = |name| {
        let (one, two) = nanos[crowds.iter().position(|crowd| crowd.name == name).expect("the row exists")];
        Bar::at_least(1.5, &format!("two threads ÷ one, {name}"), one / two)
    };
    vec![scale("ours, count 100"), scale("ours, time 10 s")]
}

/// A window over time that holds little, and one that holds much.
fn held() -> Vec<Bar> {
    let [few, many] = [10, 1_000_000];
    let (mut small, mut large) = (breakers::holding(few), breakers::holding(many));
    println!("| window over time | ns per call, 10 held | 1 000 000 held |\n|---|---:|---:|");
    let mut bars = Vec::new();
    for (name, request) in [("healthy", 0), ("failing", FAIL)] {
        let (mut least_few, mut least_many) = (f64::MAX, f64::MAX);
        for _ in 0..HELD_ROUNDS {
            least_few = least_few
                .min(per_call(breakers::time_holding(&mut small, few, request, HELD_CALLS), HELD_CALLS));
            least_many = least_many
                .min(per_call(breakers::time_holding(&mut large, many, request, HELD_CALLS), HELD_CALLS));
        }
        println!("| ours, {name} | {least_few:.1} | {least_many:.1} |");
        bars.push(Bar::at_most(1.1, &format!("1 000 000 held ÷ 10 held, {name}"), least_many / least_few));
    }
    println!();
    bars
}

#[allow(clippy::cast_precision_loss, reason = "far below 2⁵²")]
fn rate(part: u64, of: u64) -> f64 {
    part as f64 / of as f64
}

/// By how much futures are wider than the one that they hold.
fn extra_bytes() -> String {
    let (bare, others) =
        (size_of_val(&Bare::<OurError>::new().call(0)), size_of_val(&Bare::<Down>::new().call(0)));
    format!(
        "our breaker's {}, our retry's {}, tower's retry's {}, our hedge's {}, tower's hedge's {}, our fallback's {}",
        size_of_val(&breakers::ours(breakers::time()).call(0)) - bare,
        size_of_val(&retries::ours().call(0)) - bare,
        size_of_val(&retries::towers().call(0)) - others,
        size_of_val(&hedges::ours().call(0)) - bare,
        size_of_val(&hedges::towers().call(0)) - others,
        size_of_val(&fallbacks::ours().call(0)) - bare,
    )
}

/// Two rows, and the highest ratio of the first to the second.
const RATIOS: [(&str, &str, f64); 7] = [
    ("ours, count 100", "recloser, count 100", 0.8),
    ("ours, count 100", "recloser async, count 100", 0.8),
    ("ours, time 10 s", "failsafe, rate 10 s", 0.5),
    ("ours, time 10 s", "failsafe async, rate 10 s", 0.5),
    ("ours, open", "recloser, open", 0.4),
    ("ours, open", "recloser async, open", 0.4),
    ("ours, timeout", "tower, timeout", 1.0),
];
/// The same for calls that are pending once, by the time that they add to the bare service.
const PENDING_RATIOS: [(&str, &str, f64); 5] = [
    ("ours, stack of four", "assembly of four", 0.7),
    ("ours, timeout", "tower, timeout", 1.0),
    ("ours, retry", "tower, retry", 0.6),
    ("ours, breaker, count 100", "recloser async, count 100", 0.8),
    ("ours, breaker, time 10 s", "failsafe async, rate 10 s", 0.7),
];
const PENDING_ROUNDS: u32 = 200;
const PENDING_CALLS: u64 = 10_000;
const ROUNDS: u32 = 400;
const CALLS: u64 = 4_000;
const SHARED_ROUNDS: u32 = 400;
const SHARED_CALLS: u64 = 40_000;
const HELD_ROUNDS: u32 = 1_500;
const HELD_CALLS: u64 = 1_000;
