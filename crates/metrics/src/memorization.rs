//! Whether a generator repeats its training images: memorization, and the diversity around each of them.

use crate::error::MetricsError;
use crate::feature_set::{Features, comparable, enough};
use crate::pairwise::{map_distances, nearest};

/// One of so many held-out images is close by definition: 5 %.
const CLOSE: usize = 20;
/// Squared distances up to this share of the training images' variance are zero up to rounding.
const ROUNDING: f64 = 1e-12;
/// Most members of a cluster whose distances are taken.
const MEMBERS: usize = 50;

/// Share of generated images that lie as close to a training image as the closest 5 % of held-out real images do.
///
/// Of `n` held-out images these are `⌈n / 20⌉`, and the threshold is the distance of the farthest of them. A generator
/// that draws from the true distribution has `⌈n / 20⌉ / (n + 1)` in the mean, 0.05 but for less than `1 / n`; one that
/// copies its training images has 1. The distance is that of features, so a copy with other noise or at another place
/// counts as far as the feature network ignores these.
///
/// An image exactly at the threshold counts. This matters where 5 % of the held-out images or more are themselves exact
/// copies of training images: the threshold is then 0, and exact copies count. A copying generator still has 1; one
/// that draws from the true distribution has not 0.05 but the share of copies among real images, which the floor of
/// [`evaluate`](crate::evaluate) shows. Distances that are zero up to rounding are taken for zero.
///
/// *Source*: the nearest-neighbor test of Meehan et al., "A non-parametric test to detect data-copying in generative
/// models", 2020, with a share in place of their z-score.
///
/// # Errors
/// If there are fewer than 20 held-out images, no others, or the numbers of features differ.
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

/// Diversity of generated images around the few training images: each goes to the cluster of its nearest training
/// image; the mean distance of two members, over the clusters with at least two.
///
/// Of a cluster, the first 50 members count. Zero for exact copies. It is the formula of intra-cluster LPIPS on this
/// crate's features, and no number to compare with that.
///
/// *Source*: Ojha et al., "Few-shot image generation via cross-domain correspondence", 2021, section 4.
///
/// # Errors
/// If there is no image on a side or the numbers of features differ.
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
            // The distance to itself is zero up to rounding, whose root would not be.
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
        // Every second one copied.
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
        // Of 20 distances one is 5 %, of 21 only two are, of 40 two and of 41 three.
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
        // Around 0: 0, 1, 3 with distances 1, 3, 2; around 10: 9, 12; around 20 one alone.
        let fake = Features::new(array![[0.0], [9.0], [1.0], [12.0], [3.0], [21.0]]).unwrap();
        let found = intra_cluster_diversity(&train, &fake).unwrap();
        assert!((found - (2.0 + 3.0) / 2.0).abs() < 1e-9, "{found}");
        let copies = train.select(&[0, 0, 1, 1, 2]);
        assert!(intra_cluster_diversity(&train, &copies).unwrap() < 1e-6);
    }

    #[test]
    fn too_few_held_out_images() {
        let x = points(30, 2, 1);
        let error = memorized_share(&x, &x.first(19), &x).unwrap_err().to_string();
        assert_eq!(
            error,
            "19 held-out images are too few: this measure needs at least 20"
        );
    }
}
