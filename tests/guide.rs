//! Keeps the guide's table of set-up lines true: each number is counted in the code of `benches/src/setup`.

use std::{collections::BTreeMap, fs, path::Path};

/// The crates of the table, and the files that hold their jobs.
const CRATES: &[(&str, &str)] = &[
    ("tower-reliability", "tower_reliability.rs"),
    ("tower-resilience", "tower_resilience.rs"),
    ("seatbelt", "seatbelt.rs"),
];

/// The jobs, in the order of the table's columns.
const JOBS: &[&str] = &["a", "b", "c", "d", "e"];

/// The library and the job of a number.
type Cell = (String, String);

#[test]
fn the_table_has_the_number_of_set_up_lines_of_each_job() {
    let counted = counted();
    let written = written(&read("GUIDE.md"));
    assert!(counted.len() > 15, "{counted:?}");
    assert_eq!(written, counted, "the left is the table of GUIDE.md, the right is counted");
}

#[test]
fn a_line_of_code_counts_and_no_other() {
    let text = "// job x\n\n    // why\n    a()\n        .b();\n    });\n    // end\n    c();\n// job x\nd\n// end\n";
    assert_eq!(count_rust(text), BTreeMap::from([("x".to_owned(), 3)]));
}

/// The lines of each job, in the code of each library.
fn counted() -> BTreeMap<Cell, usize> {
    let mut counts = BTreeMap::new();
    for (name, file) in CRATES {
        for (job, lines) in count_rust(&read(&format!("benches/src/setup/{file}"))) {
            counts.insert(((*name).to_owned(), job), lines);
        }
    }
    counts.extend(count_markdown(&read("benches/src/setup/other_languages.md")));
    counts
}

/// The lines between `// job x` and `// end`.
fn count_rust(text: &str) -> BTreeMap<String, usize> {
    let (mut counts, mut job) = (BTreeMap::new(), None);
    for line in text.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix("// job ") {
            job = Some(name.to_owned());
        } else if line == "// end" {
            job = None;
        } else if let Some(job) = &job
            && is_code(line)
        {
            *counts.entry(job.clone()).or_default() += 1;
        }
    }
    counts
}

/// The lines of the code blocks under `## library` and `### job x`.
fn count_markdown(text: &str) -> BTreeMap<Cell, usize> {
    let (mut counts, mut library, mut job, mut in_code) = (BTreeMap::new(), "", "", false);
    for line in text.lines().map(str::trim) {
        if line.starts_with("```") {
            in_code = !in_code;
        } else if in_code {
            if is_code(line) {
                *counts.entry((library.to_owned(), job.to_owned())).or_default() += 1;
            }
        } else if let Some(name) = line.strip_prefix("### job ") {
            job = name;
        } else if let Some(name) = line.strip_prefix("## ") {
            library = name;
        }
    }
    counts
}

/// Comments, empty lines and lines of brackets alone do not count: the styles of the languages differ in those.
fn is_code(line: &str) -> bool {
    !line.starts_with("//") && line.chars().any(char::is_alphanumeric)
}

/// The numbers in the rows of the table: `| library | a | b | c | d | e |`. A cell without a number is left out.
fn written(guide: &str) -> BTreeMap<Cell, usize> {
    let (_, table) = guide.split_once("| set-up lines |").expect("the guide has the table of set-up lines");
    let rows = table.lines().skip(2).take_while(|line| line.starts_with('|'));
    rows.flat_map(|row| {
        let mut cells = row.split('|').map(str::trim).skip(1);
        let library = cells.next().unwrap_or_default().to_owned();
        let numbers = JOBS.iter().zip(cells).filter_map(|(job, cell)| Some((*job, cell.parse().ok()?)));
        numbers.map(move |(job, lines)| ((library.clone(), job.to_owned()), lines)).collect::<Vec<_>>()
    })
    .collect()
}

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
