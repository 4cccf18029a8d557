//! The hedge beside tower's, around a service that answers at once.

use criterion::{Criterion, criterion_group, criterion_main};
use tower_reliability_benches::{breakers, hedges};

fn ready(criterion: &mut Criterion) {
    let runtime = breakers::runtime();
    let _inside = runtime.enter();
    let mut group = criterion.benchmark_group("hedge");
    for mut contender in hedges::ready() {
        group.bench_function(contender.name, |bencher| {
            bencher.iter_custom(|calls| contender.time(calls));
        });
    }
    group.finish();
}

criterion_group!(benches, ready);
criterion_main!(benches);
