//! Plots as SVG text, drawn by `plotters`. Colours are only names here: the pages' style sheet gives each its value in light
//! and in dark.

use plotters::coord::Shift;
use plotters::prelude::*;

/// What is good; `base.css` knows all of these by their values.
pub(crate) const PASSED: RGBColor = RGBColor(11, 107, 97);
/// What is bad.
pub(crate) const FAILED: RGBColor = RGBColor(168, 50, 15);
/// What is neither.
pub(crate) const SKIPPED: RGBColor = RGBColor(125, 82, 0);
/// A line that means nothing in particular.
pub(crate) const LINE: RGBColor = RGBColor(31, 95, 168);
/// A further line.
pub(crate) const OTHER: RGBColor = RGBColor(109, 58, 147);
/// What a plot stands on.
pub(crate) const PAPER: RGBColor = RGBColor(251, 250, 247);
/// Letters and axes.
pub(crate) const SOFT: RGBColor = RGBColor(102, 98, 91);

/// What a plot returns: drawing into a string fails only for plots without a size, or with nothing to show.
pub(crate) type Drawn = Result<(), Box<dyn std::error::Error>>;

/// Where a plot is drawn.
pub(crate) type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// The letters of a plot.
pub(crate) fn letters() -> TextStyle<'static> {
    ("sans-serif", 11).into_font().color(&SOFT)
}

/// A line over nights.
pub(super) fn line(names: &[&str], values: &[f64]) -> String {
    drawn((460, 190), |area| chart(area, names, highest(values), &[(LINE, values.to_vec())], false))
}

/// Bands one above the other over nights: failed, skipped, passed from below.
pub(super) fn stacked(names: &[&str], bands: &[Vec<f64>; 3]) -> String {
    // Each band reaches to the sum of those below; the highest is painted first.
    let mut sum = vec![0.0; names.len()];
    let mut tops = Vec::new();
    for (band, colour) in bands.iter().zip([FAILED, SKIPPED, PASSED]) {
        sum.iter_mut().zip(band).for_each(|(sum, value)| *sum += value);
        tops.push((colour, sum.clone()));
    }
    tops.reverse();
    drawn((460, 190), |area| chart(area, names, highest(&sum), &tops, true))
}

/// A small line without axes.
pub(super) fn spark(values: &[f64]) -> String {
    if values.len() < 2 {
        return String::new();
    }
    drawn((110, 22), |area| {
        let mut chart =
            ChartBuilder::on(area).margin(2).build_cartesian_2d(0..values.len() - 1, 0.0..highest(values))?;
        chart.draw_series(LineSeries::new(values.iter().copied().enumerate(), &LINE))?;
        Ok(())
    })
}

fn highest(values: &[f64]) -> f64 {
    values.iter().copied().filter(|v| v.is_finite()).fold(0.0, f64::max).max(1e-6) * 1.05
}

/// The picture, or nothing where it could not be drawn.
pub(crate) fn drawn(size: (u32, u32), draw: impl FnOnce(&Area<'_>) -> Drawn) -> String {
    let mut svg = String::new();
    let area = SVGBackend::with_string(&mut svg, size).into_drawing_area();
    let done = draw(&area).and_then(|()| Ok(area.present()?));
    drop(area);
    if done.is_ok() { svg } else { String::new() }
}

fn chart(area: &Area<'_>, names: &[&str], highest: f64, series: &[(RGBColor, Vec<f64>)], filled: bool) -> Drawn {
    let last = names.len().saturating_sub(1).max(1);
    let mut chart = ChartBuilder::on(area)
        .margin(6)
        .margin_right(18)
        .x_label_area_size(22)
        .y_label_area_size(46)
        .build_cartesian_2d(0..last, 0.0..highest)?;
    let decimals = if highest < 0.1 {
        3
    } else if highest < 1.0 {
        2
    } else {
        usize::from(highest < 10.0)
    };
    chart
        .configure_mesh()
        .disable_x_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(SOFT.mix(0.2))
        .axis_style(SOFT.mix(0.5))
        .label_style(letters())
        .x_labels(5)
        .y_labels(4)
        .x_label_formatter(&|i| names.get(*i).map_or(String::new(), |name| (*name).to_owned()))
        .y_label_formatter(&|v| format!("{v:.decimals$}"))
        .draw()?;
    for (colour, values) in series {
        let points = values.iter().copied().enumerate();
        if filled {
            chart.draw_series(AreaSeries::new(points, 0.0, colour))?;
        } else {
            chart.draw_series(LineSeries::new(points, colour.stroke_width(2)))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plot_is_svg_whatever_the_values_and_the_names_are() {
        for values in [[0.0, 0.0], [1.0, f64::NAN], [f64::INFINITY, 2.0], [1e300, 3.0]] {
            let svg = line(&["</svg><script>", "b"], &values);
            assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"), "{svg}");
            assert!(!svg.contains("<script>"));
        }
        assert!(stacked(&["a", "b"], &[vec![1.0, 2.0], vec![0.0, 0.0], vec![3.0, 3.0]]).contains("<polygon"));
        assert_eq!(spark(&[1.0]), "");
    }
}
