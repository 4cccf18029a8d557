//! The promises of the types: `Send`, `Sync` and `Clone`.

use std::{
    cell::Cell,
    future::{Future, Ready, ready},
    io,
    marker::{PhantomData, PhantomPinned},
    pin::Pin,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use tower::{Layer, Service, ServiceExt};
use tower_reliability::{
    ConfigError, Deadline, Error, Event, Name, Outcome, PendingOutcome, Rejected, ReliabilityStack,
    circuit_breaker::{
        self, CircuitBreaker, CircuitBreakerHandle, CircuitBreakerLayer, CircuitBreakerSnapshot,
        KeyedCircuitBreaker,
    },
    concurrency_limit::{ConcurrencyLimit, ConcurrencyLimitConfig, ConcurrencyLimitLayer},
    drain::{Drain, DrainConfig, DrainLayer},
    fallback::{
        Fallback, FallbackBuilder, FallbackConfig, FallbackHandle, FallbackLayer, FallbackSnapshot, LastGood,
        Other,
    },
    grpc::{
        self, GrpcChannel, GrpcClassifier, GrpcOutcomeBody, GrpcRejection, GrpcRejectionLayer, GrpcResend,
        GrpcTimeout, StreamOutcome, StreamOutcomeLayer,
    },
    hedge::{
        CallClass, ClassDelay, Hedge, HedgeConfig, HedgeCounts, HedgeHandle, HedgeLayer, HedgeSnapshot,
        KeyedHedge, KeyedHedgeHandle, KeyedHedgeLayer, OneClass,
    },
    http::{
        self, Authority, BodyOutcome, BoxBody, ByAuthority, ByExtension, ByHeader, ClientKey, HttpClient,
        PriorityHeader, Rejection, RequestExtensions, ReqwestClient, ReqwestRequest, ServerEdge,
        UntilBodyEnd,
    },
    panic_guard::PanicGuard,
    rate_limit::{
        RateLimitConfig, UnitCost,
        adaptive::{AdaptiveRateConfig, AdaptiveRateSnapshot, Watched, WatchedFuture},
        keyed::{KeyedRateLimit, KeyedRateLimitHandle, KeyedRateLimitLayer, KeyedRateLimitSnapshot},
        leased::{LeasePerKey, LeasedRateLimit, LeasedRateLimitHandle, LeasedRateLimitLayer, MemoryQuota},
    },
    redis::RedisQuota,
    retry::{
        Jitter, KeyedRetry, KeyedRetryHandle, KeyedRetryLayer, Retry, RetryConfig, RetryHandle, RetryLayer,
        RetryPolicy, RetrySnapshot,
    },
    retry_budget::{RetryBudget, RetryBudgetSnapshot},
    stack::{
        Boundary, Client, OptionalLayer, PerKey, StackConfig, Wrap,
        server::{DeadlineGate, ServerSlots, ServerStack},
    },
    timeout::{self, Timeout, TimeoutConfig, TimeoutHandle, TimeoutLayer},
};

fn send_and_sync<T: Send + Sync + 'static>() {}
fn clone<T: Clone>() {}

/// An inner service that is neither `Send` nor `Sync`.
#[derive(Clone)]
struct Local(Rc<Cell<u8>>);

/// The future of [`Local`], which is not `Unpin` either.
struct LocalFuture(Local, PhantomPinned);

impl Future for LocalFuture {
    type Output = Result<(), Error<io::Error>>;

    /// Fails the first time.
    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
        let asked = &self.0.0;
        asked.set(asked.get() + 1);
        let reset = || Err(Error::Inner(io::ErrorKind::ConnectionReset.into()));
        Poll::Ready(if asked.get() == 1 { reset() } else { Ok(()) })
    }
}

impl Service<()> for Local {
    type Response = ();
    type Error = Error<io::Error>;
    type Future = LocalFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, (): ()) -> LocalFuture {
        LocalFuture(self.clone(), PhantomPinned)
    }
}

/// An inner service that is `Send`, `Sync` and `Clone`, with a future that is too.
#[derive(Clone)]
struct Ideal;

impl Service<()> for Ideal {
    type Response = ();
    type Error = Error<io::Error>;
    type Future = Ready<Result<(), Error<io::Error>>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, (): ()) -> Self::Future {
        ready(Ok(()))
    }
}

type FallbackFuture<S> = <Fallback<S, Arc<()>> as Service<()>>::Future;
type HedgeFuture<S> = <Hedge<S> as Service<()>>::Future;
type RetryFuture<S> = <Retry<S> as Service<()>>::Future;

/// Whether a type is `Send`, as a value: the inherent constant hides the constant of the trait.
struct IsSend<T>(PhantomData<T>);
trait Otherwise {
    const ANSWER: bool = false;
}
impl<T> Otherwise for IsSend<T> {}
impl<T: Send> IsSend<T> {
    const ANSWER: bool = true;
}

/// The server stack of a program, by its name: a field of a struct can have it.
type Server<Edge, Deadlines> = ServerStack<
    Edge,
    Deadlines,
    ServerSlots<
        DrainLayer<UntilBodyEnd>,
        KeyedRateLimitLayer<ClientKey, ByHeader>,
        ConcurrencyLimitLayer<UntilBodyEnd, PriorityHeader, Deadlines>,
        TimeoutLayer<Deadlines>,
    >,
>;
/// The service of the same stack around `S`, from the inside to the outside.
type InTime<S, D> = Timeout<Wrap<Boundary<S, false>>, D>;
type Limited<S, D> =
    KeyedRateLimit<ConcurrencyLimit<InTime<S, D>, UntilBodyEnd, PriorityHeader, D>, ClientKey, ByHeader>;
type Guarded<S, D> = PanicGuard<Drain<DeadlineGate<Limited<S, D>, D>, UntilBodyEnd>>;
type Served<S> = BodyOutcome<Rejection<Boundary<Guarded<S, RequestExtensions>, true>>>;
type ServedGrpc<S> = BodyOutcome<GrpcRejection<Boundary<Guarded<S, GrpcTimeout>, true>>>;

type HttpServer = Server<ServerEdge, RequestExtensions>;
type GrpcServer = Server<ServerEdge<GrpcRejectionLayer>, GrpcTimeout>;

/// The stacks of both protocols. The type of this function is the test.
fn servers() -> Result<(HttpServer, GrpcServer), ConfigError> {
    const CLIENT: ::http::HeaderName = ::http::HeaderName::from_static("x-client");
    let rate = || RateLimitConfig::per_second(1).per_header(CLIENT);
    let concurrency = ConcurrencyLimitConfig::new(1);
    let (priority, timeout) = (PriorityHeader::new, TimeoutConfig::new(Duration::from_secs(1)));
    let http = http::server().drain(DrainConfig::new()).rate_limit(rate()).concurrency_limit(concurrency);
    let grpc = grpc::server().drain(DrainConfig::new()).rate_limit(rate()).concurrency_limit(concurrency);
    Ok((
        http.priority(priority()).timeout(timeout).build()?,
        grpc.priority(priority()).timeout(timeout).build()?,
    ))
}

#[test]
fn server_stacks_and_their_services_have_names() {
    let (http, grpc) = servers().expect("valid");
    let _: (Served<Ideal>, ServedGrpc<Ideal>) = (http.layer(Ideal), grpc.layer(Ideal));
    send_and_sync::<(Served<Ideal>, ServedGrpc<Ideal>)>();
    clone::<(Served<Local>, ServedGrpc<Local>)>();
    const { assert!(!IsSend::<Served<Local>>::ANSWER) };
    send_and_sync::<(HttpServer, GrpcServer)>();
}

#[test]
fn layers_services_handles_and_futures_are_send_and_sync() {
    send_and_sync::<(StackConfig, OptionalLayer<RetryLayer>)>();
    send_and_sync::<CircuitBreakerLayer>();
    send_and_sync::<CircuitBreakerHandle>();
    send_and_sync::<CircuitBreakerSnapshot>();
    send_and_sync::<CircuitBreaker<()>>();
    send_and_sync::<Timeout<()>>();
    send_and_sync::<TimeoutHandle>();
    send_and_sync::<FallbackBuilder>();
    send_and_sync::<FallbackLayer<LastGood<(), String, Vec<u8>>>>();
    send_and_sync::<Fallback<(), Arc<u8>>>();
    send_and_sync::<(FallbackHandle, FallbackSnapshot)>();
    send_and_sync::<FallbackFuture<Ideal>>();
    send_and_sync::<(HedgeConfig, HedgeLayer, HedgeHandle, OneClass)>();
    send_and_sync::<(HedgeSnapshot, HedgeCounts, ClassDelay)>();
    send_and_sync::<Box<dyn CallClass<u8> + Send + Sync>>();
    send_and_sync::<Hedge<()>>();
    send_and_sync::<HedgeFuture<Ideal>>();
    send_and_sync::<(RetryLayer, RetryHandle, RetryPolicy, RetrySnapshot)>();
    send_and_sync::<(RetryBudget, RetryBudgetSnapshot)>();
    send_and_sync::<Retry<()>>();
    send_and_sync::<RetryFuture<Ideal>>();
    send_and_sync::<ReliabilityStack>();
    send_and_sync::<(KeyedRetryHandle<Authority>, KeyedRetryLayer<Authority, ByAuthority>)>();
    send_and_sync::<KeyedRetry<(), Authority, ByAuthority>>();
    send_and_sync::<(KeyedHedgeHandle<Authority>, KeyedHedgeLayer<Authority, ByAuthority>)>();
    send_and_sync::<KeyedHedge<(), Authority, ByAuthority>>();
    send_and_sync::<(KeyedRateLimitHandle<ClientKey>, KeyedRateLimitLayer<ClientKey, ByHeader>)>();
    send_and_sync::<KeyedRateLimit<(), ClientKey, ByExtension<Rc<u8>>>>();
    send_and_sync::<KeyedRateLimitSnapshot>();
    send_and_sync::<(AdaptiveRateConfig, AdaptiveRateSnapshot)>();
    send_and_sync::<(Watched<(), ()>, WatchedFuture<(), ()>)>();
    send_and_sync::<PerKey<RetryConfig, Cell<u8>, ByAuthority>>();
    // Also where request, response and error are not.
    send_and_sync::<Client<Cell<u8>, Cell<u8>, Cell<u8>>>();
    send_and_sync::<(HttpClient, HttpClient<Cell<u8>, Cell<u8>>)>();
    send_and_sync::<(ReqwestClient, GrpcChannel)>();
    send_and_sync::<(LeasedRateLimitLayer, LeasePerKey<u8, u8>, LeasedRateLimitHandle)>();
    send_and_sync::<(MemoryQuota, RedisQuota)>();
    const { assert!(IsSend::<(BoxBody, ReqwestRequest)>::ANSWER) };
    send_and_sync::<Rejected>();
    send_and_sync::<Error<io::Error>>();
    send_and_sync::<Event>();
    send_and_sync::<(Deadline, Name, Outcome)>();
    send_and_sync::<(GrpcClassifier, GrpcTimeout, GrpcResend, GrpcRejectionLayer, StreamOutcomeLayer)>();
    send_and_sync::<(GrpcRejection<()>, StreamOutcome<()>, GrpcOutcomeBody<(), fn(Outcome)>)>();
    send_and_sync::<http::rejection::future::ResponseFuture<Ready<()>, grpc::GrpcAnswers>>();
    send_and_sync::<grpc::stream_outcome::future::ResponseFuture<Ready<()>, fn(Outcome)>>();
    send_and_sync::<circuit_breaker::future::ResponseFuture<Ready<()>, ()>>();
    send_and_sync::<timeout::future::ResponseFuture<Ready<()>>>();
}

#[test]
fn case_12_ours_is_send_exactly_when_theirs_is() {
    const { assert!(IsSend::<CircuitBreaker<()>>::ANSWER) };
    const { assert!(IsSend::<PendingOutcome>::ANSWER) };
    const { assert!(!IsSend::<CircuitBreaker<Local>>::ANSWER) };
    const { assert!(!IsSend::<Timeout<Local>>::ANSWER) };
    const { assert!(!IsSend::<Fallback<Local, Arc<u8>>>::ANSWER) };
    const { assert!(!IsSend::<Fallback<(), Other<Local>>>::ANSWER) };
    const { assert!(!IsSend::<FallbackFuture<Local>>::ANSWER) };
    const { assert!(IsSend::<HedgeFuture<Ideal>>::ANSWER) };
    const { assert!(!IsSend::<Hedge<Local>>::ANSWER) };
    const { assert!(!IsSend::<HedgeFuture<Local>>::ANSWER) };
    const { assert!(IsSend::<RetryFuture<Ideal>>::ANSWER) };
    const { assert!(!IsSend::<Retry<Local>>::ANSWER) };
    const { assert!(!IsSend::<RetryFuture<Local>>::ANSWER) };
    const { assert!(!IsSend::<KeyedRetry<Local, u8, ()>>::ANSWER) };
    const { assert!(!IsSend::<KeyedHedge<Local, u8, ()>>::ANSWER) };
    const { assert!(!IsSend::<KeyedCircuitBreaker<Local, u8, ()>>::ANSWER) };
    const { assert!(!IsSend::<KeyedRateLimit<Local, u8, ()>>::ANSWER) };
    const { assert!(!IsSend::<LeasedRateLimit<Local>>::ANSWER) };
    const { assert!(!IsSend::<Wrap<Local>>::ANSWER) };
    const { assert!(!IsSend::<GrpcRejection<Local>>::ANSWER) };
    const { assert!(!IsSend::<StreamOutcome<Local>>::ANSWER) };
    const { assert!(!IsSend::<circuit_breaker::future::ResponseFuture<Local, ()>>::ANSWER) };
    const { assert!(!IsSend::<timeout::future::ResponseFuture<Local>>::ANSWER) };
}

#[test]
fn a_service_is_clone_when_its_inner_service_is() {
    clone::<CircuitBreaker<Local>>();
    clone::<Timeout<Local>>();
    clone::<Fallback<Local, Arc<Vec<u8>>>>();
    clone::<Hedge<Local>>();
    clone::<Retry<Local>>();
    clone::<KeyedRetry<Local, u8, ()>>();
    clone::<KeyedRateLimit<Local, u8, (), UnitCost>>();
    clone::<LeasedRateLimit<Local, LeasePerKey<Local, u8>>>();
    clone::<PerKey<RetryConfig, Local, ByAuthority>>();
    clone::<Wrap<Local>>();
    clone::<(GrpcRejection<Local>, StreamOutcome<Local>)>();
    clone::<(CircuitBreakerLayer, TimeoutLayer, RetryLayer, RetryBudget, ReliabilityStack)>();
    clone::<(HttpClient, ReqwestClient, GrpcChannel, Client<Local, Local, Local>)>();
    clone::<(HedgeConfig, HedgeLayer, HedgeHandle, HedgeSnapshot)>();
}

#[tokio::test(start_paused = true)]
async fn case_12_an_inner_service_needs_neither_send_nor_unpin_futures() {
    let retry = RetryConfig::fixed(Duration::from_secs(1)).jitter(Jitter::None).build().expect("valid");
    let local = Local(Rc::default());
    assert!(retry.layer(local.clone()).oneshot(()).await.is_ok());
    assert_eq!((local.0.get(), retry.handle().snapshot().counts.recovered), (2, 1));

    let hedge = HedgeConfig::on_failure().build().expect("valid");
    let local = Local(Rc::default());
    assert!(hedge.layer(local.clone()).oneshot(()).await.is_ok());
    assert_eq!((local.0.get(), hedge.handle().snapshot().counts.won_by_hedge), (2, 1));

    let fallback = FallbackConfig::new().on_all_failures().build().expect("valid").value(());
    let local = Local(Rc::default());
    assert!(fallback.layer(local.clone()).oneshot(()).await.is_ok());
    assert_eq!((local.0.get(), fallback.handle().snapshot().answered()), (1, 1));
}
