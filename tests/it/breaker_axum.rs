//! One breaker before an axum server, over real connections.

use std::{
    convert::Infallible,
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{Router, error_handling::HandleErrorLayer, http::StatusCode, routing::get};
use futures::future::join_all;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tower::ServiceBuilder;
use tower_reliability::{
    BoxError, ErrorClass, Outcome, Rejected,
    circuit_breaker::{CircuitBreakerConfig, CircuitState},
};

/// One request on a connection of its own; the status line's number.
async fn ask(port: u16, path: &str) -> io::Result<u16> {
    let mut connection = TcpStream::connect(("127.0.0.1", port)).await?;
    let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    connection.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    connection.read_to_string(&mut answer).await?;
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
    status.ok_or_else(|| io::Error::other(answer))
}

async fn turned_away(error: BoxError) -> StatusCode {
    if error.is::<Rejected>() { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::INTERNAL_SERVER_ERROR }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn case_23_fifty_connections_and_two_routes_share_one_circuit() {
    let breaker = CircuitBreakerConfig::new()
        .min_requests(30)
        .open_for(Duration::from_secs(300))
        .build()
        .expect("valid")
        .classify(|result: Result<&axum::response::Response, &BoxError>| match result {
            Ok(response) if response.status().is_server_error() => Outcome::failure(ErrorClass::Server),
            Ok(_) => Outcome::Success,
            Err(_) => Outcome::failure(ErrorClass::Unknown),
        });
    let handle = breaker.handle();
    let reached = Arc::new(AtomicUsize::new(0));
    let broken = {
        let reached = Arc::clone(&reached);
        move || async move {
            reached.fetch_add(1, Ordering::SeqCst);
            StatusCode::BAD_GATEWAY
        }
    };
    let stack = ServiceBuilder::new()
        .layer(HandleErrorLayer::new(turned_away))
        .layer(breaker)
        .map_err(|never: Infallible| -> BoxError { match never {} });
    let app = Router::new().route("/a", get(broken.clone())).route("/b", get(broken)).layer(stack);
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("it is bound").port();
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(async move { axum::serve(listener, app).await });

    let paths = ["/a", "/b"].into_iter().cycle();
    let answers = join_all(paths.take(50).map(|path| ask(port, path))).await;
    let statuses: Vec<u16> = answers.into_iter().map(|status| status.expect("an answer")).collect();

    // 30 of 50 were needed, over both routes and all connections; those in flight at that moment got through.
    assert_eq!(handle.state(), CircuitState::Open);
    let counts = handle.snapshot().counts;
    let turned_away = statuses.iter().filter(|status| **status == 503).count() as u64;
    assert_eq!((counts.failures + counts.rejected, counts.rejected, counts.trips), (50, turned_away, 1));
    assert_eq!(reached.load(Ordering::SeqCst) as u64, counts.failures);
    assert!(counts.failures >= 30);

    // Once it is open, no connection and no route gets through.
    for path in ["/a", "/b"] {
        assert_eq!(ask(port, path).await.expect("an answer"), 503);
    }
    assert_eq!(reached.load(Ordering::SeqCst) as u64, counts.failures);
}
