//! The recording of a request body.

use std::mem;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue};
use http_body::Frame;

/// The data and trailers of a body from its beginning, while they fit under the cap.
///
/// The data is copied. A frame of hyper's is a slice of its read buffer: a recorded slice of one byte would keep the
/// whole buffer alive. All buffers together are no larger than the cap.
#[derive(Debug)]
pub(super) struct Recording {
    /// Full buffers, in order. A piece never changes, so a position in this list stays valid.
    pieces: Vec<Bytes>,
    /// The buffer that is being filled. It becomes a piece when it is full, or when a copy reads it.
    tail: BytesMut,
    /// Boxed: a map is many times as large as the other fields, and most bodies have no trailers.
    trailers: Option<Box<HeaderMap>>,
    /// The length of the data, without trailers.
    data_bytes: usize,
    max_bytes: usize,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// The body goes on.
    Open,
    /// The body has ended, and the recording is whole.
    Complete,
    /// The body has failed or is larger than the cap, or no copy is left. Nothing is kept.
    Lost,
}

impl Recording {
    pub(super) fn new(max_bytes: usize) -> Self {
        let (pieces, tail) = (Vec::new(), BytesMut::new());
        Self { pieces, tail, trailers: None, data_bytes: 0, max_bytes, state: State::Open }
    }

    /// Keeps a copy of a frame. A frame that does not fit ends the recording.
    pub(super) fn push(&mut self, frame: &Frame<Bytes>) {
        if self.state != State::Open || frame.data_ref().is_some_and(Bytes::is_empty) {
            return;
        }
        match (frame.data_ref(), frame.trailers_ref()) {
            (Some(data), _) if self.fits(data.len()) => self.push_data(data),
            (_, Some(trailers)) if self.fits(size_of(trailers)) => {
                self.trailers = Some(Box::new(detached(trailers)));
            }
            // It is too large, it follows the trailers, or it is a kind of frame that cannot be copied.
            _ => self.lose(),
        }
    }

    /// The body has ended.
    pub(super) fn complete(&mut self) {
        if self.state == State::Open {
            self.state = State::Complete;
        }
    }

    /// Ends the recording and frees its memory.
    pub(super) fn lose(&mut self) {
        *self = Self { state: State::Lost, ..Self::new(self.max_bytes) };
    }

    /// The recorded frame at this position.
    pub(super) fn frame(&mut self, at: usize) -> Option<Frame<Bytes>> {
        if at == self.pieces.len() && !self.tail.is_empty() {
            // The free space behind the data stays in `tail`, so a read costs no memory.
            self.pieces.push(self.tail.split().freeze());
        }
        match self.pieces.get(at) {
            Some(data) => Some(Frame::data(data.clone())),
            None if at == self.pieces.len() => {
                self.trailers.as_ref().map(|trailers| Frame::trailers(HeaderMap::clone(trailers)))
            }
            None => None,
        }
    }

    /// Whether there is no recorded frame at this position.
    pub(super) fn ends_before(&self, at: usize) -> bool {
        let tail = usize::from(!self.tail.is_empty());
        at >= self.pieces.len() + tail + usize::from(self.has_trailers())
    }

    pub(super) const fn data_bytes(&self) -> usize {
        self.data_bytes
    }

    pub(super) const fn has_trailers(&self) -> bool {
        self.trailers.is_some()
    }

    pub(super) const fn state(&self) -> State {
        self.state
    }

    fn fits(&self, bytes: usize) -> bool {
        !self.has_trailers() && bytes <= self.max_bytes - self.data_bytes
    }

    fn push_data(&mut self, mut data: &[u8]) {
        while !data.is_empty() {
            if self.tail.len() == self.tail.capacity() {
                self.next_buffer(data.len());
            }
            let room = self.tail.capacity() - self.tail.len();
            let (now, later) = data.split_at(room.min(data.len()));
            self.tail.extend_from_slice(now);
            self.data_bytes += now.len();
            data = later;
        }
    }

    /// Starts another buffer. Each is as large as all before it, so that a cap of n bytes needs log2(n) of them.
    fn next_buffer(&mut self, wanted: usize) {
        let full = mem::take(&mut self.tail);
        if !full.is_empty() {
            self.pieces.push(full.freeze());
        }
        let size = wanted.max(self.data_bytes).max(FIRST_BUFFER).min(self.max_bytes - self.data_bytes);
        self.tail = BytesMut::with_capacity(size);
    }
}

fn size_of(trailers: &HeaderMap) -> usize {
    trailers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum()
}

/// The same trailers without a reference to the buffer that they were read from.
fn detached(trailers: &HeaderMap) -> HeaderMap {
    let mut copy = trailers.clone();
    for value in copy.values_mut() {
        if let Ok(mut detached) = HeaderValue::from_bytes(value.as_bytes()) {
            detached.set_sensitive(value.is_sensitive());
            *value = detached;
        }
    }
    copy
}

/// One allocation for most bodies that arrive in small chunks.
const FIRST_BUFFER: usize = 512;

#[cfg(test)]
mod tests {
    use super::*;

    fn data(text: &'static str) -> Frame<Bytes> {
        Frame::data(Bytes::from_static(text.as_bytes()))
    }

    fn trailers() -> Frame<Bytes> {
        Frame::trailers(HeaderMap::from_iter([(http::header::ETAG, HeaderValue::from_static("4"))]))
    }

    fn recorded(max_bytes: usize, frames: impl IntoIterator<Item = Frame<Bytes>>) -> Recording {
        let mut recording = Recording::new(max_bytes);
        frames.into_iter().for_each(|frame| recording.push(&frame));
        recording
    }

    #[test]
    fn a_body_up_to_the_cap_is_kept_whole_and_a_longer_one_not_at_all() {
        let mut recording = recorded(4, [data("ab"), data("cd")]);
        assert_eq!((recording.data_bytes(), recording.state()), (4, State::Open));
        recording.push(&data("e"));
        assert_eq!(recording.state(), State::Lost);
        assert!(recording.frame(0).is_none());
        recording.complete();
        assert_eq!(recording.state(), State::Lost, "a lost recording stays lost");
    }

    #[test]
    fn trailers_count_against_the_cap_and_end_the_data() {
        assert_eq!(recorded(5, [trailers()]).state(), State::Open);
        assert_eq!(recorded(4, [trailers()]).state(), State::Lost);
        assert_eq!(recorded(9, [trailers(), data("x")]).state(), State::Lost);
        let mut recording = recorded(9, [data("ab"), trailers()]);
        assert!(recording.frame(0).is_some_and(|frame| frame.is_data()));
        assert!(recording.frame(1).is_some_and(|frame| frame.is_trailers()));
        assert!(recording.frame(2).is_none() && recording.ends_before(2) && !recording.ends_before(1));
    }

    #[test]
    fn case_70_buffers_are_no_larger_than_the_cap_whatever_the_frames() {
        let cap = 64 * 1_024;
        for length in [1, 3, 700, 65_536] {
            let frame = Frame::data(Bytes::from(vec![b'x'; length]));
            let mut recording = Recording::new(cap);
            let mut allocated = 0;
            for _ in 0..cap / length {
                let before = recording.tail.capacity();
                recording.push(&frame);
                if recording.tail.capacity() != before {
                    allocated += recording.tail.capacity();
                }
            }
            assert!(
                allocated <= cap && recording.pieces.len() < 20,
                "{allocated} bytes in frames of {length}"
            );
            assert_eq!((recording.data_bytes(), recording.state()), (cap / length * length, State::Open));
        }
    }

    #[test]
    fn empty_frames_take_no_memory() {
        let recording = recorded(0, (0..100).map(|_| data("")));
        assert_eq!((recording.pieces.capacity(), recording.tail.capacity()), (0, 0));
        assert_eq!(recording.state(), State::Open);
    }

    #[test]
    fn a_read_in_the_middle_splits_a_buffer_and_loses_nothing() {
        let mut recording = recorded(9, [data("ab")]);
        let text = |frame: Option<Frame<Bytes>>| frame.and_then(|frame| frame.into_data().ok());
        assert_eq!(text(recording.frame(0)).as_deref(), Some(&b"ab"[..]));
        recording.push(&data("c"));
        assert_eq!(text(recording.frame(1)).as_deref(), Some(&b"c"[..]));
        assert_eq!(text(recording.frame(0)).as_deref(), Some(&b"ab"[..]));
    }
}
