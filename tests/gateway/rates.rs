//! Limits on the rate of requests: of each client, of all, and to an upstream.

use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::time::sleep;

use crate::{Result, process::Running, redis_server::RedisServer, status_of, upstream::Upstream};

/// A gateway with these lines at the top, and these in its upstream.
fn gateway(upstream: &Upstream, top: &str, lines: &str) -> Result<Running> {
    Running::start(&format!(
        "listen = '127.0.0.1:0'\n{top}\nroutes = [{{ prefix = '/', upstream = 'payments' }}]\n\
         [upstreams.payments]\nurl = 'http://{}'\n{lines}\n",
        upstream.address
    ))
}

/// The status of the answer to a request with this header.
async fn ask(
    client: &reqwest::Client,
    gateway: &Running,
    (name, value): (&str, &str),
) -> Result<u16, reqwest::Error> {
    let answer = client.get(gateway.url("/payments/echo")).header(name, value).send().await?;
    let status = answer.status().as_u16();
    answer.bytes().await?;
    Ok(status)
}

async fn of_clients(gateway: &Running) -> Result<Value> {
    Ok(status_of(gateway, "/-").await?["rate_limit_per_client"].take())
}

#[tokio::test]
async fn a_request_beyond_a_rate_is_answered_429_with_a_time_and_without_numbers() -> Result {
    let upstream = Upstream::start().await?;
    let limit = "rate_limit = { per = { calls = 2, period = '1m' }, burst = 2 }";
    for (top, lines, name) in
        [(limit, "", "/-"), ("", limit, "payments"), (&*format!("clients.{limit}"), "", "")]
    {
        let gateway = gateway(&upstream, top, lines)?;
        for _ in 0..2 {
            assert_eq!(reqwest::get(gateway.url("/payments/echo")).await?.status(), 200, "{top}{lines}");
        }
        let refused = reqwest::get(gateway.url("/payments/echo")).await?;
        assert_eq!(refused.status(), 429, "{top}{lines}");
        let seconds: u64 = refused.headers()["retry-after"].to_str()?.parse()?;
        // The next token, and a jitter of up to a quarter.
        assert!((29..=38).contains(&seconds), "{seconds}");
        let text = refused.text().await?;
        assert!(!text.contains("limit") && !text.contains("payments"), "{text}");
        let status = match name {
            "" => of_clients(&gateway).await?,
            name => status_of(&gateway, name).await?["rate_limit"].take(),
        };
        assert_eq!(status["rejected"], 1, "{status}");
    }
    Ok(())
}

#[tokio::test]
async fn case_74_each_answer_tells_a_client_what_is_left_of_its_own_rate() -> Result {
    let upstream = Upstream::start().await?;
    let clients = |fields: bool| {
        format!(
            "clients = {{ trust = ['127.0.0.1'], rate_limit_fields = {fields}, \
             rate_limit = {{ per = {{ calls = 3, period = '1m' }} }} }}"
        )
    };
    let client = reqwest::Client::new();
    let told = async |gateway: &Running, address: &str| -> Result<_> {
        let request = client.get(gateway.url("/payments/echo")).header("x-forwarded-for", address);
        let answer = request.send().await?;
        let field = |name| Some(answer.headers().get(name)?.to_str().ok()?.to_owned());
        let fields = ["ratelimit-policy", "ratelimit"].map(field).map(Option::unwrap_or_default);
        Ok((answer.status().as_u16(), fields, field("retry-after").and_then(|it| it.parse::<u64>().ok())))
    };
    let gateway_of = |fields| gateway(&upstream, &clients(fields), "");
    let telling = gateway_of(true)?;
    let fields = |rest: &str| [r#""burst";q=3;w=60"#.to_owned(), format!(r#""burst";{rest}"#)];
    for rest in ["r=2;t=20", "r=1;t=20", "r=0;t=20"] {
        assert_eq!(told(&telling, "192.0.2.1").await?, (200, fields(rest), None));
    }
    let (status, refused, retry_after) = told(&telling, "192.0.2.1").await?;
    assert_eq!((status, refused), (429, fields("r=0;t=20")));
    assert!(retry_after >= Some(20), "{retry_after:?}");
    assert_eq!(told(&telling, "192.0.2.2").await?, (200, fields("r=2;t=20"), None));
    let silent = gateway_of(false)?;
    assert_eq!(told(&silent, "192.0.2.1").await?, (200, <[String; 2]>::default(), None));
    Ok(())
}

#[tokio::test]
async fn a_request_may_wait_for_the_rate_of_all() -> Result {
    let upstream = Upstream::start().await?;
    let limit = "rate_limit = { per_second = 10, burst = 1, queue = { max_wait = '5s', shed = 'off' } }";
    let gateway = gateway(&upstream, limit, "")?;
    let began = Instant::now();
    let client = reqwest::Client::new();
    for _ in 0..4 {
        assert_eq!(ask(&client, &gateway, ("a", "b")).await?, 200);
    }
    assert!(began.elapsed() > Duration::from_millis(250), "{:?}", began.elapsed());
    Ok(())
}

#[tokio::test]
async fn a_greedy_client_beside_a_polite_one_takes_nothing_of_its_share() -> Result {
    let upstream = Upstream::start().await?;
    let top = "clients = { trust = ['127.0.0.1'], rate_limit = { per_second = 20, burst = 10 } }\n\
               rate_limit = { per_second = 40, burst = 40 }";
    let gateway = gateway(&upstream, top, "")?;
    let (greedy, polite) = (reqwest::Client::new(), reqwest::Client::new());
    let began = Instant::now();
    let storm = async {
        let (mut served, mut refused) = (0, 0);
        while began.elapsed() < Duration::from_secs(2) {
            let asks = (0..8).map(|_| ask(&greedy, &gateway, ("x-forwarded-for", "192.0.2.1")));
            for status in futures::future::try_join_all(asks).await? {
                *(if status == 200 { &mut served } else { &mut refused }) += 1;
            }
        }
        Ok::<(u32, u32), reqwest::Error>((served, refused))
    };
    let steady = async {
        let mut statuses = Vec::new();
        for _ in 0..20 {
            statuses.push(ask(&polite, &gateway, ("x-forwarded-for", "192.0.2.2")).await?);
            sleep(Duration::from_millis(80)).await;
        }
        Ok::<_, reqwest::Error>(statuses)
    };
    let (storm, steady) = tokio::join!(storm, steady);
    let took = began.elapsed().as_secs_f64();
    let (served, refused) = storm?;
    assert_eq!(steady?, [200; 20]);
    assert!(refused > served && f64::from(served) <= 11.0 + 20.0 * took, "{served}, {refused}");
    Ok(())
}

#[tokio::test]
async fn a_client_without_trust_gets_no_new_rate_for_a_claim() -> Result {
    let upstream = Upstream::start().await?;
    let limit = "rate_limit = { per = { calls = 1, period = '1m' } }";
    let client = reqwest::Client::new();
    for (clients, claim) in [
        (format!("clients = {{ {limit} }}"), "x-forwarded-for"),
        (format!("clients = {{ key.header = 'x-tenant', {limit} }}"), "x-tenant"),
    ] {
        let gateway = gateway(&upstream, &clients, "")?;
        assert_eq!(ask(&client, &gateway, (claim, "192.0.2.0")).await?, 200);
        for n in 1..20 {
            let claimed = format!("192.0.2.{n}");
            assert_eq!(ask(&client, &gateway, (claim, &claimed)).await?, 429, "{clients}");
        }
        assert_eq!(of_clients(&gateway).await?["clients"], 1);
    }
    Ok(())
}

#[tokio::test]
async fn a_storm_of_clients_is_bounded_and_spares_a_known_one() -> Result {
    let upstream = Upstream::start().await?;
    let top = "clients = { trust = ['127.0.0.1'], max_keys = 64, \
               rate_limit = { per = { calls = 10, period = '1m' } } }";
    let gateway = gateway(&upstream, top, "")?;
    let client = reqwest::Client::new();
    assert_eq!(ask(&client, &gateway, ("x-forwarded-for", "192.0.2.1")).await?, 200);
    for n in 0..1_000_u32 {
        let address = std::net::Ipv4Addr::from(0x0a00_0000 + n).to_string();
        ask(&client, &gateway, ("x-forwarded-for", &address)).await?;
    }
    let status = of_clients(&gateway).await?;
    assert_eq!((&status["clients"], &status["max_clients"]), (&64.into(), &64.into()), "{status}");
    assert!(
        status["without_room"].as_u64() > Some(900) && status["rejected"].as_u64() > Some(500),
        "{status}"
    );
    assert_eq!(ask(&client, &gateway, ("x-forwarded-for", "192.0.2.1")).await?, 200);
    Ok(())
}

#[tokio::test]
async fn two_gateways_keep_the_rate_of_a_client_together() -> Result {
    let (upstream, mut redis) = (Upstream::start().await?, RedisServer::start().await);
    // A unit per hour: 4 in Redis, and 4 for the two gateways.
    let top = format!(
        "clients.rate_limit = {{ per = {{ calls = 1, period = '1h' }}, burst = 8 }}\n\
         clients.shared = {{ redis = '{}', instances = 2, grace = '0s', after_grace = 'open' }}",
        redis.address()
    );
    let gateways = [gateway(&upstream, &top, "")?, gateway(&upstream, &top, "")?];
    let client = reqwest::Client::new();
    let mut passed = 0;
    for _ in 0..20 {
        for gateway in &gateways {
            passed += u32::from(ask(&client, gateway, ("a", "b")).await? == 200);
        }
        sleep(Duration::from_millis(20)).await;
    }
    assert!((4..=8).contains(&passed), "{passed}");
    redis.kill();
    // Its requests learn that the store is lost.
    for gateway in &gateways {
        let began = Instant::now();
        while ask(&client, gateway, ("a", "b")).await? != 200 {
            assert!(began.elapsed() < Duration::from_secs(20));
            sleep(Duration::from_millis(20)).await;
        }
        assert!(of_clients(gateway).await?["store_lost_for_ms"].is_u64());
    }
    Ok(())
}
