//! Whether a call is being dropped because another one for the same request has answered.

use std::cell::Cell;

thread_local!(static SUPERSEDED: Cell<bool> = const { Cell::new(false) });

/// Drops calls whose answer is no longer wanted. What they passed through knows it by [`is_superseded`]: they were
/// neither given up nor failed, and say nothing about the peer.
#[allow(dead_code, reason = "the file goes with its last reader, the breaker")]
pub(crate) fn supersede(drop_them: impl FnOnce()) {
    struct Reset(bool);
    impl Drop for Reset {
        fn drop(&mut self) {
            SUPERSEDED.set(self.0);
        }
    }
    // Dropping happens on this thread and at once, so nobody else is taken for superseded.
    let _reset = Reset(SUPERSEDED.replace(true));
    drop_them();
}

/// Whether whoever is dropped now has been [superseded](supersede).
pub(crate) fn is_superseded() -> bool {
    SUPERSEDED.get()
}

#[cfg(test)]
mod tests {
    use std::panic::catch_unwind;

    use super::*;

    #[test]
    fn it_holds_while_they_are_dropped_and_no_longer() {
        assert!(!is_superseded());
        supersede(|| {
            supersede(|| assert!(is_superseded()));
            assert!(is_superseded());
        });
        assert!(!is_superseded());
        let _ = catch_unwind(|| supersede(|| std::panic::resume_unwind(Box::new("a drop that panics"))));
        assert!(!is_superseded());
    }
}
