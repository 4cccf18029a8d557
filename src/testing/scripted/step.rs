//! One step of a script.

use std::time::Duration;

/// The part of a [script](super::Scripted) that one request gets.
///
/// ```
/// use std::time::Duration;
/// use tower_reliability::testing::Step;
///
/// let script: [Step<u32, &str>; 3] = [
///     Step::answer(1).after(Duration::from_millis(200)),
///     Step::fail("down"),
///     Step::hang(),
/// ];
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step<Res, Err> {
    pub(super) delay: Duration,
    pub(super) action: Action<Res, Err>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action<Res, Err> {
    Answer(Res),
    Fail(Err),
    Hang,
    Panic,
    PanicInCall,
    NotReady,
}

impl<Res, Err> Step<Res, Err> {
    /// Answers with this response.
    pub const fn answer(response: Res) -> Self {
        Self::now(Action::Answer(response))
    }

    /// Fails with this error.
    pub const fn fail(error: Err) -> Self {
        Self::now(Action::Fail(error))
    }

    /// Never answers. The call ends when the caller drops its future.
    #[must_use]
    pub const fn hang() -> Self {
        Self::now(Action::Hang)
    }

    /// Panics in the future of the call, with a payload and without a message on standard error.
    #[must_use]
    pub const fn panic() -> Self {
        Self::now(Action::Panic)
    }

    /// Panics in `call`, before there is a future. Without an effect of [`after`](Self::after).
    #[must_use]
    pub const fn panic_in_call() -> Self {
        Self::now(Action::PanicInCall)
    }

    /// Is not ready for this time, which begins when a `poll_ready` meets the step. The step answers no request.
    ///
    /// A call without readiness gets the next step of another kind. `Duration::MAX` is not ready for some decades.
    #[must_use]
    pub const fn not_ready(time: Duration) -> Self {
        Self { delay: time, action: Action::NotReady }
    }

    /// Waits for this time before the answer, the failure or the panic. The time begins with `call`. Default: 0.
    #[must_use]
    pub fn after(self, delay: Duration) -> Self {
        Self { delay, ..self }
    }

    const fn now(action: Action<Res, Err>) -> Self {
        Self { delay: Duration::ZERO, action }
    }
}
