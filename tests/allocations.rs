//! A call costs no allocation of ours. A binary of its own, because it counts everybody's.

use std::{
    future::{Future, Ready, pending, ready},
    pin::{Pin, pin},
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::Bytes;
use http_body::Body;
use http_body_util::{Empty, Full};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use tower::{Layer, Service, service_fn};
use tower_reliability::{
    BoxError, Deadline, DeadlineSource, Error, ErrorClass, Event,
    balance::{BalanceConfig, BuiltIn},
    circuit_breaker::{CircuitBreakerConfig, Window},
    concurrency_limit::{AdaptiveLimitConfig, ConcurrencyLimitConfig},
    drain::DrainConfig,
    fallback::FallbackConfig,
    hedge::HedgeConfig,
    http::{self as reliable, ReplayBody},
    panic_guard::PanicGuardLayer,
    rate_limit::{
        RateLimitConfig,
        leased::{Grant, QuotaRequest, QuotaSource},
    },
    retry::RetryConfig,
    retry_budget::RetryBudget,
    stack::Client,
    timeout::TimeoutConfig,
};

/// Answers as asked, without an allocation.
#[derive(Clone)]
struct Backend;

type Answer = Result<(), Error<std::fmt::Error>>;

impl Service<bool> for Backend {
    type Response = ();
    type Error = Error<std::fmt::Error>;
    type Future = Ready<Answer>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Answer> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, good: bool) -> Self::Future {
        ready(if good { Ok(()) } else { Err(Error::Inner(std::fmt::Error)) })
    }
}

fn call<S: Service<bool, Response = (), Error = Error<std::fmt::Error>>>(
    service: &mut S,
    good: bool,
) -> Answer {
    let mut context = Context::from_waker(Waker::noop());
    assert!(service.poll_ready(&mut context).is_ready());
    let Poll::Ready(answer) = pin!(service.call(good)).poll(&mut context) else { panic!("it does not wait") };
    answer
}

fn allocations(count: usize, mut body: impl FnMut()) -> u64 {
    // Whatever a thread allocates once, it has allocated by now.
    (0..100).for_each(|_| body());
    allocation_counter::measure(|| (0..count).for_each(|_| body())).count_total
}

/// A source that grants everything.
struct Endless;

impl QuotaSource for Endless {
    async fn lease(&self, request: QuotaRequest) -> Result<Grant, BoxError> {
        Ok(Grant { granted: request.wanted, remaining: 1, ..Grant::default() })
    }
}

#[tokio::test]
async fn case_62_a_call_that_takes_a_unit_of_its_lease_allocates_nothing() {
    let config = RateLimitConfig::per_second(1_000_000).leased().instances(1);
    let layer = config.build("leased", Endless).expect("valid");
    let mut service = layer.layer(Backend);
    // The first call asks on a task, which the test lets run. A lease has 250 000 units.
    assert!(call(&mut service, true).is_ok());
    tokio::task::yield_now().await;
    assert_eq!(allocations(10_000, || assert!(call(&mut service, true).is_ok())), 0);
    let mut service = layer.keyed(|good: &bool| *good).layer(Backend);
    assert!(call(&mut service, true).is_ok());
    tokio::task::yield_now().await;
    assert_eq!(allocations(10_000, || assert!(call(&mut service, true).is_ok())), 0);
}

#[test]
fn case_76_breakers_that_are_gone_give_their_memory_back() {
    let breaker = || {
        let layer = CircuitBreakerConfig::new().build().expect("in range");
        let mut service = layer.layer(Backend);
        assert!(call(&mut service, true).is_ok());
        service
    };
    drop(breaker());
    let one_by_one = allocation_counter::measure(|| (0..100_000).for_each(|_| drop(breaker())));
    assert_eq!(one_by_one.bytes_current, 0);
    let at_once = allocation_counter::measure(|| drop((0..100_000).map(|_| breaker()).collect::<Vec<_>>()));
    assert_eq!(at_once.bytes_current, 0);
    println!("bytes per breaker: {}", at_once.bytes_max / 100_000);
}

#[test]
fn case_62_a_call_that_passes_allocates_nothing_and_a_rejected_call_only_its_rejection() {
    let new = CircuitBreakerConfig::new;
    let over_time = new().window(Window::Time(Duration::from_secs(10)));
    for config in [new(), over_time, new().slow_call(Duration::from_secs(1), 0.5)] {
        // Installed listeners and a name of its own cost a call nothing either.
        let layer = config.build().expect("valid").named("payments".to_owned()).listen(|_: &Event| {});
        let (handle, mut service) = (layer.handle(), layer.layer(Backend));
        assert_eq!(allocations(10_000, || assert!(call(&mut service, true).is_ok())), 0, "accepted");
        handle.force_close();
        assert_eq!(allocations(10_000, || assert!(call(&mut service, false).is_err())), 0, "failed");
        handle.force_open();
        let turned_away = || assert!(matches!(call(&mut service, true), Err(Error::Rejected(_))));
        assert_eq!(allocations(10_000, turned_away), 10_000, "turned away by hand");
        handle.reset();
        while call(&mut service, false).is_err_and(|error| error.rejected().is_none()) {}
        let turned_away = || assert!(matches!(call(&mut service, true), Err(Error::Rejected(_))));
        assert_eq!(allocations(10_000, turned_away), 10_000, "turned away by an open circuit");
    }
}

#[test]
fn case_62_a_call_with_a_free_permit_and_a_call_that_waits_for_one_allocate_nothing() {
    let layer = ConcurrencyLimitConfig::new(1).build().expect("valid").named("database".to_owned());
    let mut service = layer.layer(Backend);
    assert_eq!(allocations(10_000, || assert!(call(&mut service, true).is_ok())), 0, "accepted");
    let mut waiting = layer.layer(service_fn(|_: bool| pending::<Answer>()));
    let waits = || {
        let (held, _dropped, served) = (waiting.call(true), service.call(true), service.call(true));
        drop(held);
        drop(served);
    };
    assert_eq!(allocations(10_000, waits), 0, "queued, served and cancelled");
    let mut keyed = layer.clone().keyed(|_: &bool| 7_u32).layer(Backend);
    assert!(call(&mut keyed, true).is_ok(), "makes the limit of its key");
    assert_eq!(allocations(10_000, || assert!(call(&mut keyed, true).is_ok())), 0, "accepted by its key");
    assert_eq!((layer.handle().snapshot().in_flight, layer.handle().snapshot().waiting), (0, 0));
}

#[test]
fn case_62_a_call_that_an_adaptive_limit_learns_from_allocates_nothing() {
    let adaptive = AdaptiveLimitConfig::new().window(Duration::from_millis(10));
    let config = ConcurrencyLimitConfig::new(20).adaptive(adaptive);
    let mut service = config.build().expect("valid").layer(Backend);
    let accepted = allocations(100_000, || assert!(call(&mut service, true).is_ok()));
    assert!(service.handle().snapshot().baseline.is_some(), "windows have ended");
    assert_eq!(accepted, 0, "accepted");
}

#[test]
fn case_62_a_guarded_call_that_a_drain_counts_allocates_nothing() {
    let drain = DrainConfig::new().build().expect("valid");
    let mut service = PanicGuardLayer::new().layer(drain.layer(Backend));
    assert_eq!(allocations(10_000, || assert!(call(&mut service, true).is_ok())), 0, "accepted");
    drain.handle().begin();
    let rejected = || assert!(matches!(call(&mut service, true), Err(Error::Rejected(_))));
    assert_eq!(allocations(10_000, rejected), 10_000, "rejected");
}

#[test]
fn case_62_a_call_with_a_token_allocates_nothing_and_a_call_without_one_only_its_rejection() {
    let many = RateLimitConfig::per_second(1_000_000).burst(1_000_000);
    for config in [many, many.window(1_000_000, Duration::from_secs(1))] {
        let mut service = config.build().expect("valid").listen(|_: &Event| {}).layer(Backend);
        assert_eq!(allocations(10_000, || assert!(call(&mut service, true).is_ok())), 0, "accepted");
    }
    let none = RateLimitConfig::per(1, Duration::from_secs(60 * 60)).build().expect("valid");
    let mut service = none.layer(Backend);
    assert!(call(&mut service, true).is_ok());
    let turned_away = || assert!(matches!(call(&mut service, true), Err(Error::Rejected(_))));
    assert_eq!(allocations(10_000, turned_away), 10_000, "turned away");
    let day = Duration::from_secs(24 * 60 * 60);
    none.handle().update(none.handle().config().max_wait(day)).expect("valid");
    let mut context = Context::from_waker(Waker::noop());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("it builds");
    let _inside = runtime.enter();
    let waits = || assert!(pin!(service.call(true)).poll(&mut context).is_pending());
    assert_eq!(allocations(10_000, waits), 0, "queued and cancelled");
}

#[test]
fn case_62_a_call_of_a_known_key_passes_without_an_allocation() {
    let layer = RateLimitConfig::per_second(1_000_000).build().expect("valid").keyed(|good: &bool| *good);
    let mut service = layer.layer(Backend);
    assert_eq!(allocations(10_000, || assert!(call(&mut service.clone(), true).is_ok())), 0);
    assert!(call(&mut service, false).is_err(), "the backend fails");
    for key in [true, false] {
        assert_eq!(allocations(10_000, || assert!(layer.handle().quotas(&key).window.is_none())), 0);
    }
}

#[test]
fn case_34_a_million_random_keys_cost_less_than_40_bytes_each_beyond_the_key() {
    let (mut rng, keys) = (StdRng::seed_from_u64(34), 1_000_000);
    // No bucket is full again before the end.
    let config = RateLimitConfig::per(1, Duration::from_secs(60 * 60));
    let layer = config.build().expect("valid").keyed(|key: &u64| *key).max_keys(keys);
    let mut service = layer.layer(service_fn(|_: u64| ready(Ok(()) as Answer)));
    let storm = allocation_counter::measure(|| {
        for _ in 0..keys + 50_000 {
            drop(service.call(rng.random()));
        }
    });
    assert_eq!(layer.handle().snapshot().keys, keys);
    let keys = u64::try_from(keys).expect("a million");
    let tenths = |bytes: u64| bytes * 10 / keys - 80;
    let at_end = u64::try_from(storm.bytes_current).expect("it holds memory");
    println!(
        "tenths of a byte per key beyond the key: {}, at most {}",
        tenths(at_end),
        tenths(storm.bytes_max)
    );
    assert!(tenths(storm.bytes_max) <= 400);
}

#[test]
fn case_34_a_window_per_key_takes_memory_only_for_the_calls_in_it() {
    let keys = 10_000;
    for (calls, bound) in [(1, 128), (10, 384), (300, 4_224)] {
        let config = RateLimitConfig::sliding_window(256, Duration::from_secs(60 * 60));
        let layer = config.build().expect("valid").keyed(|key: &u64| *key);
        let mut service = layer.layer(service_fn(|_: u64| ready(Ok(()) as Answer)));
        let flood = allocation_counter::measure(|| {
            for key in (0..keys).flat_map(|key| std::iter::repeat_n(key, calls)) {
                drop(service.call(key));
            }
        });
        let each = flood.bytes_max / keys;
        println!("bytes per key with {calls} calls: {each}");
        assert!(each <= bound, "{calls} calls: {each}");
    }
}

#[test]
fn case_62_a_body_that_is_sent_once_or_is_empty_allocates_nothing() {
    let mut context = Context::from_waker(Waker::noop());
    let once = allocations(1_000, || {
        let mut body = pin!(ReplayBody::new(Full::new(Bytes::from_static(b"an order"))));
        while !body.is_end_stream() {
            assert!(body.as_mut().poll_frame(&mut context).is_ready());
        }
    });
    assert_eq!(once, 0, "sent once");
    let empty =
        || assert!(ReplayBody::new(Empty::<Bytes>::new()).copy().is_some_and(|copy| copy.can_replay()));
    assert_eq!(allocations(1_000, empty), 0, "empty");
}

#[test]
fn case_62_a_call_with_a_fallback_allocates_nothing_whether_it_succeeds_or_is_answered_by_it() {
    let layer = FallbackConfig::new().on_all_failures().build().expect("valid");
    let mut service = layer.value(()).named("prices".to_owned()).layer(Backend);
    assert_eq!(allocations(10_000, || assert!(call(&mut service, true).is_ok())), 0, "a value, not needed");
    assert_eq!(allocations(10_000, || assert!(call(&mut service, false).is_ok())), 0, "a value");
    let nothing = |_: Result<&(), &Error<std::fmt::Error>>| None;
    let mut service = layer.with(nothing).named("prices".to_owned()).layer(Backend);
    assert_eq!(
        allocations(10_000, || assert!(call(&mut service, true).is_ok())),
        0,
        "a function, not needed"
    );
    assert_eq!(allocations(10_000, || assert!(call(&mut service, false).is_err())), 0, "a function");
}

/// Answers when it is polled for the second time, without an allocation.
struct Once(bool, Answer);

impl Future for Once {
    type Output = Answer;

    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Answer> {
        if std::mem::replace(&mut self.0, true) { Poll::Ready(self.1.clone()) } else { Poll::Pending }
    }
}

#[tokio::test(start_paused = true)]
async fn case_62_a_call_that_needs_no_hedge_allocates_nothing() {
    let layer = HedgeConfig::fixed(Duration::from_secs(60)).build().expect("valid");
    let mut at_once = layer.layer(Backend);
    assert_eq!(allocations(10_000, || assert!(call(&mut at_once, true).is_ok())), 0, "answered at once");
    // A timer is armed for each, and lies within the future.
    for config in
        [HedgeConfig::fixed(Duration::from_secs(60)), HedgeConfig::new().start(Duration::from_secs(9))]
    {
        let layer = config.build().expect("valid");
        let mut waits = layer.layer(service_fn(|_: bool| Once(false, Ok(()))));
        let mut context = Context::from_waker(Waker::noop());
        let mut wait = || {
            let mut call = pin!(waits.call(true));
            assert!(call.as_mut().poll(&mut context).is_pending());
            assert!(call.as_mut().poll(&mut context).is_ready());
        };
        assert_eq!(allocations(10_000, &mut wait), 0, "answered before the delay is over");
        assert_eq!(layer.handle().snapshot().counts.hedges, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn case_62_an_event_without_a_listener_allocates_nothing() {
    const COUNT: usize = 1_000;
    let mut context = Context::from_waker(Waker::noop());

    // A call whose deadline has passed costs its rejection.
    let layer = TimeoutConfig::new(Duration::from_secs(1)).build().expect("valid").named("total".to_owned());
    let mut expired = layer.clone().deadlines(Expired).layer(Backend);
    let expire = || assert!(call(&mut expired, true).is_err());
    assert_eq!(allocations(COUNT, expire), COUNT as u64, "a timeout");

    // A retried call costs the memory of its retries.
    let config = RetryConfig::fixed(Duration::ZERO).max_attempts(2).on(ErrorClass::Unknown);
    let layer = config.build().expect("valid").named("stock".to_owned()).budget(RetryBudget::unlimited());
    let mut retried = layer.layer(Backend);
    let retry = || {
        let mut call = pin!(retried.call(false));
        assert!(call.as_mut().poll(&mut context).is_pending());
        assert!(call.as_mut().poll(&mut context).is_ready());
    };
    assert_eq!(allocations(COUNT, retry), COUNT as u64, "a retry");
    assert_eq!(layer.handle().snapshot().counts.retries, COUNT as u64 + 100);

    // A hedged call costs the hedge: its place, the list, and the future.
    let config = HedgeConfig::fixed(Duration::ZERO);
    let layer = config.build().expect("valid").named("stock".to_owned()).budget(RetryBudget::unlimited());
    let mut hedged = layer.layer(service_fn(|_: bool| Once(false, Ok(()))));
    let hedge = || {
        let mut call = pin!(hedged.call(true));
        assert!(call.as_mut().poll(&mut context).is_pending());
        assert!(call.as_mut().poll(&mut context).is_ready());
    };
    assert_eq!(allocations(COUNT, hedge), 3 * COUNT as u64, "a hedge");
    assert_eq!(layer.handle().snapshot().counts.hedges, COUNT as u64 + 100);
}

/// Every request has a deadline that has passed.
#[derive(Clone, Copy)]
struct Expired;

impl DeadlineSource<bool> for Expired {
    fn deadline(&self, _: &bool) -> Option<Deadline> {
        Some(Deadline::after(Duration::ZERO))
    }
}

/// Answers at once with what it is asked; nothing to clone.
#[derive(Clone, Copy)]
struct Echo;

impl Service<u64> for Echo {
    type Response = u64;
    type Error = std::io::Error;
    type Future = Ready<std::io::Result<u64>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: u64) -> Self::Future {
        ready(Ok(request))
    }
}

#[test]
fn case_62_a_call_that_succeeds_at_its_first_attempt_allocates_nothing_under_a_retry() {
    let layer = RetryConfig::new().build().expect("valid").named("stock".to_owned());
    let mut service = layer.layer(Echo);
    let mut context = Context::from_waker(Waker::noop());
    let ask = || {
        assert!(service.poll_ready(&mut context).is_ready());
        let answer = pin!(service.call(7)).poll(&mut context);
        assert!(matches!(answer, Poll::Ready(Ok(7))));
    };
    assert_eq!(allocations(10_000, ask), 0);
    assert_eq!(layer.handle().snapshot().counts.succeeded, 10_100);
}

#[test]
fn the_future_of_a_retry_is_little_larger_than_the_one_below() {
    let mut service = RetryConfig::new().build().expect("valid").layer(Echo);
    let (ours, theirs) = (size_of_val(&service.call(7)), size_of_val(&Echo.call(7)));
    assert!(ours <= theirs + 72, "{ours} bytes around {theirs}");
}

#[test]
fn case_62_a_call_through_a_client_takes_one_allocation() {
    let client = Client::new(Echo);
    let mut context = Context::from_waker(Waker::noop());
    let ask = || assert!(matches!(pin!(client.call(7)).poll(&mut context), Poll::Ready(Ok(7))));
    assert_eq!(allocations(10_000, ask), 10_000);
}

#[test]
fn a_call_through_a_client_keeps_no_service_beside_the_future_of_the_service() {
    let mut service = RetryConfig::new().build().expect("valid").layer(Echo);
    let (waits, runs) = (size_of_val(&service) + size_of::<u64>(), size_of_val(&service.call(7)));
    let (client, mut call) = (Client::new(service), None);
    let held = allocation_counter::measure(|| call = Some(client.call(7))).bytes_current;
    let held = usize::try_from(held).expect("a call frees nothing before it runs");
    assert!(held <= waits.max(runs) + 24, "{held} bytes for {waits} and then {runs}");
}

/// Answers every request at once.
#[derive(Clone, Copy)]
struct Web;

impl<B> Service<http::Request<B>> for Web {
    type Response = http::Response<()>;
    type Error = std::io::Error;
    type Future = Ready<std::io::Result<Self::Response>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: http::Request<B>) -> Self::Future {
        ready(Ok(http::Response::new(())))
    }
}

/// A request to a host. Its URI exists already.
fn request<B>(uri: &http::Uri, body: B) -> http::Request<B> {
    let mut request = http::Request::new(body);
    request.uri_mut().clone_from(uri);
    request
}

#[test]
fn case_62_a_request_without_a_body_through_a_client_takes_one_allocation() {
    let client = reliable::stack().build().expect("valid").client(Web);
    let (uri, mut context) =
        ("http://shop.example/tea".parse().expect("a URI"), Context::from_waker(Waker::noop()));
    let ask = || {
        let answer = pin!(client.send(request(&uri, String::new()))).poll(&mut context);
        assert!(matches!(answer, Poll::Ready(Ok(_))));
    };
    assert_eq!(allocations(10_000, ask), 10_000);
}

#[test]
fn case_62_a_call_allocates_nothing_for_the_state_of_its_host() {
    let stack = reliable::stack()
        .circuit_breaker(CircuitBreakerConfig::new().per_authority())
        .retry(RetryConfig::new().max_attempts(1).per_authority())
        .build()
        .expect("valid");
    let mut service = stack.layer(Web);
    let (uri, mut context) =
        ("http://shop.example/tea".parse().expect("a URI"), Context::from_waker(Waker::noop()));
    let mut send = |uri: &http::Uri| {
        let request = request(uri, ReplayBody::new(Empty::<Bytes>::new()));
        // `HttpResend` leaves the history of each call in its request, which is no cost of the key.
        let sent = allocation_counter::measure(|| drop(pin!(service.call(request)).poll(&mut context)));
        sent.count_total
    };
    for _ in 0..100 {
        send(&uri);
    }
    let unkeyed = {
        let stack = reliable::stack().retry(RetryConfig::new().max_attempts(1)).build().expect("valid");
        let mut service = stack.layer(Web);
        let request = request(&uri, ReplayBody::new(Empty::<Bytes>::new()));
        drop(service.call(request));
        let request = self::request(&uri, ReplayBody::new(Empty::<Bytes>::new()));
        allocation_counter::measure(|| drop(service.call(request))).count_total
    };
    assert_eq!(send(&uri), unkeyed);

    let hosts: Vec<http::Uri> =
        (0..1_000).map(|n| format!("http://host-{n}.example/").parse().expect("a URI")).collect();
    let used = allocation_counter::measure(|| {
        for host in &hosts {
            send(host);
        }
    });
    println!("bytes per host: {}", used.bytes_current / 1_000);
    assert!(used.bytes_current < 1_000 * 8 * 1_024, "{used:?}");
}

#[test]
fn case_62_a_balanced_call_allocates_nothing() {
    for strategy in [
        BuiltIn::PeakEwma,
        BuiltIn::LeastConnections,
        BuiltIn::LeastConnectionsOfAll,
        BuiltIn::RoundRobin,
        BuiltIn::WeightedRoundRobin,
        BuiltIn::Random,
    ] {
        let builder = BalanceConfig::new().strategy(strategy).build().expect("in range");
        let balance = builder.endpoints(0..10_u32, |_| Backend);
        let allocated = allocations(1_000, || {
            assert!(call(&mut balance.clone(), true).is_ok());
        });
        assert_eq!(allocated, 0, "{strategy:?}");
    }
}

#[test]
fn case_76_endpoints_that_are_gone_give_their_memory_back() {
    let balance = BalanceConfig::new().build().expect("in range").endpoints(0..1_u32, |_| Backend);
    let handle = balance.handle();
    let all = allocation_counter::measure(|| drop(handle.replace(0..10_000, |_| Backend)));
    println!("bytes per endpoint: {}", all.bytes_current / 10_000);
    assert!(all.bytes_current < 10_000 * 256, "{all:?}");
    let mut random = StdRng::seed_from_u64(46);
    let churn = allocation_counter::measure(|| {
        for _ in 0..1_000 {
            let key = random.random_range(0..10_000);
            if random.random() {
                drop(handle.insert(key, Backend));
            } else {
                drop(handle.remove(&key));
            }
            assert!(call(&mut balance.clone(), true).is_ok());
        }
    });
    assert!(churn.bytes_current <= 0, "{churn:?}");
    let gone = allocation_counter::measure(|| drop(handle.replace(0..1, |_| Backend)));
    println!("bytes returned per endpoint: {}", -gone.bytes_current / 10_000);
    // What stays is the capacity of the list.
    assert!(all.bytes_current + churn.bytes_current + gone.bytes_current < 10_000 * 128);
}

#[test]
fn case_76_a_balancer_gives_its_memory_back_while_an_endpoint_is_suspected() {
    let suspect = || {
        let config = BalanceConfig::new().strategy(BuiltIn::RoundRobin);
        let balance = config.build().expect("in range").endpoints(0..2_u32, |_| Backend);
        // The last call may leave suspects, which no further call judges.
        (0..10).for_each(|_| assert!(call(&mut balance.clone(), false).is_err()));
    };
    suspect();
    let used = allocation_counter::measure(|| (0..100).for_each(|_| suspect()));
    assert_eq!(used.bytes_current, 0);
}
