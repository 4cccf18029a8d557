//! Memory that a recorded request body holds, behind a real hyper server.

use std::{convert::Infallible, sync::mpsc, time::Duration};

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::{BodyExt, Empty};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{io::AsyncReadExt, io::AsyncWriteExt, net::TcpStream, time::timeout};
use tower_reliability::{
    PriorAttempts, Resend,
    http::{HttpResend, ReplayBody},
};

use crate::peers::listen;

type Received = Request<ReplayBody<Incoming>>;

/// Sends a chunked request to a server, which reads a recorded body. Returns the copy, and the bytes that it holds.
fn record(method: Method, chunk: usize, total: usize) -> (Received, i64) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let (sender, copies) = mpsc::channel();
    let held = allocation_counter::measure(|| {
        runtime.block_on(async {
            let (listener, address) = listen().await;
            let upload = upload(address, method, chunk, total);
            let server = async {
                let (stream, _) = listener.accept().await.expect("a client");
                let handler = service_fn(|request: Request<Incoming>| {
                    let sender = sender.clone();
                    async move {
                        let mut request = request.map(ReplayBody::new);
                        sender.send(HttpResend::new().copy(&mut request).expect("a copy")).expect("a test");
                        let body = request.into_body().collect().await.expect("a body");
                        assert_eq!(body.to_bytes().len(), total);
                        Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
                    }
                });
                let server = http1::Builder::new().keep_alive(false).to_owned();
                server.serve_connection(TokioIo::new(stream), handler).await.expect("an answer");
            };
            timeout(Duration::from_secs(60), async { tokio::join!(upload, server) }).await.expect("an end");
        });
    });
    let copy = copies.recv().expect("the server sends one");
    (copy, held.bytes_current)
}

async fn upload(address: String, method: Method, chunk: usize, total: usize) {
    let mut stream = TcpStream::connect(address).await.expect("a server");
    let head = format!("{method} / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n");
    stream.write_all(head.as_bytes()).await.expect("a server");
    let frame = [format!("{chunk:x}\r\n").as_bytes(), &vec![b'x'; chunk], b"\r\n"].concat();
    let frames = frame.repeat(total / chunk);
    // In small writes, as a slow client sends them: the server sees many small reads.
    for part in frames.chunks(1_000) {
        stream.write_all(part).await.expect("a server");
        tokio::task::yield_now().await;
    }
    stream.write_all(b"0\r\n\r\n").await.expect("a server");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.expect("an answer");
    assert!(answer.starts_with(b"HTTP/1.1 200"));
}

#[test]
fn case_70_a_recording_holds_at_most_twice_the_cap_whatever_the_chunk_sizes() {
    for (chunk, total) in
        [(1, 4_000), (1, 24_000), (1, 64_000), (7, 63_000), (1_000, 64_000), (60_000, 60_000)]
    {
        let (copy, held) = record(Method::PUT, chunk, total);
        assert!(held < 2 * 64 * 1_024, "{held} bytes for {total} in chunks of {chunk}");
        assert!(HttpResend::new().may_resend(&copy, PriorAttempts::Ended), "{total} in chunks of {chunk}");
        let body = futures::executor::block_on(copy.into_body().collect()).expect("a body");
        assert_eq!(body.to_bytes(), vec![b'x'; total]);
    }
}

#[test]
fn case_70_a_request_that_may_not_be_sent_twice_is_not_recorded() {
    let (copy, held) = record(Method::POST, 1_000, 60_000);
    // The request's head is a slice of hyper's first read buffer.
    assert!(held < 30_000, "{held} bytes");
    assert!(!HttpResend::new().may_resend(&copy, PriorAttempts::Unprocessed), "its beginning is gone");
}
