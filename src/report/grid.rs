//! The report as a table: features down, and across what was tested with what.

use std::collections::HashMap;

use super::{MatrixReport, OutcomeRow};

/// The table of a report.
#[derive(Debug)]
pub struct Grid<'a> {
    /// The features, in the order of the plan.
    pub features: Vec<&'a str>,
    /// The columns, in the order of the plan.
    pub columns: Vec<Column<'a>>,
    cells: HashMap<(usize, usize), &'a OutcomeRow>,
}

/// One model behind one target, asked by one version of the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Column<'a> {
    /// The target's name.
    pub target: &'a str,
    /// `provider/model`.
    pub full_model: &'a str,
    /// The client's version.
    pub cli_version: &'a str,
    /// The version that the gateway tells.
    pub gateway_version: Option<&'a str>,
}

impl<'a> Grid<'a> {
    /// Lays a report out.
    pub fn of(report: &'a MatrixReport) -> Self {
        let mut grid = Self { features: Vec::new(), columns: Vec::new(), cells: HashMap::new() };
        let (mut lines, mut places) = (HashMap::new(), HashMap::new());
        for row in &report.outcomes {
            let line = *lines.entry(row.feature.as_str()).or_insert_with(|| {
                grid.features.push(&row.feature);
                grid.features.len() - 1
            });
            let key = (row.target.as_str(), row.full_model.as_str(), row.cli_version.as_str());
            let place = *places.entry(key).or_insert_with(|| {
                let (target, full_model, cli_version) = key;
                grid.columns.push(Column { target, full_model, cli_version, gateway_version: None });
                grid.columns.len() - 1
            });
            let version = &mut grid.columns[place].gateway_version;
            *version = version.or(row.gateway_version.as_deref());
            grid.cells.insert((line, place), row);
        }
        grid
    }

    /// The cell of a feature and a column, by their places; `None` when it was not run.
    pub fn cell(&self, feature: usize, column: usize) -> Option<&'a OutcomeRow> {
        self.cells.get(&(feature, column)).copied()
    }
}

impl Column<'_> {
    /// Target and model in one name, as in a cell's name.
    pub fn name(&self) -> String {
        super::place_name(self.target, self.full_model)
    }
}
