//! History as one HTML file: plots of all nights, and for each cell its last outcomes, since when it is broken, how often it
//! flakes and how long it takes. It needs no script.

use askama::Template;

use super::head::Head;
use super::{STYLE, duration, matrix, plot};
use crate::report::trend::{CellTrend, Point, Trend};
use crate::verdict::Outcome;

/// How many nights a cell's strip and plot show.
const NIGHTS: usize = 30;

/// How many cells get a plot of their own; of 10,000 reports with thousands of cells the file would not open any more.
const PLOTTED_CELLS: usize = 300;

/// How many cells are listed. Those that are broken, then those that flake, come first.
const CELLS: usize = 2000;

/// The page as its template sees it.
#[derive(Template)]
#[template(path = "trend.html")]
struct Page<'t> {
    trend: &'t Trend,
    head: Head,
    broken: usize,
    flaky: usize,
    span: String,
    /// Titles with plots.
    plots: Vec<(&'static str, String)>,
    lines: Vec<Line<'t>>,
}

/// One cell.
struct Line<'t> {
    cell: &'t CellTrend,
    /// The sign, class and sentence of each of the last nights.
    strip: Vec<(&'static str, &'static str, String)>,
    /// How it stands now, and since when.
    state: String,
    cause: String,
    flakes: String,
    last: String,
    plot: String,
    rank: (bool, bool),
}

/// The history as one HTML file.
pub fn page(trend: &Trend) -> String {
    let mut lines: Vec<Line<'_>> = trend.cells.iter().map(|cell| line(trend, cell)).collect();
    lines.sort_by_key(|line| std::cmp::Reverse(line.rank));
    lines.truncate(CELLS);
    for line in lines.iter_mut().take(PLOTTED_CELLS) {
        let took: Vec<f64> = last_nights(line.cell).map(|p| p.duration_s).collect();
        line.plot = plot::spark(&took);
    }
    let days = |i: Option<&crate::report::trend::Night>| i.map(|n| day(&n.started_at).to_owned()).unwrap_or_default();
    let page = Page {
        head: Head::new(STYLE, ""),
        broken: trend.cells.iter().filter(|cell| cell.broken().is_some()).count(),
        flaky: trend.cells.iter().filter(|cell| cell.flake_rate() > 0.0).count(),
        span: format!("{} to {}", days(trend.nights.first()), days(trend.nights.last())),
        plots: plots(trend),
        lines,
        trend,
    };
    // Writing to a string fails only if a value's own `Display` does, and none here does.
    page.render().unwrap_or_default()
}

fn plots(trend: &Trend) -> Vec<(&'static str, String)> {
    if trend.nights.len() < 2 {
        return Vec::new();
    }
    let names: Vec<&str> = trend.nights.iter().map(|night| day(&night.started_at)).collect();
    let of = |value: fn(&crate::report::trend::Night) -> f64| trend.nights.iter().map(value).collect::<Vec<f64>>();
    vec![
        (
            "Cells",
            plot::stacked(&names, &[of(|n| number(n.failed)), of(|n| number(n.skipped)), of(|n| number(n.passed))]),
        ),
        ("Duration, seconds", plot::line(&names, &of(|n| n.duration_s))),
        ("Cost, US dollars", plot::line(&names, &of(|n| n.cost_usd))),
    ]
}

#[expect(clippy::cast_precision_loss, reason = "numbers of cells are far below 2^53")]
fn number(n: usize) -> f64 {
    n as f64
}

/// The date of a time stamp.
fn day(started_at: &str) -> &str {
    started_at.split('T').next().unwrap_or_default()
}

fn last_nights(cell: &CellTrend) -> impl Iterator<Item = &Point> {
    cell.points.iter().skip(cell.points.len().saturating_sub(NIGHTS))
}

fn line<'t>(trend: &'t Trend, cell: &'t CellTrend) -> Line<'t> {
    let when = |point: &Point| trend.nights.get(point.night).map_or("", |night| day(&night.started_at));
    let strip = last_nights(cell).map(|point| {
        let class = point.classification;
        let cause = point.cause.as_ref().map(|c| format!(", {}", c.words())).unwrap_or_default();
        let sentence = format!("{}: {}{cause}, claude {}", when(point), matrix::words(class), point.cli_version);
        (matrix::sign(class), class.as_str(), sentence)
    });
    let last = cell.points.last();
    let broken = cell.broken();
    let state = match &broken {
        Some(broken) => {
            let worked = broken.worked.map(|p| format!(", worked on {}", when(p)));
            format!(
                "broken since {}{}",
                when(broken.since),
                worked.unwrap_or_else(|| ", never seen to work".to_owned())
            )
        }
        None if last.is_some_and(|p| p.outcome == Outcome::Skipped) => "skipped".to_owned(),
        None => "works".to_owned(),
    };
    let rate = cell.flake_rate();
    Line {
        cell,
        strip: strip.collect(),
        state,
        cause: last.and_then(|p| p.cause.as_ref()).map(crate::report::cause::Cause::words).unwrap_or_default(),
        flakes: if rate > 0.0 { format!("{:.0} %", rate * 100.0) } else { String::new() },
        last: last.map(|p| duration(p.duration_s)).unwrap_or_default(),
        plot: String::new(),
        rank: (broken.is_some(), rate > 0.0),
    }
}
