//! The split of a run's images into training images and validation images.

use crate::config::TrainConfig;
use engraft_base::equidistant;
use engraft_data::TrainingData;
use std::collections::HashMap;

/// Indices of the validation images and of the training images.
pub(super) fn split(config: &TrainConfig, data: &dyn TrainingData) -> [Vec<usize>; 2] {
    let wanted = config.validation_images as usize;
    let validation = match config.keep_copies_together {
        false => equidistant(wanted, config.images),
        true => whole_groups(&data.image_hashes(), wanted),
    };
    let rest = (0..config.images).filter(|i| validation.binary_search(i).is_err());
    let rest = rest.collect();
    [validation, rest]
}

/// At most `wanted` images, such that equal images are all chosen or all left. First evenly spaced groups of equal images, then
/// the smallest other ones that fit.
fn whole_groups(hashes: &[String], wanted: usize) -> Vec<usize> {
    let mut groups: Vec<Vec<usize>> = Vec::new();
    let mut group_of = HashMap::new();
    for (i, hash) in hashes.iter().enumerate() {
        let group = *group_of.entry(hash).or_insert(groups.len());
        if group == groups.len() {
            groups.push(Vec::new());
        }
        groups[group].push(i);
    }
    let spaced = equidistant(wanted * groups.len() / hashes.len().max(1), groups.len());
    let mut others: Vec<usize> = (0..groups.len())
        .filter(|group| spaced.binary_search(group).is_err())
        .collect();
    others.sort_by_key(|&group| groups[group].len());
    let mut chosen = Vec::new();
    for group in spaced.into_iter().chain(others) {
        if chosen.len() + groups[group].len() <= wanted {
            chosen.extend(&groups[group]);
        }
    }
    chosen.sort_unstable();
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_images_stay_together() {
        let hashes =
            |n: usize, copies: usize| -> Vec<String> { (0..n).map(|i| (i / copies).to_string()).collect() };
        let chosen = whole_groups(&hashes(150, 5), 30);
        assert_eq!(chosen.len(), 30);
        for group in 0..30 {
            let inside = (5 * group..5 * group + 5).filter(|i| chosen.contains(i)).count();
            assert!([0, 5].contains(&inside), "{group}");
        }
        // Without copies, evenly spaced as ever.
        assert_eq!(whole_groups(&hashes(100, 1), 20), equidistant(20, 100));
        // A number that no whole groups have is not exceeded.
        assert_eq!(whole_groups(&hashes(150, 5), 33).len(), 30);
        assert!(whole_groups(&[], 0).is_empty());
    }
}
