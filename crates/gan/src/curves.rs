//! The curves of a run as SVG: losses, and what the discriminator says.

use plotters::prelude::*;

/// Points drawn of each curve at most; more steps are averaged in bins.
const BINS: usize = 400;

/// One step of the record, as far as the diagrams show it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Losses {
    pub(crate) step: u64,
    pub(crate) generator: f64,
    pub(crate) discriminator: f64,
    /// Mean of `σ(D(x))` over the real images.
    pub(crate) real: f64,
    /// Mean of `σ(D(G(z)))`.
    pub(crate) fake: f64,
}

/// Means over equal bins of neighbouring points.
fn binned(points: &[Losses]) -> Vec<Losses> {
    let size = points.len().div_ceil(BINS).max(1);
    points
        .chunks(size)
        .map(|bin| {
            let mean = |f: fn(&Losses) -> f64| bin.iter().map(f).sum::<f64>() / bin.len() as f64;
            Losses {
                step: bin[bin.len() / 2].step,
                generator: mean(|p| p.generator),
                discriminator: mean(|p| p.discriminator),
                real: mean(|p| p.real),
                fake: mean(|p| p.fake),
            }
        })
        .collect()
}

type Value = fn(&Losses) -> f64;

/// Two curves over the steps, and what their axis means.
struct Diagram {
    axis: &'static str,
    curves: [(&'static str, RGBColor, Value); 2],
}

const RED: RGBColor = RGBColor(200, 80, 30);
const BLUE: RGBColor = RGBColor(30, 90, 170);

/// An SVG of both losses over the steps.
pub(crate) fn loss_curves(points: &[Losses]) -> String {
    let diagram = Diagram {
        axis: "loss",
        curves: [
            ("generator", RED, |p| p.generator),
            ("discriminator", BLUE, |p| p.discriminator),
        ],
    };
    diagram.svg(points)
}

/// An SVG of how real the discriminator takes both kinds of images for: one half where it cannot tell them apart.
pub(crate) fn output_curves(points: &[Losses]) -> String {
    let diagram = Diagram {
        axis: "mean of D",
        curves: [
            ("generated images", RED, |p| p.fake),
            ("real images", BLUE, |p| p.real),
        ],
    };
    diagram.svg(points)
}

impl Diagram {
    fn svg(&self, points: &[Losses]) -> String {
        let points = binned(points);
        let values = || {
            let of_point = |p| self.curves.iter().map(move |(_, _, value)| value(p));
            points.iter().flat_map(of_point).filter(|v| v.is_finite())
        };
        // The minimax objective's generator has losses below 0.
        let range = [values().fold(0.0, f64::min), values().fold(1.0, f64::max)];
        let mut svg = String::new();
        self.draw(&mut svg, &points, range)
            .expect("drawing to a string cannot fail");
        svg
    }

    fn draw(
        &self,
        svg: &mut String,
        points: &[Losses],
        [bottom, top]: [f64; 2],
    ) -> Result<(), Box<dyn std::error::Error>> {
        let last = points.last().map_or(1, |p| p.step.max(1));
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
            .y_label_formatter(&|v| format!("{v:.1}"))
            .draw()?;
        for (name, colour, value) in self.curves {
            let line = points.iter().map(|p| (p.step, value(p)));
            chart
                .draw_series(LineSeries::new(line, colour.stroke_width(2)))?
                .label(name)
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], colour.stroke_width(2)));
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
                real: 0.6,
                fake: 0.3,
            })
            .collect()
    }

    #[test]
    fn a_long_run_stays_small_and_an_empty_one_draws() {
        let long = loss_curves(&points(100_000));
        assert!(
            long.contains("discriminator") && long.len() < 100_000,
            "{}",
            long.len()
        );
        assert!(loss_curves(&[]).starts_with("<svg"));
        assert!(output_curves(&points(5)).contains("generated images"));
    }

    #[test]
    fn losses_below_zero_are_on_the_axis() {
        let mut points = points(10);
        points[4].generator = -3.0;
        assert!(loss_curves(&points).contains("\n-3.0\n"));
    }

    #[test]
    fn bins_average_neighbours() {
        let bins = binned(&points(800));
        assert_eq!((bins.len(), bins[0].step), (400, 2));
        assert!((bins[0].generator - 1.0015).abs() < 1e-12);
    }
}
