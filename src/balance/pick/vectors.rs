//! The vectors of other implementations. `tests/vectors/balance.json` holds them with their sources.

use std::time::Duration;

use serde_json::Value;

use super::{Ewma, Weighted, ramp};

const DECAY: f32 = 10_000.0;

pub(in crate::balance) fn vectors(area: &str, name: &str) -> Value {
    let all: Vec<Value> =
        serde_json::from_str(include_str!("../../../tests/vectors/balance.json")).expect("the file is JSON");
    let found = all
        .into_iter()
        .find(|it| it["area"] == area && it["name"].as_str().is_some_and(|it| it.starts_with(name)));
    found.unwrap_or_else(|| panic!("there is no vector {area}, {name}"))
}

pub(in crate::balance) fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().expect("a list").iter().map(|it| it.as_f64().expect("a number")).collect()
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "small numbers of the file")]
fn whole(value: &Value) -> Vec<u32> {
    numbers(value).into_iter().map(|it| it as u32).collect()
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "small numbers of the file")]
fn millis(seconds: f64) -> u32 {
    (seconds * 1_000.0) as u32
}

#[expect(clippy::cast_possible_truncation, reason = "small numbers of the file")]
fn pairs(value: &Value) -> Vec<(u32, f32)> {
    let pair = |it: &Value| {
        let it = numbers(it);
        (millis(it[0]), it[1] as f32)
    };
    value.as_array().expect("a list").iter().map(pair).collect()
}

fn near(left: f32, right: f64) {
    assert!((f64::from(left) - right).abs() <= 1e-5 * right.abs().max(1.0), "{left} is not {right}");
}

fn picks(weights: &[u32], n: u64) -> Vec<usize> {
    let (order, mut number) = (Weighted::new(weights), 0..);
    (0..n).map(|_| order.pick(|| number.next().expect("an endless range"))).collect()
}

#[test]
fn smooth_orders_are_those_of_nginx() {
    let cases: [(&str, &[u32], u64); 4] = [
        ("nginx", &[5, 1, 1], 7),
        ("weights 4,2,1", &[4, 2, 1], 14),
        ("weights 1,1,1", &[1, 1, 1], 6),
        ("weights 2,3", &[2, 3], 5),
    ];
    for (name, weights, n) in cases {
        let expected = vectors("lb.swrr", name)["expect"]["seq"].as_str().expect("a text").to_owned();
        let letters = ["a", "b", "c"];
        let order: String = picks(weights, n).into_iter().map(|index| letters[index]).collect();
        assert_eq!(order, expected);
    }
}

#[test]
fn static_strides_are_those_of_grpc() {
    for name in ["gRPC static stride [5, 1, 1]", "gRPC static stride [2, 0, 4]"] {
        let vector = vectors("lb.static_stride", name);
        // The mean is taken before the weights are scaled, as in grpc-go.
        let weights = super::stride::with_mean(&whole(&vector["given"]["weights"]));
        let scaled = super::stride::scaled(&weights);
        let (expected, n) = (&vector["expect"], vector["given"]["n"].as_u64().expect("a number"));
        assert_eq!(scaled.iter().copied().map(u32::from).collect::<Vec<_>>(), whole(&expected["scaled"]));
        let (order, mut number) = (Weighted::Stride(scaled), 0..);
        let picks: Vec<u32> = (0..n)
            .map(|_| u32::try_from(order.pick(|| number.next().expect("an endless range"))).expect("small"))
            .collect();
        assert_eq!(picks, whole(&expected["picks"]));
    }
    let vector = vectors("lb.static_stride", "long-run");
    let n = whole(&serde_json::json!([vector["given"]["n"]]))[0];
    let (order, mut number) = (Weighted::Stride(super::stride::scaled(&[3, 1])), 0..);
    let first = (0..n).filter(|_| order.pick(|| number.next().expect("an endless range")) == 0).count();
    let share = f64::from(u32::try_from(first).expect("small")) / f64::from(n);
    assert!((share - vector["expect"]["share0"].as_f64().expect("a number")).abs() < 1e-3, "{share}");
}

/// grpc-go falls back to round robin; ours is the same order by the same table.
#[test]
fn weights_that_say_nothing_give_plain_round_robin() {
    let vector = vectors("lb.static_stride", "fallback");
    for weights in vector["given"]["weights"].as_array().expect("a list") {
        let weights = whole(weights);
        let cycle: Vec<usize> = (0..weights.len()).chain(0..weights.len()).collect();
        assert_eq!(picks(&weights, cycle.len() as u64), cycle, "{weights:?}");
    }
}

#[test]
fn averages_and_peaks_are_those_of_linkerd() {
    let vector = vectors("lb.ewma", "first sample");
    let mut ewma = Ewma::UNSEEN;
    for ((at, sample), value) in
        pairs(&vector["given"]["adds"]).into_iter().zip(numbers(&vector["expect"]["value"]))
    {
        ewma = ewma.add(sample, DECAY, at);
        near(ewma.read(DECAY, at), value);
    }
    for name in ["peak replaces", "peak after 25 s"] {
        let vector = vectors("lb.ewma", name);
        let mut ewma = Ewma::UNSEEN;
        for ((at, sample), value) in
            pairs(&vector["given"]["peaks"]).into_iter().zip(numbers(&vector["expect"]["value"]))
        {
            ewma = ewma.peak(sample, DECAY, at);
            near(ewma.read(DECAY, at), value);
        }
    }
    let vector = vectors("lb.ewma", "stale");
    let adds = pairs(&vector["given"]["adds"]);
    let ewma = adds.into_iter().fold(Ewma::UNSEEN, |ewma, (at, sample)| ewma.add(sample, DECAY, at));
    let reads = numbers(&vector["given"]["read_at"]).into_iter().zip(numbers(&vector["expect"]["read"]));
    for (at, value) in reads {
        near(ewma.read(DECAY, millis(at)), value);
    }
    assert!(Ewma::UNSEEN.read(DECAY, 0).is_infinite());
    // A decay of 0 is 1 ms.
    near(Ewma::UNSEEN.add(1.0, 0.0, 1).read(0.0, 2), (-1.0_f64).exp());
}

#[test]
fn loads_are_those_of_finagle() {
    let vector = vectors("lb.peak_ewma", "load");
    let ewma = Ewma::UNSEEN.peak(50.0, DECAY, 0);
    let since = numbers(&vector["given"]["since_last_s"]).into_iter();
    for (since, load) in since.zip(numbers(&vector["expect"]["load"])) {
        near(ewma.load(2, DECAY, millis(since)), load);
    }
}

#[test]
fn case_48_a_penalty_makes_an_endpoint_that_fails_fast_the_most_expensive() {
    let vector = vectors("lb.peak_ewma", "black hole");
    let (healthy, penalties) = (Ewma::UNSEEN.peak(0.010, DECAY, 0), numbers(&vector["given"]["penalty_ms"]));
    let wins: Vec<bool> = penalties
        .into_iter()
        .map(|penalty| {
            #[expect(clippy::cast_possible_truncation, reason = "a small number")]
            let bad = Ewma::UNSEEN.peak((penalty / 1_000.0).max(0.001) as f32, DECAY, 0);
            bad.load(0, DECAY, 0) < healthy.load(0, DECAY, 0)
        })
        .collect();
    let expected = vector["expect"]["bad_host_wins_every_p2c_comparison"].as_array().expect("a list");
    assert_eq!(wins, expected.iter().map(|it| it.as_bool().expect("a bool")).collect::<Vec<_>>());
}

#[test]
fn case_49_slow_starts_are_those_of_envoy() {
    let vector = vectors("lb.slow_start", "factor");
    let window = Duration::from_secs(60);
    for (aggression, key) in [(1.0, "aggr1"), (2.0, "aggr2")] {
        let times = numbers(&vector["given"]["t_s"]).into_iter();
        for (time, factor) in times.zip(numbers(&vector["expect"][key])) {
            let ours = ramp(window, aggression, Duration::from_secs_f64(time));
            assert!((ours - factor).abs() < 1e-5, "{time} s: {ours} is not {factor}");
        }
    }
}
