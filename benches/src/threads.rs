//! Several threads on one service.

use std::{
    fmt, hint,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use tokio::runtime::Handle;
use tower::Service;

use crate::drive::{drive_clones, drive_many};

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

/// A service that is measured with one thread and with two.
pub struct Crowd {
    /// What the tables call it.
    pub name: &'static str,
    time: Box<dyn Fn(usize, u64) -> Duration>,
}

impl Crowd {
    /// Clones of that service, one per thread.
    pub fn new<S: Service<u64> + Clone + Send + 'static>(name: &'static str, service: S) -> Self {
        Self { name, time: Box::new(move |threads, calls| time(&service, drive_many, threads, calls)) }
    }

    /// A service around [`Later`](crate::inner::Later), cloned for each call.
    pub fn clones<S: Service<u64> + Clone + Send + 'static>(name: &'static str, service: S) -> Self {
        Self { name, time: Box::new(move |threads, calls| time(&service, drive_clones, threads, calls)) }
    }

    /// The time that threads take which make that many calls each.
    #[must_use]
    pub fn time(&self, threads: usize, calls: u64) -> Duration {
        (self.time)(threads, calls)
    }
}

impl fmt::Debug for Crowd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Crowd").field(&self.name).finish()
    }
}
