//! The plots of a scenario as SVG, drawn by a library from the report alone.

use std::ops::Range;

use plotters::prelude::{
    ChartBuilder, Color as _, IntoLogRange as _, LineSeries, PathElement, RGBColor, Rectangle, SeriesLabelPosition,
    TRANSPARENT,
};

use crate::load::metrics::Metric;
use crate::load::metrics::histogram::Histogram;
use crate::load::metrics::record::{ScenarioRecord, Tick};
use crate::load::threshold::figure_of_time;
use crate::report::html::plot::{Area, Drawn, FAILED, LINE, OTHER, PAPER, PASSED, SKIPPED, SOFT, drawn, letters};

/// The size of a plot, in pixels.
const SIZE: (u32, u32) = (560, 240);

/// How many steps of time the heat map has from its shortest to its longest.
const BANDS: u32 = 40;

/// A plot with its title.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Plot {
    /// What it shows.
    pub(super) title: &'static str,
    /// The picture.
    pub(super) svg: String,
}

/// The plots of a scenario that have something to show.
pub(super) fn plots(record: &ScenarioRecord) -> Vec<Plot> {
    let all = record.all();
    let curves = percentile_curves(record);
    let draw = |title: &'static str, wanted: bool, with: &dyn Fn(&Area<'_>) -> Drawn| {
        let svg = if wanted { drawn(SIZE, with) } else { String::new() };
        // An empty text is a plot that had nothing to draw.
        (!svg.is_empty()).then_some(Plot { title, svg })
    };
    let rates = |area: &Area<'_>| {
        over_time(
            record,
            area,
            &[("planned", |t| t.planned, SOFT), ("sent", |t| t.sent, LINE), ("right", |t| t.ok, PASSED)],
        )
    };
    let failures = |area: &Area<'_>| over_time(record, area, &[("failed", |t| t.failed, FAILED)]);
    let gaps = |area: &Area<'_>| all.times.get(Metric::Itl).map_or(Err("nothing".into()), |gaps| shares(gaps, area));
    [
        draw("Requests a second: planned, sent, answered right", all.counters.sent > 0, &rates),
        draw("Failures a second", all.counters.failed > 0, &failures),
        draw("Latency over time", !record.slices.is_empty(), &|area| heat_map(record, area)),
        draw("Percentiles", !curves.is_empty(), &|area| percentiles(&curves, area)),
        draw("Gaps between pieces", all.times.get(Metric::Itl).is_some(), &gaps),
    ]
    .into_iter()
    .flatten()
    .collect()
}

#[expect(clippy::cast_precision_loss, reason = "figures of plots")]
fn float(n: u64) -> f64 {
    n as f64
}

/// A range on a logarithmic scale that is never empty.
fn log_range(low: u64, high: u64) -> Range<f64> {
    let low = float(low.max(1));
    low..float(high).max(low * 2.0) * 1.05
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the form that axes ask for")]
fn time(micros: &f64) -> String {
    figure_of_time(*micros)
}

/// A line of counts over time: its name, which count, its colour.
type Series = (&'static str, fn(&Tick) -> u64, RGBColor);

fn over_time(record: &ScenarioRecord, area: &Area<'_>, series: &[Series]) -> Drawn {
    let width = float(record.tick_us) / 1e6;
    let last = record.ticks.keys().last().copied().unwrap_or(0);
    let lines: Vec<_> = series
        .iter()
        .map(|(name, count, colour)| {
            let at = |tick: u64| record.ticks.get(&tick).map_or(0.0, |t| float(count(t)) / width);
            let points: Vec<(f64, f64)> = (0..=last).map(|tick| (float(tick) * width, at(tick))).collect();
            (*name, points, *colour)
        })
        .collect();
    let top = lines.iter().flat_map(|(_, points, _)| points).map(|p| p.1).fold(1.0, f64::max);
    let mut chart = ChartBuilder::on(area)
        .margin(6)
        .margin_right(18)
        .x_label_area_size(30)
        .y_label_area_size(52)
        .build_cartesian_2d(0.0..(float(last + 1) * width), 0.0..top * 1.1)?;
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(SOFT.mix(0.2))
        .axis_style(SOFT.mix(0.5))
        .label_style(letters())
        .x_desc("seconds")
        .draw()?;
    for (name, points, colour) in lines {
        if points.iter().all(|p| p.1 <= 0.0) {
            continue;
        }
        let legend = move |(x, y)| PathElement::new(vec![(x, y), (x + 16, y)], colour);
        chart.draw_series(LineSeries::new(points, colour.stroke_width(2)))?.label(name).legend(legend);
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::LowerLeft)
        .label_font(letters())
        .background_style(PAPER)
        .border_style(TRANSPARENT)
        .draw()?;
    Ok(())
}

fn heat_map(record: &ScenarioRecord, area: &Area<'_>) -> Drawn {
    let slices: Vec<(u64, Histogram)> = record.slices.iter().map(|(at, slice)| (*at, slice.e2e.dense())).collect();
    let low = slices.iter().filter(|(_, h)| h.count() > 0).map(|(_, h)| h.min()).min().ok_or("nothing")?;
    let high = slices.iter().map(|(_, h)| h.max()).max().unwrap_or(low);
    let range = log_range(low, high);
    let step = (range.end / range.start).ln() / f64::from(BANDS);
    let width = float(record.slice_us) / 1e6;
    let last = slices.last().map_or(0, |(at, _)| *at);
    let mut chart = ChartBuilder::on(area)
        .margin(6)
        .margin_right(18)
        .x_label_area_size(30)
        .y_label_area_size(52)
        .build_cartesian_2d(0.0..(float(last + 1) * width), range.clone().log_scale())?;
    chart
        .configure_mesh()
        .disable_mesh()
        .axis_style(SOFT.mix(0.5))
        .label_style(letters())
        .x_desc("seconds of the plan")
        .y_label_formatter(&time)
        .draw()?;
    let mut cells = Vec::new();
    for (at, histogram) in &slices {
        let mut bands = vec![0_u64; BANDS as usize];
        for (value, count) in histogram.counts() {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped below")]
            let band = ((float(value) / range.start).ln() / step).max(0.0) as usize;
            bands[band.min(BANDS as usize - 1)] += count;
        }
        cells.extend(bands.into_iter().enumerate().filter(|(_, n)| *n > 0).map(|(band, n)| (*at, band, n)));
    }
    let most = float(cells.iter().map(|(.., n)| *n).max().unwrap_or(1));
    chart.draw_series(cells.into_iter().map(|(at, band, n)| {
        #[expect(clippy::cast_precision_loss, reason = "there are few bands")]
        let edge = |band: usize| range.start * (step * band as f64).exp();
        // A single slow request among thousands has to be seen: the logarithm, from a colour that is visible.
        let strength = 0.2 + 0.8 * (1.0 + float(n)).ln() / (1.0 + most).ln();
        let corners = [(float(at) * width, edge(band)), (float(at + 1) * width, edge(band + 1))];
        Rectangle::new(corners, LINE.mix(strength).filled())
    }))?;
    Ok(())
}

/// The curves of percentiles: name, times, colour.
fn percentile_curves(record: &ScenarioRecord) -> Vec<(&'static str, &Histogram, RGBColor)> {
    let wanted =
        [(Metric::E2eFromPlan, LINE), (Metric::E2e, PASSED), (Metric::TtftFromPlan, OTHER), (Metric::Ttft, SKIPPED)];
    let times = &record.all().times;
    wanted.into_iter().filter_map(|(metric, colour)| Some((metric.name(), times.get(metric)?, colour))).collect()
}

fn percentiles(curves: &[(&'static str, &Histogram, RGBColor)], area: &Area<'_>) -> Drawn {
    let low = curves.iter().map(|(_, h, _)| h.min()).min().ok_or("nothing")?;
    let high = curves.iter().map(|(_, h, _)| h.max()).max().unwrap_or(low);
    let n = curves.iter().map(|(_, h, _)| h.count()).max().unwrap_or(1);
    // Each step to the right is one "nine" more.
    let nines = float(n.max(10)).log10();
    let mut chart = ChartBuilder::on(area)
        .margin(6)
        .margin_right(18)
        .x_label_area_size(30)
        .y_label_area_size(52)
        .build_cartesian_2d(0.0..nines, log_range(low, high).log_scale())?;
    // 90, 99, 99.9 as they are called; what lies between them is rounded.
    let label = |x: &f64| {
        let percent = 100.0 - 100.0 / 10.0_f64.powf(*x);
        let is_named = (x - x.round()).abs() < 1e-9;
        if is_named {
            format!("{percent:.6}").trim_end_matches('0').trim_end_matches('.').to_owned()
        } else {
            format!("{percent:.1}")
        }
    };
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(SOFT.mix(0.2))
        .axis_style(SOFT.mix(0.5))
        .label_style(letters())
        .x_labels(6)
        .x_desc("percentile")
        .x_label_formatter(&label)
        .y_label_formatter(&time)
        .draw()?;
    for (name, histogram, colour) in curves {
        let colour = *colour;
        let points = (0..=200).map(|step| {
            let x = nines * f64::from(step) / 200.0;
            let percent = 100.0 - 100.0 / 10.0_f64.powf(x);
            (x, float(histogram.percentile(percent).micros.max(1)))
        });
        let legend = move |(x, y)| PathElement::new(vec![(x, y), (x + 16, y)], colour);
        chart.draw_series(LineSeries::new(points, colour.stroke_width(2)))?.label(*name).legend(legend);
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .label_font(letters())
        .background_style(PAPER)
        .border_style(TRANSPARENT)
        .draw()?;
    Ok(())
}

/// Which share of samples falls into each band of time.
fn shares(histogram: &Histogram, area: &Area<'_>) -> Drawn {
    if histogram.count() == 0 {
        return Err("nothing".into());
    }
    let range = log_range(histogram.min(), histogram.max());
    let step = (range.end / range.start).ln() / f64::from(BANDS);
    let mut bands = vec![0_u64; BANDS as usize];
    for (value, count) in histogram.counts() {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped below")]
        let band = ((float(value) / range.start).ln() / step).max(0.0) as usize;
        bands[band.min(BANDS as usize - 1)] += count;
    }
    let all = float(histogram.count());
    let top = bands.iter().map(|n| float(*n) * 100.0 / all).fold(1.0, f64::max);
    let mut chart = ChartBuilder::on(area)
        .margin(6)
        .margin_right(18)
        .x_label_area_size(30)
        .y_label_area_size(52)
        .build_cartesian_2d(range.clone().log_scale(), 0.0..top * 1.1)?;
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(SOFT.mix(0.2))
        .axis_style(SOFT.mix(0.5))
        .label_style(letters())
        .x_label_formatter(&time)
        .y_desc("% of gaps")
        .draw()?;
    chart.draw_series(bands.iter().enumerate().filter(|(_, n)| **n > 0).map(|(band, n)| {
        #[expect(clippy::cast_precision_loss, reason = "there are few bands")]
        let edge = |band: usize| range.start * (step * band as f64).exp();
        Rectangle::new([(edge(band), 0.0), (edge(band + 1), float(*n) * 100.0 / all)], PASSED.mix(0.7).filled())
    }))?;
    Ok(())
}
