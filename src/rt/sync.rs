//! The primitives that shared state is made of, and which stripe of it a thread uses.
//!
//! Built with `--cfg shuttle` they are shuttle's, which runs every interleaving it can think of.

#[cfg(not(shuttle))]
use std::sync::atomic::AtomicUsize;
#[cfg(not(shuttle))]
pub(crate) use std::sync::{
    Mutex, MutexGuard,
    atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
};

#[cfg(shuttle)]
pub(crate) use shuttle::sync::{
    Mutex, MutexGuard,
    atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
};

use std::sync::PoisonError;

/// Locks, whatever a panic elsewhere left behind: no state of ours is half-written at a point that can panic.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Puts its content on cache lines of its own; 128 bytes, because neighbours are prefetched in pairs.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct OwnLine<T>(pub(crate) T);

/// How many stripes a counter is split into: one per core, a power of two, at most 16.
pub(crate) fn stripe_count() -> usize {
    static COUNT: std::sync::OnceLock<usize> = std::sync::OnceLock::new();
    *COUNT.get_or_init(|| {
        std::thread::available_parallelism()
            .map_or(1, |cores| cores.get().next_power_of_two().min(MAX_STRIPES))
    })
}

/// The calling thread's number; threads are numbered as they first ask.
#[cfg(not(shuttle))]
#[inline]
pub(crate) fn thread_number() -> usize {
    use std::cell::Cell;

    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local!(static NUMBER: Cell<usize> = const { Cell::new(usize::MAX) });

    NUMBER.with(|number| {
        if number.get() == usize::MAX {
            number.set(NEXT.fetch_add(1, Ordering::Relaxed));
        }
        number.get()
    })
}

#[cfg(shuttle)]
pub(crate) fn thread_number() -> usize {
    usize::from(shuttle::current::me())
}

/// More would cost memory for every breaker, and 16 lines are hardly ever written by two cores at once.
pub(crate) const MAX_STRIPES: usize = 16;
