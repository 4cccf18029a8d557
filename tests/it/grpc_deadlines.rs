//! Deadlines of remote callers in front of a breaker: impatient callers harm no healthy server.

use std::{convert::Infallible, future::pending, time::Duration};

use http::{Request, Response};
use tokio::time::sleep;
use tower::{Layer, ServiceExt, service_fn, util::BoxCloneService};
use tower_reliability::{CircuitState, circuit_breaker::CircuitBreakerConfig, grpc};

const MILLI: Duration = Duration::from_millis(1);

#[derive(Clone, Copy, Debug)]
enum Server {
    /// Answers after 200 ms.
    Healthy,
    /// Answers `DEADLINE_EXCEEDED` at the deadline of the caller.
    HonoursDeadlines,
    Hangs,
}

fn response(status: &str) -> Response<()> {
    let head = Response::builder().header("content-type", "application/grpc");
    head.header("grpc-status", status).body(()).expect("a response")
}

/// The state of the circuit after 20 calls with this `grpc-timeout`.
async fn after_20_calls(server: Server, total: Option<Duration>, grpc_timeout: &str) -> CircuitState {
    let timeout = grpc_timeout.to_owned();
    let honoured = crate::grpc_peers::timeout(grpc_timeout);
    let service = service_fn(move |_: Request<()>| async move {
        match server {
            Server::Healthy => sleep(200 * MILLI).await,
            Server::HonoursDeadlines => {
                sleep(honoured).await;
                return Ok(response("4"));
            }
            Server::Hangs => pending().await,
        }
        Ok::<_, Infallible>(response("0"))
    });
    let request = || Request::builder().header("grpc-timeout", &timeout).body(()).expect("a request");
    let builder = grpc::stack().circuit_breaker(CircuitBreakerConfig::consecutive(5));
    let (client, handle) = if let Some(total) = total {
        let stack = builder.timeout(total).build().expect("in range");
        (BoxCloneService::new(stack.layer(service)), stack.circuit_breaker())
    } else {
        let stack = builder.build().expect("in range");
        (BoxCloneService::new(stack.layer(service)), stack.circuit_breaker())
    };
    for _ in 0..20 {
        let _ = client.clone().oneshot(request()).await;
    }
    handle.state()
}

#[tokio::test(start_paused = true)]
async fn case_65_short_deadlines_of_remote_callers_open_no_healthy_circuit() {
    let total = Some(10_000 * MILLI);
    for (server, total) in
        [(Server::Healthy, total), (Server::HonoursDeadlines, total), (Server::HonoursDeadlines, None)]
    {
        let state = after_20_calls(server, total, "1m").await;
        assert_eq!(state, CircuitState::Closed, "{server:?}, total timeout: {total:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn case_22_a_server_that_hangs_past_patient_deadlines_opens_the_circuit() {
    let state = after_20_calls(Server::Hangs, Some(10_000 * MILLI), "2S").await;
    assert_eq!(state, CircuitState::Open);
}
