//! What the columns of a run's files and tables mean, one sentence each.

/// Columns of `metrics.jsonl`.
pub(super) const STEPS: [(&str, &str); 11] = [
    ("step", "Number of training steps, from 1."),
    ("epoch", "Passes over the training images so far."),
    ("loss_g", "Adversarial loss of the generator before its update."),
    (
        "loss_d",
        "Adversarial loss of the discriminator before its update, without penalties.",
    ),
    (
        "d_real",
        "Mean probability that D gives to real images of being real, from 0 to 1.",
    ),
    (
        "d_fake",
        "Mean probability that D gives to generated images of being real, from 0 to 1.",
    ),
    (
        "accuracy",
        "Share of the batch that D classifies correctly; 0.5 is chance.",
    ),
    (
        "r_t",
        "Mean sign of D's output on real images, from -1 to 1: near 1, D overfits or the generator is far behind.",
    ),
    (
        "penalty",
        "Gradient penalty, other regularizers and reconstruction error of D; left out if 0.",
    ),
    (
        "augment",
        "Probability of each augmentation, from 0 to 1; left out if 0.",
    ),
    ("ms", "Duration of the step in milliseconds."),
];

/// The meaning of a row in the table of evaluations.
pub(super) fn meaning(score: &str) -> &'static str {
    match score {
        "KID" => {
            "distance between the features of generated and real images, with standard error; lower is better"
        }
        "KID, second features" => "the same with other features, to confirm the choice",
        "coverage" => "share of real images with a generated image nearby; higher is better",
        "memorized share" => "samples closer to a training image than real images are; 0.05 is chance",
        "feature variance, relative to real" => "diversity; near 1 is best, near 0 is mode collapse",
        "discriminator overfitting" => {
            "0: D treats validation images like training images; 1: like generated images"
        }
        _ => "",
    }
}
