//! Layers and clients for HTTP. The backend reads the body of the request, and the caller reads the body of the response.

use std::{
    future::Future,
    hint::black_box,
    pin::{Pin, pin},
    sync::LazyLock,
    task::{Context, Poll, Waker, ready},
    time::Duration,
};

use axum::body::HttpBody as Body;
use bytes::Bytes;
use http::{Request, Response, Uri};
use http_body_util::Full;
use tower::{Layer, Service};
use tower_reliability::{
    Deadline,
    http::{self as reliable, BodyDeadlineLayer, RejectionLayer, ReplayLayer},
    retry::RetryConfig,
};

use crate::{
    backend::{Once, OurError},
    breakers::{VALID, count},
    drive::drive_clone,
    row::Table,
};

/// The request of all rows.
type Sent = Request<Full<Bytes>>;

/// Each layer, with an empty body and with a small one.
pub fn add(table: &mut Table<true>) {
    table.driven_floor::<Sent, _>("bare http, empty body", Reader, exchange::<_, _, 0>);
    table.driven::<Sent, _>(
        "ours, `RejectionLayer`",
        RejectionLayer::new().layer(Reader),
        exchange::<_, _, 0>,
    );
    table.driven::<Sent, _>(
        "ours, `BodyDeadlineLayer`",
        BodyDeadlineLayer.layer(Reader),
        exchange::<_, _, 0>,
    );
    table.driven::<Sent, _>(
        "ours, `ReplayLayer`, empty body",
        ReplayLayer::new().layer(Reader),
        exchange::<_, _, 0>,
    );
    let stack = reliable::stack()
        .timeout(Duration::from_secs(30))
        .retry(RetryConfig::new())
        .circuit_breaker(count())
        .attempt_timeout(Duration::from_secs(10))
        .build()
        .expect(VALID);
    let standard = reliable::standard().build().expect(VALID);
    table.driven::<Sent, _>(
        "ours, http stack of four, `ReplayLayer`, empty body",
        ReplayLayer::new().layer(stack.layer(Reader)),
        exchange::<_, _, 0>,
    );
    let client = stack.client(Reader);
    table.driven::<Sent, _>("ours, http stack of four, `client`, empty body", client, exchange::<_, _, 0>);
    table.driven::<Sent, _>(
        "ours, `http::standard()`, `client`, empty body",
        standard.client(Reader),
        exchange::<_, _, 0>,
    );
    table.driven_floor::<Sent, _>("bare http, body of 64 bytes", Reader, exchange::<_, _, 64>);
    table.driven::<Sent, _>(
        "ours, `ReplayLayer`, 64 bytes",
        ReplayLayer::new().layer(Reader),
        exchange::<_, _, 64>,
    );
    table.driven::<Sent, _>(
        "ours, `http::standard()`, `client`, 64 bytes",
        standard.client(Reader),
        exchange::<_, _, 64>,
    );
}

/// Sends requests with so many bytes and a deadline, and reads the answers.
fn exchange<S, B, const BYTES: usize>(service: &mut S, calls: u64)
where
    S: Service<Sent, Response = Response<B>> + Clone,
    B: Body,
{
    let deadline = Deadline::after(Duration::from_hours(1));
    let mut cx = Context::from_waker(Waker::noop());
    for _ in 0..calls {
        let mut request = Request::new(Full::new(Bytes::from_static(&[b'x'; BYTES])));
        request.uri_mut().clone_from(&ADDRESS);
        request.extensions_mut().insert(deadline);
        let Ok(response) = drive_clone(service, request) else { panic!("the backend does not fail") };
        let mut body = pin!(response.into_body());
        while let Poll::Ready(Some(frame)) = body.as_mut().poll_frame(&mut cx) {
            drop(black_box(frame));
        }
    }
}

/// Reads a request to its end, is pending once, and answers.
#[derive(Clone, Copy, Debug)]
pub struct Reader;

impl<B: Body + Unpin> Service<Request<B>> for Reader {
    type Response = Response<Full<Bytes>>;
    type Error = OurError;
    type Future = Reading<B>;

    #[inline]
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), OurError>> {
        Poll::Ready(Ok(()))
    }

    #[inline]
    fn call(&mut self, request: Request<B>) -> Reading<B> {
        Reading { once: Once(true), body: request.into_body() }
    }
}

/// The future of a [`Reader`].
#[derive(Debug)]
pub struct Reading<B> {
    once: Once,
    body: B,
}

impl<B: Body + Unpin> Future for Reading<B> {
    type Output = Result<Response<Full<Bytes>>, OurError>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        while let Some(frame) = ready!(Pin::new(&mut self.body).poll_frame(cx)) {
            drop(black_box(frame));
        }
        if self.once.is_pending(cx) {
            return Poll::Pending;
        }
        Poll::Ready(Ok(Response::new(Full::new(Bytes::from_static(b"an answer")))))
    }
}

/// All requests go to one host. A clone of a static URI allocates nothing.
static ADDRESS: LazyLock<Uri> = LazyLock::new(|| Uri::from_static("http://shop.example/tea"));
