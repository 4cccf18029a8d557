//! Weighted round robin by one counter: which endpoint the n-th call goes to.

use super::Index;

/// The order of a weighted round robin.
#[derive(Debug)]
pub(in crate::balance) enum Weighted {
    /// One period of nginx's smooth order. The heavy endpoints are spread over it.
    Smooth(Box<[u32]>),
    /// gRPC's static stride, for weights with a long period: each number stands for an endpoint, or for none.
    Stride(Box<[u16]>),
}

impl Weighted {
    /// The order for these weights. A weight of 0 is taken for the mean of the others.
    pub(in crate::balance) fn new(weights: &[u32]) -> Self {
        let weights = with_mean(weights);
        let divisor = weights.iter().fold(0, |a, b| gcd(a, *b)).max(1);
        let period = weights.iter().map(|weight| u64::from(weight / divisor)).sum::<u64>();
        let work = period.saturating_mul(weights.len() as u64);
        if work <= MOST_WORK {
            let weights: Vec<i64> = weights.iter().map(|weight| i64::from(weight / divisor)).collect();
            Self::Smooth(smooth(&weights, period))
        } else {
            Self::Stride(scaled(&weights))
        }
    }

    /// The endpoint of the next call. `next` counts up, and wraps.
    pub(in crate::balance) fn pick(&self, mut next: impl FnMut() -> u64) -> Index {
        match self {
            Self::Smooth(order) => order[modulo(next(), order.len())] as usize,
            // The heaviest endpoint is in every round, so the loop ends.
            Self::Stride(scaled) => loop {
                if let Some(index) = stride(scaled, next()) {
                    break index;
                }
            },
        }
    }
}

/// nginx's smooth weighted round robin: every endpoint gains its weight, and the highest pays the sum of all.
fn smooth(weights: &[i64], period: u64) -> Box<[u32]> {
    let total: i64 = weights.iter().sum();
    let mut current = vec![0_i64; weights.len()];
    let mut next = || {
        current.iter_mut().zip(weights).for_each(|(current, weight)| *current += weight);
        // The first of equal ones.
        let best = (0..current.len()).rev().max_by_key(|at| current[*at]).unwrap_or(0);
        current[best] -= total;
        u32::try_from(best).unwrap_or(0)
    };
    (0..period).map(|_| next()).collect()
}

/// The endpoint that a number stands for. From grpc-go's `weightedroundrobin`: an endpoint is in so many of 65 535 rounds
/// as its weight says, and the rounds of different endpoints begin half of them apart.
#[expect(clippy::cast_possible_truncation, reason = "a remainder of a length")]
fn stride(scaled: &[u16], number: u64) -> Option<Index> {
    let (index, round) = (number % scaled.len() as u64, number / scaled.len() as u64);
    let weight = u64::from(scaled[index as usize]);
    let phase = weight.wrapping_mul(round).wrapping_add(index * HALF) % FULL;
    (phase >= FULL - weight).then_some(index as usize)
}

/// The weights, so that the largest is 65 535. No weight becomes 0.
pub(super) fn scaled(weights: &[u32]) -> Box<[u16]> {
    let most = f64::from(weights.iter().copied().max().unwrap_or(1));
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "1 ‥ 65 535"
    )]
    let scale = |weight: &u32| (f64::from(*weight) / most * FULL as f64).round().max(1.0) as u16;
    weights.iter().map(scale).collect()
}

pub(super) fn with_mean(weights: &[u32]) -> Vec<u32> {
    let known = weights.iter().filter(|weight| **weight > 0).count() as u64;
    let sum: u64 = weights.iter().map(|weight| u64::from(*weight)).sum();
    let mean = u32::try_from(sum.checked_div(known).unwrap_or(1)).unwrap_or(u32::MAX);
    weights.iter().map(|weight| if *weight == 0 { mean } else { *weight }).collect()
}

const fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[expect(clippy::cast_possible_truncation, reason = "a remainder of a length")]
const fn modulo(number: u64, len: usize) -> usize {
    (number % len as u64) as usize
}

const FULL: u64 = 65_535;
const HALF: u64 = 32_767;

/// The steps for which a table of a new set is made: a fraction of a millisecond, and at most 256 KB.
const MOST_WORK: u64 = 65_536;

#[cfg(test)]
mod tests {
    use super::*;

    fn picks(weights: &[u32], n: usize) -> Vec<Index> {
        let (order, mut number) = (Weighted::new(weights), 0..);
        (0..n).map(|_| order.pick(|| number.next().expect("an endless range"))).collect()
    }

    fn counts(weights: &[u32], n: usize) -> Vec<usize> {
        let picks = picks(weights, n);
        (0..weights.len()).map(|index| picks.iter().filter(|it| **it == index).count()).collect()
    }

    #[test]
    fn case_51_a_cycle_is_exact_and_smooth() {
        assert_eq!(counts(&[5, 1, 1], 7), [5, 1, 1]);
        assert_eq!(counts(&[60, 30, 10], 10), [6, 3, 1]);
        let of_first = picks(&[4, 4, 1], 9).windows(2).filter(|pair| *pair == [0, 0]).count();
        assert_eq!(of_first, 0, "a heavy endpoint has no two calls in a row while another is as heavy");
    }

    #[test]
    fn case_51_long_periods_keep_their_shares() {
        let weights = [700_001, 200_003, 100_003];
        assert!(matches!(Weighted::new(&weights), Weighted::Stride(_)));
        let counts = counts(&weights, 1_000_000);
        for (count, weight) in counts.iter().zip(weights) {
            assert!(count.abs_diff(weight as usize) < 200, "{counts:?}");
        }
    }

    #[test]
    fn case_51_extreme_weights_leave_no_endpoint_out() {
        let counts = counts(&[u32::MAX, 1], 200_000);
        assert!(counts[1] >= 1 && counts[0] > 199_000, "{counts:?}");
        assert_eq!(picks(&[0, 0], 4), [0, 1, 0, 1]);
        assert_eq!(picks(&[u32::MAX, u32::MAX], 4), [0, 1, 0, 1]);
    }
}
