//! Fallbacks, around a service that succeeds, and around one that fails.

use criterion::{Criterion, criterion_group, criterion_main};
use tower_reliability_benches::{fallbacks, row::Table, runtime};

fn ready(criterion: &mut Criterion) {
    let runtime = runtime();
    let _inside = runtime.enter();
    let mut table = Table::<false>::new();
    fallbacks::add(&mut table);
    let mut group = criterion.benchmark_group("fallback");
    for mut row in table.rows {
        group.bench_function(row.name, |bencher| bencher.iter_custom(|calls| row.time(calls)));
    }
    group.finish();
}

criterion_group!(benches, ready);
criterion_main!(benches);
