//! How a layer reads the key of a request.

/// Reads from a request the key whose state the call uses.
///
/// A closure `Fn(&Req) -> K` has it, and `http::ByAuthority`. A key should be cheap to make: a layer asks for it at every
/// call.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not read a key of type `{K}` from `{Req}`",
    note = "a closure `Fn(&{Req}) -> {K}` does"
)]
pub trait KeySource<Req, K> {
    /// The key of this request.
    fn key(&self, request: &Req) -> K;
}

impl<Req, K, F> KeySource<Req, K> for F
where
    F: Fn(&Req) -> K,
{
    fn key(&self, request: &Req) -> K {
        self(request)
    }
}
