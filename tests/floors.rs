//! Keeps the shape of the house: looks go down only, pure files are pure, files fit in the head.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

/// The floor of each folder directly under `src`. A file may use lower floors, and its own room.
const FLOORS: &[(&str, u8)] = &[
    ("algo", 0),
    ("rt", 0),
    ("call", 1),
    ("health_check", 1),
    ("keyed", 1),
    ("telemetry", 1),
    ("retry_budget", 1),
    ("wait_queue", 1),
    ("balance", 2),
    ("circuit_breaker", 2),
    ("concurrency_limit", 2),
    ("dns", 2),
    ("drain", 2),
    ("fallback", 2),
    ("hedge", 2),
    ("panic_guard", 2),
    ("rate_limit", 2),
    ("retry", 2),
    ("timeout", 2),
    ("stack", 3),
    ("http", 4),
    ("grpc", 5),
    ("redis", 4),
    ("testing", 6),
];

/// Files that decide, and so must not wait, lock, read a clock or draw a random number.
const PURE: &[&str] = &[
    "algo/",
    "balance/pick/",
    "balance/state/",
    "balance/vote.rs",
    "circuit_breaker/state/",
    "concurrency_limit/adaptive/",
    "concurrency_limit/pace.rs",
    "wait_queue/state/",
    "rate_limit/bucket.rs",
    "rate_limit/keyed/key_limits.rs",
    "rate_limit/keyed/shard.rs",
    "rate_limit/leased/gcra.rs",
    "rate_limit/leased/health.rs",
    "rate_limit/limits.rs",
    "rate_limit/quota.rs",
    "rate_limit/rate.rs",
    "rate_limit/window.rs",
    "telemetry/circuit.rs",
    "grpc/code.rs",
    "grpc/pushback.rs",
    "dns/target.rs",
    "config.rs",
    "state.rs",
    "outcome.rs",
    "backoff.rs",
    "learning.rs",
    "stats.rs",
    "plan.rs",
    "testing/faults/latency.rs",
    "testing/scripted/step.rs",
    "recording.rs",
];

/// What a pure file must not speak of.
const IMPURE: &[&str] = &[
    "async ",
    ".await",
    "Mutex",
    "RwLock",
    "Atomic",
    "clock::now",
    "Instant::now",
    "SystemTime",
    ".elapsed()",
    "tokio",
    "rand::rng",
    "random_range",
    "thread::",
];

const MAX_LINES: usize = 350;

/// Files that may be longer, each with its reason.
const LONGER: [(&str, &str); 0] = [];

struct Source {
    path: String,
    text: String,
    /// The text without comments and without its tests.
    code: String,
}

/// All Rust files in a folder and the folders in it.
fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("the folder can be read") {
        let path = entry.expect("the folder can be read").path();
        if path.is_dir() {
            found.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    rust_files(&root)
        .into_iter()
        .map(|path| {
            let text = fs::read_to_string(&path).expect("a source is text");
            let path = path.strip_prefix(&root).expect("it lies under src").display().to_string();
            Source { code: without_comments_and_tests(&text), path, text }
        })
        .filter(|source| !is_test(source))
        .collect()
}

/// A file that is nothing but tests.
fn is_test(source: &Source) -> bool {
    source.path.contains("/tests/")
        || source.path.contains("/model/")
        || ["/tests.rs", "/model.rs", "/concurrency.rs"].iter().any(|end| source.path.ends_with(end))
}

fn without_comments_and_tests(text: &str) -> String {
    let code = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
    let lines = code.lines().filter(|line| !line.trim_start().starts_with("//"));
    lines.collect::<Vec<_>>().join("\n")
}

/// The room of a file: its folder or its own name directly under `src`.
fn room(path: &str) -> &str {
    path.split('/').next().unwrap_or_default().trim_end_matches(".rs")
}

/// The rooms that a file uses: the first names behind every `crate::`.
fn used_rooms(code: &str) -> Vec<String> {
    let mut used = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        let rest = &code[at + "crate::".len()..];
        if let Some(list) = rest.strip_prefix('{') {
            let mut depth = 0;
            let mut name = String::new();
            for letter in list.chars() {
                match letter {
                    '{' => depth += 1,
                    '}' if depth == 0 => break,
                    '}' => depth -= 1,
                    ',' if depth == 0 => used.push(std::mem::take(&mut name)),
                    _ if depth == 0 => name.push(letter),
                    _ => {}
                }
            }
            used.push(name);
        } else {
            used.push(
                rest.chars()
                    .take_while(|letter| letter.is_alphanumeric() || "_:".contains(*letter))
                    .collect(),
            );
        }
    }
    used.into_iter()
        .map(|path| path.trim().split("::").next().unwrap_or_default().trim().to_owned())
        .filter(|first| !first.is_empty())
        .collect()
}

fn floor(room: &str) -> u8 {
    let found = FLOORS.iter().find(|(name, _)| *name == room);
    found.unwrap_or_else(|| panic!("`{room}` has no floor: add it to FLOORS, or import from its floor")).1
}

#[test]
fn every_file_looks_down_only() {
    let mut looks = 0;
    for source in sources().iter().filter(|source| source.path != "lib.rs") {
        let own = room(&source.path);
        for used in used_rooms(&source.code) {
            looks += 1;
            let allowed = used == own || floor(&used) < floor(own) || (floor(own) == 1 && floor(&used) == 1);
            assert!(allowed, "src/{} is on floor {} and uses `{used}`", source.path, floor(own));
        }
    }
    assert!(looks > 50, "only {looks} uses were found: the search is broken");
}

#[test]
fn pure_files_are_pure() {
    let mut pure = 0;
    for source in sources() {
        if PURE.iter().any(|end| source.path.ends_with(end) || source.path.starts_with(end)) {
            pure += 1;
            for word in IMPURE {
                assert!(!source.code.contains(word), "src/{} is pure and says `{word}`", source.path);
            }
        }
    }
    assert!(pure > 10, "only {pure} pure files were found: the search is broken");
}

#[test]
fn every_file_fits_in_the_head() {
    let longer: BTreeMap<&str, &str> = LONGER.into_iter().collect();
    for source in sources() {
        let lines = source.text.lines().count();
        let excused = longer.contains_key(source.path.as_str());
        assert!(excused || lines <= MAX_LINES, "src/{} has {lines} lines", source.path);
        assert!(!excused || lines > MAX_LINES, "src/{} needs no excuse any more", source.path);
    }
}

#[test]
fn the_search_sees_what_it_should() {
    let code = "use crate::{algo::{after, spread}, call, rt::clock};\nlet x = crate::stack::Plan;";
    assert_eq!(used_rooms(code), ["algo", "call", "rt", "stack"]);
    assert_eq!(without_comments_and_tests("a\n// b\n#[cfg(test)]\nmod tests {}"), "a");
}

/// The tests of the case tables: `case_NN_…` in any source.
fn numbered_tests() -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    for folder in ["src", "tests"] {
        for path in rust_files(&root.join(folder)) {
            let text = fs::read_to_string(&path).expect("a source is text");
            let names = text.split("fn case_").skip(1).filter_map(|rest| rest.split('(').next());
            let is_name = |name: &&str| name.chars().all(|letter| letter.is_alphanumeric() || letter == '_');
            found.extend(names.filter(is_name).map(|name| format!("case_{name}")));
        }
    }
    found
}

#[test]
fn the_table_of_cases_names_every_numbered_test_and_no_other() {
    let table = include_str!("CASES.md");
    let tests = numbered_tests();
    assert!(tests.len() > 100, "only {} tests were found: the search is broken", tests.len());
    let named: Vec<&str> = table.split('`').filter(|word| word.starts_with("case_")).collect();
    for name in &named {
        assert!(tests.iter().any(|test| test == name), "tests/CASES.md names `{name}`, which does not exist");
    }
    for test in &tests {
        let number: u32 = test["case_".len()..].split('_').next().and_then(|it| it.parse().ok()).expect(test);
        let line = format!("| {number} |");
        assert!(table.contains(&line), "tests/CASES.md has no line for `{test}`");
    }
}
