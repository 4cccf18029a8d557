//! A reverse proxy whose every upstream stands behind a `ReliabilityStack` of its own.
//!
//! ```text
//! cargo run --example gateway                             # the demo: with and without
//! cargo run --example gateway -- --for 60s                # a longer demo
//! cargo run --release --example gateway -- --config FILE  # the real gateway
//! ```
//!
//! `examples/gateway/gateway.toml` is a sample config with a comment on each key. Start with `upstream.rs`: it puts the
//! stack around `endpoints.rs`, which chooses among the servers. `config.rs` reads the numbers from a file.
#![allow(clippy::disallowed_methods, reason = "the bans are for the library; this is a program")]

mod args;
mod boxed;
mod config;
mod demo;
mod endpoints;
mod headers;
mod origin;
mod problem;
mod proxy;
mod run;
mod server;
mod signals;
mod upstream;

use std::process::ExitCode;

use args::Command;

/// A request allocates some thirty times, and glibc's allocator takes about three times as long for that.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main]
async fn main() -> ExitCode {
    match args::parse(std::env::args_os().skip(1)) {
        Ok(Command::Help) => {
            print!("{}", args::HELP);
            ExitCode::SUCCESS
        }
        Ok(Command::Demo { length }) => finish(demo::run(length).await),
        Ok(Command::Serve { file }) => match run::prepare(&file).await {
            Ok(ready) => finish(ready.run().await),
            Err(bad) => refuse(&format!("{}: {bad}", file.display())),
        },
        Err(complaint) => refuse(&format!("{complaint}\n\n{}", args::HELP)),
    }
}

fn finish(result: std::io::Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("gateway: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Refuses a bad command line or config. Programs exit with 2 for that.
fn refuse(complaint: &str) -> ExitCode {
    eprintln!("{complaint}");
    ExitCode::from(2)
}
