//! The demo, with its output in a pipe.

use std::process::Command;

use crate::{Result, process::gateway};

#[test]
fn the_demo_shows_that_protection_wins() -> Result {
    let output = Command::new(gateway()?).args(["--for", "6s"]).output()?;
    let text = String::from_utf8(output.stdout)?;
    assert!(output.status.success(), "{text}");
    assert!(!text.contains('\x1b'), "colours are for terminals:\n{text}");
    for line in text.lines() {
        assert!(line.chars().count() <= 78, "{line}");
    }

    let last =
        text.lines().rfind(|line| line.contains(" s  healthy ")).ok_or("no line with all upstreams")?;
    for upstream in ["healthy", "flaky", "fading"] {
        let rates = last.split_whitespace().skip_while(|word| *word != upstream).nth(1);
        let (protected, unprotected) = rates.and_then(|rates| rates.split_once('/')).ok_or(upstream)?;
        assert!(protected.parse::<f64>()? >= unprotected.parse()?, "{upstream}:\n{text}");
    }

    // The verdict stands before the circuits, and the next command is the last line.
    let (verdict, circuits) = text.split_once("\nfading: opened ").ok_or("no line of the circuit")?;
    assert!(circuits.contains(" probed ") && !circuits.contains(" now "), "{text}");
    assert!(text.lines().last().is_some_and(|line| line.starts_with("cargo run ")), "{text}");

    let [unprotected, protected] = row(verdict, "success")?;
    assert!(protected > unprotected + 5.0 && protected > 95.0, "{text}");
    let [unprotected, protected] = row(verdict, "client time")?;
    assert!(protected < unprotected, "{text}");
    // The outage of so short a demo is hardly longer than the time in which the circuit opens.
    let [unprotected, protected] = row(verdict, "mercy")?;
    assert!(protected < unprotected / 1.5, "{text}");
    let [unprotected, protected] = row(verdict, "retries")?;
    assert!(unprotected == 0.0 && protected > 0.0, "{text}");
    Ok(())
}

#[cfg(unix)]
#[test]
fn ctrl_c_ends_the_demo_with_a_verdict() -> Result {
    use std::{
        io::{BufRead, BufReader, Read},
        process::Stdio,
    };

    let mut process = Command::new(gateway()?).stdout(Stdio::piped()).spawn()?;
    let mut stdout = BufReader::new(process.stdout.take().ok_or("it is piped")?);
    let mut line = String::new();
    while !line.contains(" s  healthy ") {
        line.clear();
        assert!(stdout.read_line(&mut line)? > 0, "it ended before it began");
    }

    let sent = Command::new("sh").arg("-c").arg(format!("kill -INT {}", process.id())).status()?;

    let mut rest = String::new();
    stdout.read_to_string(&mut rest)?;
    assert!(sent.success() && process.wait()?.success(), "{rest}");
    let [unprotected, protected] = row(&rest, "success")?;
    assert!(protected > unprotected, "{rest}");
    Ok(())
}

/// The numbers of a row of the verdict: unprotected, protected.
fn row(text: &str, name: &str) -> Result<[f64; 2]> {
    let row =
        text.lines().rfind(|line| line.starts_with(name)).ok_or_else(|| format!("no {name}:\n{text}"))?;
    let mut numbers = row.split_whitespace().filter_map(|word| word.parse().ok());
    Ok([numbers.next().ok_or("unprotected")?, numbers.next().ok_or("protected")?])
}
