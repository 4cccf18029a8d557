//! Endpoints from a stream of changes.

use std::{
    future::poll_fn,
    pin::{Pin, pin},
    task::{Context, Poll},
};

use tower::discover::{Change, Discover};

use super::{handle::BalanceHandle, shared::EndpointKey};

impl<K: EndpointKey, S> BalanceHandle<K, S> {
    /// Makes the changes of the endpoints that `discover` yields, until it ends or fails. Needs the feature `tower`.
    ///
    /// The program runs the future, in a task of its own for example. Changes that are there at once make one new set. The
    /// endpoints stay when the future ends.
    ///
    /// # Cancellation
    ///
    /// Dropping the future drops the stream. All changes that it has yielded are made.
    ///
    /// # Errors
    ///
    /// The error of the stream.
    pub async fn follow<D>(&self, discover: D) -> Result<(), D::Error>
    where
        D: Discover<Key = K, Service = S>,
    {
        let mut discover = pin!(discover);
        loop {
            let (changes, end) = poll_fn(|cx| poll_changes(discover.as_mut(), cx)).await;
            if !changes.is_empty() {
                drop(self.apply(changes));
            }
            if let Some(end) = end {
                return end;
            }
        }
    }
}

/// Changes, and the end of the stream.
type Changes<K, S, E> = (Vec<(K, Option<S>)>, Option<Result<(), E>>);

/// The changes that are there. Pending if there is none.
fn poll_changes<D: Discover>(
    mut discover: Pin<&mut D>,
    cx: &mut Context<'_>,
) -> Poll<Changes<D::Key, D::Service, D::Error>> {
    let mut changes = Vec::new();
    while changes.len() < MOST {
        match discover.as_mut().poll_discover(cx) {
            Poll::Ready(Some(Ok(Change::Insert(key, service)))) => changes.push((key, Some(service))),
            Poll::Ready(Some(Ok(Change::Remove(key)))) => changes.push((key, None)),
            Poll::Ready(Some(Err(error))) => return Poll::Ready((changes, Some(Err(error)))),
            Poll::Ready(None) => return Poll::Ready((changes, Some(Ok(())))),
            Poll::Pending if changes.is_empty() => return Poll::Pending,
            Poll::Pending => break,
        }
    }
    Poll::Ready((changes, None))
}

/// A stream that is always ready must not keep its thread.
const MOST: usize = 1_024;
