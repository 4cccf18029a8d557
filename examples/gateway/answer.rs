//! The body of an answer: it ends a request, and writes its line of the access log.

use std::{
    fmt,
    net::IpAddr,
    pin::Pin,
    task::{Context, Poll, ready},
    time::SystemTime,
};

use axum::{
    body::{Body, Bytes, HttpBody},
    http::{Method, Request, StatusCode, Uri, Version},
};
use hyper::body::{Frame, SizeHint};
use tokio::time::Instant;

use crate::socket::OpenRequest;

/// The body of an answer. The request is open until the body is dropped.
#[derive(Debug)]
pub(crate) struct AnswerBody {
    inner: Body,
    line: Option<Box<LogLine>>,
    _open: OpenRequest,
}

/// A line of the access log. It is printed when it is dropped, so that a request which is cut off has a line too.
#[derive(Debug)]
pub(crate) struct LogLine {
    client: IpAddr,
    method: Method,
    uri: Uri,
    version: Version,
    began: Instant,
    /// The upstream's name in the config.
    pub(crate) upstream: Option<String>,
    /// `None` while there is no answer.
    pub(crate) status: Option<StatusCode>,
    bytes: u64,
    whole: bool,
}

impl AnswerBody {
    pub(crate) fn new(inner: Body, mut line: Option<Box<LogLine>>, open: OpenRequest) -> Self {
        if let Some(line) = &mut line {
            // The connection does not read a body that is empty.
            line.whole = inner.is_end_stream();
        }
        Self { inner, line, _open: open }
    }
}

impl HttpBody for AnswerBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let Self { inner, line, .. } = &mut *self;
        let frame = ready!(Pin::new(&mut *inner).poll_frame(cx));
        if let Some(line) = line {
            if let Some(Ok(frame)) = &frame {
                line.bytes += frame.data_ref().map_or(0, |data| data.len() as u64);
            }
            line.whole = frame.is_none() || inner.is_end_stream();
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl LogLine {
    pub(crate) fn new<B>(client: IpAddr, request: &Request<B>) -> Self {
        Self {
            client,
            method: request.method().clone(),
            uri: request.uri().clone(),
            version: request.version(),
            began: Instant::now(),
            upstream: None,
            status: None,
            bytes: 0,
            whole: false,
        }
    }
}

/// `TIME CLIENT "METHOD URI VERSION" STATUS BYTES SECONDS UPSTREAM`.
impl fmt::Display for LogLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { client, method, uri, version, bytes, .. } = self;
        let now = humantime::format_rfc3339_millis(SystemTime::now());
        let uri = uri.to_string();
        write!(f, "{now} {client} \"{method} {} {version:?}\" ", uri.escape_debug())?;
        match self.status {
            Some(status) => write!(f, "{}", status.as_u16())?,
            // nginx's number for a client that has left.
            None => f.write_str("499")?,
        }
        let upstream = self.upstream.as_deref().unwrap_or("-").escape_debug();
        write!(f, " {bytes} {:.3} {upstream}", self.began.elapsed().as_secs_f64())?;
        if self.status.is_some() && !self.whole { f.write_str(" cut off") } else { Ok(()) }
    }
}

impl Drop for LogLine {
    fn drop(&mut self) {
        // A log that cannot be written must not end the gateway.
        let _ = std::io::Write::write_all(&mut std::io::stdout().lock(), format!("{self}\n").as_bytes());
    }
}
