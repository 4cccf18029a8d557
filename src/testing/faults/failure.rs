//! How an injected failure looks.

/// Makes the result of a call that an injected fault fails.
#[diagnostic::on_unimplemented(
    message = "`{Self}` makes no failure of the type `Result<{Res}, {Err}>`",
    note = "give `build_failing` a closure that returns the result of the inner service"
)]
pub(crate) trait Failure<Res, Err> {
    fn failure(&self) -> Result<Res, Err>;
}

impl<Res, Err, F: Fn() -> Result<Res, Err>> Failure<Res, Err> for F {
    fn failure(&self) -> Result<Res, Err> {
        self()
    }
}

/// The failure of a layer that fails no call.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoFailure;

impl<Res, Err> Failure<Res, Err> for NoFailure {
    fn failure(&self) -> Result<Res, Err> {
        unreachable!("`build` and `update` refuse a failure rate without a failure")
    }
}
