//! The history as a table for a terminal.

use std::fmt::Write as _;

use console::{Style, measure_text_width};

use super::{CellTrend, Trend};
use crate::report::place_name;
use crate::report::terminal::{Screen, padded, symbol};
use crate::report::text::{clipped, counted, folded, printable};
use crate::verdict::Outcome;

/// The widest that a cell's name gets.
const WIDEST_NAME: usize = 60;

/// The history as text, ending with a newline: of each cell the last outcomes, so many at most.
pub fn render(trend: &Trend, last: usize, screen: Screen) -> String {
    let mut out = String::new();
    let names: Vec<String> = trend.cells.iter().map(|cell| clipped(&printable(&name(cell)), WIDEST_NAME)).collect();
    let widest = names.iter().map(|name| measure_text_width(name)).max().unwrap_or(0);
    let beside = widest + NUMBERS.len() + 4;
    let last = screen.columns.map_or(last, |columns| last.min(columns.saturating_sub(beside).max(4)));
    let shown = trend.nights.len().min(last);
    if !trend.cells.is_empty() {
        let head = format!("{}  {}  {NUMBERS}", padded("", widest), padded(NIGHTS, shown));
        let _ = writeln!(out, "{}", head.trim_end());
    }
    let first = trend.nights.len() - shown;
    for (cell, name) in trend.cells.iter().zip(&names) {
        line(&mut out, trend, cell, (name, widest), first, screen);
    }
    nights(&mut out, trend, first, screen);
    for file in &trend.skipped {
        let lines: Vec<String> = file.why.lines().map(|line| printable(line.trim())).collect();
        for (i, line) in folded(&format!("left out: {}", lines.join(" ")), screen.columns).iter().enumerate() {
            let indent = if i == 0 { "" } else { "  " };
            let _ = writeln!(out, "{indent}{line}");
        }
    }
    out
}

/// The head of the outcomes.
const NIGHTS: &str = "nights";

/// The heads of the columns with numbers.
const NUMBERS: &str = "flake  typical     last      cost";

fn name(cell: &CellTrend) -> String {
    let place = place_name(&cell.target, &cell.full_model);
    let version = cell.cli_version.as_ref().map(|version| format!(" {version}")).unwrap_or_default();
    format!("{place} {}{version}", cell.feature)
}

fn line(out: &mut String, trend: &Trend, cell: &CellTrend, name: (&str, usize), first: usize, screen: Screen) {
    let mut signs = String::new();
    let mut points = cell.points.iter().skip_while(|point| point.night < first).peekable();
    for night in first..trend.nights.len() {
        match points.next_if(|point| point.night == night) {
            Some(point) => signs.push_str(&symbol(point.outcome, screen.colours)),
            None => signs.push('·'),
        }
    }
    let times: Vec<f64> = tried(cell).map(|point| point.duration_s).collect();
    let typical = median(&times).map_or_else(|| "-".to_owned(), |s| format!("{s:.2} s"));
    let last = times.last().map_or_else(|| "-".to_owned(), |s| format!("{s:.2} s"));
    let cost = cell.points.iter().rev().find_map(|point| point.cost_usd);
    let cost = cost.map_or_else(|| "-".to_owned(), |cost| format!("${cost:.4}"));
    let flake = format!("{:.0} %", cell.flake_rate() * 100.0);
    let signs = padded(&signs, (trend.nights.len() - first).max(NIGHTS.len()));
    let _ = writeln!(out, "{}  {signs}  {flake:>5}  {typical:>7}  {last:>7}  {cost:>8}", padded(name.0, name.1));
    if let Some(broken) = cell.broken() {
        let since = &trend.nights[broken.since.night];
        let cause = broken.since.cause.as_ref().map(super::Cause::words).unwrap_or_default();
        let mut words = format!("broken since {}: {cause}", since.started_at);
        if let Some(worked) = broken.worked {
            let _ = write!(words, "; worked {}", trend.nights[worked.night].started_at);
            for (what, before, after) in [
                ("claude", Some(&worked.cli_version), Some(&broken.since.cli_version)),
                ("gateway", worked.gateway_version.as_ref(), broken.since.gateway_version.as_ref()),
            ] {
                if let (Some(before), Some(after)) = (before, after)
                    && before != after
                {
                    let _ = write!(words, ", {what} {before} → {after}");
                }
            }
        } else {
            words.push_str("; never seen to work");
        }
        let _ = write!(words, "; see {}", since.file);
        let red = screen.colours.style(Style::new().red());
        for line in folded(&printable(&words), screen.columns.map(|columns| columns.saturating_sub(4))) {
            let _ = writeln!(out, "    {}", red.apply_to(line));
        }
    }
}

fn tried(cell: &CellTrend) -> impl Iterator<Item = &super::Point> {
    cell.points.iter().filter(|point| point.outcome != Outcome::Skipped)
}

/// The middle one; `None` of nothing.
fn median(values: &[f64]) -> Option<f64> {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

/// What the runs took as a whole.
fn nights(out: &mut String, trend: &Trend, first: usize, screen: Screen) {
    let (Some(oldest), Some(newest)) = (trend.nights.first(), trend.nights.last()) else {
        let _ = writeln!(out, "no report could be read");
        return;
    };
    let reports = counted(trend.nights.len(), "report");
    let _ = writeln!(out, "\n{reports}, {} to {}", printable(&oldest.started_at), printable(&newest.started_at));
    let dim = screen.colours.style(Style::new().dim());
    let shown = &trend.nights[first..];
    for (what, values, unit) in [
        ("duration", shown.iter().map(|night| night.duration_s).collect::<Vec<_>>(), ("", " s", 1)),
        ("cost", shown.iter().map(|night| night.cost_usd).collect(), ("$", "", 4)),
    ] {
        let (before, behind, decimals) = unit;
        if let [oldest, .., newest] = values[..] {
            let bars = dim.apply_to(bars(&values));
            let told = |value: f64| format!("{before}{value:.decimals$}{behind}");
            let _ = writeln!(out, "{what:<8}  {bars}  {} → {}", told(oldest), told(newest));
        }
    }
}

/// A bar for each value, the highest for the largest.
fn bars(values: &[f64]) -> String {
    const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let largest = values.iter().copied().fold(0.0, f64::max);
    let bar = |value: &f64| {
        let share = if largest > 0.0 { (value / largest).clamp(0.0, 1.0) } else { 0.0 };
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is between 0 and 7")]
        let height = (share * 7.0).round() as usize;
        BARS[height.min(7)]
    };
    values.iter().map(bar).collect()
}
