//! The call that is served next, for limits whose permits come with time: it keeps the time for all.

use super::{Ticket, WaitQueue};

impl<T: Default> WaitQueue<T> {
    /// The means to wake the call that is served next, to be replaced.
    pub(crate) fn head(&mut self) -> Option<&mut T> {
        let index = self.classes[self.next_class()?].waiting.first()?;
        Some(&mut self.entries[index].payload)
    }

    /// Whether the call is served next.
    pub(crate) fn is_head(&self, ticket: &Ticket) -> bool {
        self.next_class().is_some_and(|class| self.classes[class].waiting.first() == Some(ticket.0))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crate::{
        call::Priority,
        rt::clock::epoch,
        wait_queue::{Arrival, WaitQueue, WaitQueueConfig},
    };

    #[test]
    fn the_head_is_the_call_that_the_queue_serves_next() {
        let mut queue = WaitQueue::new(WaitQueueConfig::new());
        assert_eq!(queue.head(), None);
        let enqueue = |queue: &mut WaitQueue<u32>, priority, id| {
            let call = Arrival { priority, cost: 1, deadline: None, key: None };
            queue.enqueue(call, id, Duration::ZERO, epoch()).expect("there is a place").ticket
        };
        let low = enqueue(&mut queue, Priority::Low, 1);
        let high = enqueue(&mut queue, Priority::High, 2);
        assert!(queue.is_head(&high) && !queue.is_head(&low));
        assert_eq!(
            (queue.head().copied(), queue.dequeue(epoch(), |_| true).map(|it| it.payload)),
            (Some(2), Some(2))
        );
        assert!(queue.is_head(&low) && !queue.is_head(&high));
        queue.remove(low);
        assert_eq!(queue.head(), None);
    }
}
