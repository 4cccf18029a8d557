//! The tables of `RESULTS.md`.

use std::{fmt::Write, fs, io, process::Command, thread};

use crate::{
    bars::Bar,
    measure::{Results, Spread},
};

/// The generated parts of a page: a name and a text each. The rest of the page is written by hand.
#[derive(Debug, Default)]
pub struct Report {
    regions: Vec<(&'static str, String)>,
}

impl Report {
    /// Adds a part, which stands between `<!-- begin: name -->` and `<!-- end: name -->`.
    pub fn region(&mut self, name: &'static str, text: String) {
        self.regions.push((name, text));
    }

    /// All parts in their order.
    #[must_use]
    pub fn text(&self) -> String {
        self.regions.iter().map(|(_, text)| text.as_str()).collect::<Vec<_>>().join("\n")
    }

    /// Puts the parts into a page in the place of the old ones.
    ///
    /// # Errors
    ///
    /// If the page cannot be read or written, or lacks a marker. Then it stays as it is.
    pub fn write(&self, path: &str) -> io::Result<()> {
        let mut page = fs::read_to_string(path)?;
        for (name, text) in &self.regions {
            page = replace(&page, name, text)
                .ok_or_else(|| io::Error::other(format!("{path} lacks the markers of `{name}`")))?;
        }
        fs::write(path, page)
    }
}

/// Day, machine and compiler. The machine is asked before it is busy with the benches.
#[must_use]
pub fn machine() -> String {
    let cpu = read("/proc/cpuinfo");
    let model =
        cpu.lines().find_map(|line| line.strip_prefix("model name")?.split(':').nth(1)).unwrap_or("?");
    let kind = if cpu.contains(" hypervisor") { "a virtual machine, " } else { "" };
    let cores = thread::available_parallelism().map_or(0, usize::from);
    let kernel = read("/proc/sys/kernel/osrelease");
    let load = read("/proc/loadavg");
    let compiler = env!("RUSTC_VERSION").split(' ').take(2).collect::<Vec<_>>().join(" ");
    format!(
        "{}. {} ({kind}{cores} cores, Linux {}), {compiler}, profile `bench` (thin LTO, one codegen unit).\nLoad of the \
         machine before the run: {}.\n",
        today(),
        model.trim(),
        kernel.trim(),
        load.split(' ').next().unwrap_or("?"),
    )
}

/// A row per service.
#[must_use]
pub fn table(title: &str, results: &Results) -> String {
    let mut text = format!(
        "| {title} | ns per call | over its bare service | two threads ÷ one | allocations | bytes of the future |\n\
         |---|---:|---:|---:|---:|---:|\n"
    );
    for figures in &results.figures {
        let scaling = figures.scaling().map_or("–".to_owned(), |scaling| cell(scaling, 2));
        let _ = writeln!(
            text,
            "| {} | {:.1} | {} | {scaling} | {} | {} |",
            figures.name,
            Spread::of(&figures.one).median,
            cell(results.added(figures), 1),
            cell(results.added_allocations(figures), 1),
            figures.future,
        );
    }
    text
}

/// A row per kind of call: the name, and the figures of a small window and of a large one.
#[must_use]
pub fn held(rows: &[(&str, [Vec<f64>; 2])]) -> String {
    let mut text =
        "| window over time | ns per call, 10 held | 1 000 000 held |\n|---|---:|---:|\n".to_owned();
    for (name, [few, many]) in rows {
        let _ = writeln!(text, "| {name} | {} | {} |", cell(Spread::of(few), 1), cell(Spread::of(many), 1));
    }
    text
}

/// A row per bar.
#[must_use]
pub fn bars(bars: &[Bar]) -> String {
    let mut text = "| bar | measured | limit | |\n|---|---:|---:|---|\n".to_owned();
    for Bar { claim, measured, limit, met } in bars {
        let met = if *met { "met" } else { "**missed**" };
        let digits = if measured.median < 100.0 { 3 } else { 0 };
        let _ = writeln!(text, "| {claim} | {} | {limit} | {met} |", cell(*measured, digits));
    }
    text
}

/// The median, and the lowest and the highest if they differ from it.
fn cell(Spread { median, lowest, highest }: Spread, digits: usize) -> String {
    let [median, lowest, highest] = [median, lowest, highest].map(|figure| format!("{figure:.digits$}"));
    if lowest == highest { median } else { format!("{median} ({lowest}–{highest})") }
}

/// `None` if the page lacks a marker.
fn replace(page: &str, name: &str, text: &str) -> Option<String> {
    let (before, rest) = page.split_once(&format!("<!-- begin: {name} -->\n"))?;
    let (_, after) = rest.split_once(&format!("<!-- end: {name} -->"))?;
    Some(format!("{before}<!-- begin: {name} -->\n{text}<!-- end: {name} -->{after}"))
}

fn today() -> String {
    let date = Command::new("date").args(["-u", "+%F"]).output().expect("`date` runs").stdout;
    String::from_utf8_lossy(&date).trim().to_owned()
}

/// Empty where the system has no such file.
fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_text_between_the_markers_is_replaced() {
        let page = "prose\n<!-- begin: held -->\nold\n<!-- end: held -->\nmore prose\n";
        let new = replace(page, "held", "new\n").expect("the markers are there");
        assert_eq!(new, page.replace("old", "new"));
        assert_eq!(replace(page, "pending", "new\n"), None);
    }
}
