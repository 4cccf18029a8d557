//! An axum server that answers rejected calls. `cargo run --example server_axum`
//!
//! One stack around several routes has one circuit: a failing route closes all of them. Routes that must not affect each
//! other get their own stacks, as `/reports` does here.

use std::{future::pending, io, net::SocketAddr, time::Duration};

use axum::{Router, http::StatusCode, routing::get};
use tokio::net::TcpListener;
use tower_reliability::{
    BoxError, ConfigError,
    circuit_breaker::CircuitBreakerConfig,
    http::{self, RejectionLayer},
};

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let app = app()?;
    tokio::select! {
        result = serve(listener, app) => result?,
        result = visit(address) => result?,
    }
    Ok(())
}

fn app() -> Result<Router, ConfigError> {
    let pages = http::stack().named("pages").timeout(Duration::from_millis(100)).build()?;
    let reports = http::stack()
        .named("reports")
        .circuit_breaker(CircuitBreakerConfig::consecutive(2).open_for(Duration::from_secs(10)))
        .build()?;
    let pages = self::pages().layer((RejectionLayer::new(), pages));
    let reports = self::reports().layer((RejectionLayer::new(), reports));
    Ok(pages.merge(reports))
}

fn pages() -> Router {
    Router::new().route("/", get(async || "hello")).route("/slow", get(async || pending::<&str>().await))
}

fn reports() -> Router {
    Router::new().route("/reports", get(async || (StatusCode::INTERNAL_SERVER_ERROR, "no database")))
}

async fn serve(listener: TcpListener, app: Router) -> io::Result<()> {
    axum::serve(listener, app).await
}

/// Requests each page and prints the answers.
async fn visit(address: SocketAddr) -> Result<(), BoxError> {
    let client = reqwest::Client::new();
    for path in ["/", "/slow", "/reports", "/reports", "/reports", "/"] {
        let response = client.get(format!("http://{address}{path}")).send().await?;
        let status = response.status();
        let again = response
            .headers()
            .get("retry-after")
            .map(|value| format!(", Retry-After: {}", value.to_str().unwrap_or("?")));
        println!("GET {path}: {status}{}", again.unwrap_or_default());
        println!("    {}", response.text().await?);
    }
    Ok(())
}
