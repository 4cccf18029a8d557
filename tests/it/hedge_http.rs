//! Which HTTP requests are hedged, and what of them the peer sees.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::{BodyExt, Full};
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_reliability::{
    BoxError, BoxErrorClassifier,
    hedge::HedgeConfig,
    http::{HttpResend, ReplayBody},
};

type Sent = Request<ReplayBody<Full<Bytes>>>;

/// The header with the number of the attempt, and the body.
type Seen = (Option<String>, Bytes);

/// Reads every body to its end, and answers the first request after a minute. Writes down what came.
#[derive(Clone, Default)]
struct Stuck(Arc<Mutex<Vec<Seen>>>);

impl Stuck {
    fn service(&self) -> impl Service<Sent, Response = Response<()>, Error = BoxError> + Clone + use<> {
        let Self(seen) = self.clone();
        service_fn(move |request: Sent| {
            let seen = Arc::clone(&seen);
            async move {
                let number = request.headers().get("x-retry-attempt");
                let number = number.and_then(|number| number.to_str().ok()).map(str::to_owned);
                let body = request.into_body().collect().await?.to_bytes();
                let first = {
                    let mut seen = seen.lock().expect("nobody panics with it");
                    seen.push((number, body));
                    seen.len() == 1
                };
                if first {
                    tokio::time::sleep(Duration::from_secs(60)).await;
                }
                Ok(Response::new(()))
            }
        })
    }
}

#[tokio::test(start_paused = true)]
async fn case_56_what_http_declares_idempotent_is_hedged_with_the_same_body_and_nothing_else() {
    for (method, body, hedged) in [
        (Method::GET, "", true),
        (Method::PUT, "an order", true),
        (Method::POST, "an order", false),
        (Method::PATCH, "", false),
    ] {
        let peer = Stuck::default();
        let layer = HedgeConfig::fixed(Duration::from_millis(100)).build().expect("valid");
        let layer = layer.classify(BoxErrorClassifier).resend(HttpResend::new());
        let request = Request::builder().method(&method).uri("/orders/7");
        let request = request.body(ReplayBody::new(Full::new(Bytes::from(body)))).expect("a request");
        layer.layer(peer.service()).oneshot(request).await.expect("it is answered in the end");
        let mut expected = vec![(None, Bytes::from(body))];
        if hedged {
            expected.push((Some("1".to_owned()), Bytes::from(body)));
        }
        assert_eq!(*peer.0.lock().expect("nobody panics with it"), expected, "{method}");
        let counts = layer.handle().snapshot().counts;
        assert_eq!((counts.won_by_hedge, counts.not_resendable), (hedged.into(), (!hedged).into()));
    }
}
