//! Drawing of curves over the steps as SVG, for the report and as a file.

use super::curve::Points;
use plotters::prelude::*;

const SIZE: (u32, u32) = (600, 330);
/// Share of the values at each end that may be outside of the axis: single outliers hide the rest.
const OUTLIERS: usize = 100;
/// Color of text and lines; the report replaces it with that of the page.
const INK: RGBColor = RGBColor(1, 2, 3);
const INK_TEXT: &str = "#010203";
pub(super) const ORANGE: RGBColor = RGBColor(217, 105, 30);
pub(super) const BLUE: RGBColor = RGBColor(43, 123, 186);

/// A curve.
pub(super) struct Curve {
    pub(super) name: &'static str,
    pub(super) color: RGBColor,
    /// The line.
    pub(super) line: Points,
    /// Values that are shown faintly behind the line.
    pub(super) faint: Points,
    /// Whether the line's points are marked.
    pub(super) has_marks: bool,
}

/// Curves over the steps, with one vertical axis.
pub(super) struct Diagram {
    pub(super) axis: &'static str,
    pub(super) curves: Vec<Curve>,
    /// Range that the axis always includes.
    pub(super) shown: [f64; 2],
    /// A value with a meaning, drawn as a dashed line.
    pub(super) reference: Option<f64>,
}

impl Diagram {
    /// An SVG in the colors of the page around it, without a legend.
    pub(super) fn for_page(&self) -> String {
        self.svg(false).replace(INK_TEXT, "currentColor")
    }

    /// An SVG with a white background and a legend.
    pub(super) fn file(&self) -> String {
        self.svg(true)
    }

    /// Names and colors of the curves.
    pub(super) fn legend(&self) -> Vec<(String, String)> {
        let hex = |RGBColor(r, g, b)| format!("#{r:02x}{g:02x}{b:02x}");
        self.curves
            .iter()
            .map(|curve| (curve.name.into(), hex(curve.color)))
            .collect()
    }

    fn svg(&self, is_file: bool) -> String {
        let mut svg = String::new();
        self.draw(&mut svg, is_file)
            .expect("drawing to a string cannot fail");
        svg
    }

    /// The range of the vertical axis: all lines, and the faint values without outliers.
    fn range(&self) -> [f64; 2] {
        let mut faint: Vec<f64> = self.curves.iter().flat_map(|c| values(&c.faint)).collect();
        faint.sort_unstable_by(f64::total_cmp);
        let cut = faint.len() / OUTLIERS;
        let ends = [faint.get(cut), faint.get(faint.len().wrapping_sub(cut + 1))];
        let lines = || self.curves.iter().flat_map(|c| values(&c.line));
        let known = || lines().chain(ends.into_iter().flatten().copied());
        let [low, high] = [
            known().fold(self.shown[0], f64::min),
            known().fold(self.shown[1], f64::max),
        ];
        // Half of each first, because the difference of the largest values is not finite in f32 terms.
        let margin = (high / 2.0 - low / 2.0) * 0.08;
        // An axis that starts at 0 stays there.
        [if low == 0.0 { 0.0 } else { low - margin }, high + margin]
    }

    fn draw(&self, svg: &mut String, is_file: bool) -> Result<(), Box<dyn std::error::Error>> {
        let ends = self.curves.iter().filter_map(|curve| curve.line.last());
        let last = ends.map(|&(step, _)| step).max().unwrap_or(1).max(1);
        let [bottom, top] = self.range();
        let digits = digits(top - bottom);
        let area = SVGBackend::with_string(svg, SIZE).into_drawing_area();
        if is_file {
            area.fill(&WHITE)?;
        }
        let mut chart = ChartBuilder::on(&area)
            .margin(8)
            .margin_right(20)
            .x_label_area_size(50)
            .y_label_area_size(68)
            .build_cartesian_2d(0..last, bottom..top)?;
        chart
            .configure_mesh()
            .disable_x_mesh()
            .light_line_style(TRANSPARENT)
            .bold_line_style(INK.mix(0.12))
            .axis_style(INK.mix(0.5))
            .label_style(("sans-serif", 16).into_font().color(&INK))
            .axis_desc_style(("sans-serif", 16).into_font().color(&INK))
            .x_labels(6)
            .y_labels(6)
            .x_desc("step")
            .y_desc(self.axis)
            .x_label_formatter(&|step| grouped(*step))
            .y_label_formatter(&|value| format!("{value:.digits$}"))
            .draw()?;
        if let Some(value) = self.reference {
            let ends = [(0, value), (last, value)];
            let style = INK.mix(0.6).stroke_width(1);
            chart.draw_series(DashedLineSeries::new(ends, 5, 4, style))?;
        }
        let inside = |points: &Points| -> Points {
            let clipped = points.iter();
            clipped
                .map(|&(step, value)| (step, value.clamp(bottom, top)))
                .collect()
        };
        for curve in &self.curves {
            let style = curve.color.mix(0.3).stroke_width(1);
            chart.draw_series(LineSeries::new(inside(&curve.faint), style))?;
        }
        for curve in &self.curves {
            let color = curve.color;
            chart
                .draw_series(LineSeries::new(inside(&curve.line), color.stroke_width(2)))?
                .label(curve.name)
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], color.stroke_width(2)));
            // The only point of a line would be invisible.
            if curve.has_marks || curve.line.len() == 1 {
                let marks = inside(&curve.line).into_iter();
                chart.draw_series(marks.map(|point| Circle::new(point, 3, color.filled())))?;
            }
        }
        if is_file {
            chart
                .configure_series_labels()
                .position(SeriesLabelPosition::UpperRight)
                .label_font(("sans-serif", 14).into_font().color(&INK))
                .background_style(WHITE.mix(0.85))
                .border_style(INK.mix(0.2))
                .draw()?;
        }
        area.present()?;
        Ok(())
    }
}

fn values(points: &Points) -> impl Iterator<Item = f64> {
    points.iter().map(|&(_, value)| value)
}

/// Digits after the decimal point for the labels of an axis of this length.
fn digits(length: f64) -> usize {
    match length {
        x if x < 0.05 => 4,
        x if x < 0.5 => 3,
        x if x < 3.0 => 2,
        x if x < 50.0 => 1,
        _ => 0,
    }
}

/// An integer with commas between groups of three digits.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn diagram(values: &[f64]) -> Diagram {
        let points: Points = (1..).zip(values.iter().copied()).collect();
        Diagram {
            axis: "loss",
            curves: vec![Curve {
                name: "generator",
                color: BLUE,
                line: points.clone(),
                faint: points,
                has_marks: false,
            }],
            shown: [0.0, 1.0],
            reference: None,
        }
    }

    #[test]
    fn the_axis_includes_the_line_and_not_each_outlier() {
        let [low, high] = diagram(&[-3.0, 0.0]).range();
        assert!(low < -3.0 && (1.0..1.5).contains(&high));
        let mut spiky = diagram(&[0.5; 1000]);
        spiky.curves[0].faint[7].1 = 100.0;
        assert!(spiky.range()[1] < 1.5);
        assert!(spiky.file().len() < 100_000);
        assert_eq!(diagram(&[]).range()[0], 0.0);
    }

    #[test]
    fn the_page_sets_the_color_of_text() {
        let diagram = diagram(&[0.5, 0.7]);
        let (page, file) = (diagram.for_page(), diagram.file());
        assert!(page.contains("currentColor") && !page.contains(INK_TEXT));
        assert!(file.contains("generator") && file.contains(INK_TEXT) && !file.contains("currentColor"));
        assert_eq!(
            diagram.legend(),
            [("generator".to_string(), "#2b7bba".to_string())]
        );
    }

    #[test]
    fn extreme_values_and_steps_have_a_plot() {
        let mut diagram = diagram(&[f64::from(f32::MAX), f64::from(f32::MIN)]);
        assert!(diagram.file().starts_with("<svg"));
        diagram.curves[0].line[1].0 = u64::MAX;
        assert!(diagram.file().len() < 100_000);
    }

    #[test]
    fn digits_in_groups() {
        let found = [0, 999, 1000, 1_234_567].map(grouped);
        assert_eq!(found, ["0", "999", "1,000", "1,234,567"]);
    }
}
