//! Clients that read an answer slowly, or not at all.
#![cfg(target_os = "linux")]

use std::{
    fs,
    io::{Read, Write},
    net::{Ipv4Addr, TcpListener, TcpStream},
    thread,
    time::{Duration, Instant},
};

use crate::{Result, file, process::Running};

/// A gateway in front of a server whose answers have 64 MB.
fn gateway(lines: &str) -> Result<Running> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = listener.local_addr()?;
    thread::spawn(move || {
        for mut socket in listener.incoming().flatten() {
            thread::spawn(move || {
                let _ = socket.read(&mut [0; 4_096]);
                let _ = socket.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 64000000\r\n\r\n");
                let chunk = [b'x'; 8_000];
                for _ in 0..8_000 {
                    if socket.write_all(&chunk).is_err() {
                        break;
                    }
                }
            });
        }
    });
    let (clients, upstream): (Vec<_>, Vec<_>) = lines.lines().partition(|line| line.starts_with("clients."));
    let routes = format!("{}\nroutes = [{{ prefix = '/', upstream = 'payments' }}]", clients.join("\n"));
    Running::start(&file(&routes, &format!("url = 'http://{address}'\n{}", upstream.join("\n"))))
}

fn request(gateway: &Running) -> Result<TcpStream> {
    let mut socket = TcpStream::connect(gateway.address)?;
    socket.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")?;
    Ok(socket)
}

/// The memory of the process in KiB.
fn resident(gateway: &Running) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{}/status", gateway.id()))?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).ok_or("no VmRSS")?;
    Ok(line.split_whitespace().nth(1).ok_or("no number")?.parse()?)
}

/// The number of files and sockets of the process.
fn files(gateway: &Running) -> Result<usize> {
    Ok(fs::read_dir(format!("/proc/{}/fd", gateway.id()))?.count())
}

/// How long it takes until the gateway has closed the connection of a client that reads so much every 50 ms.
fn time_until_cut(gateway: &Running, bytes: usize) -> Result<Duration> {
    let before = files(gateway)?;
    let mut socket = request(gateway)?;
    let began = Instant::now();
    let mut piece = vec![0; bytes];
    while files(gateway)? <= before {
        assert!(began.elapsed() < Duration::from_secs(5), "it was not accepted");
        thread::sleep(Duration::from_millis(5));
    }
    while files(gateway)? > before && began.elapsed() < Duration::from_secs(10) {
        thread::sleep(Duration::from_millis(50));
        socket.read_exact(&mut piece)?;
    }
    Ok(began.elapsed())
}

#[test]
fn a_client_that_reads_nothing_is_cut_off_after_the_send_timeout() -> Result {
    let gateway = gateway("clients.send_timeout = '500ms'")?;
    let took = time_until_cut(&gateway, 0)?;
    assert!((Duration::from_millis(400)..Duration::from_secs(4)).contains(&took), "{took:?}");
    Ok(())
}

#[test]
fn the_time_of_a_request_counts_while_the_client_reads_nothing() -> Result {
    let gateway = gateway("stack = { timeout = '1s', attempt_timeout = '500ms' }")?;
    let took = time_until_cut(&gateway, 0)?;
    assert!((Duration::from_millis(900)..Duration::from_secs(5)).contains(&took), "{took:?}");
    Ok(())
}

#[test]
fn the_time_of_a_request_counts_while_the_client_reads_slowly() -> Result {
    let gateway = gateway("stack = { timeout = '1s', attempt_timeout = '500ms' }")?;
    let took = time_until_cut(&gateway, 500)?;
    assert!((Duration::from_millis(900)..Duration::from_secs(5)).contains(&took), "{took:?}");
    Ok(())
}

#[test]
fn fifty_slow_readers_hold_little_memory() -> Result {
    let gateway = gateway("")?;
    // The first client makes the process allocate what it keeps for all.
    let first = request(&gateway)?;
    thread::sleep(Duration::from_millis(500));
    let before = resident(&gateway)?;
    let slow: Vec<_> = (0..50).map(|_| request(&gateway)).collect::<Result<_>>()?;
    thread::sleep(Duration::from_secs(3));
    let each = (resident(&gateway)?.saturating_sub(before)) / 50;
    println!("{each} KiB per slow reader");
    assert!(each <= 256, "{each} KiB");
    drop((first, slow));
    Ok(())
}
