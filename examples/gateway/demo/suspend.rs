//! Ctrl-Z and the way back: a shell must not get a terminal without a cursor.

use std::io;

#[cfg(unix)]
use rustix::process::{Signal, getpid, kill_process};
#[cfg(unix)]
use tokio::signal::unix::{self, SignalKind, signal};

/// The signals that suspend a program and resume it. They are caught from the construction on.
pub(crate) struct Suspensions {
    #[cfg(unix)]
    suspend: unix::Signal,
    #[cfg(unix)]
    resume: unix::Signal,
}

/// A suspension of the program, or its end.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Change {
    /// Ctrl-Z. The program runs until it calls [`suspend`].
    Suspend,
    Resumed,
}

#[cfg(unix)]
impl Suspensions {
    pub(crate) fn catch() -> io::Result<Self> {
        let catch = |signum: Signal| signal(SignalKind::from_raw(signum.as_raw()));
        Ok(Self { suspend: catch(Signal::TSTP)?, resume: catch(Signal::CONT)? })
    }

    pub(crate) async fn next(&mut self) -> Change {
        tokio::select! {
            _ = self.suspend.recv() => Change::Suspend,
            _ = self.resume.recv() => Change::Resumed,
        }
    }
}

/// Stops all threads of the program until it is resumed.
#[cfg(unix)]
pub(crate) fn suspend() {
    // A program that cannot be suspended runs on.
    let _ = kill_process(getpid(), Signal::STOP);
}

#[cfg(not(unix))]
impl Suspensions {
    #[allow(clippy::unnecessary_wraps, reason = "it can fail on Unix")]
    pub(crate) fn catch() -> io::Result<Self> {
        Ok(Self {})
    }

    pub(crate) async fn next(&mut self) -> Change {
        std::future::pending().await
    }
}

#[cfg(not(unix))]
pub(crate) fn suspend() {}
