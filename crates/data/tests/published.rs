//! The published data sets, if this machine has them: counts, sizes and class histograms.

use engraft_data::{DataDirs, DatasetName, LoadOptions, Split, load};

struct Facts {
    name: DatasetName,
    size: [usize; 3],
    /// Mean of the training pixels, 0..=255.
    mean: f64,
    classes: [[usize; 10]; 2],
}

const FACTS: [Facts; 3] = [
    Facts {
        name: DatasetName::Mnist,
        size: [28, 28, 1],
        mean: 33.318,
        classes: [
            [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949],
            [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009],
        ],
    },
    Facts {
        name: DatasetName::FashionMnist,
        size: [28, 28, 1],
        mean: 72.940,
        classes: [[6000; 10], [1000; 10]],
    },
    Facts {
        name: DatasetName::Usps,
        size: [16, 16, 1],
        mean: 64.892,
        classes: [
            [1194, 1005, 731, 658, 652, 556, 664, 645, 542, 644],
            [359, 264, 198, 166, 200, 160, 170, 147, 166, 177],
        ],
    },
];

#[test]
fn the_published_sets_are_what_they_are_known_to_be() {
    let Some(data) = DataDirs::from_env().data_dir else {
        println!("not run: ENGRAFT_DATA is not set");
        return;
    };
    let options = LoadOptions::new().offline();
    for facts in FACTS {
        if !data.join(facts.name.as_str()).is_dir() {
            println!("not run for {}: it is not below ENGRAFT_DATA", facts.name);
            continue;
        }
        for (split, classes) in [Split::Train, Split::Test].into_iter().zip(facts.classes) {
            let set = load(facts.name, split, &options).unwrap();
            assert_eq!(
                (set.image_size(), set.class_counts()),
                (facts.size, classes.to_vec())
            );
            if split == Split::Train {
                let sum: u64 = set.images().iter().map(|&v| u64::from(v)).sum();
                let mean = sum as f64 / set.images().len() as f64;
                assert!((mean - facts.mean).abs() < 5e-4, "{}: {mean}", facts.name);
            }
            println!(
                "{} {split}: {} images, {}",
                facts.name,
                set.len(),
                set.provenance()
            );
        }
    }
}

/// The pins of the registry match the published files.
#[test]
fn the_published_files_pass_as_a_cache() {
    let Some(data) = DataDirs::from_env().data_dir else {
        println!("not run: ENGRAFT_DATA is not set");
        return;
    };
    let places = DataDirs {
        data_dir: None,
        cache_dir: Some(data.clone()),
    };
    let options = LoadOptions::new().places(places).offline();
    for facts in FACTS
        .iter()
        .filter(|facts| data.join(facts.name.as_str()).is_dir())
    {
        for split in [Split::Train, Split::Test] {
            let set = load(facts.name, split, &options).unwrap();
            assert!(set.provenance().to_string().starts_with("verified files"));
        }
    }
}
