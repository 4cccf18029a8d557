//! Health checks on paused time, and over TCP.

use std::{
    future::pending,
    io,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use tokio::{net::TcpListener, sync::watch, time::Instant};
use tower_reliability::{
    CheckFailure, Event, EventKind, HealthStatus, HealthTransition, Severity,
    health_check::{HealthCheck, HealthCheckConfig, HealthChecker, TcpProbe},
};

use HealthStatus::{Healthy, Unhealthy, Unknown};

const SECOND: Duration = Duration::from_secs(1);

/// An interval of 10 s and a timeout of 2 s, without jitter.
fn steady() -> HealthCheckConfig {
    HealthCheckConfig::new().jitter(0.0)
}

/// An endpoint that passes its checks while it is up, and counts them.
#[derive(Clone, Default)]
struct Endpoint {
    is_down: Arc<AtomicBool>,
    checks: Arc<AtomicU32>,
    running: Arc<AtomicU32>,
}

impl Endpoint {
    fn down(&self, is_down: bool) {
        self.is_down.store(is_down, Ordering::Relaxed);
    }

    fn checks(&self) -> u32 {
        self.checks.load(Ordering::Relaxed)
    }

    fn ask(&self) -> io::Result<()> {
        self.checks.fetch_add(1, Ordering::Relaxed);
        if self.is_down.load(Ordering::Relaxed) { Err(io::Error::other("down\nfor lunch")) } else { Ok(()) }
    }

    /// Counts the checks that run until the guard is dropped.
    fn enter(&self) -> Running {
        assert_eq!(self.running.fetch_add(1, Ordering::Relaxed), 0, "two checks at once");
        self.checks.fetch_add(1, Ordering::Relaxed);
        Running(Arc::clone(&self.running))
    }
}

struct Running(Arc<AtomicU32>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The time from now until the status is this one.
async fn until(status: &mut watch::Receiver<HealthStatus>, wanted: HealthStatus) -> Duration {
    let began = Instant::now();
    status.wait_for(|it| *it == wanted).await.expect("the checks run");
    began.elapsed()
}

#[test]
fn checks_may_be_kept_and_read_anywhere() {
    fn send_and_sync<T: Send + Sync + 'static>() {}
    send_and_sync::<HealthCheck>();
    send_and_sync::<HealthChecker>();
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_falls_and_rises_by_its_thresholds() {
    let endpoint = Endpoint::default();
    let checker = steady().build().expect("valid");
    let (asked, began) = (endpoint.clone(), Instant::now());
    let check = checker.start("a", move || {
        let endpoint = asked.clone();
        async move { endpoint.ask() }
    });
    assert_eq!(check.status(), Unknown);
    let mut status = check.subscribe();
    assert!(until(&mut status, Healthy).await < Duration::from_millis(5), "the first check comes at once");

    endpoint.down(true);
    let tick = Duration::from_millis(5);
    let fallen = until(&mut status, Unhealthy).await;
    assert!((3 * 10 * SECOND..3 * 10 * SECOND + tick).contains(&fallen), "{fallen:?}");
    endpoint.down(false);
    let risen = until(&mut status, Healthy).await;
    assert!((2 * 10 * SECOND..2 * 10 * SECOND + tick).contains(&risen), "{risen:?}");

    let snapshot = check.snapshot();
    assert_eq!((snapshot.passed, snapshot.failed, snapshot.transitions), (3, 3, 3));
    assert_eq!(snapshot.last_failure.as_deref(), Some(r"down\nfor lunch"));
    assert_eq!(endpoint.checks(), 6);
    assert!(began.elapsed() < 51 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn case_52_checks_that_hang_are_failed_and_never_overlap() {
    let endpoint = Endpoint::default();
    // The timeout is longer than the interval.
    let config = steady().interval(SECOND).timeout(5 * SECOND).fall(2);
    let asked = endpoint.clone();
    let check = config.build().expect("valid").start("a", move || {
        let running = asked.enter();
        async move {
            let _running = running;
            pending::<io::Result<()>>().await
        }
    });
    tokio::time::sleep(60 * SECOND).await;
    let snapshot = check.snapshot();
    assert_eq!((snapshot.status, snapshot.timed_out), (Unhealthy, 10), "5 s each, and a pause of 1 s");
    assert_eq!(snapshot.last_failure.as_deref(), Some("no result within 5s"));
}

#[tokio::test(start_paused = true)]
async fn case_52_a_probe_that_panics_is_a_failed_check_and_the_next_one_runs() {
    let checks = Arc::new(AtomicU32::new(0));
    let asked = Arc::clone(&checks);
    let check = steady().rise(1).build().expect("valid").start("a", move || {
        let number = asked.fetch_add(1, Ordering::Relaxed);
        assert!(number != 0, "before the future");
        async move {
            assert!(number != 1, "in the future");
            Ok::<_, io::Error>(())
        }
    });
    let mut status = check.subscribe();
    until(&mut status, Unhealthy).await;
    until(&mut status, Healthy).await;
    let snapshot = check.snapshot();
    assert_eq!((snapshot.panicked, snapshot.passed), (2, 1));
    assert!(snapshot.last_failure.is_some_and(|text| text.contains("in the future")));
}

#[tokio::test(start_paused = true)]
async fn case_52_a_dropped_check_drops_its_probe_and_begins_no_other() {
    let endpoint = Endpoint::default();
    let asked = endpoint.clone();
    let check = steady().timeout(60 * SECOND).build().expect("valid").start("a", move || {
        let running = asked.enter();
        async move {
            let _running = running;
            pending::<io::Result<()>>().await
        }
    });
    let mut status = check.subscribe();
    tokio::time::sleep(SECOND).await;
    assert_eq!(endpoint.running.load(Ordering::Relaxed), 1);
    drop(check);
    assert!(status.changed().await.is_err());
    tokio::time::sleep(300 * SECOND).await;
    assert_eq!((endpoint.running.load(Ordering::Relaxed), endpoint.checks()), (0, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn case_52_a_probe_that_blocks_its_thread_is_late_and_the_next_one_waits_for_it() {
    blocked_checks_are_late().await;
}

#[tokio::test]
async fn case_52_a_probe_that_blocks_the_only_thread_is_late() {
    blocked_checks_are_late().await;
}

async fn blocked_checks_are_late() {
    let endpoint = Endpoint::default();
    let asked = endpoint.clone();
    let config = steady().interval(Duration::from_millis(1)).timeout(Duration::from_millis(20));
    let check = config.build().expect("valid").start("a", move || {
        let running = asked.enter();
        async move {
            std::thread::sleep(Duration::from_millis(100));
            drop(running);
            Ok::<_, io::Error>(())
        }
    });
    tokio::time::sleep(Duration::from_millis(500)).await;
    let snapshot = check.snapshot();
    // `enter` has found no overlap, or the check would have panicked.
    assert_eq!((snapshot.status, snapshot.passed, snapshot.panicked), (Unhealthy, 0, 0));
    assert!(snapshot.timed_out >= 1 && endpoint.checks() >= 2, "{snapshot:?}");
}

#[tokio::test(start_paused = true)]
async fn each_transition_is_one_event_of_the_endpoint_by_name() {
    let endpoint = Endpoint::default();
    let heard = [(); 2].map(|()| Arc::new(Mutex::new(Vec::new())));
    let [of_all, of_one] = heard.clone().map(|heard| {
        move |event: &Event| heard.lock().expect("no panic").push((event.to_string(), event.clone()))
    });
    let checker = steady().build().expect("valid").named("pool");
    checker.listen(of_all);
    let asked = endpoint.clone();
    let probe = move || {
        let endpoint = asked.clone();
        async move { endpoint.ask() }
    };
    let check = checker.start_heard("10.0.0.1:80", probe, of_one);
    let _other = checker.start("10.0.0.2:80", || async { pending::<io::Result<()>>().await });
    let mut status = check.subscribe();
    until(&mut status, Healthy).await;
    endpoint.down(true);
    until(&mut status, Unhealthy).await;
    assert_eq!(check.name().as_str(), "pool:10.0.0.1:80");

    let [all, one] = heard.map(|heard| heard.lock().expect("no panic").clone());
    let texts: Vec<&str> = one.iter().map(|(text, _)| text.as_str()).collect();
    let expected = [
        "pool:10.0.0.1:80: health unknown -> healthy",
        "pool:10.0.0.1:80: health healthy -> unhealthy (check failed)",
    ];
    assert_eq!(texts, expected);
    let event = &one[1].1;
    let EventKind::HealthChanged(HealthTransition { failure, .. }) = event.kind else { panic!("{event}") };
    assert_eq!(failure, Some(CheckFailure::Failed));
    assert_eq!((event.severity(), event.kind.as_str()), (Severity::Warning, "health_changed"));
    assert!(
        all.iter().any(|(text, _)| text == "pool:10.0.0.2:80: health unknown -> unhealthy (check timed out)")
    );
    assert!(one.iter().all(|event| all.contains(event)));
}

#[tokio::test(start_paused = true)]
async fn case_83_an_update_holds_for_the_checks_that_run() {
    let checker = steady().build().expect("valid");
    let endpoint = Endpoint::default();
    let asked = endpoint.clone();
    let check = checker.start("a", move || {
        let endpoint = asked.clone();
        async move { endpoint.ask() }
    });
    let mut status = check.subscribe();
    until(&mut status, Healthy).await;
    let refused = checker.update(steady().fall(0)).expect_err("out of range");
    assert_eq!((refused.field(), checker.config()), ("fall", steady()));

    endpoint.down(true);
    checker.update(steady().interval(SECOND).fall(1).rise(4)).expect("valid");
    let fallen = until(&mut status, Unhealthy).await;
    assert!(fallen < 11 * SECOND, "after the pause that has begun: {fallen:?}");
    endpoint.down(false);
    let risen = until(&mut status, Healthy).await;
    assert!((4 * SECOND..5 * SECOND).contains(&risen), "{risen:?}");
}

#[tokio::test(start_paused = true)]
async fn the_first_checks_of_many_endpoints_are_spread_and_their_pauses_differ() {
    let config = HealthCheckConfig::new();
    let checker = config.build().expect("valid");
    let began = Instant::now();
    let (starts, seconds) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Mutex::new(Vec::new())));
    let checks: Vec<HealthCheck> = (0..1_000)
        .map(|number| {
            let (starts, seconds) = (Arc::clone(&starts), Arc::clone(&seconds));
            let is_first = AtomicBool::new(true);
            checker.start(number.to_string(), move || {
                let times = if is_first.swap(false, Ordering::Relaxed) { &starts } else { &seconds };
                times.lock().expect("no panic").push(began.elapsed());
                async { Ok::<_, io::Error>(()) }
            })
        })
        .collect();
    tokio::time::sleep(13 * SECOND).await;
    let [starts, seconds] = [starts, seconds].map(|times| times.lock().expect("no panic").clone());
    assert_eq!((starts.len(), seconds.len()), (1_000, 1_000));
    let early = starts.iter().filter(|at| **at < Duration::from_millis(500)).count();
    assert!((600..1_000).contains(&early), "the k-th comes within k milliseconds: {early} in the first half");
    assert!(starts.iter().all(|at| *at <= SECOND + Duration::from_millis(2)));
    assert!(seconds.iter().any(|at| *at < Duration::from_millis(9_700)));
    assert!(seconds.iter().any(|at| *at > Duration::from_secs(11)));

    // Endpoints that are gone do not delay a new one.
    drop(checks);
    tokio::time::sleep(SECOND).await;
    let check = checker.start("new", || async { Ok::<_, io::Error>(()) });
    assert!(until(&mut check.subscribe(), Healthy).await <= Duration::from_millis(2));
}

#[tokio::test]
async fn a_tcp_probe_passes_while_a_socket_listens() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    let config = steady().interval(Duration::from_millis(10)).rise(1).fall(2);
    let check = config.build().expect("valid").start("a", TcpProbe::new(address));
    let mut status = check.subscribe();
    until(&mut status, Healthy).await;
    drop(listener);
    until(&mut status, Unhealthy).await;
    let refused = check.snapshot().last_failure.expect("a check failed");
    assert!(refused.to_lowercase().contains("refused"), "{refused}");
    let _listener = TcpListener::bind(address).await.expect("the port is free again");
    until(&mut status, Healthy).await;
}
