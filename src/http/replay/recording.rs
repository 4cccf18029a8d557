//! What has streamed through a body so far.

use std::mem;

use bytes::Bytes;
use http::HeaderMap;
use http_body::Frame;

/// The frames of a body, from its beginning, as long as they fit.
#[derive(Debug)]
pub(super) struct Recording {
    pieces: Vec<Piece>,
    /// Of data, without trailers.
    data_bytes: u64,
    trailers: bool,
    /// Of data and trailers: what the cap is about.
    held: usize,
    max_bytes: usize,
    state: State,
}

/// One recorded frame.
#[derive(Clone, Debug)]
pub(super) enum Piece {
    Data(Bytes),
    /// Boxed, because a map is many times as large as the rest, and there is at most one per body.
    Trailers(Box<HeaderMap>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// More may come.
    Open,
    /// The body has ended, and all of it is here.
    Complete,
    /// The body was too large or has failed, or nobody wants it: nothing is kept.
    Lost,
}

impl Recording {
    pub(super) const fn new(max_bytes: usize) -> Self {
        Self { pieces: Vec::new(), data_bytes: 0, trailers: false, held: 0, max_bytes, state: State::Open }
    }

    /// Keeps a frame. Where it does not fit, everything is given up and handed out, to be dropped by the caller.
    #[must_use]
    pub(super) fn push(&mut self, frame: &Frame<Bytes>) -> Vec<Piece> {
        if self.state != State::Open {
            return Vec::new();
        }
        let (piece, data, size) = if let Some(data) = frame.data_ref() {
            if data.is_empty() {
                // It adds nothing to the body, and a stream of them would fill the memory below the cap.
                return Vec::new();
            }
            (Piece::Data(data.clone()), data.len(), data.len())
        } else if let Some(trailers) = frame.trailers_ref() {
            let size = trailers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
            (Piece::Trailers(Box::new(trailers.clone())), 0, size)
        } else {
            // A kind of frame that is yet to be invented, and that cannot be copied.
            return self.lose();
        };
        let held = self.held.saturating_add(size);
        if held > self.max_bytes || self.pieces.len() >= MAX_PIECES {
            return self.lose();
        }
        self.held = held;
        self.trailers |= frame.is_trailers();
        self.data_bytes += data as u64;
        self.pieces.push(piece);
        Vec::new()
    }

    /// Nothing more comes.
    pub(super) fn complete(&mut self) {
        if self.state == State::Open {
            self.state = State::Complete;
        }
    }

    /// Gives everything up and hands it out, to be dropped by the caller.
    #[must_use]
    pub(super) fn lose(&mut self) -> Vec<Piece> {
        self.state = State::Lost;
        mem::take(&mut self.pieces)
    }

    pub(super) fn piece(&self, at: usize) -> Option<&Piece> {
        self.pieces.get(at)
    }

    pub(super) const fn data_bytes(&self) -> u64 {
        self.data_bytes
    }

    pub(super) const fn has_trailers(&self) -> bool {
        self.trailers
    }

    pub(super) const fn state(&self) -> State {
        self.state
    }
}

impl From<Piece> for Frame<Bytes> {
    fn from(piece: Piece) -> Self {
        match piece {
            Piece::Data(data) => Self::data(data),
            Piece::Trailers(trailers) => Self::trailers(*trailers),
        }
    }
}

/// A frame of one byte takes forty in the list: this bounds what the cap does not see, to 160 KiB.
const MAX_PIECES: usize = 4_096;

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn data(text: &'static str) -> Frame<Bytes> {
        Frame::data(Bytes::from_static(text.as_bytes()))
    }

    #[test]
    fn what_fits_is_kept_to_the_last_byte_and_what_does_not_is_given_up_whole() {
        let mut recording = Recording::new(4);
        assert!(recording.push(&data("ab")).is_empty());
        assert!(recording.push(&data("cd")).is_empty());
        assert_eq!((recording.data_bytes(), recording.state()), (4, State::Open));
        assert_eq!(recording.push(&data("e")).len(), 2);
        assert_eq!(recording.state(), State::Lost);
        assert!(recording.piece(0).is_none());
        recording.complete();
        assert_eq!(recording.state(), State::Lost, "once lost, always lost");
    }

    #[test]
    fn trailers_count_too() {
        let mut trailers = HeaderMap::new();
        trailers.insert("sum", HeaderValue::from_static("42"));
        let frame = || Frame::trailers(trailers.clone());
        let mut exact = Recording::new(5);
        assert!(exact.push(&frame()).is_empty() && exact.state() == State::Open);
        let mut small = Recording::new(4);
        assert!(small.push(&frame()).is_empty() && small.state() == State::Lost);
    }

    #[test]
    fn neither_empty_frames_nor_tiny_ones_fill_the_memory() {
        let mut recording = Recording::new(usize::MAX);
        for _ in 0..2 * MAX_PIECES {
            let _ = recording.push(&data(""));
        }
        assert_eq!((recording.pieces.capacity(), recording.state()), (0, State::Open));
        for _ in 0..=MAX_PIECES {
            let _ = recording.push(&data("x"));
        }
        assert_eq!(recording.state(), State::Lost);
    }
}
