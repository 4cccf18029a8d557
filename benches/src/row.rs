//! Rows of the tables: a name and a service.

use std::{
    fmt,
    time::{Duration, Instant},
};

use tower::Service;

use crate::{
    drive::{drive_clones, drive_many},
    threads,
};

/// A service that is measured.
pub struct Row {
    /// Its name in the tables.
    pub name: &'static str,
    /// The name of the row that has the bare service of this one.
    pub floor: &'static str,
    /// The bytes of its response future.
    pub future: usize,
    here: Box<dyn FnMut(u64)>,
    threads: Option<Box<dyn Fn(usize, u64) -> Duration>>,
}

impl Row {
    /// Makes that many calls on this thread.
    pub fn run(&mut self, calls: u64) {
        (self.here)(calls);
    }

    /// The time that so many calls take on this thread.
    pub fn time(&mut self, calls: u64) -> Duration {
        let start = Instant::now();
        self.run(calls);
        start.elapsed()
    }

    /// The time that so many threads take that make so many calls each. `None` if the service cannot be shared.
    #[must_use]
    pub fn time_threads(&self, threads: usize, calls: u64) -> Option<Duration> {
        self.threads.as_ref().map(|time| time(threads, calls))
    }
}

impl fmt::Debug for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Row").field(&self.name).finish()
    }
}

/// Rows in their order. The calls of a `PENDING` table are pending once and made on clones; other calls are ready at
/// once, on one service.
#[derive(Debug, Default)]
pub struct Table<const PENDING: bool> {
    /// All rows so far.
    pub rows: Vec<Row>,
    floor: &'static str,
}

impl<const PENDING: bool> Table<PENDING> {
    /// A table without rows.
    #[must_use]
    pub const fn new() -> Self {
        Self { rows: Vec::new(), floor: "" }
    }

    /// Adds a bare service, which is the floor of the rows after it.
    pub fn floor<S: Service<u64> + Clone + Send + 'static>(&mut self, name: &'static str, service: S) {
        self.floor = name;
        self.row(name, service);
    }

    /// Adds a bare service with a driver of its own.
    pub fn driven_floor<R, S>(&mut self, name: &'static str, service: S, drive: fn(&mut S, u64))
    where
        S: Service<R> + Clone + Send + 'static,
    {
        self.floor = name;
        self.driven(name, service, drive);
    }

    /// Adds a service.
    pub fn row<S: Service<u64> + Clone + Send + 'static>(&mut self, name: &'static str, service: S) {
        let drive = if PENDING { drive_clones } else { drive_many };
        self.driven(name, service, drive);
    }

    /// Adds a service with a driver of its own.
    pub fn driven<R, S>(&mut self, name: &'static str, service: S, drive: fn(&mut S, u64))
    where
        S: Service<R> + Clone + Send + 'static,
    {
        let mut here = service.clone();
        self.rows.push(Row {
            name,
            floor: self.floor,
            future: size_of::<S::Future>(),
            here: Box::new(move |calls| drive(&mut here, calls)),
            threads: Some(Box::new(move |threads, calls| threads::time(&service, drive, threads, calls))),
        });
    }

    /// Adds a service that cannot be cloned, for one thread.
    pub fn unshared<S: Service<u64> + 'static>(&mut self, name: &'static str, mut service: S) {
        self.rows.push(Row {
            name,
            floor: self.floor,
            future: size_of::<S::Future>(),
            here: Box::new(move |calls| drive_many(&mut service, calls)),
            threads: None,
        });
    }
}
