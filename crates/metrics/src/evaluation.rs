//! All measures of a set of generated images, with the floor of real images and the protocol.

use crate::error::MetricsError;
use crate::extractor::FeatureExtractor;
use crate::feature_set::{Features, enough};
use crate::frechet::frechet_distance;
use crate::kernel_distance::kernel_distance;
use crate::memorization::{copied_share, intra_cluster_diversity, memorized_share};
use crate::prdc::{balanced_coverage, prdc};
use crate::reference_points::ReferencePoints;
use crate::sliced_wasserstein::sliced_wasserstein;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Maximum number of training images around which diversity is measured.
const CLUSTERS: usize = 100;

/// Fewest real images of [`evaluate_few`].
const FEWEST: usize = 20;

/// The measures of one set of images against the real images.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scores {
    /// [Fréchet distance](frechet_distance) to the real images.
    pub fid: f64,
    /// [Kernel distance](kernel_distance) to the real images.
    pub kid: f64,
    /// Its standard error.
    pub kid_se: f64,
    /// [Sliced Wasserstein distance](sliced_wasserstein) to the real images. `None` in results of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sliced_wasserstein: Option<f64>,
    /// See [`Prdc`](crate::Prdc).
    pub precision: f64,
    /// See [`Prdc`](crate::Prdc).
    pub recall: f64,
    /// See [`Prdc`](crate::Prdc).
    pub density: f64,
    /// See [`Prdc`](crate::Prdc).
    pub coverage: f64,
    /// [Diversity](intra_cluster_diversity) around training images.
    pub diversity: f64,
    /// [Share](memorized_share) of images closer to a training image than real ones are.
    #[serde(rename = "memorised")]
    pub memorized: f64,
}

/// The settings of an evaluation. Results with different protocols are not comparable.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct EvaluationProtocol {
    /// Name of the feature network.
    pub features: String,
    /// SHA-256 of its weights.
    pub features_sha256: String,
    /// What the features are and how images reach their size, see [`FeatureExtractor::about`].
    #[serde(default)]
    pub features_about: String,
    /// Name of the data set.
    pub data: String,
    /// Split with which the generated images are compared.
    pub split: String,
    /// SHA-256 of the real images in the comparison, in hexadecimal.
    pub data_sha256: String,
    /// How images were resized or converted for the feature network. "none" if that was not needed.
    pub resize: String,
    /// Number of real images.
    pub real: usize,
    /// Number of generated images.
    pub generated: usize,
    /// Number of training images against which memorization and diversity are measured.
    pub train: usize,
    /// Number of real training images that replace the generated ones in the floor: the number of generated images, or half of
    /// the training images if that is less.
    pub floor: usize,
    /// Whether the real images were kept out of training. `false` in [`evaluate_few`].
    #[serde(default = "yes", skip_serializing_if = "Clone::clone")]
    pub real_is_held_out: bool,
    /// Seed of the generated images, and of the selection of real images and of images from a file or folder, if there were
    /// more than requested.
    pub seed: u64,
}

/// The real images of an [`EvaluationProtocol`]; see its fields of the same names.
#[derive(Clone, Copy, Debug)]
pub struct RealDataInfo<'a> {
    /// Name of the data set.
    pub data: &'a str,
    /// Its split.
    pub split: &'a str,
    /// SHA-256 of the images, computed by the caller.
    pub sha256: &'a str,
}

impl EvaluationProtocol {
    /// The protocol of a comparison with real images. `resize` describes how images were converted.
    /// [`evaluate`] sets the numbers of images.
    pub fn new(extractor: &dyn FeatureExtractor, real: RealDataInfo<'_>, resize: &str, seed: u64) -> Self {
        Self {
            features: extractor.name().into(),
            features_sha256: extractor.hash().into(),
            features_about: extractor.about(),
            data: real.data.into(),
            split: real.split.into(),
            data_sha256: real.sha256.into(),
            resize: resize.into(),
            real: 0,
            generated: 0,
            train: 0,
            floor: 0,
            real_is_held_out: true,
            seed,
        }
    }
}

fn yes() -> bool {
    true
}

/// Measures of generated images, the same measures of real images (the floor), and the protocol.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// Measures of the generated images.
    #[serde(flatten)]
    pub scores: Scores,
    /// Measures of real training images in place of the generated ones: the result of a perfect generator, up to chance.
    pub floor: Scores,
    /// What noise, blobs and real images reach. `None` if it was not computed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<ReferencePoints>,
    /// Settings of the evaluation.
    pub protocol: EvaluationProtocol,
}

impl Evaluation {
    /// The same result with what noise, blobs and real images reach.
    #[must_use]
    pub fn with_reference(mut self, points: ReferencePoints) -> Self {
        self.reference = Some(points);
        self
    }
}

/// The features that an evaluation compares.
#[derive(Clone, Copy, Debug)]
pub struct EvaluationInput<'a> {
    /// Real images that were not used for training.
    pub real: &'a Features,
    /// The training images.
    pub train: &'a Features,
    /// The generated images.
    pub generated: &'a Features,
}

/// Measures generated images against real ones, and real training images against real ones (the floor).
///
/// The floor uses the same number of training images as there are generated ones, or half of the training images if that
/// is less ([`EvaluationProtocol::floor`]). They are equidistant in the training set. The floor's memorization is measured
/// against the remaining training images, because any image would be a copy of itself.
///
/// # Errors
/// If there are too few images for a measure, or the feature dimensions differ.
pub fn evaluate(
    compared: EvaluationInput<'_>,
    protocol: EvaluationProtocol,
) -> Result<Evaluation, MetricsError> {
    let EvaluationInput {
        real,
        train,
        generated,
    } = compared;
    let n = generated.len();
    enough(train, "training", 2)?;
    let apart = n.min(train.len() / 2);
    // Equidistant, because data sorted by class would otherwise show only the first classes. `engraft_base::equidistant`
    // selects other images and would change published results.
    let chosen: Vec<usize> = (0..apart).map(|i| i * train.len() / apart).collect();
    let stand_in = train.select(&chosen);
    let others = (0..train.len()).filter(|i| chosen.binary_search(i).is_err());
    let rest = train.select(&others.collect::<Vec<_>>());
    Ok(Evaluation {
        scores: scores(real, train, generated)?,
        floor: scores(real, &rest, &stand_in)?,
        reference: None,
        protocol: EvaluationProtocol {
            real: real.len(),
            generated: n,
            train: train.len(),
            floor: apart,
            ..protocol
        },
    })
}

/// [`evaluate`] for few images, none of which was kept out of training: the real images are the training images.
///
/// A generator that copies its training images then has a perfect FID, KID and coverage, so the memorized share decides. It
/// is the [share of near-copies](copied_share): its threshold comes from the distances between the training images. The
/// floor compares one half of the images with the other. It is worse than the value of a perfect generator, because a half
/// has fewer images.
///
/// # Errors
/// If there are fewer than 20 real images, or the feature dimensions differ.
pub fn evaluate_few(
    real: &Features,
    generated: &Features,
    protocol: EvaluationProtocol,
) -> Result<Evaluation, MetricsError> {
    enough(real, "real", FEWEST)?;
    let n = real.len();
    let [first, second] = [0, 1].map(|half| real.select(&(half..n).step_by(2).collect::<Vec<_>>()));
    let of = |real: &Features, images: &Features| -> Result<Scores, MetricsError> {
        Ok(Scores {
            memorized: copied_share(real, images),
            ..scores_without_memorization(real, real, images)?
        })
    };
    Ok(Evaluation {
        scores: of(real, generated)?,
        floor: of(&first, &second)?,
        reference: None,
        protocol: EvaluationProtocol {
            real: n,
            generated: generated.len(),
            train: n,
            floor: second.len(),
            real_is_held_out: false,
            ..protocol
        },
    })
}

fn scores(real: &Features, train: &Features, generated: &Features) -> Result<Scores, MetricsError> {
    Ok(Scores {
        memorized: memorized_share(train, real, generated)?,
        ..scores_without_memorization(real, train, generated)?
    })
}

fn scores_without_memorization(
    real: &Features,
    train: &Features,
    generated: &Features,
) -> Result<Scores, MetricsError> {
    let distance = kernel_distance(real, generated)?;
    let overlap = prdc(real, generated)?;
    let step = train.len().div_ceil(CLUSTERS).max(1);
    let anchors = train.select(&(0..train.len()).step_by(step).collect::<Vec<_>>());
    Ok(Scores {
        fid: frechet_distance(real, generated)?,
        kid: distance.value,
        kid_se: distance.standard_error,
        sliced_wasserstein: Some(sliced_wasserstein(real, generated)?),
        precision: overlap.precision,
        recall: overlap.recall,
        density: overlap.density,
        coverage: balanced_coverage(real, generated)?,
        diversity: intra_cluster_diversity(&anchors, generated)?,
        memorized: 0.0,
    })
}

impl fmt::Display for Evaluation {
    /// A table of the measures with their floor, and the protocol.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (s, floor, p) = (&self.scores, &self.floor, &self.protocol);
        let with_error = |s: &Scores| format!("{:.5} ± {:.5}", s.kid, s.kid_se);
        let number = |x: f64| format!("{x:.4}");
        writeln!(f, "{:<12}{:>20}{:>22}", "", "generated", "floor (real images)")?;
        for (name, of_generated, of_floor) in [
            ("FID", number(s.fid), number(floor.fid)),
            ("KID", with_error(s), with_error(floor)),
            (
                "sliced W2",
                s.sliced_wasserstein.map_or_else(String::new, number),
                floor.sliced_wasserstein.map_or_else(String::new, number),
            ),
            ("precision", number(s.precision), number(floor.precision)),
            ("recall", number(s.recall), number(floor.recall)),
            ("density", number(s.density), number(floor.density)),
            ("coverage", number(s.coverage), number(floor.coverage)),
            ("diversity", number(s.diversity), number(floor.diversity)),
            ("memorized", number(s.memorized), number(floor.memorized)),
        ] {
            writeln!(f, "{name:<12}{of_generated:>20}{of_floor:>22}")?;
        }
        if let Some(reference) = &self.reference {
            writeln!(f, "with these features: {reference}")?;
            if reference.is_blind() {
                writeln!(
                    f,
                    "warning: noise or blobs cover many real images, so these features do not show whether the generated images \
                     are good; choose other features"
                )?;
            }
        }
        if !p.real_is_held_out {
            writeln!(
                f,
                "the real images are the training images themselves, because there are too few: a generator that copies them has \
                 a perfect FID, KID and coverage, so check memorized (share of near-copies)"
            )?;
        }
        let short = |hash: &str| hash.chars().take(12).collect::<String>();
        write!(
            f,
            "{} generated images (floor: {} real ones) against {} of {} ({}, {}..); {} training images; features {} \
             ({}..; {}); resize {}; seed {}",
            p.generated,
            p.floor,
            p.real,
            p.data,
            p.split,
            short(&p.data_sha256),
            p.train,
            p.features,
            short(&p.features_sha256),
            p.features_about,
            p.resize,
            p.seed
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::points;

    fn protocol() -> EvaluationProtocol {
        EvaluationProtocol {
            features: "normal points".into(),
            features_sha256: "0123456789abcdef".into(),
            features_about: "4 features".into(),
            data: "points".into(),
            split: "test".into(),
            data_sha256: "fedcba9876543210".into(),
            resize: "none".into(),
            real: 0,
            generated: 0,
            train: 0,
            floor: 0,
            real_is_held_out: true,
            seed: 1,
        }
    }

    #[test]
    fn a_perfect_generator_is_at_the_floor() {
        let (real, train, generated) = (points(300, 4, 1), points(900, 4, 2), points(300, 4, 3));
        let compared = EvaluationInput {
            real: &real,
            train: &train,
            generated: &generated,
        };
        let found = evaluate(compared, protocol()).unwrap();
        let (s, floor) = (found.scores, found.floor);
        assert!(
            (s.kid - floor.kid).abs() < 5.0 * (s.kid_se + floor.kid_se),
            "{found}"
        );
        assert!((s.coverage - floor.coverage).abs() < 0.1, "{found}");
        assert!(
            (s.memorized - 0.05).abs() < 0.04 && (floor.memorized - 0.05).abs() < 0.04,
            "{found}"
        );
        let text = found.to_string();
        assert!(
            text.contains("KID")
                && text.contains("features normal points (0123456789ab..; 4 features); resize none;"),
            "{text}"
        );
        assert!(text.contains("300 of points (test, fedcba987654..);"), "{text}");
        let json = serde_json::to_value(&found).unwrap();
        for key in [
            "fid",
            "kid",
            "kid_se",
            "sliced_wasserstein",
            "precision",
            "recall",
            "density",
            "coverage",
            "diversity",
            "memorised",
        ] {
            assert!(json[key].is_f64() && json["floor"][key].is_f64(), "{key}");
        }
        let protocol = &json["protocol"];
        assert_eq!(protocol["real"], 300);
        assert_eq!(protocol["resize"], "none");
        assert_eq!(protocol["data_sha256"], "fedcba9876543210");
    }

    #[test]
    fn few_images_are_compared_with_themselves_and_copies_are_found() {
        let (real, fresh) = (points(40, 4, 1), points(200, 4, 2));
        let copies = real.select(&(0..200).map(|i| i % 40).collect::<Vec<_>>());
        let of = |generated: &Features| evaluate_few(&real, generated, protocol()).unwrap();
        let (honest, copier) = (of(&fresh), of(&copies));
        assert!(honest.scores.memorized < 0.15 && copier.scores.memorized == 1.0);
        assert!(honest.scores.coverage > 0.7, "{honest}");
        let json = serde_json::to_value(&copier).unwrap();
        assert_eq!(json["protocol"]["real_is_held_out"], false);
        assert!(evaluate_few(&real.first(19), &fresh, protocol()).is_err());
    }
}
