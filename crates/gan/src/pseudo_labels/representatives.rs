//! Representative images: those nearest to the centroids of clusters.

use super::k_means::{k_means, squared_distance};
use super::pooling::Pooling;
use super::principal_components::PrincipalComponents;
use super::{MOST_IMAGES, reduced};
use crate::error::GanError;
use engraft_base::equidistant;
use engraft_data::TrainingData;

/// Indices of `count` images that represent the others, in ascending order: of each of `count` clusters, the image nearest to
/// the centroid.
///
/// The clusters are those of [`PseudoLabels`](super::PseudoLabels), before small ones are merged. Images are reduced by average
/// pooling to at most 300 values and projected on `components` principal components. K-means++ with this seed gives the first
/// centroids. Of more than 60 000 images, 60 000 evenly spaced ones are used. No label is read.
///
/// No image is chosen twice. A cluster without images of its own, which occurs if images are equal, gives the nearest image that
/// was not chosen. Data, numbers and seed decide the result, for any number of threads.
///
/// *Source*: the idea is that of Nguyen and Smeulders, "Active learning using pre-clustering", 2004, who cluster otherwise.
///
/// ```
/// use engraft_data::{Split, drawn_digits};
/// let digits = drawn_digits(Split::Train, 200, 1);
/// let chosen = engraft_gan::representative_images(&digits, 20, 50, 1)?;
/// assert!(chosen.len() == 20 && chosen.is_sorted_by(|a, b| a < b));
/// # Ok::<(), engraft_gan::GanError>(())
/// ```
///
/// # Errors
/// [`GanError::Config`] if `count` is 0 or larger than the number of images used, if `components` is 0, or if the images have
/// more than 300 channels. If an image cannot be read.
pub fn representative_images(
    data: &dyn TrainingData,
    count: usize,
    components: usize,
    seed: u64,
) -> Result<Vec<usize>, GanError> {
    let some = equidistant(MOST_IMAGES.min(data.len()), data.len());
    let mut problems = Vec::new();
    if !(1..=some.len()).contains(&count) {
        problems.push(format!(
            "{count} representative images of {} images: expected from 1 to {}",
            data.len(),
            some.len()
        ));
    }
    if components == 0 {
        problems.push("0 principal components: expected at least 1".into());
    }
    if !problems.is_empty() {
        return Err(GanError::Config { problems });
    }
    let pooling = Pooling::new(data.shape())?;
    let reduced = reduced(data, &some, &pooling)?;
    let projection = PrincipalComponents::fit(&reduced, pooling.values(), components);
    let points = projection.project(&reduced);
    let nearest = nearest_points(&points, projection.count(), count, seed);
    let mut chosen: Vec<usize> = nearest.into_iter().map(|i| some[i]).collect();
    chosen.sort_unstable();
    Ok(chosen)
}

/// Of each cluster of points `[n, width]`, the point nearest to the centroid, the first one of equal distances. `count` is at
/// most `n`.
fn nearest_points(points: &[f32], width: usize, count: usize, seed: u64) -> Vec<usize> {
    let centroids = k_means(points, width, count, seed);
    let clusters = centroids.assign(points);
    let centroid = |cluster: usize| &centroids.rows()[cluster * width..][..width];
    let mut best: Vec<Option<(f32, usize)>> = vec![None; count];
    for (i, (point, &cluster)) in points.chunks_exact(width).zip(&clusters).enumerate() {
        let distance = squared_distance(point, centroid(cluster));
        if best[cluster].is_none_or(|(least, _)| distance < least) {
            best[cluster] = Some((distance, i));
        }
    }
    let mut chosen: Vec<usize> = best.iter().flatten().map(|&(_, i)| i).collect();
    for cluster in (0..count).filter(|&cluster| best[cluster].is_none()) {
        let left = points.chunks_exact(width).enumerate();
        let left = left.filter(|(i, _)| !chosen.contains(i));
        let nearest = left
            .map(|(i, point)| (squared_distance(point, centroid(cluster)), i))
            .min_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        chosen.extend(nearest.map(|(_, i)| i));
    }
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;
    use engraft_data::{Dataset, Provenance};

    /// Images of one gray value each.
    fn plain(values: &[u8]) -> Dataset {
        let pixels = values.iter().flat_map(|&v| [v; 4]).collect();
        Dataset::new(
            "plain",
            Provenance::Memory,
            pixels,
            [2, 2, 1],
            vec![0; values.len()],
        )
        .unwrap()
    }

    #[test]
    fn each_group_is_represented_by_its_middle() {
        let data = plain(&[10, 12, 14, 200, 205, 210, 100, 103, 106, 109, 112]);
        for seed in [1, 2] {
            assert_eq!(representative_images(&data, 3, 50, seed).unwrap(), [1, 4, 8]);
        }
    }

    #[test]
    fn equal_images_are_not_chosen_twice() {
        let data = plain(&[7, 7, 7, 7, 90]);
        assert_eq!(representative_images(&data, 4, 2, 1).unwrap().len(), 4);
        assert_eq!(representative_images(&data, 5, 2, 1).unwrap(), [0, 1, 2, 3, 4]);
        let chosen = representative_images(&data, 2, 2, 1).unwrap();
        assert!(chosen[1] == 4, "{chosen:?}");
    }

    #[test]
    fn impossible_numbers_are_errors() {
        let data = plain(&[1, 2, 3]);
        for (count, components, named) in [(0, 1, "0 rep"), (4, 1, "4 rep"), (2, 0, "0 principal")] {
            match representative_images(&data, count, components, 1) {
                Err(GanError::Config { problems }) => assert!(problems[0].contains(named), "{problems:?}"),
                found => panic!("{found:?}"),
            }
        }
    }
}
