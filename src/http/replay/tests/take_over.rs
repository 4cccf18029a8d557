//! Copies that take a body over from the attempt that streams it.

use super::*;

#[test]
fn the_earlier_attempt_gets_an_error_and_no_end_and_the_copy_gets_the_whole_body() {
    let mut body = three();
    let mut copy = body.copy().expect("a copy");
    assert_eq!(read(&mut body).expect("a frame").expect("data"), "a");
    assert!(!copy.can_replay() && copy.can_take_over());
    assert!(copy.take_over() && copy.take_over());
    assert_eq!((body.is_end_stream(), body.size_hint().upper()), (false, None));
    assert!(read(&mut body).expect("no end").expect_err("it is taken over").is::<CannotReplay>());
    assert!(read(&mut body).is_none(), "after the error");
    drop(body);
    assert_eq!(read_all(&mut copy), "abc{\"42\"}");
}

#[test]
fn a_copy_takes_over_from_one_that_has_not_begun_and_leaves_alone_what_is_complete() {
    let mut body = three();
    let mut copy = body.copy().expect("a copy");
    assert!(copy.take_over());
    assert!(read(&mut body).expect("no end").is_err());
    let mut third = copy.copy().expect("a copy");
    assert_eq!(read_all(&mut copy), "abc{\"42\"}");
    let mut fourth = third.copy().expect("a copy");
    assert!(fourth.take_over());
    assert_eq!((read_all(&mut third), read_all(&mut fourth)), ("abc{\"42\"}".into(), "abc{\"42\"}".into()));
}

/// A body of which each poll is scripted.
type Fed = http_body_util::StreamBody<Pin<Box<dyn futures::Stream<Item = io::Result<Frame<Bytes>>> + Send>>>;

fn fed(poll: impl FnMut(&mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> + Send + 'static) -> Fed {
    http_body_util::StreamBody::new(Box::pin(futures::stream::poll_fn(poll)))
}

#[test]
fn a_task_that_waits_for_a_frame_is_woken_by_a_take_over() {
    let mut body = ReplayBody::new(fed(|_| Poll::Pending));
    let mut copy = body.copy().expect("a copy");
    let mut task = tokio_test::task::spawn(());
    let mut poll = |body: &mut ReplayBody<Fed>| task.enter(|cx, _| Pin::new(body).poll_frame(cx));
    assert!(poll(&mut body).is_pending() && poll(&mut body).is_pending());
    assert!(copy.take_over());
    assert!(task.is_woken());
    let frame = task.enter(|cx, _| Pin::new(&mut body).poll_frame(cx));
    assert!(matches!(frame, Poll::Ready(Some(Err(_)))));
}

/// A body that is taken over during its first poll, by the copy in the slot.
fn taken_over(
    mut answer: impl FnMut(u32) -> Poll<Option<io::Result<Frame<Bytes>>>> + Send + 'static,
) -> (ReplayBody<Fed>, Slot) {
    let slot = Slot::default();
    let (inside, mut polls) = (slot.clone(), 0);
    let mut body = ReplayBody::new(fed(move |_| {
        if let (0, Some(Waiting { copy, task })) = (polls, &mut *inside.lock().expect("no panic")) {
            assert!(copy.take_over());
            let polled = task.enter(|cx, _| Pin::new(copy).poll_frame(cx));
            assert!(polled.is_pending(), "the body is being polled");
        }
        polls += 1;
        answer(polls)
    }));
    let copy = body.copy().expect("a copy");
    *slot.lock().expect("no panic") = Some(Waiting { copy, task: tokio_test::task::spawn(()) });
    (body, slot)
}

type Slot = Arc<std::sync::Mutex<Option<Waiting>>>;

struct Waiting {
    copy: ReplayBody<Fed>,
    task: tokio_test::task::Spawn<()>,
}

#[test]
fn an_attempt_taken_over_during_a_poll_hands_the_rest_on_and_wakes_the_copy() {
    for frame_comes in [true, false] {
        let (mut body, slot) = taken_over(move |polls| match polls {
            1 if !frame_comes => Poll::Pending,
            1 | 2 => Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"x"))))),
            _ => Poll::Ready(None),
        });
        let first = read(&mut body).expect("no end");
        assert_eq!(first.is_ok(), frame_comes, "{first:?}");
        assert!(!frame_comes || read(&mut body).expect("no end").is_err());
        let Waiting { mut copy, task } = slot.lock().expect("no panic").take().expect("it is there");
        assert!(task.is_woken());
        assert_eq!(read_all(&mut copy), if frame_comes { "xx" } else { "x" }, "nothing is lost on the way");
    }
}

#[test]
fn a_body_that_panics_is_lost_and_the_waiting_copy_learns_it() {
    let (mut body, slot) = taken_over(|_| panic!("in the body"));
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| read(&mut body)));
    assert!(panicked.is_err());
    let Waiting { mut copy, task } = slot.lock().expect("it was free by then").take().expect("it is there");
    assert!(task.is_woken() && !copy.can_take_over() && !copy.take_over());
    assert!(read(&mut copy).expect("no end").expect_err("there is no rest").is::<CannotReplay>());
    assert!(read(&mut body).expect("no end").is_err());
}
