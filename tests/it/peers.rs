//! Servers for tests, on free loopback ports. They end with the test's runtime.

use axum::Router;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

/// Starts an axum server. Returns its address.
pub(crate) async fn serve(app: Router) -> String {
    let (listener, address) = listen().await;
    tokio::spawn(async move { axum::serve(listener, app).await });
    address
}

/// Starts a server that reads a request, answers with these bytes, and closes the connection. Returns its address.
pub(crate) async fn serve_bytes(answer: &'static [u8]) -> String {
    let (listener, address) = listen().await;
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = [0; 1_024];
            let _ = stream.read(&mut request).await;
            let _ = stream.write_all(answer).await;
        }
    });
    address
}

/// The same, but the connection stays open after the bytes.
pub(crate) async fn serve_bytes_and_hang(answer: &'static [u8]) -> String {
    let (listener, address) = listen().await;
    tokio::spawn(async move {
        let mut open = Vec::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = [0; 1_024];
            let _ = stream.read(&mut request).await;
            let _ = stream.write_all(answer).await;
            open.push(stream);
        }
    });
    address
}

/// A listener on a free port, and its address.
pub(crate) async fn listen() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("it is bound").to_string();
    (listener, address)
}

/// An address without a listener.
pub(crate) async fn no_listener() -> String {
    listen().await.1
}
