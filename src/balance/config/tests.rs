use super::*;

fn refused(config: BalanceConfig) -> Option<&'static str> {
    config.check().err().map(|error| error.field())
}

#[test]
fn case_21_numbers_out_of_range_are_refused_by_their_name() {
    let new = BalanceConfig::new();
    let rules = OutlierConfig::new();
    assert_eq!(refused(new), None);
    assert_eq!(refused(new.outliers(OutlierConfig::off())), None);
    assert_eq!(refused(new.decay(Duration::ZERO)), Some("decay"));
    assert_eq!(refused(new.decay(Duration::MAX)), Some("decay"));
    assert_eq!(refused(new.failure_penalty(Duration::MAX)), Some("failure_penalty"));
    assert_eq!(refused(new.max_retry_after(Duration::MAX)), Some("max_retry_after"));
    assert_eq!(refused(new.slow_start(Duration::MAX)), Some("slow_start"));
    for aggression in [0.0, f64::NAN, 11.0] {
        assert_eq!(refused(new.slow_start_aggression(aggression)), Some("slow_start_aggression"));
    }
    for ratio in [-0.1, f64::NAN, 1.1] {
        assert_eq!(refused(new.panic_threshold(ratio)), Some("panic_threshold"));
        assert_eq!(refused(new.outliers(rules.success_gap(ratio))), Some("outliers.success_gap"));
        assert_eq!(refused(new.outliers(rules.max_ejected(ratio))), Some("outliers.max_ejected"));
    }
    assert_eq!(refused(new.max_tries(0)), Some("max_tries"));
    for ratio in [0.5, f64::NAN, f64::INFINITY, -1.0] {
        assert_eq!(refused(new.outliers(rules.latency_ratio(ratio))), Some("outliers.latency_ratio"));
    }
    assert_eq!(refused(new.outliers(rules.interval(Duration::ZERO))), Some("outliers.interval"));
    assert_eq!(refused(new.outliers(rules.eject_for(Duration::ZERO))), Some("outliers.eject_for"));
    let longest = rules.max_eject_for(Duration::from_secs(1));
    assert_eq!(refused(new.outliers(longest)), Some("outliers.max_eject_for"));
}

#[cfg(feature = "serde")]
#[test]
fn a_file_may_leave_out_every_number() {
    let config: BalanceConfig = toml::from_str(
        "strategy = 'least_connections'\nslow_start = '30s'\noutliers = { consecutive_failures = 3 }",
    )
    .expect("valid");
    let expected = BalanceConfig::new()
        .strategy(BuiltIn::LeastConnections)
        .slow_start(Duration::from_secs(30))
        .outliers(OutlierConfig::new().consecutive_failures(3));
    assert_eq!(config, expected);
    assert_eq!(toml::from_str(""), Ok(BalanceConfig::new()));
    assert!(toml::from_str::<BalanceConfig>("strategy = 'best'").is_err());
    assert!(toml::from_str::<BalanceConfig>("outliers = { failures = 3 }").is_err());
}
