//! What the types promise: who is `Send`, `Sync`, `Clone`, and how large a call is.

use std::{cell::Cell, future::Ready, marker::PhantomData, rc::Rc};

use tower_reliability::{
    Deadline, Error, Event, Name, Outcome, Rejected, ReliabilityStack,
    circuit_breaker::{
        self, CircuitBreaker, CircuitBreakerHandle, CircuitBreakerLayer, CircuitBreakerSnapshot,
    },
    fallback::{Fallback, FallbackHandle, FallbackLayer, FallbackSnapshot, LastGood, Other, Value},
    grpc::{
        self, GrpcClassifier, GrpcOutcomeBody, GrpcRejection, GrpcRejectionLayer, GrpcRepeat, GrpcTimeout,
        StreamOutcome, StreamOutcomeLayer,
    },
    stack::Wrap,
    timeout::{self, Timeout, TimeoutHandle, TimeoutLayer},
};

fn send_and_sync<T: Send + Sync + 'static>() {}
fn clone<T: Clone>() {}

/// Neither `Send` nor `Sync`, and still a fine inner service.
#[derive(Clone)]
struct Local(#[expect(dead_code, reason = "it is there for its type")] Rc<Cell<u8>>);

/// Whether a type is `Send`, as a value: the inherent constant hides the trait's.
struct IsSend<T>(PhantomData<T>);
trait Otherwise {
    const ANSWER: bool = false;
}
impl<T> Otherwise for IsSend<T> {}
impl<T: Send> IsSend<T> {
    const ANSWER: bool = true;
}

#[test]
fn what_users_hold_can_be_sent_and_shared() {
    send_and_sync::<CircuitBreakerLayer>();
    send_and_sync::<CircuitBreakerHandle>();
    send_and_sync::<CircuitBreakerSnapshot>();
    send_and_sync::<CircuitBreaker<()>>();
    send_and_sync::<Timeout<()>>();
    send_and_sync::<TimeoutHandle>();
    send_and_sync::<FallbackLayer>();
    send_and_sync::<FallbackLayer<LastGood<(), String, Vec<u8>>>>();
    send_and_sync::<Fallback<(), Value<u8>>>();
    send_and_sync::<(FallbackHandle, FallbackSnapshot)>();
    send_and_sync::<ReliabilityStack>();
    send_and_sync::<Rejected>();
    send_and_sync::<Error<std::io::Error>>();
    send_and_sync::<Event>();
    send_and_sync::<(Deadline, Name, Outcome)>();
    send_and_sync::<(GrpcClassifier, GrpcTimeout, GrpcRepeat, GrpcRejectionLayer, StreamOutcomeLayer)>();
    send_and_sync::<(GrpcRejection<()>, StreamOutcome<()>, GrpcOutcomeBody<(), fn(Outcome)>)>();
    send_and_sync::<grpc::rejection::future::ResponseFuture<Ready<()>>>();
    send_and_sync::<grpc::stream_outcome::future::ResponseFuture<Ready<()>, fn(Outcome)>>();
    send_and_sync::<circuit_breaker::future::ResponseFuture<Ready<()>, ()>>();
    send_and_sync::<timeout::future::ResponseFuture<Ready<()>>>();
}

#[test]
fn case_12_ours_is_send_exactly_when_theirs_is() {
    const { assert!(IsSend::<CircuitBreaker<()>>::ANSWER) };
    const { assert!(!IsSend::<CircuitBreaker<Local>>::ANSWER) };
    const { assert!(!IsSend::<Timeout<Local>>::ANSWER) };
    const { assert!(!IsSend::<Fallback<Local, Value<u8>>>::ANSWER) };
    const { assert!(!IsSend::<Fallback<(), Other<Local>>>::ANSWER) };
    const { assert!(!IsSend::<Wrap<Local>>::ANSWER) };
    const { assert!(!IsSend::<GrpcRejection<Local>>::ANSWER) };
    const { assert!(!IsSend::<StreamOutcome<Local>>::ANSWER) };
    const { assert!(!IsSend::<circuit_breaker::future::ResponseFuture<Local, ()>>::ANSWER) };
    const { assert!(!IsSend::<timeout::future::ResponseFuture<Local>>::ANSWER) };
}

#[test]
fn a_service_is_clone_when_the_one_below_is() {
    clone::<CircuitBreaker<Local>>();
    clone::<Timeout<Local>>();
    clone::<Fallback<Local, Value<Vec<u8>>>>();
    clone::<Wrap<Local>>();
    clone::<(GrpcRejection<Local>, StreamOutcome<Local>)>();
    clone::<(CircuitBreakerLayer, TimeoutLayer, ReliabilityStack)>();
}
