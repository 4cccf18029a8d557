//! Quotas that a server tells its clients, over real sockets.

use std::{collections::BTreeSet, time::Duration};

use axum::{
    Router,
    body::Body,
    http::{HeaderName, Request, Response},
    routing::get,
};
use tower::{Layer, ServiceBuilder, ServiceExt};
use tower_reliability::{
    Error,
    http::{self, RejectionLayer, ReportQuotasLayer},
    rate_limit::RateLimitConfig,
    stack::server::ServerConfig,
};

use crate::peers::serve;

const CLIENT: HeaderName = HeaderName::from_static("x-client");
const MINUTE: Duration = Duration::from_secs(60);
const LIMIT: RateLimitConfig = RateLimitConfig::per(2, MINUTE);

fn hello() -> Router {
    Router::new().route("/", get(|| async { "hello" }))
}

/// The status of an answer, and these fields.
type Told = (u16, [Option<String>; 3]);

async fn ask(address: &str, client: &str) -> Told {
    let request = reqwest::Client::new().get(format!("http://{address}/")).header(CLIENT, client);
    let response = request.send().await.expect("an answer");
    let field = |name| Some(response.headers().get(name)?.to_str().expect("ASCII").to_owned());
    (response.status().as_u16(), ["ratelimit-policy", "ratelimit", "retry-after"].map(field))
}

fn told(policy: &str, limit: &str) -> [Option<String>; 3] {
    [Some(policy.into()), Some(limit.into()), None]
}

#[tokio::test]
async fn case_74_every_answer_tells_a_client_what_its_own_key_has_left() {
    let limit = LIMIT.build().expect("valid").per_header(CLIENT);
    let by_hand = ServiceBuilder::new()
        .layer(ReportQuotasLayer::new(limit.clone()))
        .layer(RejectionLayer::new())
        .layer(limit)
        .map_err(Error::inner);
    let stack = http::server().rate_limit(LIMIT.per_header(CLIENT)).build().expect("valid").report_quotas();
    for app in [hello().layer(by_hand), hello().layer(stack)] {
        let address = serve(app).await;
        let policy = r#""burst";q=2;w=60"#;
        assert_eq!(ask(&address, "a").await, (200, told(policy, r#""burst";r=1;t=30"#)));
        assert_eq!(ask(&address, "a").await, (200, told(policy, r#""burst";r=0;t=30"#)));
        let (status, [policy_of_refused, rest, retry_after]) = ask(&address, "a").await;
        assert_eq!((status, policy_of_refused.as_deref()), (429, Some(policy)));
        assert_eq!(rest.as_deref(), Some(r#""burst";r=0;t=30"#));
        assert!(retry_after.is_some());
        assert_eq!(ask(&address, "b").await, (200, told(policy, r#""burst";r=1;t=30"#)));
        let missing = reqwest::get(format!("http://{address}/missing")).await.expect("an answer");
        assert_eq!(missing.headers()["ratelimit"], r#""burst";r=1;t=30"#, "of clients without the header");
    }
}

#[tokio::test]
async fn case_33_the_refused_of_a_default_server_wait_differently_and_no_shorter_than_the_fields_say() {
    let server = http::server().rate_limit(LIMIT).build().expect("valid").report_quotas();
    let address = serve(hello().layer(server)).await;
    let mut waits = BTreeSet::new();
    for number in 0..30 {
        let (status, [_, rest, retry_after]) = ask(&address, "a").await;
        if number >= 2 {
            assert_eq!(status, 429);
            let rest = rest.expect("a field");
            let until: u32 = rest.strip_prefix("\"burst\";r=0;t=").expect(&rest).parse().expect(&rest);
            let wait: u32 = retry_after.expect("a time").parse().expect("seconds");
            assert!((until..=until + 9).contains(&wait), "{wait}, {rest}");
            waits.insert(wait);
        }
    }
    assert!(waits.len() >= 4, "{waits:?}");
}

/// The fields of the first answer of this server.
async fn first<L>(server: L) -> [Option<String>; 2]
where
    L: Layer<axum::routing::Route> + Clone + Send + Sync + 'static,
    L::Service: tower::Service<Request<Body>, Response: axum::response::IntoResponse> + Clone + Send + Sync,
    L::Service: tower::Service<Request<Body>, Error: Into<std::convert::Infallible>, Future: Send> + 'static,
{
    let answer: Response<Body> =
        hello().layer(server).oneshot(Request::new(Body::empty())).await.expect("it never fails");
    let field = |name| Some(answer.headers().get(name)?.to_str().expect("ASCII").to_owned());
    ["ratelimit-policy", "ratelimit"].map(field)
}

#[tokio::test(start_paused = true)]
async fn a_bucket_and_a_window_are_two_quotas() {
    let limit = RateLimitConfig::per_second(10).burst(20).window(100, MINUTE);
    let server = http::server().rate_limit(limit).build().expect("valid").report_quotas();
    let expected = [r#""burst";q=20;w=2, "window";q=100;w=60"#, r#""burst";r=19;t=1, "window";r=99;t=60"#];
    assert_eq!(first(server).await, expected.map(|text| Some(text.to_owned())));
    // The bucket fills up in 200 ms.
    let limit = RateLimitConfig::per_second(100).burst(20);
    let server = http::server().rate_limit(limit).build().expect("valid").report_quotas();
    let expected = [r#""burst";q=20"#, r#""burst";r=19;t=1"#];
    assert_eq!(first(server).await, expected.map(|text| Some(text.to_owned())));
}

#[tokio::test(start_paused = true)]
async fn a_limit_that_is_left_out_or_only_counts_tells_nothing() {
    let none = http::server_from(ServerConfig::default()).build().expect("valid").report_quotas();
    let none_of_key =
        http::server().rate_limit(None.map(|(): ()| LIMIT.per_header(CLIENT))).build().expect("valid");
    let shadow = http::server().rate_limit(LIMIT.shadow(true)).build().expect("valid").report_quotas();
    let unasked = http::server().rate_limit(LIMIT).build().expect("valid");
    let fields = [
        first(none).await,
        first(none_of_key.report_quotas()).await,
        first(shadow).await,
        first(unasked).await,
    ];
    assert_eq!(fields, [const { [None, None] }; 4]);
}

#[tokio::test(start_paused = true)]
async fn case_64_new_numbers_show_in_the_next_answer() {
    let server = http::server().rate_limit(Some(LIMIT)).build().expect("valid");
    let handle = server.rate_limit().expect("it is there");
    let server = server.report_quotas();
    assert_eq!(first(server.clone()).await[0].as_deref(), Some(r#""burst";q=2;w=60"#));
    handle.update(LIMIT.burst(5)).expect("valid");
    assert_eq!(first(server).await[0].as_deref(), Some(r#""burst";q=5;w=150"#));
}
