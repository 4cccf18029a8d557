//! The messages of the compiler for the bounds that a user can miss. Each says in its first line what to add.
//!
//! Every file in `tests/ui` has the expected text beside it. `TRYBUILD=overwrite cargo test --test ui` writes the texts.

use std::{env, process::Command};

/// Other compilers print other texts.
const COMPILER: &str = "rustc 1.95.";

#[test]
fn the_compiler_says_what_to_add() {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc).arg("--version").output().expect("a compiler has built this test");
    let version = String::from_utf8_lossy(&output.stdout);
    if !version.starts_with(COMPILER) {
        eprintln!("skipped: the expected texts are those of {COMPILER}x, and this is {version}");
        return;
    }
    trybuild::TestCases::new().compile_fail("tests/ui/*.rs");
}
