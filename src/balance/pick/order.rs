//! Which endpoint a number stands for.

/// The place of an endpoint in the list of endpoints.
pub(in crate::balance) type Index = usize;

/// A place below `len`, by the upper half of a random number. `len` is at least 1.
pub(in crate::balance) const fn below(len: usize, random: u64) -> Index {
    // A product of 32 bits by 32 bits needs no division. Lists are shorter than 2^32.
    (((random >> 32) * len as u64) >> 32) as usize
}

/// Two different places below `len`, by one random number. `len` is at least 2.
pub(in crate::balance) const fn two_of(len: usize, random: u64) -> (Index, Index) {
    let first = below(len, random);
    let second = below(len - 1, random << 32);
    (first, if second >= first { second + 1 } else { second })
}

/// Whether a draw with this probability succeeds.
pub(in crate::balance) fn accepts(probability: f64, random: u64) -> bool {
    #[expect(clippy::cast_precision_loss, reason = "53 bits are exact")]
    let unit = (random >> 11) as f64 / (1_u64 << 53) as f64;
    unit < probability
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng, rngs::StdRng};

    use super::*;

    #[test]
    fn two_places_differ_and_every_pair_is_as_likely() {
        let mut random = StdRng::seed_from_u64(51);
        let mut pairs = [[0_u32; 5]; 5];
        for _ in 0..200_000 {
            let (first, second) = two_of(5, random.next_u64());
            pairs[first][second] += 1;
        }
        for (first, row) in pairs.iter().enumerate() {
            assert_eq!(row[first], 0);
            // 10 000 each, and five deviations of 98.
            assert!(
                row.iter().enumerate().all(|(at, n)| at == first || n.abs_diff(10_000) < 490),
                "{pairs:?}"
            );
        }
        assert_eq!((two_of(2, 0), two_of(2, u64::MAX)), ((0, 1), (1, 0)));
    }

    #[test]
    fn the_last_place_is_reached_and_no_further_one() {
        assert_eq!((below(1, u64::MAX), below(7, u64::MAX), below(7, 0)), (0, 6, 0));
    }

    #[test]
    fn a_certain_draw_succeeds_and_an_impossible_one_does_not() {
        assert!(accepts(1.0, u64::MAX) && !accepts(0.0, 0) && accepts(0.5, 0) && !accepts(0.5, u64::MAX));
    }
}
