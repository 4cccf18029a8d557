//! A listener and its connections.

use std::{
    convert::Infallible,
    future::Future,
    net::SocketAddr,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::body::{Body, HttpBody};
use hyper::{
    body::Incoming,
    server::conn::http1,
    service::{HttpService, service_fn},
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{io::AsyncWriteExt, sync::watch, task::JoinSet, time};
use tower_reliability::BoxError;

use crate::{
    clients::ClientsConfig,
    forwarded::Peer,
    listen::Listeners,
    proxy::{Connection, Gateway},
    socket::{Activity, ClientSocket},
};

/// Serves a gateway until `stop`, then lets open requests finish for at most `drain`.
pub(crate) async fn serve_app(
    listeners: Listeners,
    gateway: Arc<Gateway>,
    stop: impl Future<Output = ()>,
    drain: Duration,
) -> usize {
    serve_gateway(listeners, gateway, stop, || time::sleep(drain)).await
}

/// Serves a gateway until `stop`, then lets open requests finish until the future of `drain` is ready.
pub(crate) async fn serve_gateway<D: Future>(
    listeners: Listeners,
    gateway: Arc<Gateway>,
    stop: impl Future<Output = ()>,
    drain: impl FnOnce() -> D,
) -> usize {
    let config = gateway.clients().clone();
    let connection = move |address, activity: &Arc<Activity>| {
        let peer = Peer::new(address, &gateway.clients().trust);
        let connection =
            Arc::new(Connection { gateway: Arc::clone(&gateway), peer, activity: Arc::clone(activity) });
        service_fn(move |request| {
            let connection = Arc::clone(&connection);
            async move { Ok::<_, Infallible>(connection.answer(request).await) }
        })
    };
    run(listeners, &config, connection, stop, drain).await
}

/// Serves until `stop`, then lets open requests finish for at most `drain`.
pub(crate) async fn serve<S>(
    listeners: Listeners,
    connection: impl Fn(SocketAddr) -> S,
    stop: impl Future<Output = ()>,
    drain: Duration,
) -> usize
where
    S: HttpService<Incoming, ResBody = Body, Future: Send> + Send + 'static,
    S::Error: Into<BoxError>,
{
    let config = ClientsConfig::default();
    run(listeners, &config, |address, _| connection(address), stop, || time::sleep(drain)).await
}

/// Returns the number of connections that were cut off. Dropping the future closes all of them.
async fn run<S, B, D: Future>(
    mut listeners: Listeners,
    config: &ClientsConfig,
    connection: impl Fn(SocketAddr, &Arc<Activity>) -> S,
    stop: impl Future<Output = ()>,
    drain: impl FnOnce() -> D,
) -> usize
where
    S: HttpService<Incoming, ResBody = B, Future: Send> + Send + 'static,
    S::Error: Into<BoxError>,
    B: HttpBody<Data: Send, Error: Into<BoxError>> + Send + 'static,
{
    let cut_off = Arc::new(AtomicUsize::new(0));
    let (draining, drained) = watch::channel(());
    let mut connections = JoinSet::new();
    let mut stop = pin!(stop);
    loop {
        let (socket, peer) = tokio::select! {
            () = &mut stop => break,
            Some(_) = connections.join_next() => continue,
            accepted = listeners.accept() => match accepted {
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
        let activity = Arc::new(Activity::new());
        let http = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(config.header_read_timeout)
            .max_buf_size(BUFFER)
            .serve_connection(
                TokioIo::new(ClientSocket::new(socket, config.send_timeout, Arc::clone(&activity))),
                connection(peer, &activity),
            );
        let guard = CutOff { activity, count: Arc::clone(&cut_off), ended: false };
        connections.spawn(drive(http, peer, guard, drained.clone()));
    }
    drop(listeners);
    drop(draining);
    let all_done = async { while connections.join_next().await.is_some() {} };
    tokio::select! {
        () = all_done => {}
        _ = drain() => {}
    }
    connections.shutdown().await;
    cut_off.load(Ordering::Relaxed)
}

/// Serves a connection until its end, or until it has no request while the server drains.
async fn drive<S, B>(
    mut http: http1::Connection<TokioIo<ClientSocket>, S>,
    peer: SocketAddr,
    mut guard: CutOff,
    mut drained: watch::Receiver<()>,
) where
    S: HttpService<Incoming, ResBody = B>,
    S::Error: Into<BoxError>,
    B: HttpBody<Error: Into<BoxError>> + 'static,
{
    let ended = tokio::select! {
        ended = &mut http => Some(ended),
        // The sender is dropped when the server drains.
        _ = drained.changed() => {
            Pin::new(&mut http).graceful_shutdown();
            tokio::select! {
                ended = &mut http => Some(ended),
                // A request whose head does not arrive to its end is no reason to wait.
                () = guard.idle() => None,
            }
        }
    };
    guard.ended = true;
    let mut parts = http.into_parts();
    let answered = match ended {
        Some(Ok(())) => guard.activity.had_upload(),
        // hyper closes such a connection without a word.
        Some(Err(_)) if parts.read_buf.starts_with(HTTP_2_PREFACE) => {
            parts.io.inner_mut().write_all(NO_HTTP_2).await.is_ok()
        }
        Some(Err(error)) => {
            tracing::debug!("{peer}: {error}");
            // hyper has answered 400.
            error.is_parse()
        }
        None => false,
    };
    if answered {
        parts.io.into_inner().linger().await;
    }
}

/// Counts a connection that is dropped while it answers a request.
struct CutOff {
    activity: Arc<Activity>,
    count: Arc<AtomicUsize>,
    /// The connection has ended by itself.
    ended: bool,
}

impl CutOff {
    /// Waits until the connection answers no request, and has had time to finish the head of one.
    async fn idle(&self) {
        loop {
            time::sleep(HEAD_WHILE_DRAINING).await;
            if !self.activity.is_answering() {
                return;
            }
        }
    }
}

impl Drop for CutOff {
    fn drop(&mut self) {
        if !self.ended && self.activity.is_answering() {
            // Relaxed: the task is awaited before the count is read.
            self.count.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// For what was read and not parsed, and for what was not sent yet, each.
const BUFFER: usize = 32 * 1_024;
const HEAD_WHILE_DRAINING: Duration = Duration::from_secs(1);
const HTTP_2_PREFACE: &[u8] = b"PRI * HTTP/2.0";
const NO_HTTP_2: &[u8] = b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
