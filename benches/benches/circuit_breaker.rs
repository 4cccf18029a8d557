//! The circuit breaker beside other crates: closed, open, half-way, shared by two threads, with much in its window.

use criterion::{Criterion, criterion_group, criterion_main};
use tower_reliability_benches::{
    backend::{Bare, Down, FAIL},
    breakers, keyed,
    row::{Row, Table},
    runtime,
};

fn alone(criterion: &mut Criterion) {
    let runtime = runtime();
    let _inside = runtime.enter();
    let mut group = criterion.benchmark_group("breaker");
    for mut row in rows() {
        group.bench_function(row.name, |bencher| bencher.iter_custom(|calls| row.time(calls)));
    }
    group.finish();
}

/// Two threads make a call each; were they free of each other, it would take as long as one of one thread.
fn two_threads(criterion: &mut Criterion) {
    let runtime = runtime();
    let _inside = runtime.enter();
    let mut group = criterion.benchmark_group("two_threads");
    for row in rows() {
        for threads in [1, 2] {
            let time = |calls| row.time_threads(threads, calls).expect("a breaker can be shared");
            group.bench_function(format!("{}/{threads}", row.name), |bencher| bencher.iter_custom(time));
        }
    }
    group.finish();
}

fn rows() -> Vec<Row> {
    let mut table = Table::new();
    table.floor("bare", Bare::<Down>::new());
    breakers::add(&mut table);
    breakers::add_forms(&mut table);
    breakers::add_open(&mut table);
    breakers::add_half_way(&mut table);
    keyed::add(&mut table);
    table.rows
}

/// A call costs the same however many its window over time holds. A failing one asks the state.
fn held(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("held");
    for held in [10, 1_000_000] {
        for (name, request) in [("healthy", 0), ("failing", FAIL)] {
            let mut service = breakers::holding(held);
            group.bench_function(format!("{name}/{held}"), |bencher| {
                bencher.iter_custom(|calls| breakers::time_holding(&mut service, held, request, calls));
            });
        }
    }
    group.finish();
}

criterion_group!(benches, alone, two_threads, held);
criterion_main!(benches);
