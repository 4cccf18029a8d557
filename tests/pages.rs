//! Keeps the pages true: the examples are short, and README and `lib.rs` say the same.

use std::{fs, path::Path};

/// The examples, and the function of each that sets its layers up.
const SET_UPS: &[(&str, &str)] = &[
    ("client_hyper", "fn new("),
    ("client_quota", "fn new("),
    ("distributed_limit", "fn new("),
    ("client_reqwest", "fn new("),
    ("grpc_tonic", "fn client("),
    ("grpc_tonic", "async fn serve("),
    ("server_axum", "fn app("),
    ("server_priorities", "fn app("),
    ("own_error", "fn prices("),
    ("stack_from_toml", "fn new("),
    ("observe", "fn new("),
];

/// The most lines of code in the body of such a function.
const MOST_LINES: usize = 12;

#[test]
fn no_example_needs_more_than_twelve_lines_to_set_its_layers_up() {
    for (example, function) in SET_UPS {
        let lines = body(&read(&format!("examples/{example}.rs")), function).len();
        println!("{example}, `{function}`: {lines} lines");
        assert!((1..=MOST_LINES).contains(&lines), "{example}: `{function}` has {lines} lines of code");
    }
}

#[test]
fn the_readme_lists_every_example() {
    let readme = read("README.md");
    for entry in fs::read_dir(root().join("examples")).expect("the examples are there") {
        let path = entry.expect("the folder can be read").path();
        let name = path.file_stem().expect("an example has a name").to_string_lossy().into_owned();
        assert!(
            readme.contains(&format!("| [`{name}`](examples/{name}")),
            "README lacks the example `{name}`"
        );
    }
}

#[test]
fn readme_and_lib_name_the_same_problems_in_the_same_order() {
    let heading = "# Which layer do I need?";
    let (readme, lib) = (read("README.md"), read("src/lib.rs").replace("\n//! ", "\n"));
    let (readme, lib) = (problems(section(&readme, heading)), problems(section(&lib, heading)));
    assert!(lib.len() > 10, "{lib:?}");
    assert_eq!(readme, lib);
}

/// The lines of code in the body of a function, without blank lines and comments.
fn body<'a>(source: &'a str, function: &str) -> Vec<&'a str> {
    let mut lines = source.lines().skip_while(|line| !line.trim_start().starts_with(function)).peekable();
    let indent = lines.peek().map_or(0, |line| line.len() - line.trim_start().len());
    let end = format!("{}}}", " ".repeat(indent));
    lines
        .skip_while(|line| !line.ends_with('{'))
        .skip(1)
        .take_while(|line| **line != end)
        .filter(|line| !line.trim().is_empty() && !line.trim_start().starts_with("//"))
        .collect()
}

/// The text between a heading and the next one.
fn section<'a>(page: &'a str, heading: &str) -> &'a str {
    let (_, rest) = page.split_once(heading).expect("the page has the heading");
    rest.split_once("\n#").map_or(rest, |(section, _)| section)
}

/// The first cells of all rows of the tables.
fn problems(section: &str) -> Vec<&str> {
    let rows = section.lines().filter_map(|line| line.strip_prefix("| ")?.split(" | ").next());
    rows.filter(|cell| *cell != "problem").collect()
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).expect("the file is there")
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
