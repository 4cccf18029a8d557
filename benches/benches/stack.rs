//! Whole stacks, around a service that is ready at once.

use criterion::{Criterion, criterion_group, criterion_main};
use tower_reliability_benches::{row::Table, runtime, stacks};

fn ready(criterion: &mut Criterion) {
    let runtime = runtime();
    let _inside = runtime.enter();
    let mut table = Table::<false>::new();
    stacks::add(&mut table);
    stacks::add_three(&mut table);
    let mut group = criterion.benchmark_group("stack");
    for mut row in table.rows {
        group.bench_function(row.name, |bencher| bencher.iter_custom(|calls| row.time(calls)));
    }
    group.finish();
}

criterion_group!(benches, ready);
criterion_main!(benches);
