//! Random bodies, read in random parts by attempts that are dropped, beside a list of all frames as the model.

use std::{collections::VecDeque, convert::Infallible};

use bytes::{Buf, Bytes, buf::Chain};
use http::{HeaderMap, HeaderValue};
use http_body::{Body, Frame};
use http_body_util::StreamBody;
use proptest::prelude::*;

use super::*;

/// Data in two pieces, which has to be joined.
type Pieces = Chain<Bytes, Bytes>;

fn body(
    frames: &[Vec<u8>],
    trailers: Option<u32>,
) -> impl Body<Data = Pieces, Error = Infallible> + Unpin + use<> {
    let data = frames.iter().map(|frame| {
        let (left, right) = frame.split_at(frame.len() / 2);
        Frame::data(Bytes::copy_from_slice(left).chain(Bytes::copy_from_slice(right)))
    });
    let trailers = trailers.map(|sum| Frame::trailers(trailers_of(sum)));
    let frames: VecDeque<_> = data.chain(trailers).map(Ok).collect();
    StreamBody::new(futures::stream::iter(frames))
}

fn trailers_of(sum: u32) -> HeaderMap {
    HeaderMap::from_iter([(http::header::ETAG, HeaderValue::from(sum))])
}

/// The data and trailers that an attempt reads in so many polls, and whether it came to the end.
fn read<B: Body<Data = Pieces, Error = Infallible> + Unpin>(
    attempt: &mut ReplayBody<B>,
    polls: usize,
) -> (Vec<u8>, Option<HeaderMap>, bool) {
    let (mut data, mut trailers) = (Vec::new(), None);
    for _ in 0..polls {
        let frame = futures::executor::block_on(http_body_util::BodyExt::frame(attempt));
        let Some(frame) = frame else { return (data, trailers, true) };
        match frame.expect("no other attempt streams").into_data() {
            Ok(bytes) => data.extend_from_slice(&bytes),
            Err(frame) => trailers = frame.into_trailers().ok(),
        }
    }
    (data, trailers, false)
}

proptest! {
    #[test]
    fn case_40_every_attempt_reads_the_same_or_there_is_none(
        frames in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..20), 0..8),
        trailers in prop::option::of(any::<u32>()),
        polls in prop::collection::vec(0_usize..12, 0..5),
        max_bytes in 0_usize..160,
    ) {
        let whole = frames.concat();
        let expected = trailers.map(trailers_of);
        let size = whole.len() + expected.iter().flatten().count() * 4
            + expected.as_ref().map_or(0, |trailers| trailers["etag"].len());

        let mut attempt = ReplayBody::new(body(&frames, trailers)).max_bytes(max_bytes);
        for polls in polls {
            let Some(copy) = attempt.copy() else {
                prop_assert!(size > max_bytes, "a body that fits is copied");
                return Ok(());
            };
            let (data, _, ended) = read(&mut attempt, polls);
            prop_assert!(whole.starts_with(&data));
            prop_assert!(!ended || data == whole);
            drop(attempt);
            if !copy.can_replay() {
                prop_assert!(size > max_bytes, "a body that fits is replayed");
                return Ok(());
            }
            attempt = copy;
        }
        // The last attempt has no copy.
        let (data, found, ended) = read(&mut attempt, usize::MAX);
        prop_assert!(ended);
        prop_assert_eq!(data, whole);
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn whatever_the_order_of_polls_copies_and_drops_a_body_is_whole_or_an_error(
        frames in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..20), 0..8),
        steps in prop::collection::vec((0_u8..9, any::<prop::sample::Index>()), 0..60),
        max_bytes in 40_usize..160,
    ) {
        let whole = frames.concat();
        let mut attempts = vec![(ReplayBody::new(body(&frames, None)).max_bytes(max_bytes), Vec::new())];
        for (step, index) in steps {
            if attempts.is_empty() {
                break;
            }
            let at = index.index(attempts.len());
            let (attempt, data) = &mut attempts[at];
            let (hint, promised) = (attempt.size_hint(), attempt.is_end_stream());
            prop_assert!(hint.exact().is_none_or(|left| data.len() as u64 + left == whole.len() as u64));
            match step {
                0 => drop(attempts.swap_remove(at)),
                1 => {
                    let copy = attempt.copy();
                    attempts.extend(copy.map(|copy| (copy, Vec::new())));
                }
                // The others then end in an error, or whole; so does one that takes over in the midst of its reading.
                2 => {
                    let _ = attempt.take_over();
                }
                _ => match futures::executor::block_on(http_body_util::BodyExt::frame(attempt)) {
                    Some(Ok(frame)) => {
                        prop_assert!(!promised);
                        data.extend_from_slice(&frame.into_data().expect("there are no trailers"));
                        prop_assert!(whole.starts_with(data));
                    }
                    Some(Err(error)) => {
                        prop_assert!(error.is::<CannotReplay>());
                        attempts.swap_remove(at);
                    }
                    None => prop_assert_eq!(data, &whole),
                },
            }
        }
    }
}
