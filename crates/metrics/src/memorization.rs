//! Memorization of training images, and diversity around each of them.

use crate::error::MetricsError;
use crate::feature_set::{Features, comparable, enough};
use crate::pairwise::{map_distances, nearest};

/// One in this many held-out images counts as close by definition: 5 %.
const CLOSE: usize = 20;
/// Squared distances up to this share of the training images' variance count as zero.
const ROUNDING: f64 = 1e-12;
/// Maximum number of members of a cluster in the mean distance.
const MEMBERS: usize = 50;

/// Share of generated images that are at least as close to a training image as the closest 5 % of held-out real images.
///
/// The closest 5 % of `n` held-out images are `⌈n / 20⌉` images. The threshold is the largest of their distances. For a
/// generator that samples the true distribution, the expected share is `⌈n / 20⌉ / (n + 1)`, which is 0.05 up to `1 / n`.
/// For a generator that copies its training images it is 1. Distances are in feature space. So a noisy or shifted copy
/// counts to the extent that the features ignore noise and shifts.
///
/// An image exactly at the threshold counts. This matters if at least 5 % of the held-out images are exact copies of
/// training images: the threshold is then 0, and exact copies count. A generator that copies still has a share of 1. A
/// generator that samples the true distribution then has the share of copies among real images instead of 0.05; the floor
/// of [`evaluate`](crate::evaluate) shows it. Distances that are zero up to rounding count as zero.
///
/// *Source*: the nearest-neighbor test of Meehan et al., "A non-parametric test to detect data-copying in generative
/// models", 2020, with a share in place of their z-score.
///
/// # Errors
/// If there are fewer than 20 held-out images, no other images, or the dimensions differ.
pub fn memorized_share(train: &Features, held_out: &Features, fake: &Features) -> Result<f64, MetricsError> {
    comparable(train, fake, 1)?;
    comparable(train, held_out, 1)?;
    enough(held_out, "held-out", CLOSE)?;
    let to_train = |points: &Features| map_distances(points, train, |_, row| nearest(row).1);
    let mut usual = to_train(held_out);
    usual.sort_unstable_by(f64::total_cmp);
    let close = usual[usual.len().div_ceil(CLOSE) - 1].max(ROUNDING * train.variance());
    let copies = to_train(fake).iter().filter(|&&d| d <= close).count();
    Ok(copies as f64 / fake.len() as f64)
}

/// Share of generated images that are near-copies of a training image, from 0 to 1.
///
/// The threshold is the 5 % quantile of the distances between training images and their nearest other training image. So a
/// generator that does not copy has a share of at most about 0.05. Identical training images are ignored for the threshold. A
/// generated image that equals a training image always counts as a copy.
///
/// The measure is [`memorized_share`] with training images in place of validation images,
/// because a few dozen images leave none for validation.
pub fn copied_share(training: &Features, generated: &Features) -> f64 {
    let train = training.view();
    let nearest = |point: ndarray::ArrayView1<'_, f64>, except: Option<usize>| {
        let distances = train.outer_iter().enumerate().filter(|(i, _)| Some(*i) != except);
        distances
            .map(|(_, other)| (&point - &other).mapv(|x| x * x).sum())
            .fold(f64::INFINITY, f64::min)
    };
    let mut typical: Vec<f64> = train
        .outer_iter()
        .enumerate()
        .map(|(i, point)| nearest(point, Some(i)))
        .collect();
    let same = ROUNDING * training.variance();
    typical.retain(|&distance| distance > same);
    typical.sort_unstable_by(f64::total_cmp);
    let close = typical.get(typical.len() / 20).copied().unwrap_or(0.0);
    let points = generated.view();
    let copied = points.outer_iter().filter(|point| {
        let distance = nearest(*point, None);
        distance < close || distance <= same
    });
    copied.count() as f64 / generated.len().max(1) as f64
}

/// Diversity of generated images around a small number of training images. Each generated image is assigned to its nearest
/// training image. The result is the mean distance of two members of a cluster, over the clusters with at least two.
///
/// The first 50 members of a cluster count. Exact copies give zero. This is the formula of intra-cluster LPIPS with this
/// crate's features, so the values are not comparable with published LPIPS values.
///
/// *Source*: Ojha et al., "Few-shot image generation via cross-domain correspondence", 2021, section 4.
///
/// # Errors
/// If a set is empty or the dimensions differ.
pub fn intra_cluster_diversity(train: &Features, fake: &Features) -> Result<f64, MetricsError> {
    comparable(train, fake, 1)?;
    let mut clusters = vec![Vec::new(); train.len()];
    let homes = map_distances(fake, train, |_, row| nearest(row).0);
    for (i, home) in homes.into_iter().enumerate() {
        if clusters[home].len() < MEMBERS {
            clusters[home].push(i);
        }
    }
    let diversities: Vec<f64> = clusters
        .iter()
        .filter(|members| members.len() > 1)
        .map(|members| {
            let points = fake.select(members);
            // The distance to itself is zero only up to rounding, and its root would not be negligible.
            let sums = map_distances(&points, &points, |i, row| {
                let others = row.iter().enumerate().filter(|(j, _)| *j != i);
                others.map(|(_, d)| d.sqrt()).sum::<f64>()
            });
            let n = members.len() as f64;
            sums.iter().sum::<f64>() / (n * (n - 1.0))
        })
        .collect();
    Ok(diversities.iter().sum::<f64>() / (diversities.len() as f64).max(1.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::points;
    use ndarray::{Array2, array};

    #[test]
    fn copies_and_fresh_images() {
        let (train, held_out) = (points(300, 4, 1), points(400, 4, 2));
        let fresh = memorized_share(&train, &held_out, &points(400, 4, 3)).unwrap();
        assert!((fresh - 0.05).abs() < 0.03, "{fresh}");
        assert_eq!(memorized_share(&train, &held_out, &train).unwrap(), 1.0);
        // Every second one is copied.
        let half = Features::new(ndarray::concatenate![
            ndarray::Axis(0),
            train.view(),
            points(300, 4, 4).view()
        ])
        .unwrap();
        let share = memorized_share(&train, &held_out, &half).unwrap();
        assert!((share - 0.525).abs() < 0.03, "{share}");
    }

    /// Distances to the only training image are the numbers themselves.
    #[test]
    fn the_threshold_by_hand() {
        let line =
            |n: i32| Features::new(Array2::from_shape_fn((n as usize, 1), |(i, _)| 1.0 + i as f64)).unwrap();
        let train = Features::new(array![[0.0]]).unwrap();
        let fake = Features::new(array![[0.5], [1.0], [1.5], [2.0], [2.5]]).unwrap();
        // 5 % of 20 distances is one, of 21 already two, of 40 two and of 41 three.
        for (n, share) in [(20, 0.4), (21, 0.8), (40, 0.8), (41, 1.0)] {
            assert_eq!(memorized_share(&train, &line(n), &fake).unwrap(), share, "{n}");
        }
        assert_eq!(memorized_share(&train, &line(20), &line(20)).unwrap(), 0.05);
        // One exact copy among 20 real images makes the threshold 0.
        let held_out = Features::stack([train.first(1), line(19)]).unwrap();
        assert_eq!(memorized_share(&train, &held_out, &fake).unwrap(), 0.0);
        assert_eq!(memorized_share(&train, &held_out, &train).unwrap(), 1.0);
    }

    /// A quarter of the held-out images are training images, far from the origin, where distances are less exact.
    #[test]
    fn copies_count_where_real_images_have_duplicates() {
        let far = |n, seed| Features::new(&points(n, 4, seed).view() + 50.0).unwrap();
        let train = far(300, 1);
        let with_copies = |fresh| Features::stack([train.first(100), far(300, fresh)]).unwrap();
        let held_out = with_copies(2);
        assert_eq!(memorized_share(&train, &held_out, &train).unwrap(), 1.0);
        assert_eq!(memorized_share(&train, &held_out, &with_copies(3)).unwrap(), 0.25);
        assert_eq!(memorized_share(&train, &held_out, &far(300, 4)).unwrap(), 0.0);
    }

    #[test]
    fn diversity_by_hand() {
        let train = Features::new(array![[0.0], [10.0], [20.0]]).unwrap();
        // Around 0: 0, 1, 3 with distances 1, 3, 2. Around 10: 9, 12. Around 20: one alone.
        let fake = Features::new(array![[0.0], [9.0], [1.0], [12.0], [3.0], [21.0]]).unwrap();
        let found = intra_cluster_diversity(&train, &fake).unwrap();
        assert!((found - (2.0 + 3.0) / 2.0).abs() < 1e-9, "{found}");
        let copies = train.select(&[0, 0, 1, 1, 2]);
        assert!(intra_cluster_diversity(&train, &copies).unwrap() < 1e-6);
    }

    #[test]
    fn too_few_held_out_images() {
        let x = points(30, 2, 1);
        let error = memorized_share(&x, &x.first(19), &x).unwrap_err();
        assert!(
            matches!(
                error,
                crate::MetricsError::TooFew {
                    what: "held-out",
                    least: 20,
                    found: 19
                }
            ),
            "{error}"
        );
    }

    #[test]
    fn copied_share_by_hand() {
        let train = Features::new(array![[0.0], [1.0], [3.0], [6.0]]).unwrap();
        // The closest two training images are 1 apart: every closer image is a copy.
        let generated = Features::new(array![[0.2], [1.9], [4.5], [6.0]]).unwrap();
        assert_eq!(copied_share(&train, &generated), 0.75);
        assert_eq!(
            copied_share(&train, &Features::new(array![[4.5], [8.0]]).unwrap()),
            0.0
        );
        // Two training images are identical: the closest different ones are still 1 apart.
        let twice = Features::new(array![[0.0], [0.0], [1.0], [3.0], [6.0]]).unwrap();
        assert_eq!(copied_share(&twice, &generated), 0.75);
        assert_eq!(copied_share(&twice, &twice), 1.0);
        let one = Features::new(array![[2.0], [2.0]]).unwrap();
        assert_eq!(
            copied_share(&one, &Features::new(array![[2.0], [2.1]]).unwrap()),
            0.5
        );
    }
}
