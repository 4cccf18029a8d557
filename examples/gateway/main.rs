//! A reverse proxy whose every upstream stands behind a `ReliabilityStack` of its own.
//!
//! ```text
//! cargo run --example gateway                             # the demo: with and without
//! cargo run --example gateway -- --for 60s                # a longer demo
//! cargo run --release --example gateway -- --config FILE  # the real gateway
//! cargo build --profile bench --example gateway           # the same for production, with LTO
//! ```
//!
//! `examples/gateway/gateway.toml` is a sample config with a comment on each key. Start with `upstream.rs`: it puts the
//! stack around `endpoints.rs`, which chooses among the servers. `config.rs` reads the numbers from a file.
#![allow(clippy::disallowed_methods, reason = "the bans are for the library; this is a program")]

mod admission;
mod answer;
mod args;
mod boxed;
mod client_key;
mod clients;
mod config;
mod demo;
mod endpoints;
mod forwarded;
mod headers;
mod listen;
mod origin;
mod priority;
mod problem;
mod proxy;
mod refusal;
mod routes;
mod run;
mod server;
mod signals;
mod socket;
mod upstream;
mod upstream_socket;

use std::process::ExitCode;

use args::Command;

/// A request allocates some thirty-five times, some of it in pieces of several KB, which glibc merges and splits.
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
        Ok(Command::Check { file }) => match run::load(&file) {
            Ok(_) => {
                println!("{}: ok", file.display());
                ExitCode::SUCCESS
            }
            Err(bad) => refuse(&format!("{}: {bad}", file.display())),
        },
        Ok(Command::Serve { file, access_log }) => match run::prepare(&file, access_log) {
            Ok(ready) => match ready.run().await {
                // A supervisor learns that clients were harmed.
                Ok(1..) => ExitCode::FAILURE,
                ended => finish(ended.map(drop)),
            },
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
