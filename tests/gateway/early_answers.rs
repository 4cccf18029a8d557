//! Servers that answer before a request has arrived to its end, such as with 413.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    thread,
    time::{Duration, Instant},
};

use crate::{Result, file, process::Running};

/// A server that answers after the head of a request, and closes the connection with unread data. The data makes the
/// kernel send a reset behind the answer.
fn impatient_server() -> Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = listener.local_addr()?;
    thread::spawn(move || {
        for mut socket in listener.incoming().flatten() {
            let mut head = Vec::new();
            let mut byte = [0];
            while !head.ends_with(b"\r\n\r\n") && socket.read(&mut byte).is_ok_and(|read| read > 0) {
                head.push(byte[0]);
            }
            let _ = socket.write_all(b"HTTP/1.1 413 Too Large\r\ncontent-length: 3\r\n\r\nbig");
        }
    });
    Ok(address)
}

fn gateway() -> Result<Running> {
    // Each refused upload is a failure of the server, if its answer is lost.
    let lines =
        format!("url = 'http://{}'\nstack.circuit_breaker.consecutive_failures = 1", impatient_server()?);
    Running::start(&file("", &lines))
}

/// The answer to an upload of so many pieces of 8 000 bytes. The client reads it after its last write.
fn upload(gateway: &Running, method: &str, pieces: usize, pause: Duration) -> Result<String> {
    let mut socket = TcpStream::connect(gateway.address)?;
    let length = pieces * 8_000;
    let head =
        format!("{method} /a HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n");
    socket.write_all(head.as_bytes())?;
    for piece in 0..pieces {
        socket.write_all(&[b'x'; 8_000]).map_err(|error| format!("{method}, piece {piece}: {error}"))?;
        thread::sleep(pause);
    }
    socket.set_read_timeout(Some(Duration::from_secs(5)))?;
    let mut answer = String::new();
    socket.read_to_string(&mut answer)?;
    Ok(answer)
}

#[test]
fn an_early_answer_of_a_server_that_hangs_up_reaches_every_client() -> Result {
    let gateway = gateway()?;
    let mut lost = Vec::new();
    for round in 0..100 {
        let method = ["POST", "PUT"][round % 2];
        // From one write to more than all buffers hold.
        let pieces = [1, 10, 100, 1_000][round / 2 % 4];
        match upload(&gateway, method, pieces, Duration::ZERO) {
            Ok(answer) if answer.starts_with("HTTP/1.1 413 ") && answer.ends_with("\r\n\r\nbig") => {}
            other => lost.push((round, method, pieces, other.map_err(|error| error.to_string()))),
        }
    }
    assert!(lost.is_empty(), "{} of 100: {lost:?}", lost.len());
    Ok(())
}

#[test]
fn an_early_answer_waits_for_a_client_that_uploads_on_slowly() -> Result {
    let gateway = gateway()?;
    let answer = upload(&gateway, "POST", 20, Duration::from_millis(100))?;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    Ok(())
}

#[test]
fn a_client_that_keeps_silent_after_an_early_answer_is_left_after_a_second() -> Result {
    let gateway = gateway()?;
    let mut socket = TcpStream::connect(gateway.address)?;
    socket.write_all(b"POST /a HTTP/1.1\r\nhost: shop.example\r\ncontent-length: 9\r\n\r\nx")?;
    let mut answer = String::new();
    socket.read_to_string(&mut answer)?;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    let began = Instant::now();
    while socket.write_all(b"").and_then(|()| socket.take_error()).is_ok_and(|error| error.is_none()) {
        // A closed socket answers a further byte with a reset; a lingering one takes it.
        thread::sleep(Duration::from_millis(1_300));
        let _ = socket.write_all(b"x");
        thread::sleep(Duration::from_millis(50));
        assert!(began.elapsed() < Duration::from_secs(5), "it is still open");
    }
    Ok(())
}
