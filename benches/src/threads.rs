//! Several threads on one service.

use std::{
    hint,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use tokio::runtime::Handle;

/// The time from the first thread's start to the last one's end, while each makes that many calls.
///
/// Timers are those of the current runtime. If the threads happen to run one after the other, the time is longer.
pub fn time<S: Clone + Send>(service: &S, drive: fn(&mut S, u64), threads: usize, calls: u64) -> Duration {
    // They spin for each other: a barrier that sleeps wakes one well after the other, often on the same core.
    let arrived = AtomicUsize::new(0);
    let spans = thread::scope(|scope| {
        let spawn = |_| {
            let (mut service, arrived, runtime) = (service.clone(), &arrived, Handle::current());
            scope.spawn(move || {
                let _inside = runtime.enter();
                drive(&mut service, calls / 10);
                arrived.fetch_add(1, Ordering::SeqCst);
                while arrived.load(Ordering::SeqCst) < threads {
                    hint::spin_loop();
                }
                let start = Instant::now();
                drive(&mut service, calls);
                (start, Instant::now())
            })
        };
        let running: Vec<_> = (0..threads).map(spawn).collect();
        running.into_iter().map(|thread| thread.join().expect("no call panics")).collect::<Vec<_>>()
    });
    let start = spans.iter().map(|(start, _)| *start).min().expect("there is a thread");
    let end = spans.iter().map(|(_, end)| *end).max().expect("there is a thread");
    end - start
}
