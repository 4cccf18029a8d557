//! An axum server that finishes its requests before it stops. `cargo run --example server_drain`
//!
//! SIGTERM or Ctrl-C begins the drain. `/ready` then answers 503, new requests are rejected after the delay, and the
//! process ends with the last response. Without a signal, the example stops by itself after a second.

use std::{net::SocketAddr, time::Duration};

use axum::{Router, http::StatusCode, routing::get};
use tokio::{net::TcpListener, signal::ctrl_c, sync::oneshot, time::sleep};
use tower_reliability::{
    BoxError, ConfigError,
    drain::{DrainConfig, DrainHandle},
    http,
};

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let (app, drain) = app()?;

    let (tell, drained) = oneshot::channel();
    let server = axum::serve(listener, app).with_graceful_shutdown(async move {
        stop_signal().await;
        let report = drain.drain().await;
        println!("{} requests finished in {:?}, {} are left", report.finished, report.waited, report.left);
        let _ = tell.send(report.left);
    });
    let until_drained = async {
        tokio::select! {
            result = server.into_future() => result?,
            // axum would wait for these requests without a limit.
            Ok(1..) = drained => println!("the rest is cut off"),
        }
        Ok(())
    };
    tokio::join!(until_drained, visit(address)).0
}

fn app() -> Result<(Router, DrainHandle), ConfigError> {
    let server = http::server()
        .drain(DrainConfig::new().delay(Duration::from_millis(200)).limit(Duration::from_secs(20)))
        .timeout(Duration::from_secs(10))
        .build()?;
    let handle = server.drain();
    let pages = Router::new()
        .route("/slow", get(async || sleep(Duration::from_millis(500)).await))
        .route("/broken", get(async || -> &'static str { panic!("a defect") }))
        .layer(server);

    // The readiness endpoint stands outside of the drain, which would reject it.
    let readiness = handle.clone();
    let ready = get(async move || {
        if readiness.is_draining() {
            (StatusCode::SERVICE_UNAVAILABLE, "draining")
        } else {
            (StatusCode::OK, "ready")
        }
    });
    Ok((pages.route("/ready", ready), handle))
}

/// Waits for SIGTERM or Ctrl-C, and in this example for at most a second.
async fn stop_signal() {
    tokio::select! {
        () = terminated() => {}
        _ = ctrl_c() => {}
        () = sleep(Duration::from_secs(1)) => {}
    }
}

#[cfg(unix)]
async fn terminated() {
    use tokio::signal::unix::{SignalKind, signal};
    match signal(SignalKind::terminate()) {
        Ok(mut terminate) => _ = terminate.recv().await,
        Err(error) => eprintln!("SIGTERM cannot be caught: {error}"),
    }
}

#[cfg(not(unix))]
async fn terminated() {
    std::future::pending().await
}

/// Requests pages before and during the drain, and prints the answers.
async fn visit(address: SocketAddr) {
    let client = reqwest::Client::new();
    for path in ["/ready", "/broken", "/slow", "/slow", "/ready"].iter().chain(&["/slow"; 3]) {
        match client.get(format!("http://{address}{path}")).send().await {
            Ok(response) => println!("GET {path}: {}", response.status()),
            Err(_) => println!("GET {path}: the server has stopped"),
        }
    }
}
