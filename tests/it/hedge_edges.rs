//! Rare paths of a hedge: copies that became unusable, kept rejections, and tasks without cooperative budget.

use std::{
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures::future::{Either, select};
use tokio::time::{Instant, advance, sleep};
use tower::{Layer, ServiceExt, service_fn};
use tower_reliability::{Error, ErrorClass, Name, Reason, Rejected, Resend, Trip, retry_budget::RetryBudget};

use crate::{
    hedge_script::{DELAY, FIXED, layer},
    scripted::{Act, Answer, Answered, Peer, Script},
};

/// Copies that cannot take over the body of the attempt before them.
#[derive(Clone)]
struct Consumed;

impl Resend<()> for Consumed {
    fn copy(&self, (): &mut ()) -> Option<()> {
        Some(())
    }

    fn take_over(&self, (): &mut ()) -> bool {
        false
    }
}

#[tokio::test(start_paused = true)]
async fn a_copy_that_cannot_take_over_is_not_sent() {
    let script = Script::new([Act::BAD]);
    let hedge = layer(FIXED).resend(Consumed);
    let answer = hedge.layer(script.service()).oneshot(()).await;
    assert_eq!((answer, script.asked()), (Err(Error::Inner(Peer(Act::BAD.answer))), vec![0]));
    let seen = hedge.handle().snapshot();
    assert_eq!((seen.counts.hedges, seen.counts.unsent, seen.budget.spent), (0, 1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_failure_of_the_backend_replaces_a_kept_rejection() {
    let attempts = Arc::new(AtomicUsize::new(0));
    let service = service_fn(move |()| {
        let first = attempts.fetch_add(1, Ordering::Relaxed) == 0;
        async move {
            sleep(DELAY * 3 / 2).await;
            let closed = || Rejected::new(Name::new("endpoint"), Reason::CircuitOpen(Trip::ByHand));
            Answered::Err(if first {
                Error::Rejected(closed())
            } else {
                Error::Inner(Peer(Answer::Fail(ErrorClass::Server)))
            })
        }
    });
    let answer = layer(FIXED).layer(service).oneshot(()).await;
    assert_eq!(answer, Err(Error::Inner(Peer(Answer::Fail(ErrorClass::Server)))));
}

#[tokio::test(start_paused = true)]
async fn case_75_a_hedge_is_sent_in_time_beside_a_call_that_uses_up_the_cooperative_budget() {
    let attempts = Arc::new(AtomicUsize::new(0));
    let service = service_fn(move |()| {
        let first = attempts.fetch_add(1, Ordering::Relaxed) == 0;
        async move {
            if first {
                loop {
                    tokio::task::consume_budget().await;
                }
            }
            Answered::Ok(())
        }
    });
    let hedge = layer(FIXED).budget(RetryBudget::unlimited());
    let began = Instant::now();
    let call = async {
        let answer = hedge.layer(service).oneshot(()).await;
        (answer, began.elapsed())
    };
    let ticking = async {
        for _ in 0..30 {
            advance(Duration::from_millis(10)).await;
        }
    };
    let Either::Left(((answer, took), _)) = select(pin!(call), pin!(ticking)).await else {
        panic!("no hedge was sent in time");
    };
    assert_eq!(answer, Ok(()));
    assert!((DELAY..DELAY * 2).contains(&took), "{took:?}");
}
