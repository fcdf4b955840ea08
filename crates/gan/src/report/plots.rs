//! The plots of a run: losses, discriminator statistics, validation scores.

use super::curve::{Points, bin_size, binned, half_life, plottable, smoothed};
use super::diagram::{BLUE, Curve, Diagram, ORANGE, grouped};
use super::page::Plot;
use crate::monitor::Measurement;
use plotters::style::RGBColor;

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
    /// Duration of the step.
    pub(crate) milliseconds: f64,
}

/// Both losses over the steps as an SVG file.
pub(crate) fn loss_file(record: &[Losses]) -> String {
    losses(record).file()
}

/// The plots of every step: losses and discriminator.
pub(super) fn step_plots(record: &[Losses]) -> Vec<Plot> {
    let reading = reading(record.len());
    vec![
        plot(
            "Losses",
            format!("Adversarial losses before each update, without penalties. {reading}"),
            &losses(record),
        ),
        plot(
            "Discriminator",
            format!(
                "Accuracy is the share of correct decisions; 0.5 (dashed) is chance. r_t is the mean sign of D on real images, \
                 ADA's measure of overfitting: 0 if D cannot separate real from generated images, 1 if D calls every real \
                 image real. {reading}"
            ),
            &discriminator(record),
        ),
    ]
}

/// The plots of the evaluations against `reference` images: KID, coverage and memorized share.
pub(super) fn score_plots(measurements: &[Measurement], reference: &str) -> Vec<Plot> {
    vec![
        plot(
            &format!("KID to {reference}"),
            "Kernel inception distance: how far the features of generated images are from those of real images. Lower is better."
                .into(),
            &distance(measurements),
        ),
        plot(
            "Coverage and memorized share",
            format!(
                "Coverage is the share of {reference} with a generated image nearby; higher is better. Memorized share is the share of \
                 samples that are closer to a training image than real images are; 0.05 (dashed) is chance."
            ),
            &coverage(measurements),
        ),
    ]
}

fn plot(heading: &str, explanation: String, diagram: &Diagram) -> Plot {
    Plot {
        heading: heading.into(),
        explanation,
        legend: diagram.legend(),
        svg: diagram.for_page(),
    }
}

/// What bold and faint lines of `n` steps mean.
fn reading(n: usize) -> String {
    let faint = match bin_size(n) {
        1 => "single steps".into(),
        size => format!("means of {} steps", grouped(size as u64)),
    };
    let half_life = match half_life(n) {
        1 => "1 step".into(),
        steps => format!("{} steps", grouped(steps as u64)),
    };
    format!("Bold: exponential moving average with a half-life of {half_life}. Faint: {faint}.")
}

fn step_curve(name: &'static str, color: RGBColor, record: &[Losses], value: fn(&Losses) -> f64) -> Curve {
    let points = plottable(record.iter().map(|losses| (losses.step, value(losses))));
    Curve {
        name,
        color,
        line: smoothed(&points),
        faint: binned(&points),
        has_marks: false,
    }
}

fn score_curve(
    name: &'static str,
    color: RGBColor,
    measurements: &[Measurement],
    value: fn(&Measurement) -> f64,
) -> Curve {
    Curve {
        name,
        color,
        line: plottable(measurements.iter().map(|m| (m.step, value(m)))),
        faint: Points::new(),
        has_marks: measurements.len() <= 60,
    }
}

fn losses(record: &[Losses]) -> Diagram {
    Diagram {
        axis: "loss",
        curves: vec![
            step_curve("generator", ORANGE, record, |p| p.generator),
            step_curve("discriminator", BLUE, record, |p| p.discriminator),
        ],
        shown: [0.0, 1.0],
        reference: None,
    }
}

/// At 0.5 and 0 the discriminator cannot separate real from generated images.
fn discriminator(record: &[Losses]) -> Diagram {
    Diagram {
        axis: "accuracy, r_t",
        curves: vec![
            step_curve("accuracy", ORANGE, record, |p| p.accuracy),
            step_curve("r_t", BLUE, record, |p| p.real_sign),
        ],
        shown: [0.0, 1.0],
        reference: Some(0.5),
    }
}

fn distance(measurements: &[Measurement]) -> Diagram {
    Diagram {
        axis: "KID",
        curves: vec![score_curve("KID", ORANGE, measurements, |m| m.kid)],
        shown: [0.0, 0.01],
        reference: None,
    }
}

fn coverage(measurements: &[Measurement]) -> Diagram {
    Diagram {
        axis: "share of images",
        curves: vec![
            score_curve("coverage", BLUE, measurements, |m| m.coverage),
            score_curve("memorized share", ORANGE, measurements, |m| m.memorized),
        ],
        shown: [0.0, 1.0],
        reference: Some(0.05),
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
                milliseconds: 9.0,
            })
            .collect()
    }

    #[test]
    fn a_long_run_stays_small_and_an_empty_one_has_a_plot() {
        let long = loss_file(&points(100_000));
        assert!(
            long.contains("discriminator") && long.len() < 100_000,
            "{}",
            long.len()
        );
        assert!(loss_file(&[]).starts_with("<svg"));
        assert!(step_plots(&points(5))[1].svg.contains("accuracy"));
        assert!(
            step_plots(&points(5))[0]
                .explanation
                .contains("half-life of 1 step.")
        );
        assert!(
            reading(4000).contains("half-life of 160 steps") && reading(4000).contains("means of 10 steps")
        );
    }

    #[test]
    fn losses_below_zero_are_on_the_axis() {
        let mut points = points(10);
        points[4].generator = -3.0;
        assert!(loss_file(&points).contains("\n-3.0\n"));
    }

    /// A damaged file may contain any number.
    #[test]
    fn impossible_values_are_not_plotted() {
        let mut points = points(10);
        let sound = loss_file(&points);
        for claimed in [1.75e308, 1e39, f64::NAN] {
            points[4].generator = claimed;
            let plot = loss_file(&points);
            assert!(plot.len() < sound.len() && plot.contains("\n1.0"), "{claimed}");
        }
    }
}
