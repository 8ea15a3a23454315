//! From the reports of many runs to tables and plots: medians, spreads, ratios, beside the budgets of each kind of work.
//!
//! A directory of results holds `ROW.SERVER.ROUND.json`, each a report of this program or an object of further figures, and
//! `meta.json`, an object of texts about machine and programs.

mod figures;
mod plot;

use crate::cli::Tables;
use crate::error::{BenchError, IoContext as _};
use figures::{FIGURES, Figure};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

/// The lines between which tables stand: before and behind them, with the word of a section.
fn marks(section: Option<&str>) -> [String; 2] {
    let section = section.map(|section| format!(" {section}")).unwrap_or_default();
    ["begin", "end"].map(|which| format!("<!-- scripts/bench{section}: {which} -->"))
}

/// A server that is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Server {
    Null,
    Ferrocket,
    Java,
}

impl Server {
    const ALL: [Server; 3] = [Server::Null, Server::Ferrocket, Server::Java];

    fn key(self) -> &'static str {
        match self {
            Server::Null => "null",
            Server::Ferrocket => "ferrocket",
            Server::Java => "java",
        }
    }

    fn title(self) -> &'static str {
        match self {
            Server::Null => "null server",
            Server::Ferrocket => "Ferrocket",
            Server::Java => "Java 5.5.0",
        }
    }
}

/// All reports of a directory, by row and server, in the order of their rounds.
#[derive(Debug, Default)]
struct Results {
    reports: BTreeMap<(String, Server), Vec<Value>>,
    meta: Value,
}

impl Results {
    fn read(dir: &Path) -> Result<Results, BenchError> {
        let mut results = Results::default();
        let mut names: Vec<String> = fs::read_dir(dir)
            .on("read", dir.display().to_string())?
            .flatten()
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        for name in names {
            let path = dir.join(&name);
            let parse = || -> Result<Value, BenchError> {
                let text = fs::read(&path).on("read", path.display().to_string())?;
                serde_json::from_slice(&text)
                    .map_err(|error| BenchError::Refused(format!("{} is no report: {error}", path.display())))
            };
            if name == "meta.json" {
                results.meta = parse()?;
            }
            let mut parts = name.strip_suffix(".json").unwrap_or_default().split('.');
            if let (Some(row), Some(server), Some(_)) = (parts.next(), parts.next(), parts.next())
                && let Some(server) = Server::ALL.into_iter().find(|one| one.key() == server)
            {
                results.reports.entry((row.to_owned(), server)).or_default().push(parse()?);
            }
        }
        if results.reports.is_empty() {
            let text = format!("{} holds no ROW.SERVER.ROUND.json; scripts/bench makes them", dir.display());
            return Err(BenchError::Refused(text));
        }
        Ok(results)
    }

    /// The values of a figure in all rounds, sorted.
    fn values(&self, row: &str, server: Server, pointer: &str) -> Vec<f64> {
        let reports = self.reports.get(&(row.to_owned(), server)).into_iter().flatten();
        let mut values: Vec<f64> = reports.filter_map(|report| report.pointer(pointer)?.as_f64()).collect();
        values.sort_by(f64::total_cmp);
        values
    }

    fn median(&self, row: &str, server: Server, pointer: &str) -> Option<f64> {
        median(&self.values(row, server, pointer))
    }
}

/// The middle one, or the mean of the two in the middle.
fn median(sorted: &[f64]) -> Option<f64> {
    let last = sorted.len().checked_sub(1)?;
    let (low, high) = (sorted.get(last / 2)?, sorted.get(sorted.len() / 2)?);
    Some((low + high) / 2.0)
}

/// Writes what the options ask for.
///
/// # Errors
/// [`BenchError`] when results are missing or a file cannot be written.
pub(crate) fn run(options: &Tables) -> Result<(), BenchError> {
    let results = Results::read(&options.results)?;
    let mut text = markdown(&results);
    if let Some(dir) = &options.plots {
        fs::create_dir_all(dir).on("create", dir.display().to_string())?;
        let beside = options.into.as_deref().and_then(Path::parent).unwrap_or(Path::new(""));
        for plot in plot::all(&results) {
            let path = dir.join(plot.file);
            fs::write(&path, plot.svg).on("write", path.display().to_string())?;
            let link = path.strip_prefix(beside).unwrap_or(&path);
            let _ = write!(text, "\n![{}]({})\n", plot.title, link.display());
        }
    }
    match &options.into {
        None => println!("{text}"),
        Some(path) => {
            let name = path.display().to_string();
            let page = fs::read_to_string(path).on("read", name.as_str())?;
            let marks = marks(options.section.as_deref());
            let page = between_marks(&page, &marks, &text).ok_or_else(|| {
                let [begin, end] = &marks;
                BenchError::Refused(format!("{name} has no lines {begin} and {end}, between which the tables would go"))
            })?;
            fs::write(path, page).on("write", name)?;
        }
    }
    Ok(())
}

/// The page with `text` in the place of what stands between the marks.
fn between_marks(page: &str, [begin, end]: &[String; 2], text: &str) -> Option<String> {
    let (before, rest) = page.split_once(begin.as_str())?;
    let (_, after) = rest.split_once(end.as_str())?;
    Some(format!("{before}{begin}\n{text}\n{end}{after}"))
}

fn markdown(results: &Results) -> String {
    let mut text = String::new();
    for line in results.meta.as_object().into_iter().flatten() {
        let _ = writeln!(text, "- {}: {}", line.0, line.1.as_str().unwrap_or_default());
    }
    text.push_str(
        "\n| work | figure | null server | Ferrocket | Java 5.5.0 | Ferrocket / null | Java / Ferrocket | budget | kept |\n\
         |---|---|---:|---:|---:|---:|---:|---|---|\n",
    );
    for figure in FIGURES {
        let cells = Server::ALL.map(|server| cell(&results.values(figure.row, server, figure.pointer), figure));
        if cells.iter().all(|cell| cell == NOTHING) {
            continue;
        }
        let at = |server| results.median(figure.row, server, figure.pointer);
        let [null, ours, java] = Server::ALL.map(at);
        let [null_cell, ours_cell, java_cell] = cells;
        let (budget, kept) = match &figure.budget {
            Some(budget) => (budget.text(figure), budget.kept(null, ours, java)),
            None => (NOTHING.to_owned(), None),
        };
        let kept = kept.map_or(NOTHING, |kept| if kept { "yes" } else { "**no**" });
        let _ = writeln!(
            text,
            "| {} | {} | {null_cell} | {ours_cell} | {java_cell} | {} | {} | {budget} | {kept} |",
            figure.work,
            figure.what,
            ratio(ours, null),
            ratio(java, ours)
        );
    }
    text
}

const NOTHING: &str = "–";

/// Median, and in brackets the lowest and highest where there are several.
fn cell(values: &[f64], figure: &Figure) -> String {
    let number = |value: f64| number(value * figure.scale, figure.decimals);
    match (median(values), values) {
        (None, _) => NOTHING.to_owned(),
        (Some(median), [_]) => number(median),
        (Some(median), [low, .., high]) => format!("{} ({}–{})", number(median), number(*low), number(*high)),
        (Some(median), []) => number(median),
    }
}

/// With thousands set apart.
fn number(value: f64, decimals: usize) -> String {
    let text = format!("{value:.decimals$}");
    let (whole, rest) = text.split_at(text.find('.').unwrap_or(text.len()));
    let mut out = String::new();
    for (at, digit) in whole.chars().enumerate() {
        if at > 0 && (whole.len() - at).is_multiple_of(3) && !out.ends_with('-') {
            out.push(',');
        }
        out.push(digit);
    }
    out + rest
}

fn ratio(over: Option<f64>, under: Option<f64>) -> String {
    match (over, under) {
        (Some(over), Some(under)) if under > 0.0 => format!("{:.2}", over / under),
        _ => NOTHING.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn results() -> (tempfile::TempDir, Results) {
        let dir = tempfile::tempdir().unwrap();
        let report = |cpu: f64, rate: f64, p99: f64| {
            serde_json::json!({
                "server": { "cpu_us_per_message": cpu },
                "produce": {
                    "messages_per_second": rate,
                    "latency_us": { "p50": 1.0, "p90": 2.0, "p99": p99, "p999": p99 * 2.0, "p9999": p99 * 3.0, "max": 9e5 }
                }
            })
        };
        for (server, cpu) in [("null", 2.0), ("ferrocket", 3.0), ("java", 30.0)] {
            for (round, off) in [(1, 0.0), (2, 0.5), (3, -0.5)] {
                let name = format!("produce-16x16.{server}.{round}.json");
                fs::write(dir.path().join(name), report(cpu + off, 1e6 / cpu, cpu).to_string()).unwrap();
                let name = format!("open-5k.{server}.{round}.json");
                fs::write(dir.path().join(name), report(cpu, 5000.0, cpu * 100.0).to_string()).unwrap();
            }
        }
        fs::write(dir.path().join("meta.json"), r#"{"machine":"2 cores"}"#).unwrap();
        let results = Results::read(dir.path()).unwrap();
        (dir, results)
    }

    #[test]
    fn medians_spreads_ratios_and_budgets() {
        let (_dir, results) = results();
        let text = markdown(&results);
        assert!(text.starts_with("- machine: 2 cores\n"), "{text}");
        let line = text.lines().find(|line| line.contains("16 × 16") && line.contains("CPU")).unwrap();
        assert!(
            line.contains("| 2.00 (1.50–2.50) | 3.00 (2.50–3.50) | 30.00 (29.50–30.50) | 1.50 | 10.00 |"),
            "{line}"
        );
        assert!(line.ends_with("≤ 2 × null server | yes |"), "{line}");
        let line = text.lines().find(|line| line.contains("16 × 16") && line.contains("messages/s")).unwrap();
        assert!(line.contains("333,333 (333,333–333,333)") && line.ends_with("≥ 400,000 | **no** |"), "{line}");
        assert!(!text.contains("64 KiB"), "no row without results");
    }

    #[test]
    fn plots_are_well_formed() {
        let (_dir, results) = results();
        let plots = plot::all(&results);
        assert!(!plots.is_empty());
        for plot in plots {
            assert!(plot.svg.starts_with("<svg ") && plot.svg.trim_end().ends_with("</svg>"), "{}", plot.file);
            assert!(!plot.svg.contains("NaN") && !plot.svg.contains("inf"), "{}", plot.svg);
            let opened = plot.svg.matches("<text ").count();
            assert_eq!(opened, plot.svg.matches("</text>").count());
        }
    }

    #[test]
    fn the_page_around_the_tables_stays() {
        for section in [None, Some("latency")] {
            let [begin, end] = &marks(section);
            let page = format!("# Title\n{begin}\nold\n{end}\nrest\n");
            let expect = format!("# Title\n{begin}\nnew\n{end}\nrest\n");
            assert_eq!(between_marks(&page, &marks(section), "new"), Some(expect));
            assert_eq!(between_marks(&page, &marks(Some("other")), "new"), None);
        }
    }

    #[test]
    fn an_empty_directory_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        assert!(Results::read(dir.path()).unwrap_err().to_string().contains("scripts/bench makes them"));
    }

    #[test]
    fn numbers() {
        for (value, decimals, expect) in [
            (1234567.0, 0, "1,234,567"),
            (999.0, 0, "999"),
            (1000.5, 1, "1,000.5"),
            (0.25, 2, "0.25"),
            (-1234.0, 0, "-1,234"),
        ] {
            assert_eq!(number(value, decimals), expect);
        }
        assert_eq!((median(&[]), median(&[1.0]), median(&[1.0, 3.0])), (None, Some(1.0), Some(2.0)));
    }
}
