use ::http::{Version, header::CONTENT_TYPE};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};

use super::*;
use crate::call::Upload;

type Body = ReplayBody<Full<Bytes>>;

fn request(method: &str) -> Request<Body> {
    let body = ReplayBody::new(Full::new(Bytes::from_static(b"an order")));
    Request::builder().method(method).uri("/orders?id=7").body(body).expect("a request")
}

fn with_key(method: &str, key: &'static str) -> Request<Body> {
    let mut request = request(method);
    request.headers_mut().insert("idempotency-key", ::http::HeaderValue::from_static(key));
    request
}

fn with(idempotent: bool, method: &str) -> Request<Body> {
    let mut request = request(method);
    request.extensions_mut().insert(Idempotent(idempotent));
    request
}

fn header(request: &Request<Body>) -> Option<&str> {
    request.headers().get("x-retry-attempt").map(|value| value.to_str().expect("text"))
}

#[test]
fn a_request_without_a_body_is_sent_again_by_its_method() {
    for (method, again) in [(Method::GET, true), (Method::POST, false)] {
        let mut request = Request::new(());
        *request.method_mut() = method;
        let mut copy = HttpResend::new().copy(&mut request).expect("it has no body");
        for (prior, may) in [
            (PriorAttempts::Unprocessed, true),
            (PriorAttempts::Ended, again),
            (PriorAttempts::Running, again),
        ] {
            assert_eq!(HttpResend::new().may_resend(&copy, prior), may, "{prior:?}");
        }
        HttpResend::new().prepare(&mut copy, 2, &mut None);
        assert_eq!((copy.extensions().get(), copy.headers().len()), (Some(&Attempt(2)), 1));
    }
}

#[test]
fn a_request_that_may_be_processed_is_sent_again_only_if_it_is_idempotent() {
    let resend = HttpResend::new();
    for method in ["GET", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE"] {
        assert!(resend.may_resend(&request(method), PriorAttempts::Ended), "{method}");
        assert!(!resend.may_resend(&with(false, method), PriorAttempts::Ended), "{method}");
    }
    for method in ["POST", "PATCH", "CONNECT", "PURGE"] {
        assert!(!resend.may_resend(&request(method), PriorAttempts::Ended), "{method}");
        assert!(resend.may_resend(&request(method), PriorAttempts::Unprocessed), "{method}");
        assert!(resend.may_resend(&with(true, method), PriorAttempts::Ended), "{method}");
        assert!(resend.may_resend(&with(false, method), PriorAttempts::Unprocessed), "{method}");
        assert!(resend.all_methods().may_resend(&request(method), PriorAttempts::Ended), "{method}");
        assert!(!resend.all_methods().may_resend(&with(false, method), PriorAttempts::Ended), "{method}");
    }
}

#[test]
fn a_key_makes_post_and_patch_idempotent_unless_it_is_empty() {
    for method in ["POST", "PATCH"] {
        assert!(
            HttpResend::new().may_resend(&with_key(method, "8e03978e"), PriorAttempts::Ended),
            "{method}"
        );
        assert!(!HttpResend::new().may_resend(&with_key(method, ""), PriorAttempts::Ended), "{method}");
    }
    assert!(!HttpResend::new().may_resend(&with_key("CONNECT", "8e03978e"), PriorAttempts::Ended));
}

#[tokio::test]
async fn a_copy_is_the_same_request() {
    let mut first = request("PUT");
    *first.version_mut() = Version::HTTP_2;
    first.headers_mut().insert(CONTENT_TYPE, ::http::HeaderValue::from_static("text/plain"));
    first.extensions_mut().insert(7_u8);
    let copy = HttpResend::new().copy(&mut first).expect("a copy");
    assert_eq!((copy.method(), copy.uri(), copy.version()), (&Method::PUT, first.uri(), Version::HTTP_2));
    assert_eq!(copy.headers(), first.headers());
    assert_eq!(copy.extensions().get(), Some(&7_u8));
    let sent = first.into_body().collect().await.expect("a body");
    let sent_again = copy.into_body().collect().await.expect("a body");
    assert_eq!(sent.to_bytes(), sent_again.to_bytes());
}

#[test]
fn a_body_is_available_after_the_attempt_that_streams_it_and_not_beside_it() {
    let mut first = request("GET");
    let copy = HttpResend::new().copy(&mut first).expect("a copy");
    for (prior, may) in
        [(PriorAttempts::Unprocessed, true), (PriorAttempts::Ended, true), (PriorAttempts::Running, false)]
    {
        assert_eq!(HttpResend::new().may_resend(&copy, prior), may, "{prior:?}");
    }
    drop(first);
    assert!(HttpResend::new().may_resend(&copy, PriorAttempts::Running));

    let mut large = request("GET").map(|body| body.max_bytes(3));
    assert!(HttpResend::new().copy(&mut large).is_none());
}

#[tokio::test]
async fn case_66_a_copy_within_an_attempt_reports_to_the_same_upload_and_another_attempt_does_not() {
    let mut first = request("PUT");
    watch_upload(&mut first);
    let upload = first.extensions().get::<Upload>().expect("it has a body").clone();
    let other = HttpResend::new().copy(&mut first).expect("a copy");
    let same = copy_within_attempt(&mut first).expect("a copy");
    drop(first);
    other.into_body().collect().await.expect("a body");
    assert!(!upload.is_complete());
    same.into_body().collect().await.expect("a body");
    assert!(upload.is_complete());
}

#[test]
fn attempts_are_numbered_and_share_a_history() {
    let mut history = None;
    let mut first = request("GET");
    let mut second = HttpResend::new().copy(&mut first).expect("a copy");
    HttpResend::new().prepare(&mut first, 1, &mut history);
    assert_eq!((first.extensions().get(), header(&first)), (Some(&Attempt(1)), None));
    history.as_ref().expect("a new one").retried();
    HttpResend::new().prepare(&mut second, 2, &mut history);
    assert_eq!((second.extensions().get(), header(&second)), (Some(&Attempt(2)), Some("1")));
    for request in [first, second] {
        assert_eq!(request.extensions().get::<CallHistory>().map(CallHistory::retries), Some(1));
    }
}

#[test]
fn the_history_of_an_outer_layer_learns_of_inner_retries_and_not_the_reverse() {
    let (outer, mut history) = (CallHistory::new(), None);
    let mut first = request("GET");
    first.extensions_mut().insert(outer.clone());
    let mut second = HttpResend::new().copy(&mut first).expect("a copy");
    outer.retried();
    HttpResend::new().prepare(&mut first, 1, &mut history);
    HttpResend::new().prepare(&mut second, 2, &mut history);
    let history = history.expect("one of its own");
    assert_eq!(history.retries(), 0, "no inner layer has retried");
    history.retried();
    assert_eq!(outer.retries(), 2);
    for request in [first, second] {
        assert_eq!(request.extensions().get::<CallHistory>().map(CallHistory::retries), Some(1));
    }
}

#[test]
fn a_callers_count_of_attempts_is_passed_on_once_and_then_replaced() {
    let mut first = request("GET");
    retry_attempt::set(first.headers_mut(), 5);
    let mut second = HttpResend::new().copy(&mut first).expect("a copy");
    HttpResend::new().prepare(&mut first, 1, &mut None);
    assert_eq!(header(&first), Some("5"));
    HttpResend::new().prepare(&mut second, 2, &mut None);
    assert_eq!(header(&second), Some("1"));
}

#[cfg(feature = "reqwest")]
#[test]
fn requests_of_reqwest_are_cloned_and_numbered() {
    let url = "http://example.org/orders".parse().expect("a url");
    let mut first = reqwest::Request::new(Method::POST, url);
    *first.body_mut() = Some("an order".into());
    let resend = HttpResend::new();
    let mut copy = resend.copy(&mut first).expect("its body is at hand");
    assert_eq!(copy.body().and_then(reqwest::Body::as_bytes), Some(&b"an order"[..]));
    assert!(resend.all_methods().may_resend(&copy, PriorAttempts::Ended));
    let mut history = None;
    resend.prepare(&mut copy, 3, &mut history);
    assert_eq!(copy.headers()["x-retry-attempt"], "2");
    assert!(history.is_none(), "reqwest has no place for a history");
}

#[cfg(feature = "reqwest")]
#[test]
fn an_unprocessed_post_of_reqwest_is_sent_again_only_without_redirects() {
    let request = |method| reqwest::Request::new(method, "http://example.org/".parse().expect("a url"));
    let (plain, firm) = (HttpResend::new(), HttpResend::new().no_redirects());
    for method in [Method::POST, Method::PATCH] {
        assert!(!plain.may_resend(&request(method.clone()), PriorAttempts::Unprocessed), "{method}");
        assert!(firm.may_resend(&request(method.clone()), PriorAttempts::Unprocessed), "{method}");
        assert!(!firm.may_resend(&request(method.clone()), PriorAttempts::Ended), "{method}");
    }
    for prior in [PriorAttempts::Unprocessed, PriorAttempts::Ended, PriorAttempts::Running] {
        assert!(plain.may_resend(&request(Method::PUT), prior));
    }
}

#[test]
fn attempts_count_on_from_those_of_an_outer_layer() {
    let (resend, mut outer, mut inner) = (HttpResend::new(), None, None);
    let mut second = request("GET");
    resend.prepare(&mut second, 2, &mut outer);
    let mut hedge = resend.copy(&mut second).expect("a copy");
    resend.prepare(&mut second, 1, &mut inner);
    resend.prepare(&mut hedge, 2, &mut inner);
    assert_eq!((header(&second), header(&hedge)), (Some("1"), Some("2")));
    assert_eq!(hedge.extensions().get(), Some(&Attempt(3)));
}
