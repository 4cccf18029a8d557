//! Timeouts of several crates, around a service that is ready at once.

use criterion::{Criterion, criterion_group, criterion_main};
use tower_reliability_benches::{row::Table, runtime, timeouts};

fn ready(criterion: &mut Criterion) {
    let runtime = runtime();
    let _inside = runtime.enter();
    let mut table = Table::<false>::new();
    timeouts::add(&mut table);
    let mut group = criterion.benchmark_group("timeout");
    for mut row in table.rows {
        group.bench_function(row.name, |bencher| bencher.iter_custom(|calls| row.time(calls)));
    }
    group.finish();
}

criterion_group!(benches, ready);
criterion_main!(benches);
