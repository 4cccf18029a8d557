//! A request body whose type is hidden.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project::pin_project;

use crate::{call::BoxError, http::replay::to_bytes};

/// A body whose type is hidden: the body of every request of an [`HttpClient`](super::HttpClient).
///
/// A body that is at its end, such as that of most GET requests, costs no allocation.
pub struct BoxBody {
    /// `None` if the body was at its end.
    inner: Option<Pin<Box<dyn Body<Data = Bytes, Error = BoxError> + Send>>>,
}

impl BoxBody {
    /// Hides the type of this body.
    pub fn new<B>(body: B) -> Self
    where
        B: Body<Error: Into<BoxError>> + Send + 'static,
    {
        if body.is_end_stream() {
            return Self { inner: None };
        }
        Self { inner: Some(Box::pin(InBytes { body })) }
    }
}

impl Body for BoxBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        self.inner.as_mut().map_or(Poll::Ready(None), |body| body.as_mut().poll_frame(cx))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

impl fmt::Debug for BoxBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BoxBody").field("size_hint", &self.size_hint()).finish()
    }
}

/// A body with its data in one type and its error in one type.
#[pin_project]
struct InBytes<B> {
    #[pin]
    body: B,
}

impl<B: Body<Error: Into<BoxError>>> Body for InBytes<B> {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        self.project().body.poll_frame(cx).map(|frame| frame.map(to_bytes))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use futures::{FutureExt, stream};
    use http_body_util::{BodyExt, Empty, StreamBody};

    use super::*;

    #[test]
    fn a_body_at_its_end_is_not_boxed() {
        let body = BoxBody::new(Empty::<&[u8]>::new());
        assert!(body.inner.is_none() && body.is_end_stream());
        assert_eq!(body.size_hint().exact(), Some(0));
        assert!(body.collect().now_or_never().expect("at once").expect("empty").to_bytes().is_empty());
    }

    #[test]
    fn data_length_and_error_of_the_body_pass() {
        let body = BoxBody::new("an order".to_owned());
        assert_eq!((body.size_hint().exact(), body.is_end_stream()), (Some(8), false));
        let data = body.collect().now_or_never().expect("at once").expect("a text").to_bytes();
        assert_eq!(data, "an order");

        let broken = stream::iter([Err::<Frame<&[u8]>, _>(io::Error::from(io::ErrorKind::BrokenPipe))]);
        let error = BoxBody::new(StreamBody::new(broken)).collect().now_or_never().expect("at once");
        assert!(error.is_err_and(|error| error.is::<io::Error>()));
    }
}
