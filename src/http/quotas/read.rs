//! Reads the field `RateLimit`, in which a server tells the rest of each quota.

use std::{convert::Infallible, time::Duration};

use ::http::{HeaderMap, HeaderName};
use sfv::{
    BareItemFromInput, KeyRef, Parser,
    visitor::{EntryVisitor, Ignored, InnerListVisitor, ItemVisitor, ListVisitor, ParameterVisitor},
};

use crate::call::QuotaState;

/// The quota of a response that binds its client most: the one with the lowest rate until its reset.
///
/// A value that is no list of RFC 9651 counts as missing, and so does a quota without `r` and `t`. So does a quota that is
/// reset within a second, because `t` is in whole seconds: a bucket that refills a hundred times per second tells a second
/// too. Of a quota whose reset is later than `latest`, the part until then counts: its rate is the same.
pub(in crate::http) fn read(headers: &HeaderMap, latest: Duration) -> Option<QuotaState> {
    let values = headers.get_all(LIMIT).iter();
    let quotas = values.flat_map(|value| {
        Parser::new(value.as_bytes()).parse_list_with_visitor(Quotas::default()).unwrap_or_default()
    });
    let quotas = quotas.filter(|(_, reset)| *reset > RESOLUTION);
    let quotas = quotas.map(|(remaining, reset)| until(latest, remaining, reset));
    quotas.reduce(|a, b| if is_tighter(&a, &b) { a } else { b })
}

fn until(latest: Duration, remaining: u64, reset: Duration) -> QuotaState {
    let sooner = reset.min(latest);
    let part = u128::from(remaining).saturating_mul(sooner.as_nanos()).div_ceil(reset.as_nanos());
    QuotaState { remaining: u64::try_from(part).unwrap_or(u64::MAX), reset: Some(sooner) }
}

fn is_tighter(a: &QuotaState, b: &QuotaState) -> bool {
    let [of_a, of_b] = [a, b].map(|quota| quota.reset.unwrap_or_default());
    // The rates are compared without a division.
    let a_over_b = u128::from(a.remaining).saturating_mul(of_b.as_nanos());
    let b_over_a = u128::from(b.remaining).saturating_mul(of_a.as_nanos());
    a_over_b < b_over_a || a_over_b == b_over_a && of_a > of_b
}

/// The rest and the reset of each quota in a list.
#[derive(Default)]
struct Quotas(Vec<(u64, Duration)>);

impl<'de> ListVisitor<'de> for Quotas {
    type Out = Vec<(u64, Duration)>;
    type Error = Infallible;

    fn entry(&mut self) -> Result<impl EntryVisitor<'de>, Self::Error> {
        Ok(Entry(&mut self.0))
    }

    fn finish(self) -> Result<Self::Out, Self::Error> {
        Ok(self.0)
    }
}

struct Entry<'a>(&'a mut Vec<(u64, Duration)>);

impl<'de> EntryVisitor<'de> for Entry<'_> {
    type Error = Infallible;

    fn item(self) -> Result<impl ItemVisitor<'de>, Self::Error> {
        Ok(self)
    }

    fn inner_list(self) -> Result<impl InnerListVisitor<'de>, Self::Error> {
        Ok(Ignored)
    }
}

impl<'de> ItemVisitor<'de> for Entry<'_> {
    type Out = ();
    type Error = Infallible;

    fn bare_item(
        self,
        _name: BareItemFromInput<'de>,
    ) -> Result<impl ParameterVisitor<'de, Out = Self::Out>, Self::Error> {
        Ok(Parameters { quotas: self.0, remaining: None, reset: None })
    }
}

struct Parameters<'a> {
    quotas: &'a mut Vec<(u64, Duration)>,
    remaining: Option<u64>,
    reset: Option<u64>,
}

impl<'de> ParameterVisitor<'de> for Parameters<'_> {
    type Out = ();
    type Error = Infallible;

    fn parameter(&mut self, key: &'de KeyRef, value: BareItemFromInput<'de>) -> Result<(), Self::Error> {
        let number = match value {
            BareItemFromInput::Integer(number) => u64::try_from(number).ok(),
            _ => None,
        };
        match key.as_str() {
            "r" => self.remaining = number,
            "t" => self.reset = number,
            _ => {}
        }
        Ok(())
    }

    fn finish(self) -> Result<Self::Out, Self::Error> {
        if let (Some(remaining), Some(reset)) = (self.remaining, self.reset) {
            self.quotas.push((remaining, Duration::from_secs(reset)));
        }
        Ok(())
    }
}

pub(super) const LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RESOLUTION: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use ::http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    const DAY: Duration = Duration::from_secs(24 * 60 * 60);

    fn of(values: &[&[u8]]) -> Option<(u64, u64)> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(LIMIT, HeaderValue::from_bytes(value).expect("a header can carry it"));
        }
        read(&headers, DAY)
            .map(|quota| (quota.remaining, quota.reset.expect("a read quota has one").as_secs()))
    }

    #[test]
    fn the_tightest_quota_counts() {
        assert_eq!(of(&[br#""default";r=50;t=30"#]), Some((50, 30)));
        assert_eq!(of(&[br#""burst";r=50;t=30, "daily";r=999;t=36000"#]), Some((999, 36_000)));
        assert_eq!(of(&[br#""burst";r=50;t=3000"#, br#""daily";r=999;t=36000"#]), Some((50, 3_000)));
        assert_eq!(of(&[br#""burst";r=0;t=5, "daily";r=0;t=60, "hourly";r=1;t=90"#]), Some((0, 60)));
    }

    #[test]
    fn a_quota_without_a_rest_or_a_telling_reset_has_no_effect() {
        for value in
            [r#""default";r=50"#, r#""default";t=30"#, r#""default";r=0;t=1"#, r#""default";r=0;t=0"#]
        {
            assert_eq!(of(&[value.as_bytes()]), None, "{value}");
        }
        let hostile: [&[u8]; 5] =
            [br#""a";r=-1;t=30"#, br#""a";r=1.5;t=30"#, b"(1 2);r=1;t=30", b"r=1, t=30", b"x;r=1;t=\xff"];
        for value in hostile {
            assert_eq!(of(&[value]), None, "{value:?}");
        }
        let most = 999_999_999_999_999_u64;
        assert_eq!(of(&[format!("x;r={most};t={most}").as_bytes()]), Some((DAY.as_secs(), DAY.as_secs())));
        assert_eq!(of(&[b"x;r=1;t=864000"]), Some((1, DAY.as_secs())));
    }

    proptest! {
        #[test]
        fn no_value_panics(value in prop::collection::vec(any::<u8>(), 0..64)) {
            if let Ok(value) = HeaderValue::from_bytes(&value) {
                let _ = read(&HeaderMap::from_iter([(LIMIT, value)]), DAY);
            }
        }
    }
}
