//! Small clusters are merged into their nearest neighbors.

/// Label of each cluster, after clusters with fewer than `fewest` images are merged: the smallest first, each into the one
/// with the nearest mean. Labels are ordered by size, the largest cluster first.
///
/// - `centroids`: `[clusters, width]`.
/// - `sizes`: images of each cluster; at least one has images.
pub(super) fn merged_labels(centroids: &[f32], width: usize, sizes: &[u64], fewest: u64) -> Vec<usize> {
    struct Group {
        members: Vec<usize>,
        size: u64,
        mean: Vec<f64>,
    }
    let rows = centroids.chunks_exact(width);
    let mut groups: Vec<Group> = rows
        .zip(sizes)
        .enumerate()
        .map(|(cluster, (row, &size))| Group {
            members: vec![cluster],
            size,
            mean: row.iter().map(|&value| f64::from(value)).collect(),
        })
        .collect();
    loop {
        let smallest = (0..groups.len()).min_by_key(|&i| groups[i].size);
        let small = match smallest {
            Some(i) if groups[i].size < fewest && groups.len() > 1 => groups.remove(i),
            _ => break,
        };
        let distance = |group: &Group| -> f64 {
            let pairs = group.mean.iter().zip(&small.mean);
            pairs.map(|(a, b)| (a - b) * (a - b)).sum()
        };
        let nearest = (0..groups.len())
            .filter(|&i| groups[i].size > 0)
            .min_by(|&i, &j| distance(&groups[i]).total_cmp(&distance(&groups[j])))
            .expect("a cluster has images, and it is not the smallest of several");
        let group = &mut groups[nearest];
        let all = (group.size + small.size) as f64;
        for (mean, other) in group.mean.iter_mut().zip(&small.mean) {
            *mean = (*mean * group.size as f64 + other * small.size as f64) / all;
        }
        group.members.extend(small.members);
        group.size += small.size;
    }
    groups.sort_by_key(|group| std::cmp::Reverse(group.size));
    let mut labels = vec![0; sizes.len()];
    for (label, group) in groups.iter().enumerate() {
        for &cluster in &group.members {
            labels[cluster] = label;
        }
    }
    labels
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_cluster_joins_the_nearest() {
        // The clusters at 0.0 and 9.0 stay; 8.0 joins 9.0, and the empty one at 1.0 joins 0.0.
        let labels = merged_labels(&[0.0, 8.0, 9.0, 1.0], 1, &[40, 3, 60, 0], 10);
        assert_eq!(labels, [1, 0, 0, 1]);
    }

    #[test]
    fn merged_clusters_may_merge_again() {
        // 2 + 3 images are still fewer than 10.
        let labels = merged_labels(&[0.0, 1.0, 5.0, 50.0], 1, &[2, 3, 20, 30], 10);
        assert_eq!(labels, [1, 1, 1, 0]);
        // Nothing is left to merge with.
        assert_eq!(merged_labels(&[0.0, 1.0], 1, &[2, 3], 10), [0, 0]);
        assert_eq!(merged_labels(&[0.0, 1.0], 1, &[20, 30], 10), [1, 0]);
    }
}
