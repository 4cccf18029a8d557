//! The fallback, around a service that succeeds, and around one that fails.

use criterion::{Criterion, criterion_group, criterion_main};
use tower_reliability_benches::{breakers, fallbacks};

fn ready(criterion: &mut Criterion) {
    let runtime = breakers::runtime();
    let _inside = runtime.enter();
    let mut group = criterion.benchmark_group("fallback");
    for mut contender in fallbacks::ready() {
        group.bench_function(contender.name, |bencher| {
            bencher.iter_custom(|calls| contender.time(calls));
        });
    }
    group.finish();
}

criterion_group!(benches, ready);
criterion_main!(benches);
