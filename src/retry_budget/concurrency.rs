//! Successes counted without a lock, while other threads withdraw.
//!
//! Run with `RUSTFLAGS="--cfg shuttle" cargo test --lib concurrency`.

use std::{sync::Arc, time::Duration};

use shuttle::thread;

use super::{Account, RetryBudget, RetryBudgetConfig};

/// Each request deposits one retry. Nothing depends on time.
const CONFIG: RetryBudgetConfig = RetryBudgetConfig::new()
    .ratio(1.0)
    .reserve(0)
    .without_health_gate()
    .window(Duration::from_secs(24 * 60 * 60));

fn explore(body: impl Fn() + Send + Sync + 'static) {
    shuttle::check_random(body, EXECUTIONS);
}

fn budget() -> RetryBudget {
    CONFIG.build().expect("valid")
}

fn succeeding(account: &Arc<Account>, calls: u32) -> thread::JoinHandle<()> {
    let account = Arc::clone(account);
    thread::spawn(move || (0..calls).for_each(|_| drop(account.succeeded())))
}

/// Withdraws that often, and spends each withdrawal. Returns how many were granted.
fn spending(account: &Arc<Account>, asked: u32) -> thread::JoinHandle<u32> {
    let account = Arc::clone(account);
    thread::spawn(move || (0..asked).map(|_| u32::from(send(&account))).sum())
}

/// Sends one more attempt if it is granted, which ends at once.
fn send(account: &Account) -> bool {
    let sent = account.withdraw().map(super::Withdrawal::spend).is_ok();
    if sent {
        account.record(None);
    }
    sent
}

fn drained(budget: &RetryBudget) -> u32 {
    let account = budget.account();
    std::iter::repeat_with(|| send(&account)).take_while(|sent| *sent).map(u32::from).sum()
}

#[test]
fn no_success_is_lost_or_counted_twice() {
    explore(|| {
        let budget = budget();
        let (one, other) = (Arc::new(budget.account()), Arc::new(budget.account()));
        let succeeding = [succeeding(&one, 3), succeeding(&one, 2), succeeding(&other, 2)];
        let spending = [spending(&one, 3), spending(&other, 3)];
        budget.snapshot();
        succeeding.map(|thread| thread.join().expect("no thread panics"));
        let granted: u32 = spending.map(|thread| thread.join().expect("no thread panics")).iter().sum();
        assert_eq!(granted + drained(&budget), 7);
        assert_eq!((one.successes(), other.successes(), budget.snapshot().spent), (5, 2, 7));
    });
}

#[test]
fn successes_before_an_account_is_dropped_count_once() {
    explore(|| {
        let budget = budget();
        let account = Arc::new(budget.account());
        let thread = succeeding(&account, 3);
        let looking = budget.clone();
        let looking = thread::spawn(move || drop(looking.snapshot()));
        drop(account);
        thread.join().expect("no thread panics");
        looking.join().expect("no thread panics");
        assert_eq!(drained(&budget), 3);
    });
}

#[test]
fn a_withdrawal_is_held_by_one_thread_and_refunded() {
    explore(|| {
        let budget = budget();
        let account = Arc::new(budget.account());
        account.succeeded();
        let holders: Vec<_> = (0..2)
            .map(|_| {
                let account = Arc::clone(&account);
                thread::spawn(move || drop(account.withdraw()))
            })
            .collect();
        holders.into_iter().for_each(|holder| holder.join().expect("no thread panics"));
        assert_eq!((drained(&budget), budget.snapshot().spent), (1, 1));
    });
}

/// Each takes well under a millisecond.
const EXECUTIONS: usize = 5_000;
