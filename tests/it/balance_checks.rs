//! Active health checks of a balancer.

use std::{
    future::{Ready, pending, ready},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use tokio::time::sleep;
use tower::util::ServiceFn;
use tower_reliability::{
    Error, Event,
    balance::{Balance, BalanceConfig, HealthCheckConfig},
};

const SECOND: Duration = Duration::from_secs(1);

#[derive(Clone, Copy, PartialEq)]
enum Health {
    Good,
    Bad,
    Hangs,
    Panics,
    /// Longer than the interval, and shorter than the timeout.
    Slow,
}

type Service = ServiceFn<fn(()) -> Ready<Result<(), Error<std::fmt::Error>>>>;

fn balance(n: u32) -> Balance<u32, Service> {
    let service: fn(()) -> _ = |()| ready(Ok(()));
    BalanceConfig::new().build().expect("valid").endpoints(0..n, |_| tower::service_fn(service))
}

fn down(balance: &Balance<u32, Service>) -> Vec<u32> {
    let endpoints = balance.handle().snapshot().endpoints;
    endpoints.into_iter().filter(|it| it.is_down).map(|it| it.key).collect()
}

/// The checks of an endpoint that is so, and the highest number of its checks at once.
fn checks(
    balance: &Balance<u32, Service>,
    health: &Arc<Mutex<Health>>,
    config: HealthCheckConfig,
) -> (tower_reliability::balance::HealthChecks, Arc<AtomicU32>) {
    let (health, running, most) =
        (Arc::clone(health), Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
    let highest = Arc::clone(&most);
    let checks = balance.handle().check(config, move |key, _| {
        let health = if *key == 0 { *health.lock().expect("no panic") } else { Health::Good };
        let (running, most) = (Arc::clone(&running), Arc::clone(&most));
        let is_first = *key == 0;
        async move {
            if is_first {
                most.fetch_max(running.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
            }
            let _end = End(is_first.then_some(running));
            match health {
                Health::Good => true,
                Health::Bad => false,
                Health::Hangs => pending().await,
                Health::Panics => std::panic::resume_unwind(Box::new("the check panics")),
                Health::Slow => {
                    sleep(3 * SECOND).await;
                    true
                }
            }
        }
    });
    (checks.expect("valid"), highest)
}

/// The end of a check, by a drop too.
struct End(Option<Arc<AtomicU32>>);

impl Drop for End {
    fn drop(&mut self) {
        if let Some(running) = &self.0 {
            running.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn case_52_a_check_that_fails_hangs_or_panics_takes_the_endpoint_down() {
    let config = HealthCheckConfig::new().interval(SECOND).jitter(0.0);
    for bad in [Health::Bad, Health::Hangs, Health::Panics] {
        let (balance, health) = (balance(3), Arc::new(Mutex::new(Health::Good)));
        let events = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&events);
        balance.handle().listen(move |event: &Event| heard.lock().expect("no panic").push(event.to_string()));
        let (checks, most) = checks(&balance, &health, config.timeout(SECOND / 2));
        sleep(5 * SECOND).await;
        assert!(down(&balance).is_empty());
        *health.lock().expect("no panic") = bad;
        sleep(2 * SECOND).await;
        assert!(down(&balance).is_empty(), "two failures are not enough");
        sleep(2 * SECOND).await;
        assert_eq!(down(&balance), [0]);
        for _ in 0..50 {
            tower::ServiceExt::oneshot(balance.clone(), ()).await.expect("the others take it");
        }
        assert_eq!(balance.handle().snapshot().endpoints[0].picks, 0);
        *health.lock().expect("no panic") = Health::Good;
        sleep(3 * SECOND).await;
        assert!(down(&balance).is_empty());
        assert_eq!(
            *events.lock().expect("no panic"),
            ["balance:0: endpoint is down", "balance:0: endpoint is up again"]
        );
        assert_eq!(most.load(Ordering::Relaxed), 1);
        drop(checks);
    }
}

#[tokio::test(start_paused = true)]
async fn case_52_a_check_slower_than_its_interval_never_overlaps_and_a_drop_ends_it() {
    let (balance, health) = (balance(2), Arc::new(Mutex::new(Health::Slow)));
    let config = HealthCheckConfig::new().interval(SECOND).timeout(5 * SECOND).fall(1);
    let (checks, most) = checks(&balance, &health, config);
    sleep(20 * SECOND).await;
    assert_eq!((down(&balance), most.load(Ordering::Relaxed)), (vec![], 1));
    *health.lock().expect("no panic") = Health::Bad;
    drop(checks);
    sleep(20 * SECOND).await;
    assert!(down(&balance).is_empty(), "no check runs any more");
}

#[tokio::test(start_paused = true)]
async fn case_46_a_late_check_of_a_former_endpoint_does_not_judge_its_successor() {
    let (balance, health) = (balance(2), Arc::new(Mutex::new(Health::Hangs)));
    let config = HealthCheckConfig::new().interval(SECOND).jitter(0.0).timeout(2 * SECOND).fall(1);
    let (_checks, _) = checks(&balance, &health, config);
    sleep(SECOND).await;
    *health.lock().expect("no panic") = Health::Good;
    let service: fn(()) -> _ = |()| ready(Ok(()));
    drop(balance.handle().insert(0, tower::service_fn(service)));
    // The late check has ended, and a later one has not made up for it.
    sleep(3 * SECOND / 2).await;
    assert!(down(&balance).is_empty());
}
