//! A listener and its connections.

use std::{convert::Infallible, future::Future, net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use axum::body::Body;
use hyper::{
    body::Incoming,
    server::conn::http1,
    service::{HttpService, service_fn},
};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
};
use tokio::{net::TcpListener, task::JoinSet, time};
use tower_reliability::BoxError;

use crate::{headers::Peer, proxy::Gateway};

/// Serves a gateway as [`serve`] does.
pub(crate) async fn serve_app(
    listener: TcpListener,
    gateway: Arc<Gateway>,
    stop: impl Future<Output = ()>,
    drain: Duration,
) -> usize {
    let connection = move |address| {
        let shared = Arc::new((Arc::clone(&gateway), Peer::new(address)));
        service_fn(move |request| {
            let shared = Arc::clone(&shared);
            async move {
                let (gateway, peer) = &*shared;
                Ok::<_, Infallible>(gateway.answer(peer, request).await)
            }
        })
    };
    serve(listener, connection, stop, drain).await
}

/// Serves until `stop`, then lets open requests finish for at most `drain`.
///
/// Returns the number of connections that were cut off. Dropping the future closes all of them.
pub(crate) async fn serve<S>(
    listener: TcpListener,
    connection: impl Fn(SocketAddr) -> S,
    stop: impl Future<Output = ()>,
    drain: Duration,
) -> usize
where
    S: HttpService<Incoming, ResBody = Body, Future: Send> + Send + 'static,
    S::Error: Into<BoxError>,
{
    let graceful = GracefulShutdown::new();
    let mut connections = JoinSet::new();
    let mut stop = pin!(stop);
    loop {
        let (socket, peer) = tokio::select! {
            () = &mut stop => break,
            Some(_) = connections.join_next() => continue,
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // The process may be out of file descriptors, and some will be free soon.
                    tracing::warn!("cannot accept a connection: {error}");
                    time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            },
        };
        let _ = socket.set_nodelay(true);
        let http = http1::Builder::new()
            // The timer lets hyper close a connection whose client takes longer than 30 s for its headers.
            .timer(TokioTimer::new())
            .serve_connection(TokioIo::new(socket), connection(peer));
        let http = graceful.watch(http);
        connections.spawn(async move {
            if let Err(error) = http.await {
                tracing::debug!("{peer}: {error}");
            }
        });
    }
    drop(listener);
    let all_done = async {
        graceful.shutdown().await;
        while connections.join_next().await.is_some() {}
    };
    let _ = time::timeout(drain, all_done).await;
    connections.len()
}
