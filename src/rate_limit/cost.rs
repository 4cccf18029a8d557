//! How many tokens a request takes.

/// Reads from a request how many tokens it takes.
///
/// Every closure `Fn(&Req) -> u32` is a source. [`UnitCost`] takes one token per request.
///
/// ```
/// use tower_reliability::rate_limit::RateLimitConfig;
///
/// struct Query { rows: u32 }
/// let layer = RateLimitConfig::per_second(1_000).build()?.cost(|query: &Query| query.rows);
/// # Ok::<(), tower_reliability::ConfigError>(())
/// ```
pub trait CostSource<Req> {
    /// The tokens of the request. A request of cost 0 always passes.
    fn cost(&self, request: &Req) -> u32;
}

/// Takes one token per request. The default.
#[derive(Clone, Copy, Debug, Default)]
pub struct UnitCost;

impl<Req> CostSource<Req> for UnitCost {
    #[inline]
    fn cost(&self, _request: &Req) -> u32 {
        1
    }
}

impl<Req, F> CostSource<Req> for F
where
    F: Fn(&Req) -> u32,
{
    fn cost(&self, request: &Req) -> u32 {
        self(request)
    }
}
