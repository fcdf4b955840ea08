//! The confirmation of a comparison on other features.

use super::{Evaluated, label};
use crate::cli::extract::Reader;
use crate::cli::options::FeatureOptions;
use crate::cli::target::Target;
use engraft_metrics::{Features, features, kernel_distance};
use engraft_transfer::Experiment;
use serde_json::{Value, json};

/// KIDs of the same methods on second features.
pub(super) struct Second {
    name: String,
    hash: String,
    about: String,
    /// One for each method.
    kid: Vec<f64>,
}

impl Second {
    /// Evaluates the methods on the features that confirm those of `first`. `None` if there is nothing to choose, or there are
    /// no other features.
    ///
    /// # Errors
    /// If images cannot be read.
    pub(super) fn measure(
        first: &Reader,
        experiment: &Experiment<'_>,
        target: &Target,
        evaluated: &[Evaluated],
    ) -> anyhow::Result<Option<Self>> {
        let Some(name) = features::second(first.extractor.name()).filter(|_| evaluated.len() > 1) else {
            return Ok(None);
        };
        let chosen = FeatureOptions {
            features: Some(name.into()),
            weights: None,
        };
        let reader = Reader::choose(&chosen, target.train.name(), target.train.image_size())?;
        let real = reader.read_data("real images", &target.reference)?.features;
        let kid = |of: &Evaluated| -> anyhow::Result<f64> {
            let images: Features =
                experiment.generate_features(&*reader.extractor, &of.sampler, of.features.len())?;
            Ok(kernel_distance(&real, &images)?.value)
        };
        Ok(Some(Self {
            kid: evaluated.iter().map(kid).collect::<anyhow::Result<_>>()?,
            name: reader.extractor.name().into(),
            hash: reader.short_hash().into(),
            about: reader.extractor.about(),
        }))
    }

    /// The KIDs, and whether the same method has the lowest.
    pub(super) fn lines(&self, evaluated: &[Evaluated]) -> Vec<String> {
        let name = |i: usize| label(&evaluated[i].result.method);
        let kids: Vec<String> = (0..evaluated.len())
            .map(|i| format!("{} {:.4}", name(i), self.kid[i]))
            .collect();
        let [first, second] = self.lowest(evaluated);
        vec![
            format!(
                "KID with second features {} ({}..; {}): {}",
                self.name,
                self.hash,
                self.about,
                kids.join(", ")
            ),
            if first == second {
                format!("both features give the lowest KID to {}", name(first))
            } else {
                format!(
                    "warning: the features disagree: the lowest KID is that of {} above, and of {} with the second features; \
                     compare the grids",
                    name(first),
                    name(second)
                )
            },
        ]
    }

    /// Indices of the lowest KIDs, of the first and of the second features.
    fn lowest(&self, evaluated: &[Evaluated]) -> [usize; 2] {
        let first: Vec<f64> = evaluated.iter().map(|of| of.result.kid).collect();
        [lowest(&first), lowest(&self.kid)]
    }

    /// The same as JSON.
    pub(super) fn json(&self, evaluated: &[Evaluated]) -> Value {
        let [first, second] = self.lowest(evaluated);
        json!({
            "features": self.name, "features_about": self.about, "kid": self.kid,
            "lowest": evaluated[second].result.method, "agrees": first == second,
        })
    }
}

/// Index of the lowest number, the first one if several are equal.
fn lowest(values: &[f64]) -> usize {
    let lower = |best: usize, i: usize| if values[i] < values[best] { i } else { best };
    (0..values.len()).reduce(lower).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_the_lowest() {
        assert_eq!(lowest(&[0.3, -0.1, 0.2, -0.1]), 1);
        assert_eq!(lowest(&[0.3]), 0);
    }
}
