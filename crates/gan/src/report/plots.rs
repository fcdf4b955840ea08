//! The plots of a run as SVG: losses, discriminator statistics, validation scores.

use crate::monitor::Measurement;
use plotters::prelude::*;

/// Maximum number of points of a curve; longer runs are averaged in bins.
const BINS: usize = 400;
/// Values above this are not plotted. Losses are `f32`, so a larger value in a file is not from a run.
const MAX_VALUE: f64 = f32::MAX as f64;

/// The values of one step that the plots show.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Losses {
    pub(crate) step: u64,
    pub(crate) generator: f64,
    pub(crate) discriminator: f64,
    /// Accuracy of the discriminator.
    pub(crate) accuracy: f64,
    /// `r_t`: mean sign of the logits on real images.
    pub(crate) real_sign: f64,
}

/// Points of a curve: step and value.
type Points = Vec<(u64, f64)>;

/// Means over equal bins of consecutive steps.
fn binned(record: &[Losses], value: fn(&Losses) -> f64) -> Points {
    let size = record.len().div_ceil(BINS).max(1);
    record
        .chunks(size)
        .map(|bin| {
            let mean = bin.iter().map(value).sum::<f64>() / bin.len() as f64;
            (bin[bin.len() / 2].step, mean)
        })
        .collect()
}

/// Curves over the steps, with one vertical axis.
struct Diagram {
    axis: &'static str,
    curves: Vec<(&'static str, RGBColor, Points)>,
    /// Range that the axis always includes.
    shown: [f64; 2],
}

const RED: RGBColor = RGBColor(200, 80, 30);
const BLUE: RGBColor = RGBColor(30, 90, 170);

/// An SVG of both losses over the steps.
pub(crate) fn loss_curves(record: &[Losses]) -> String {
    let diagram = Diagram {
        axis: "loss",
        curves: vec![
            ("generator", RED, binned(record, |p| p.generator)),
            ("discriminator", BLUE, binned(record, |p| p.discriminator)),
        ],
        shown: [0.0, 1.0],
    };
    diagram.svg()
}

/// An SVG of the discriminator's accuracy and `r_t`. At 0.5 and 0 it cannot separate real from generated images.
pub(crate) fn discriminator_curves(record: &[Losses]) -> String {
    let diagram = Diagram {
        axis: "accuracy, r_t",
        curves: vec![
            ("accuracy", RED, binned(record, |p| p.accuracy)),
            (
                "r_t: mean sign of D on real images",
                BLUE,
                binned(record, |p| p.real_sign),
            ),
        ],
        shown: [0.0, 1.0],
    };
    diagram.svg()
}

/// An SVG of the KID to the validation images.
pub(crate) fn distance_curve(measurements: &[Measurement]) -> String {
    let points = measurements.iter().map(|m| (m.step, m.kid)).collect();
    let diagram = Diagram {
        axis: "KID",
        curves: vec![("KID to validation images", RED, points)],
        shown: [0.0, 0.01],
    };
    diagram.svg()
}

/// An SVG of coverage and memorized share.
pub(crate) fn coverage_curves(measurements: &[Measurement]) -> String {
    let of = |value: fn(&Measurement) -> f64| measurements.iter().map(|m| (m.step, value(m))).collect();
    let diagram = Diagram {
        axis: "share of images",
        curves: vec![
            ("coverage", BLUE, of(|m| m.coverage)),
            ("memorized share", RED, of(|m| m.memorized)),
        ],
        shown: [0.0, 1.0],
    };
    diagram.svg()
}

impl Diagram {
    fn svg(mut self) -> String {
        for (_, _, points) in &mut self.curves {
            points.retain(|&(_, value)| value.abs() <= MAX_VALUE);
        }
        let values = || {
            let all = self.curves.iter().flat_map(|(_, _, points)| points);
            all.map(|&(_, value)| value)
        };
        // The minimax generator loss is negative.
        let range = [
            values().fold(self.shown[0], f64::min),
            values().fold(self.shown[1], f64::max),
        ];
        let mut svg = String::new();
        self.draw(&mut svg, range)
            .expect("drawing to a string cannot fail");
        svg
    }

    fn draw(&self, svg: &mut String, [bottom, top]: [f64; 2]) -> Result<(), Box<dyn std::error::Error>> {
        let ends = self.curves.iter().filter_map(|(_, _, points)| points.last());
        let last = ends.map(|&(step, _)| step).max().unwrap_or(1).max(1);
        // Small values need more digits on the axis.
        let digits = if top - bottom < 0.5 { 3 } else { 1 };
        let area = SVGBackend::with_string(svg, (720, 360)).into_drawing_area();
        area.fill(&WHITE)?;
        let mut chart = ChartBuilder::on(&area)
            .margin(12)
            .x_label_area_size(40)
            .y_label_area_size(48)
            .build_cartesian_2d(0..last, bottom * 1.05..top * 1.05)?;
        chart
            .configure_mesh()
            .light_line_style(WHITE)
            .x_desc("step")
            .y_desc(self.axis)
            .y_label_formatter(&|v| format!("{v:.digits$}"))
            .draw()?;
        for (name, color, points) in &self.curves {
            let color = *color;
            chart
                .draw_series(LineSeries::new(points.iter().copied(), color.stroke_width(2)))?
                .label(*name)
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], color.stroke_width(2)));
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::LowerRight)
            .background_style(WHITE)
            .border_style(RGBColor(200, 200, 200))
            .draw()?;
        area.present()?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn points(n: u64) -> Vec<Losses> {
        (1..=n)
            .map(|step| Losses {
                step,
                generator: 1.0 + step as f64 * 1e-3,
                discriminator: 1.4,
                accuracy: 0.6,
                real_sign: 0.3,
            })
            .collect()
    }

    #[test]
    fn a_long_run_stays_small_and_an_empty_one_has_a_plot() {
        let long = loss_curves(&points(100_000));
        assert!(
            long.contains("discriminator") && long.len() < 100_000,
            "{}",
            long.len()
        );
        assert!(loss_curves(&[]).starts_with("<svg"));
        assert!(discriminator_curves(&points(5)).contains("accuracy"));
    }

    #[test]
    fn losses_below_zero_are_on_the_axis() {
        let mut points = points(10);
        points[4].generator = -3.0;
        assert!(loss_curves(&points).contains("\n-3.0\n"));
    }

    /// A damaged file may contain any number.
    #[test]
    fn impossible_values_are_not_plotted() {
        let mut points = points(10);
        let sound = loss_curves(&points);
        for claimed in [1.75e308, -1.75e308, 1e39, f64::INFINITY, f64::NAN] {
            points[4].generator = claimed;
            let plot = loss_curves(&points);
            assert!(plot.len() < sound.len() && plot.contains("\n1.0\n"), "{claimed}");
        }
        points[4].generator = f64::from(f32::MAX);
        points[5].generator = f64::from(f32::MIN);
        assert!(loss_curves(&points).len() < 100_000);
        points[9].step = u64::MAX;
        assert!(loss_curves(&points).len() < 100_000);
    }

    #[test]
    fn bins_average_neighbors() {
        let bins = binned(&points(800), |p| p.generator);
        assert_eq!((bins.len(), bins[0].0), (400, 2));
        assert!((bins[0].1 - 1.0015).abs() < 1e-12);
    }
}
