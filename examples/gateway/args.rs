//! The command line.

use std::{ffi::OsString, ops::RangeInclusive, path::PathBuf, time::Duration};

pub(crate) const HELP: &str = "\
A reverse proxy with a circuit breaker and timeouts around every upstream.

Usage: gateway [--for DURATION]     run the demo, with and without protection, side by side
       gateway --config FILE        run for real; Ctrl-C or SIGTERM stops it

Options:
  --for DURATION   how long the demo lasts, such as 30s or 2m; 2s to 10m [default: 20s]
  --config FILE    a TOML file; examples/gateway/gateway.toml is one
  -h, --help       print this
";

/// The command that the user gave.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Command {
    Help,
    Demo { length: Duration },
    Serve { file: PathBuf },
}

/// Reads the arguments, without the program's name.
pub(crate) fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Command, String> {
    let mut args = args.into_iter();
    let mut length = None;
    let mut file = None;
    while let Some(arg) = args.next() {
        match arg.to_str() {
            Some("-h" | "--help") => return Ok(Command::Help),
            Some("--for") => once(&mut length, "--for", duration(&value(&mut args, "--for")?)?)?,
            Some("--config") => once(&mut file, "--config", value(&mut args, "--config")?.into())?,
            _ => return Err(format!("unknown argument: {}", arg.display())),
        }
    }
    match (file, length) {
        (Some(_), Some(_)) => Err("--for belongs to the demo, which takes no --config".into()),
        (Some(file), None) => Ok(Command::Serve { file }),
        (None, length) => Ok(Command::Demo { length: length.unwrap_or(DEFAULT_LENGTH) }),
    }
}

fn value(args: &mut impl Iterator<Item = OsString>, name: &str) -> Result<OsString, String> {
    args.next().ok_or_else(|| format!("{name} needs a value"))
}

fn once<T>(slot: &mut Option<T>, name: &str, value: T) -> Result<(), String> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(format!("{name} is given twice")),
    }
}

fn duration(text: &OsString) -> Result<Duration, String> {
    let parsed = text.to_str().and_then(|text| humantime::parse_duration(text).ok());
    parsed
        .filter(|length| LENGTHS.contains(length))
        .ok_or_else(|| format!("--for must be a duration of 2s to 10m, not {}", text.display()))
}

const DEFAULT_LENGTH: Duration = Duration::from_secs(20);
/// A shorter demo has too few samples. A longer one does not fit in memory.
const LENGTHS: RangeInclusive<Duration> = Duration::from_secs(2)..=Duration::from_secs(600);

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Command, String> {
        parse(line.split_whitespace().map(OsString::from))
    }

    #[test]
    fn each_command_is_understood() {
        let length = Duration::from_secs(3);
        assert_eq!(parsed(""), Ok(Command::Demo { length: DEFAULT_LENGTH }));
        assert_eq!(parsed("--for 3s"), Ok(Command::Demo { length }));
        assert_eq!(parsed("--config a.toml"), Ok(Command::Serve { file: "a.toml".into() }));
        assert_eq!(parsed("--for 3s --help"), Ok(Command::Help));
    }

    #[test]
    fn an_unknown_argument_is_refused() {
        for (line, complaint) in [
            ("--verbose", "unknown argument: --verbose"),
            ("3s", "unknown argument: 3s"),
            ("--for", "--for needs a value"),
            ("--for soon", "--for must be a duration of 2s to 10m, not soon"),
            ("--for 1h", "--for must be a duration of 2s to 10m, not 1h"),
            ("--for 3s --for 3s", "--for is given twice"),
            ("--for 3s --config a", "--for belongs to the demo, which takes no --config"),
        ] {
            assert_eq!(parsed(line), Err(complaint.to_string()));
        }
    }
}
