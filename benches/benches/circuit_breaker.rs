//! The circuit breaker beside other crates: closed, open, half-way, shared by two threads, with much in its window.

use criterion::{BenchmarkGroup, Criterion, criterion_group, criterion_main, measurement::WallTime};
use tower_reliability_benches::{breakers, drive::Contender, inner::FAIL};

fn alone(criterion: &mut Criterion) {
    let runtime = breakers::runtime();
    let _inside = runtime.enter();
    let rooms = [
        ("bare", breakers::bare()),
        ("closed", breakers::closed()),
        ("open", breakers::open()),
        ("half_way", breakers::half_way()),
    ];
    for (name, contenders) in rooms {
        let mut group = criterion.benchmark_group(name);
        for contender in contenders {
            measure(&mut group, contender);
        }
        group.finish();
    }
}

fn measure(group: &mut BenchmarkGroup<'_, WallTime>, mut contender: Contender) {
    group.bench_function(contender.name, |bencher| {
        bencher.iter_custom(|calls| contender.time(calls));
    });
}

/// Two threads make a call each; were they free of each other, it would take as long as one of one thread.
fn two_threads(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("two_threads");
    for crowd in breakers::shared() {
        for threads in [1, 2] {
            let name = format!("{}/{threads}", crowd.name);
            group.bench_function(name, |bencher| {
                bencher.iter_custom(|calls| crowd.time(threads, calls));
            });
        }
    }
    group.finish();
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
