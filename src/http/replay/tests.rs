use std::{
    collections::VecDeque,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use http_body_util::{Empty, Full};

use super::*;
use crate::call::BoxError;

mod take_over;

/// Yields its steps, then ends. It counts its size down if the size is known.
struct Script {
    steps: VecDeque<Step>,
    known: bool,
}

enum Step {
    Data(Bytes),
    Trailers(HeaderMap),
    Wait,
    Fail,
}

impl Script {
    fn new(steps: impl IntoIterator<Item = Step>) -> Self {
        Self { steps: steps.into_iter().collect(), known: false }
    }
}

impl Body for Script {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        match self.steps.pop_front() {
            Some(Step::Data(data)) => Poll::Ready(Some(Ok(Frame::data(data)))),
            Some(Step::Trailers(trailers)) => Poll::Ready(Some(Ok(Frame::trailers(trailers)))),
            Some(Step::Wait) => Poll::Pending,
            Some(Step::Fail) => Poll::Ready(Some(Err(io::ErrorKind::BrokenPipe.into()))),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.known && self.steps.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        let length = |step: &Step| if let Step::Data(data) = step { data.len() as u64 } else { 0 };
        if self.known { SizeHint::with_exact(self.steps.iter().map(length).sum()) } else { SizeHint::new() }
    }
}

fn data(text: &'static str) -> Step {
    Step::Data(Bytes::from_static(text.as_bytes()))
}

fn trailers() -> HeaderMap {
    HeaderMap::from_iter([(http::header::ETAG, http::HeaderValue::from_static("42"))])
}

/// One frame as text, trailers as `{etag}`; `None` at the end.
fn read<B>(body: &mut ReplayBody<B>) -> Option<Result<String, BoxError>>
where
    B: Body + Unpin,
    B::Error: Into<BoxError>,
{
    let mut context = Context::from_waker(Waker::noop());
    let Poll::Ready(frame) = Pin::new(body).poll_frame(&mut context) else { panic!("it waits") };
    Some(frame?.map(|frame| match frame.into_data() {
        Ok(data) => String::from_utf8_lossy(&data).into_owned(),
        Err(frame) => format!("{{{:?}}}", frame.trailers_ref().expect("trailers")["etag"]),
    }))
}

fn read_all<B>(body: &mut ReplayBody<B>) -> String
where
    B: Body + Unpin,
    B::Error: Into<BoxError>,
{
    std::iter::from_fn(|| read(body)).map(|frame| frame.expect("no error")).collect()
}

fn three() -> ReplayBody<Script> {
    ReplayBody::new(Script::new([data("a"), data("bc"), Step::Trailers(trailers())]))
}

#[test]
fn case_40_a_replay_is_the_same_to_the_byte_with_its_trailers() {
    let mut body = three();
    let mut second = body.copy().expect("a copy");
    let mut third = second.copy().expect("a copy of a copy");
    assert_eq!(read_all(&mut body), "abc{\"42\"}");
    drop(body);
    assert!(second.can_replay() && third.can_replay());
    assert_eq!(read_all(&mut second), "abc{\"42\"}");
    assert_eq!(read_all(&mut third), "abc{\"42\"}");
    assert!(read(&mut third).is_none(), "an end stays one");
}

#[test]
fn a_copy_goes_on_where_an_attempt_was_dropped() {
    let mut body = three();
    let mut second = body.copy().expect("a copy");
    assert_eq!(read(&mut body).expect("a frame").expect("data"), "a");
    assert!(!second.can_replay(), "the first attempt still streams");
    drop(body);
    assert!(second.can_replay());
    let mut third = second.copy().expect("a copy");
    assert_eq!(read(&mut second).expect("a frame").expect("data"), "a");
    assert_eq!(read(&mut second).expect("a frame").expect("data"), "bc");
    drop(second);
    assert!(third.can_replay());
    assert_eq!(read_all(&mut third), "abc{\"42\"}");
}

#[test]
fn an_attempt_that_was_never_read_leaves_everything_to_the_copy() {
    let mut body = three();
    let mut copy = body.copy().expect("a copy");
    assert!(!copy.can_replay());
    drop(body);
    assert!(copy.can_replay());
    assert_eq!(read_all(&mut copy), "abc{\"42\"}");
}

#[test]
fn a_copy_read_while_another_streams_is_an_error_and_disturbs_no_other() {
    let mut body = three();
    let mut copy = body.copy().expect("a copy");
    assert_eq!(read(&mut body).expect("a frame").expect("data"), "a");
    assert_eq!(read(&mut copy).expect("a frame").expect("the recording"), "a");
    let error = read(&mut copy).expect("no end").expect_err("the rest is not available");
    assert!(error.is::<CannotReplay>());
    assert!(read(&mut copy).is_none());
    assert_eq!(read_all(&mut body), "bc{\"42\"}");
}

#[test]
fn a_dropped_copy_takes_nothing_from_the_attempt_that_streams_above_the_cap() {
    let mut body = three().max_bytes(2);
    let copy = body.copy().expect("its size is not known");
    assert_eq!(read(&mut body).expect("a frame").expect("data"), "a");
    assert_eq!(read(&mut body).expect("a frame").expect("data"), "bc");
    assert!(!copy.can_take_over());
    drop(copy);
    assert_eq!(read_all(&mut body), "{\"42\"}");
}

#[test]
fn the_copied_body_is_the_one_that_streams() {
    let mut body = three();
    let mut second = body.copy().expect("a copy");
    drop(body);
    let third = second.copy().expect("a copy");
    assert!(!third.can_replay(), "the second is about to be sent");
    drop(second);
    assert!(third.can_replay());
}

#[test]
fn above_the_cap_the_body_streams_on_and_the_copy_is_lost() {
    let mut body = ReplayBody::new(Script::new([data("a"), data("bcd"), data("e")])).max_bytes(3);
    let mut copy = body.copy().expect("its size is not known");
    assert_eq!(read(&mut body).expect("a frame").expect("data"), "a");
    assert!(copy.can_take_over());
    assert_eq!(read(&mut body).expect("a frame").expect("data"), "bcd");
    assert!(!copy.can_replay() && body.copy().is_none());
    assert_eq!(read_all(&mut body), "e");
    drop(body);
    assert!(!copy.can_replay() && !copy.is_end_stream());
    assert!(read(&mut copy).expect("no end").is_err());
}

#[test]
fn case_70_a_recording_keeps_no_frame_of_the_body_alive() {
    let first = Arc::new(());
    let owned = Bytes::from_owner(Owned(first.clone()));
    let mut body = ReplayBody::new(Script::new([Step::Data(owned), data("b")]));
    let mut copy = body.copy().expect("a copy");
    assert_eq!(read(&mut body).expect("a frame").expect("data"), "a");
    assert_eq!(Arc::strong_count(&first), 1, "the frame is gone");
    drop(body);
    assert_eq!(read_all(&mut copy), "ab");
}

#[test]
fn case_70_an_unread_copy_works_until_the_body_is_read_and_records_nothing() {
    let mut body = three();
    let copy = body.copy_unread().expect("a copy");
    assert!(copy.can_take_over());
    drop(body);
    let mut second = copy;
    let mut third = second.copy_unread().expect("a copy of an untouched body");
    assert_eq!(read(&mut second).expect("a frame").expect("data"), "a");
    assert!(!third.can_take_over() && !third.take_over() && second.copy_unread().is_none());
    assert_eq!(read_all(&mut second), "bc{\"42\"}");
    assert!(read(&mut third).expect("no end").expect_err("it was not recorded").is::<CannotReplay>());
}

struct Owned(#[expect(dead_code, reason = "it is there to be dropped")] Arc<()>);

impl AsRef<[u8]> for Owned {
    fn as_ref(&self) -> &[u8] {
        b"a"
    }
}

#[test]
fn a_body_that_announces_too_much_is_not_copied_and_one_that_just_fits_is() {
    let four = || ReplayBody::new(Full::new(Bytes::from_static(b"four")));
    assert!(four().max_bytes(3).copy().is_none());
    assert_eq!(read_all(&mut four().max_bytes(3)), "four");
    let mut body = four().max_bytes(4);
    let mut copy = body.copy().expect("it fits");
    assert_eq!(read_all(&mut body), "four");
    assert!(copy.can_replay());
    assert_eq!(read_all(&mut copy), "four");
}

#[test]
fn nothing_is_recorded_without_a_copy_nor_when_none_is_left() {
    let mut body = three();
    assert_eq!(read(&mut body).expect("a frame").expect("data"), "a");
    assert!(body.copy().is_none(), "its beginning is gone");

    let mut body = three();
    drop(body.copy());
    assert_eq!(read_all(&mut body), "abc{\"42\"}");
    assert!(body.copy().is_none());
}

#[test]
fn a_body_that_has_failed_cannot_be_replayed() {
    let mut body = ReplayBody::new(Script::new([data("a"), Step::Fail]));
    let copy = body.copy().expect("a copy");
    assert_eq!(read(&mut body).expect("a frame").expect("data"), "a");
    let error = read(&mut body).expect("a frame").expect_err("it fails");
    assert!(error.is::<io::Error>(), "the error is passed as it is");
    drop(body);
    assert!(!copy.can_replay());
}

#[test]
fn an_empty_body_is_replayed_for_free() {
    let mut body = ReplayBody::new(Empty::<Bytes>::new());
    let mut copy = body.copy().expect("a copy");
    assert!(copy.can_replay() && copy.is_end_stream() && copy.copy().is_some());
    assert_eq!(copy.size_hint().exact(), Some(0));
    assert_eq!(read_all(&mut copy) + &read_all(&mut body), "");
}

#[test]
fn sizes_are_exact_where_they_are_known_in_every_phase() {
    let state = |body: &ReplayBody<Script>| (body.is_end_stream(), body.size_hint().exact());
    let mut script = Script::new([data("a"), data("bc")]);
    script.known = true;
    let mut body = ReplayBody::new(script);
    assert_eq!(state(&body), (false, Some(3)), "alone");
    let mut copy = body.copy().expect("a copy");
    assert_eq!(state(&body), (false, Some(3)), "about to stream");
    let _ = read(&mut body);
    assert_eq!(state(&body), (false, Some(2)), "streaming");
    assert_eq!((copy.is_end_stream(), copy.size_hint().lower()), (false, 1), "the rest is elsewhere");
    drop(body);
    assert_eq!(state(&copy), (false, Some(3)), "the rest is free");
    let _ = copy.copy();
    assert_eq!(state(&copy), (false, Some(3)), "the rest is its own");
    let last = copy.copy().expect("a copy");
    let _ = read(&mut copy);
    assert_eq!(state(&copy), (false, Some(2)), "replaying");
    let _ = read(&mut copy);
    assert_eq!(state(&copy), (true, Some(0)), "at the end, without having read it");
    assert!(last.can_replay(), "a transport does not read the end of a body");
    assert_eq!(state(&last), (false, Some(3)), "complete");
}

#[test]
fn a_size_is_not_exact_where_trailers_come_behind_it() {
    let mut script = Script::new([data("a"), Step::Trailers(trailers())]);
    script.known = true;
    let mut body = ReplayBody::new(script);
    let mut copy = body.copy().expect("a copy");
    assert_eq!(read_all(&mut body), "a{\"42\"}");
    assert_eq!((copy.size_hint().lower(), copy.size_hint().upper()), (1, None));
    assert_eq!(read_all(&mut copy), "a{\"42\"}");
}

#[test]
fn a_body_that_waits_is_neither_lost_nor_recorded_twice() {
    let mut body = ReplayBody::new(Script::new([data("a"), Step::Wait, data("b")]));
    let mut copy = body.copy().expect("a copy");
    let _ = read(&mut body);
    let mut context = Context::from_waker(Waker::noop());
    assert!(Pin::new(&mut body).poll_frame(&mut context).is_pending());
    drop(body);
    assert_eq!(read_all(&mut copy), "ab");
}

#[test]
fn a_body_is_send_and_sync_when_the_inner_one_is() {
    fn send_and_sync<T: Send + Sync>() {}
    fn send<T: Send>() {}
    send_and_sync::<ReplayBody<Full<Bytes>>>();
    send::<ReplayBody<http_body_util::combinators::UnsyncBoxBody<Bytes, io::Error>>>();
}
