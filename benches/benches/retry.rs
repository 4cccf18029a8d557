//! Retries of several crates, around a service that succeeds at once.

use criterion::{Criterion, criterion_group, criterion_main};
use tower_reliability_benches::{retries, row::Table, runtime};

fn ready(criterion: &mut Criterion) {
    let runtime = runtime();
    let _inside = runtime.enter();
    let mut table = Table::<false>::new();
    retries::add(&mut table);
    let mut group = criterion.benchmark_group("retry");
    for mut row in table.rows {
        group.bench_function(row.name, |bencher| bencher.iter_custom(|calls| row.time(calls)));
    }
    group.finish();
}

criterion_group!(benches, ready);
criterion_main!(benches);
