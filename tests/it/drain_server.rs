//! A server that drains, over real sockets.

use std::{
    convert::Infallible,
    future::pending,
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use axum::{
    Router,
    body::{Body, Bytes},
    http::StatusCode,
    routing::get,
};
use futures::{StreamExt, stream};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
    time::{sleep, timeout},
};
use tower::ServiceBuilder;
use tower_reliability::{
    Error,
    drain::{DrainConfig, DrainHandle, DrainReport},
    http::{BodyOutcomeLayer, RejectionLayer, UntilBodyEnd},
};

use crate::peers::listen;

/// Sends its body in five parts over 100 ms.
async fn streamed() -> Body {
    Body::from_stream(stream::iter(0..5).then(|_| async {
        sleep(Duration::from_millis(20)).await;
        Ok::<_, Infallible>(Bytes::from_static(b"12345678"))
    }))
}

async fn slow() -> &'static str {
    sleep(Duration::from_millis(50)).await;
    "slow"
}

/// An app whose readiness endpoint stands outside of the drain.
fn app(config: DrainConfig) -> (Router, DrainHandle) {
    let drain = config.build().expect("valid").classify(UntilBodyEnd);
    let handle = drain.handle();
    let pages = Router::new()
        .route("/slow", get(slow))
        .route("/streamed", get(streamed))
        .route("/never", get(pending::<&'static str>))
        .layer(
            ServiceBuilder::new()
                .layer(BodyOutcomeLayer)
                .layer(RejectionLayer::new())
                .layer(drain)
                .map_err(Error::inner),
        );
    let readiness = {
        let handle = handle.clone();
        get(async move || if handle.is_draining() { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK })
    };
    (pages.route("/ready", readiness), handle)
}

/// Serves until the drain that `stop` begins has ended, and then shuts the connections down.
fn serve(
    listener: TcpListener,
    app: Router,
    handle: DrainHandle,
    stop: impl Future<Output = ()> + Send + 'static,
) -> JoinHandle<(io::Result<()>, DrainReport)> {
    tokio::spawn(async move {
        let (tell, told) = tokio::sync::oneshot::channel();
        let served = axum::serve(listener, app).with_graceful_shutdown(async move {
            stop.await;
            let _ = tell.send(handle.drain().await);
        });
        let served = served.await;
        (served, told.await.expect("the server ends after the drain"))
    })
}

#[derive(Default)]
struct Counts {
    whole: AtomicU32,
    rejected: AtomicU32,
}

/// Requests pages until the server is gone. Panics if a request that was accepted has no whole answer.
async fn visit(address: String, counts: Arc<Counts>, stopped: Arc<AtomicBool>, path: &'static str) {
    let client = reqwest::Client::builder().pool_max_idle_per_host(1).build().expect("a client");
    loop {
        let response = match client.get(format!("http://{address}{path}")).send().await {
            Ok(response) => response,
            // Not accepted: the server had closed the connection, or its listener.
            Err(error) => {
                assert!(stopped.load(Ordering::Relaxed), "{error:?}");
                return;
            }
        };
        if response.status() == 503 {
            assert!(stopped.load(Ordering::Relaxed));
            assert_eq!(response.headers()["connection"], "close");
            counts.rejected.fetch_add(1, Ordering::Relaxed);
            sleep(Duration::from_millis(5)).await;
            continue;
        }
        assert_eq!(response.status(), 200);
        let body = response.text().await.expect("a whole body");
        assert!(body == "slow" || body == "12345678".repeat(5), "{body}");
        counts.whole.fetch_add(1, Ordering::Relaxed);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn case_63_a_server_that_stops_under_load_loses_no_answer_in_flight() {
    let (listener, address) = listen().await;
    let (app, handle) = app(DrainConfig::new().limit(Duration::from_secs(20)));
    let stopped = Arc::new(AtomicBool::new(false));
    let server = serve(listener, app, handle.clone(), {
        let stopped = Arc::clone(&stopped);
        async move {
            sleep(Duration::from_millis(400)).await;
            stopped.store(true, Ordering::Relaxed);
        }
    });
    let counts = Arc::<Counts>::default();
    let visitors: Vec<_> = (0..40)
        .map(|number| {
            let path = if number % 2 == 0 { "/slow" } else { "/streamed" };
            tokio::spawn(visit(address.clone(), Arc::clone(&counts), Arc::clone(&stopped), path))
        })
        .collect();
    let (result, report) =
        timeout(Duration::from_secs(30), server).await.expect("it stops").expect("no panic");
    result.expect("no error");
    for visitor in visitors {
        timeout(Duration::from_secs(5), visitor).await.expect("it ends").expect("no answer is lost");
    }
    println!("{report:?}, {} whole answers", counts.whole.load(Ordering::Relaxed));
    assert_eq!((report.left, handle.snapshot().in_flight), (0, 0));
    assert!(report.finished > 0, "the server stopped while it worked");
    assert_eq!(u64::from(counts.rejected.load(Ordering::Relaxed)), handle.snapshot().rejected);
}

#[tokio::test]
async fn readiness_fails_before_the_first_rejection() {
    let (listener, address) = listen().await;
    let (app, handle) = app(DrainConfig::new().delay(Duration::from_millis(300)));
    let server = serve(listener, app, handle.clone(), {
        let handle = handle.clone();
        async move {
            while !handle.is_draining() {
                sleep(Duration::from_millis(1)).await;
            }
        }
    });
    let status =
        async |path: &str| reqwest::get(format!("http://{address}{path}")).await.expect("an answer").status();
    assert_eq!((status("/ready").await, status("/slow").await), (StatusCode::OK, StatusCode::OK));
    handle.begin();
    assert_eq!(
        (status("/ready").await, status("/slow").await),
        (StatusCode::SERVICE_UNAVAILABLE, StatusCode::OK)
    );
    let (result, report) = server.await.expect("no panic");
    result.expect("no error");
    assert!(report.waited >= Duration::from_millis(300));
}

#[tokio::test]
async fn a_rejection_closes_the_connection_and_a_body_that_is_read_slowly_is_waited_for() {
    let (listener, address) = listen().await;
    let (app, handle) = app(DrainConfig::new());
    tokio::spawn(async move { axum::serve(listener, app.into_make_service()).await });
    let mut reader = TcpStream::connect(&address).await.expect("a connection");
    reader.write_all(b"GET /streamed HTTP/1.1\r\nhost: a\r\n\r\n").await.expect("sent");
    let mut head = [0; 16];
    reader.read_exact(&mut head).await.expect("an answer");
    assert!(head.starts_with(b"HTTP/1.1 200"));
    let begin = Instant::now();
    let drain = tokio::spawn({
        let handle = handle.clone();
        async move { handle.drain().await }
    });
    while !handle.is_draining() {
        sleep(Duration::from_millis(1)).await;
    }
    let mut late = TcpStream::connect(&address).await.expect("a connection");
    late.write_all(b"GET /slow HTTP/1.1\r\nhost: a\r\n\r\n").await.expect("sent");
    let mut answer = String::new();
    timeout(Duration::from_secs(5), late.read_to_string(&mut answer)).await.expect("closed").expect("text");
    assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("connection: close"), "{answer}");
    assert!(!answer.contains("drain"), "{answer}");
    let report = drain.await.expect("no panic");
    assert_eq!((report.finished, report.left), (1, 0));
    println!("the rest of the body took {:?}", begin.elapsed());
}

#[tokio::test]
async fn a_call_that_does_not_end_is_left_at_the_limit() {
    let (listener, address) = listen().await;
    let (app, handle) = app(DrainConfig::new().limit(Duration::from_millis(100)));
    tokio::spawn(async move { axum::serve(listener, app.into_make_service()).await });
    let mut hangs = TcpStream::connect(&address).await.expect("a connection");
    hangs.write_all(b"GET /never HTTP/1.1\r\nhost: a\r\n\r\n").await.expect("sent");
    while handle.snapshot().in_flight == 0 {
        sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(handle.drain().await.left, 1);
    drop(hangs);
    timeout(Duration::from_secs(5), async {
        while handle.snapshot().in_flight > 0 {
            sleep(Duration::from_millis(1)).await;
        }
    })
    .await
    .expect("a client that hangs up ends its call");
}
