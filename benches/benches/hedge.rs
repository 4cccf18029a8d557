//! Hedges of several crates, around a service that answers at once.

use criterion::{Criterion, criterion_group, criterion_main};
use tower_reliability_benches::{hedges, row::Table, runtime};

fn ready(criterion: &mut Criterion) {
    let runtime = runtime();
    let _inside = runtime.enter();
    let mut table = Table::<false>::new();
    hedges::add(&mut table);
    hedges::add_towers(&mut table);
    let mut group = criterion.benchmark_group("hedge");
    for mut row in table.rows {
        group.bench_function(row.name, |bencher| bencher.iter_custom(|calls| row.time(calls)));
    }
    group.finish();
}

criterion_group!(benches, ready);
criterion_main!(benches);
