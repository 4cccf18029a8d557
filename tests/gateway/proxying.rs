//! Requests as they are written on the wire, and what becomes of them.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use crate::{Result, file, process::Running};

/// A server that keeps the head of each request, and answers with these bytes. It closes each connection.
struct Wire {
    address: std::net::SocketAddr,
    heads: Arc<Mutex<Vec<String>>>,
}

impl Wire {
    fn start(answer: &'static str) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let heads = Arc::<Mutex<Vec<String>>>::default();
        let seen = Arc::clone(&heads);
        thread::spawn(move || {
            for mut socket in listener.incoming().flatten() {
                let mut head = Vec::new();
                let mut byte = [0];
                while !head.ends_with(b"\r\n\r\n") && socket.read(&mut byte).is_ok_and(|read| read > 0) {
                    head.push(byte[0]);
                }
                seen.lock()
                    .expect("no test panics with it")
                    .push(String::from_utf8_lossy(&head).into_owned());
                let _ = socket.write_all(answer.as_bytes());
                // As servers do: the rest of a request is read for a moment, so that no reset destroys the answer.
                let _ = socket.shutdown(std::net::Shutdown::Write);
                let _ = socket.set_read_timeout(Some(Duration::from_millis(200)));
                while socket.read(&mut [0; 8_192]).is_ok_and(|read| read > 0) {}
            }
        });
        Ok(Self { address, heads })
    }

    fn gateway(&self, top: &str, lines: &str) -> Result<Running> {
        let routes = format!("{top}\nroutes = [{{ prefix = '/a', upstream = 'payments' }}]");
        Running::start(&file(&routes, &format!("url = 'http://{}'\n{lines}", self.address)))
    }

    /// The only head so far, in lower case.
    fn head(&self) -> String {
        let heads = std::mem::take(&mut *self.heads.lock().expect("no test panics with it"));
        assert_eq!(heads.len(), 1, "{heads:?}");
        heads[0].to_lowercase()
    }
}

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok";

/// Writes this and reads until the end of the connection, or for a second.
fn exchange(gateway: &Running, request: &str) -> Result<String> {
    let mut socket = TcpStream::connect(gateway.address)?;
    socket.write_all(request.as_bytes())?;
    socket.set_read_timeout(Some(Duration::from_secs(1)))?;
    let mut answer = Vec::new();
    let _ = socket.read_to_end(&mut answer);
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// A request with these lines in its head. The connection ends with the answer.
fn get(gateway: &Running, path: &str, lines: &str) -> Result<String> {
    exchange(gateway, &format!("GET {path} HTTP/1.1\r\nconnection: close\r\n{lines}\r\n"))
}

#[test]
fn the_upstream_learns_the_client_and_no_lies_about_it() -> Result {
    let upstream = Wire::start(OK)?;
    let lies = "host: shop.example\r\nx-forwarded-for: 10.0.0.7\r\nx-forwarded-proto: https\r\n\
                x-forwarded-host: other.example\r\nforwarded: for=10.0.0.7\r\nx-real-ip: 10.0.0.7\r\n";

    let gateway = upstream.gateway("", "")?;
    assert!(get(&gateway, "/a", lies)?.starts_with("HTTP/1.1 200"));
    let head = upstream.head();
    for line in [
        "x-forwarded-for: 127.0.0.1\r\n",
        "x-forwarded-proto: http\r\n",
        "x-forwarded-host: shop.example\r\n",
        "forwarded: for=127.0.0.1;proto=http;host=\"shop.example\"\r\n",
        &format!("host: {}\r\n", upstream.address),
    ] {
        assert!(head.contains(line), "{line} is missing: {head}");
    }
    assert!(!head.contains("10.0.0.7") && !head.contains("other.example"), "{head}");

    let gateway = upstream.gateway("clients.trust = ['127.0.0.0/8']", "host = 'preserve'")?;
    assert!(get(&gateway, "/a", lies)?.starts_with("HTTP/1.1 200"));
    let head = upstream.head();
    for line in [
        "x-forwarded-for: 10.0.0.7, 127.0.0.1\r\n",
        "x-forwarded-proto: https\r\n",
        "x-forwarded-host: other.example\r\n",
        "forwarded: for=10.0.0.7, for=127.0.0.1;proto=http;host=\"shop.example\"\r\n",
        "\nhost: shop.example\r\n",
    ] {
        assert!(head.contains(line), "{line} is missing: {head}");
    }
    Ok(())
}

#[test]
fn requests_that_no_upstream_may_see_are_refused() -> Result {
    let upstream = Wire::start(OK)?;
    let gateway = upstream.gateway("", "")?;
    let upgrade = "host: a\r\nupgrade: websocket\r\nsec-websocket-key: x\r\n";
    for (path, lines, status) in [
        ("/a", "", 400),
        ("/a", "host: a\r\nhost: b\r\n", 400),
        ("/a", "host: a@b\r\n", 400),
        ("/a/../b", "host: a\r\n", 400),
        ("/a/%2E%2e/b", "host: a\r\n", 400),
        ("/a/..%2fb", "host: a\r\n", 400),
        ("/a", upgrade, 501),
        ("/b", "host: a\r\n", 404),
    ] {
        let answer = get(&gateway, path, lines)?;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{path} {lines:?}: {answer}");
    }
    let connect = exchange(&gateway, "CONNECT a:443 HTTP/1.1\r\nhost: a:443\r\nconnection: close\r\n\r\n")?;
    assert!(connect.starts_with("HTTP/1.1 405 ") && connect.contains("allow: GET"), "{connect}");
    let preface = exchange(&gateway, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")?;
    assert!(preface.starts_with("HTTP/1.1 400 "), "{preface:?}");
    assert_eq!(*upstream.heads.lock().expect("no test panics with it"), [""; 0]);

    let h2c =
        "host: a\r\nconnection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABk\r\n";
    let answer = exchange(&gateway, &format!("GET /a HTTP/1.1\r\n{h2c}\r\n"))?;
    assert!(answer.starts_with("HTTP/1.1 200"), "a server may ignore it: {answer}");
    let head = upstream.head();
    assert!(!head.contains("upgrade") && !head.contains("http2-settings"), "{head}");
    Ok(())
}

#[test]
fn a_request_has_one_length_for_the_gateway_and_the_upstream() -> Result {
    let upstream = Wire::start(OK)?;
    let gateway = upstream.gateway("", "")?;
    let post = |lines: &str, body: &str| {
        exchange(&gateway, &format!("POST /a HTTP/1.1\r\nhost: a\r\nconnection: close\r\n{lines}\r\n{body}"))
    };
    for lines in [
        "content-length: 3\r\ncontent-length: 4\r\n",
        "content-length: +3\r\n",
        "content-length : 3\r\n",
        "transfer-encoding: chunked, identity\r\n",
        "x: 1\r\n content-length: 3\r\n",
    ] {
        let answer = post(lines, "abc")?;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{lines:?}: {answer}");
    }
    assert_eq!(*upstream.heads.lock().expect("no test panics with it"), [""; 0]);

    for lines in [
        "content-length: 3\r\ntransfer-encoding: chunked\r\n",
        "transfer-encoding: chunked\r\ncontent-length: 3\r\n",
    ] {
        let answer = post(lines, "5\r\nhello\r\n0\r\n\r\n")?;
        assert!(
            answer.starts_with("HTTP/1.1 200 ") || answer.starts_with("HTTP/1.1 400 "),
            "{lines:?}: {answer}"
        );
        if answer.starts_with("HTTP/1.1 200 ") {
            let head = upstream.head();
            assert!(
                head.contains("transfer-encoding: chunked") && !head.contains("content-length"),
                "{head}"
            );
        }
    }
    Ok(())
}

#[test]
fn the_own_paths_of_the_gateway_are_never_forwarded() -> Result {
    let upstream = Wire::start(OK)?;
    let routes = "routes = [{ prefix = '/', upstream = 'payments' }]";
    let gateway = Running::start(&file(routes, &format!("url = 'http://{}'", upstream.address)))?;
    for (path, status) in [("/-/status", 200), ("/-/secret", 404), ("/-", 404), ("/-/status/x", 404)] {
        let answer = get(&gateway, path, "host: a\r\n")?;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{path}: {answer}");
    }
    let post = exchange(
        &gateway,
        "POST /-/status HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
    )?;
    assert!(post.starts_with("HTTP/1.1 405 "), "{post}");
    assert_eq!(*upstream.heads.lock().expect("no test panics with it"), [""; 0]);
    Ok(())
}

#[test]
fn an_old_client_may_send_no_host() -> Result {
    let upstream = Wire::start(OK)?;
    let gateway = upstream.gateway("", "host = 'preserve'")?;
    let answer = exchange(&gateway, "GET /a HTTP/1.0\r\n\r\n")?;
    assert!(answer.starts_with("HTTP/1.0 200") && answer.ends_with("ok"), "{answer}");
    assert!(upstream.head().contains(&format!("host: {}\r\n", upstream.address)));
    Ok(())
}

#[test]
fn a_silent_upstream_is_504_and_a_dead_one_502_and_neither_answer_names_it() -> Result {
    let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let dead = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
    for (address, status) in [(silent.local_addr()?, 504), (dead, 502)] {
        let lines =
            format!("url = 'http://{address}'\nstack = {{ timeout = '500ms', attempt_timeout = '200ms' }}");
        let gateway = Running::start(&file("", &lines))?;
        let answer = get(&gateway, "/a", "host: a\r\n")?;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
        for secret in [address.port().to_string().as_str(), "127.0.0.1", "payments", "hyper", "server:"] {
            assert!(!answer.contains(secret), "{answer}");
        }
    }
    Ok(())
}

#[test]
fn a_half_sent_head_is_cut_off_in_time() -> Result {
    let upstream = Wire::start(OK)?;
    let gateway = upstream.gateway("clients.header_read_timeout = '300ms'", "")?;
    let began = Instant::now();
    let mut socket = TcpStream::connect(gateway.address)?;
    socket.write_all(b"GET /a HTTP/1.1\r\nhost:")?;
    socket.set_read_timeout(Some(Duration::from_secs(5)))?;
    assert_eq!(socket.read(&mut [0; 64])?, 0, "it is closed");
    assert!((Duration::from_millis(250)..Duration::from_secs(3)).contains(&began.elapsed()));
    Ok(())
}

#[cfg(unix)]
#[test]
fn each_request_has_a_line_in_the_access_log() -> Result {
    let upstream = Wire::start(OK)?;
    let routes = "routes = [{ prefix = '/a', upstream = 'payments' }]";
    let config = file(routes, &format!("url = 'http://{}'", upstream.address));
    let gateway = Running::start_with(&config, &["--access-log"])?;
    for path in ["/a?b=%22", "/nowhere"] {
        get(&gateway, path, "host: a\r\n")?;
    }
    get(&gateway, "/a", "")?;
    gateway.signal("TERM")?;
    let (code, output) = gateway.wait()?;
    assert_eq!(code, Some(0), "{output}");
    assert!(output.contains(&format!("  /a -> payments: http://{}\n", upstream.address)), "{output}");
    let lines: Vec<Vec<&str>> = output
        .lines()
        .map(|line| line.split(' ').skip(1).collect())
        .filter(|line: &Vec<_>| line.len() == 8)
        .collect();
    let expected =
        [("/a?b=%22", "200", "2", "payments"), ("/nowhere", "404", "-", "-"), ("/a", "400", "-", "-")];
    assert_eq!(lines.len(), expected.len(), "{output}");
    for (line, (uri, status, bytes, upstream)) in lines.iter().zip(expected) {
        let [client, method, found, _version, code, length, seconds, name] = line[..] else {
            panic!("{line:?}")
        };
        assert_eq!(
            (client, method, found, code, name),
            ("127.0.0.1", "\"GET", uri, status, upstream),
            "{output}"
        );
        assert!(bytes == "-" || length == bytes, "{output}");
        assert!(seconds.parse::<f64>()? < 1.0, "{output}");
    }
    Ok(())
}
