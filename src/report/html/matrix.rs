//! The matrix as a heat map: features down, targets with their models and client versions across.

use std::collections::HashMap;

use crate::finding::Finding;
use crate::report::{MatrixReport, OutcomeRow};
use crate::verdict::{Classification, Outcome};

/// One cell.
pub(super) struct Cell<'r> {
    /// Its anchor in the page.
    pub(super) id: String,
    /// The report's row.
    pub(super) row: &'r OutcomeRow,
}

impl<'r> Cell<'r> {
    /// Whether it passed.
    pub(super) fn passed(&self) -> bool {
        self.row.outcome == Outcome::Passed
    }

    /// The class that colours it: its classification, or what is peculiar about a cell that passed.
    pub(super) fn class(&self) -> &'static str {
        self.row.classification.as_str()
    }

    /// A sign that tells it without colours.
    pub(super) fn sign(&self) -> &'static str {
        sign(self.row.classification)
    }

    /// The finding that decided that it did not pass.
    fn deciding(&self) -> Option<&'r Finding> {
        self.row.deciding().filter(|_| !self.passed())
    }

    /// Who did it, if anybody did.
    pub(super) fn suspect(&self) -> String {
        self.deciding().map(|f| f.suspect.to_string()).unwrap_or_default()
    }

    /// Whether it passed, or failed, only after an attempt that ended otherwise.
    pub(super) fn flaky(&self) -> bool {
        self.row.attempts.iter().any(|a| a.outcome != self.row.outcome)
    }

    /// Whether something is to be told of it.
    pub(super) fn is_told(&self) -> bool {
        !self.passed() || self.noted()
    }

    /// Whether it passed with something to be said.
    pub(super) fn noted(&self) -> bool {
        self.passed() && !self.row.findings.is_empty()
    }

    /// The class in words.
    pub(super) fn words(&self) -> String {
        words(self.row.classification)
    }

    /// What stands in the cell beside its sign, where there is room: how long a good one took, who spoiled another.
    pub(super) fn short(&self) -> String {
        if self.passed() { super::duration(self.row.duration_s) } else { self.suspect() }
    }

    /// The target's name.
    pub(super) fn target(&self) -> &'r str {
        super::target(self.row)
    }

    /// The codes of its findings, for the search.
    pub(super) fn codes(&self) -> String {
        let mut codes: Vec<&str> = self.row.findings.iter().map(|f| f.code.as_str()).collect();
        codes.dedup();
        codes.join(" ")
    }

    /// The cell in a sentence.
    pub(super) fn sentence(&self) -> String {
        let row = self.row;
        let why = self.deciding().map(|f| format!(", {}: {}", f.suspect, f.code)).unwrap_or_default();
        let flaky = if self.flaky() { ", attempts differ" } else { "" };
        format!(
            "{} on {}, claude {}: {}{why}{flaky}",
            row.feature,
            row.full_model,
            row.cli_version,
            words(row.classification)
        )
    }
}

/// The class in words.
pub(super) fn words(class: Classification) -> String {
    class.as_str().replace('_', " ")
}

/// A sign for each class, so that no colour is needed.
pub(super) fn sign(class: Classification) -> &'static str {
    match class {
        Classification::Passed => "✓",
        Classification::ProductFailure => "✗",
        Classification::HarnessBug => "H",
        Classification::ProbeTimeout => "T",
        Classification::UpstreamUnavailable => "U",
        Classification::ModelFeatureFailure => "M",
        Classification::MissingEnv => "–",
    }
}

/// All cells in the report's order, with anchors that stay the same from run to run.
pub(super) fn cells(report: &MatrixReport) -> Vec<Cell<'_>> {
    let mut taken: HashMap<String, usize> = HashMap::new();
    let cell = |row| {
        let slug = slug(row);
        let nth = taken.entry(slug.clone()).and_modify(|n| *n += 1).or_insert(1);
        let id = if *nth == 1 { format!("cell-{slug}") } else { format!("cell-{slug}~{nth}") };
        Cell { id, row }
    };
    report.outcomes.iter().map(cell).collect()
}

/// What names a row, in characters that stand in a link as they are.
fn slug(row: &OutcomeRow) -> String {
    let name = format!("{}-{}-{}-{}", super::target(row), row.model, row.probe, row.cli_version);
    name.chars().take(160).map(|c| if c.is_ascii_alphanumeric() || "._".contains(c) { c } else { '-' }).collect()
}

/// The whole matrix.
pub(super) struct Matrix<'r> {
    /// The heads, from the outermost: targets, models, client versions.
    pub(super) heads: [Vec<Head<'r>>; 3],
    /// The lines.
    pub(super) lines: Vec<Line<'r>>,
    /// What can be chosen in the filters.
    pub(super) choices: Vec<Choice>,
    /// The classes that occur, with their signs.
    pub(super) legend: Vec<(&'static str, String, &'static str)>,
    /// How dense it has to be drawn.
    pub(super) density: &'static str,
    cells: &'r [Cell<'r>],
}

/// The head of some columns.
pub(super) struct Head<'r> {
    /// What it says.
    pub(super) text: &'r str,
    /// In smaller letters below it.
    pub(super) below: &'r str,
    /// How many columns it spans.
    pub(super) span: usize,
}

/// One line.
pub(super) struct Line<'r> {
    /// The feature.
    pub(super) feature: &'r str,
    /// The probe, where it is called otherwise.
    pub(super) probe: &'r str,
    /// The cells of each column.
    pub(super) columns: Vec<Vec<&'r Cell<'r>>>,
}

/// One filter.
pub(super) struct Choice {
    /// The name of the property.
    pub(super) key: &'static str,
    /// The same for people.
    pub(super) label: &'static str,
    /// The values with how they are shown.
    pub(super) values: Vec<(String, String)>,
}

/// What makes a column: target, gateway version, model, client version.
type Column<'r> = (&'r str, &'r str, &'r str, &'r str);

fn column<'r>(cell: &Cell<'r>) -> Column<'r> {
    let row = cell.row;
    (cell.target(), row.gateway_version.as_deref().unwrap_or(""), &row.model, &row.cli_version)
}

/// The place of each distinct value, in order of first appearance.
fn places<K: std::hash::Hash + Eq + Copy>(values: impl Iterator<Item = K>) -> (Vec<K>, HashMap<K, usize>) {
    let (mut order, mut at) = (Vec::new(), HashMap::new());
    for value in values {
        at.entry(value).or_insert_with(|| {
            order.push(value);
            order.len() - 1
        });
    }
    (order, at)
}

impl<'r> Matrix<'r> {
    /// The classes, each with where it begins and how wide it is when all cells stand in a row.
    pub(super) fn totals(&self) -> Vec<(&'static str, usize, usize)> {
        let mut at = 0;
        let part = |(class, ..): &(&'static str, String, &str)| {
            let (from, width) = (at, self.cells.iter().filter(|c| c.class() == *class).count());
            at += width;
            (*class, from, width)
        };
        self.legend.iter().map(part).collect()
    }

    /// How many cells there are of which something is to be told.
    pub(super) fn told_of(&self) -> usize {
        self.cells.iter().filter(|c| c.is_told()).count()
    }

    /// The matrix of these cells.
    pub(super) fn of(cells: &'r [Cell<'r>]) -> Self {
        let (columns, column_at) = places(cells.iter().map(column));
        // Columns of one target stand together, and in it those of one model.
        let (targets, target_at) = places(columns.iter().map(|c| (c.0, c.1)));
        let (_, model_at) = places(columns.iter().map(|c| (c.0, c.1, c.2)));
        let mut order: Vec<usize> = (0..columns.len()).collect();
        order.sort_by_key(|i| {
            let c = &columns[*i];
            (target_at[&(c.0, c.1)], model_at[&(c.0, c.1, c.2)], *i)
        });
        drop(targets);
        let mut rank = vec![0; columns.len()];
        order.iter().enumerate().for_each(|(place, i)| rank[*i] = place);

        let key = |cell: &Cell<'r>| (cell.row.feature.as_str(), cell.row.probe.as_str());
        let (keys, line_at) = places(cells.iter().map(key));
        let line = |(feature, probe): &(&'r str, &'r str)| Line {
            feature,
            probe: if feature == probe { "" } else { probe },
            columns: vec![Vec::new(); columns.len()],
        };
        let mut lines: Vec<Line<'r>> = keys.iter().map(line).collect();
        for cell in cells {
            lines[line_at[&key(cell)]].columns[rank[column_at[&column(cell)]]].push(cell);
        }
        let sorted: Vec<Column<'r>> = order.iter().map(|i| columns[*i]).collect();
        Self {
            heads: [
                heads(&sorted, |c| (c.0, c.1, ""), |c| (c.0, super::number(c.1))),
                heads(&sorted, |c| (c.0, c.1, c.2), |c| (c.2, "")),
                heads(&sorted, |c| (c.0, c.2, c.3), |c| (c.3, "")),
            ],
            lines,
            cells,
            choices: choices(cells),
            legend: legend(cells),
            density: match columns.len() {
                0..=4 => "wide",
                5..=14 => "medium",
                _ => "dense",
            },
        }
    }
}

/// Heads over neighbours that have a key in common.
fn heads<'r, K: PartialEq>(
    columns: &[Column<'r>],
    key: impl Fn(&Column<'r>) -> K,
    text: impl Fn(&Column<'r>) -> (&'r str, &'r str),
) -> Vec<Head<'r>> {
    let mut out: Vec<Head<'r>> = Vec::new();
    let mut last = None;
    for column in columns {
        let this = Some(key(column));
        match out.last_mut() {
            Some(head) if last == this => head.span += 1,
            _ => {
                let (text, below) = text(column);
                out.push(Head { text, below, span: 1 });
            }
        }
        last = this;
    }
    out
}

fn choices(cells: &[Cell<'_>]) -> Vec<Choice> {
    type Value = fn(&Cell<'_>) -> (String, String);
    let properties: [(&str, &str, Value); 5] = [
        ("target", "Target", |c| (c.target().to_owned(), c.target().to_owned())),
        ("model", "Model", |c| (c.row.model.clone(), c.row.model.clone())),
        ("version", "Client", |c| (c.row.cli_version.clone(), format!("claude {}", c.row.cli_version))),
        ("class", "Class", |c| (c.class().to_owned(), words(c.row.classification))),
        ("suspect", "Suspect", |c| (c.suspect(), c.suspect())),
    ];
    let choice = |(key, label, value): (&'static str, &'static str, Value)| {
        let mut values: Vec<(String, String)> = cells.iter().map(value).filter(|(v, _)| !v.is_empty()).collect();
        values.sort();
        values.dedup();
        Choice { key, label, values }
    };
    properties.into_iter().map(choice).collect()
}

fn legend(cells: &[Cell<'_>]) -> Vec<(&'static str, String, &'static str)> {
    let (classes, _) = places(cells.iter().map(|c| c.row.classification));
    let mut classes = classes;
    classes.sort();
    classes.into_iter().map(|class| (class.as_str(), words(class), sign(class))).collect()
}
