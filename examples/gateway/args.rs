//! The command line.

use std::{ffi::OsString, ops::RangeInclusive, path::PathBuf, time::Duration};

pub(crate) const HELP: &str = "\
A reverse proxy with a circuit breaker and timeouts around every upstream.

Usage: gateway [--for DURATION]     run the demo, with and without protection, side by side
       gateway --config FILE        run for real; Ctrl-C or SIGTERM stops it

Options:
  --for DURATION   how long the demo lasts, such as 30s or 2m; 2s to 10m [default: 20s]
  --config FILE    a TOML file; examples/gateway/gateway.toml is one
  --check          check the file and exit
  --access-log     write a line per request to the standard output
  -h, --help       print this

It exits with 1 if a stop cut requests off, and with 2 if the command line or the file is wrong.
";

/// The command that the user gave.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Command {
    Help,
    Demo { length: Duration },
    Check { file: PathBuf },
    Serve { file: PathBuf, access_log: bool },
}

/// Reads the arguments, without the program's name.
pub(crate) fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Command, String> {
    let mut args = args.into_iter().flat_map(split);
    let (mut length, mut file, mut check, mut access_log) = (None, None, None, None);
    while let Some(arg) = args.next() {
        match arg.to_str() {
            Some("-h" | "--help") => return Ok(Command::Help),
            Some("--for") => once(&mut length, "--for", duration(&value(&mut args, "--for")?)?)?,
            Some("--config") => once(&mut file, "--config", value(&mut args, "--config")?.into())?,
            Some("--check") => once(&mut check, "--check", ())?,
            Some("--access-log") => once(&mut access_log, "--access-log", ())?,
            _ => return Err(format!("unknown argument: {}", arg.display())),
        }
    }
    match (file, length) {
        (Some(_), Some(_)) => Err("--for belongs to the demo, which takes no --config".into()),
        (Some(_), None) if check.and(access_log).is_some() => {
            Err("--check exits before there is a request for --access-log".into())
        }
        (Some(file), None) if check.is_some() => Ok(Command::Check { file }),
        (Some(file), None) => Ok(Command::Serve { file, access_log: access_log.is_some() }),
        (None, _) if check.is_some() => Err("--check needs --config".into()),
        (None, _) if access_log.is_some() => Err("--access-log needs --config".into()),
        (None, length) => Ok(Command::Demo { length: length.unwrap_or(DEFAULT_LENGTH) }),
    }
}

/// `--option=value` is `--option value`.
fn split(arg: OsString) -> impl Iterator<Item = OsString> {
    let halves = arg.to_str().filter(|arg| arg.starts_with("--")).and_then(|arg| arg.split_once('='));
    match halves.map(|(name, value)| (name.into(), value.into())) {
        Some((name, value)) => [Some(name), Some(value)],
        None => [Some(arg), None],
    }
    .into_iter()
    .flatten()
}

fn value(args: &mut impl Iterator<Item = OsString>, name: &str) -> Result<OsString, String> {
    args.next().filter(|value| !value.is_empty()).ok_or_else(|| format!("{name} needs a value"))
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
        assert_eq!(parsed("--for=3s"), Ok(Command::Demo { length }));
        let serve = |access_log| Ok(Command::Serve { file: "a=b.toml".into(), access_log });
        assert_eq!(parsed("--config a=b.toml"), serve(false));
        assert_eq!(parsed("--config=a=b.toml --access-log"), serve(true));
        assert_eq!(parsed("--check --config a.toml"), Ok(Command::Check { file: "a.toml".into() }));
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
            ("--config=", "--config needs a value"),
            ("--check", "--check needs --config"),
            ("--access-log", "--access-log needs --config"),
            ("--check=yes --config a", "unknown argument: yes"),
            ("--for 3s --config a", "--for belongs to the demo, which takes no --config"),
        ] {
            assert_eq!(parsed(line), Err(complaint.to_string()));
        }
    }
}
