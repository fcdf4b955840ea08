//! The registry of known data sets: files with their size and SHA-256, and mirrors.

use std::fmt;
use std::ops::RangeInclusive;

use crate::split::Split;
use crate::unknown_name::parsed;

/// A data set with a known name, for [`load`](crate::load).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DatasetName {
    /// Handwritten digits, 28x28, 60000 and 10000 (LeCun, Cortes, Burges; CC BY-SA 3.0).
    Mnist,
    /// Pieces of clothing, 28x28, 60000 and 10000 (Xiao, Rasul, Vollgraf 2017; MIT).
    FashionMnist,
    /// Digits of zip codes, 16x16, 7291 and 2007 (LeCun et al. 1989; no license stated, no mirror).
    Usps,
    /// Synthetic digits of this crate; needs no file and no network.
    DrawnDigits,
    /// The digits 0 to 4 of [`DatasetName::Mnist`] with their labels: a source or target domain with half of the classes.
    Mnist0To4,
    /// The digits 5 to 9 of [`DatasetName::Mnist`], with their labels.
    Mnist5To9,
    /// Three digits of [`DatasetName::Mnist`] as the color channels of one image, 60000 and 10000: a thousand modes, see
    /// [`stacked_digits`](crate::stacked_digits).
    StackedMnist,
    /// Color pictures of ten classes of animals and vehicles, 32x32, 50000 and 10000 (Krizhevsky 2009; free for research, no
    /// mirror).
    Cifar10,
}

impl DatasetName {
    /// All data sets.
    pub const ALL: [Self; 8] = [
        Self::Mnist,
        Self::FashionMnist,
        Self::Usps,
        Self::DrawnDigits,
        Self::Mnist0To4,
        Self::Mnist5To9,
        Self::StackedMnist,
        Self::Cifar10,
    ];

    /// The name in options and of directories, for example `fashion-mnist`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Mnist => "mnist",
            Self::FashionMnist => "fashion-mnist",
            Self::Usps => "usps",
            Self::DrawnDigits => "drawn-digits",
            Self::Mnist0To4 => "mnist-0-4",
            Self::Mnist5To9 => "mnist-5-9",
            Self::StackedMnist => "stacked-mnist",
            Self::Cifar10 => "cifar10",
        }
    }

    /// Names of the classes, by label. Empty for [`StackedMnist`](Self::StackedMnist), which has no labels. For digits they are
    /// the digits.
    ///
    /// *Source*: the README of Fashion-MNIST, <https://github.com/zalandoresearch/fashion-mnist>.
    pub fn class_names(self) -> &'static [&'static str] {
        match self {
            Self::FashionMnist => &[
                "T-shirt/top",
                "Trouser",
                "Pullover",
                "Dress",
                "Coat",
                "Sandal",
                "Shirt",
                "Sneaker",
                "Bag",
                "Ankle boot",
            ],
            Self::Mnist0To4 => &["0", "1", "2", "3", "4"],
            Self::Mnist | Self::Mnist5To9 | Self::Usps | Self::DrawnDigits => {
                &["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"]
            }
            Self::Cifar10 => &[
                "airplane",
                "automobile",
                "bird",
                "cat",
                "deer",
                "dog",
                "frog",
                "horse",
                "ship",
                "truck",
            ],
            Self::StackedMnist => &[],
        }
    }

    /// Whether it has its own files, instead of being derived from another set or generated.
    pub(crate) fn has_files(self) -> bool {
        self.release().is_some()
    }

    /// The published files, or `None` for a data set without its own files.
    pub(crate) fn release(self) -> Option<&'static Release<'static>> {
        match self {
            Self::Mnist => Some(&MNIST),
            Self::FashionMnist => Some(&FASHION_MNIST),
            Self::Usps => Some(&USPS),
            Self::DrawnDigits | Self::Mnist0To4 | Self::Mnist5To9 | Self::StackedMnist | Self::Cifar10 => {
                None
            }
        }
    }

    /// The data set that this one is a part of, and the labels of the part.
    pub(crate) fn part(self) -> Option<(Self, RangeInclusive<u8>)> {
        match self {
            Self::Mnist0To4 => Some((Self::Mnist, 0..=4)),
            Self::Mnist5To9 => Some((Self::Mnist, 5..=9)),
            _ => None,
        }
    }
}

impl fmt::Display for DatasetName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

parsed!(DatasetName, "data set");

/// The published files of a data set.
pub(crate) struct Release<'a> {
    pub(crate) train: Pair<'a>,
    pub(crate) test: Pair<'a>,
    /// Addresses, to which a file name is appended.
    pub(crate) mirrors: &'a [&'a str],
}

/// The files of one split.
#[derive(Clone, Copy)]
pub(crate) struct Pair<'a> {
    pub(crate) images: Pinned<'a>,
    pub(crate) labels: Pinned<'a>,
}

/// A file with known contents.
#[derive(Clone, Copy)]
pub(crate) struct Pinned<'a> {
    pub(crate) name: &'a str,
    pub(crate) size: u64,
    /// In lowercase hexadecimal.
    pub(crate) sha256: &'a str,
}

impl<'a> Release<'a> {
    pub(crate) fn pair(&self, split: Split) -> Pair<'a> {
        match split {
            Split::Train => self.train,
            Split::Test => self.test,
        }
    }
}

impl Pinned<'_> {
    /// The accepted names of this file: as published or with a dot, packed or not.
    pub(crate) fn accepted_names(&self) -> [String; 4] {
        let raw = self.name.trim_end_matches(".gz");
        let dotted = raw.replacen("-idx", ".idx", 1);
        [
            self.name.to_owned(),
            raw.to_owned(),
            format!("{dotted}.gz"),
            dotted,
        ]
    }
}

const fn train<'a>(images: (u64, &'a str), labels: (u64, &'a str)) -> Pair<'a> {
    Pair {
        images: Pinned {
            name: "train-images-idx3-ubyte.gz",
            size: images.0,
            sha256: images.1,
        },
        labels: Pinned {
            name: "train-labels-idx1-ubyte.gz",
            size: labels.0,
            sha256: labels.1,
        },
    }
}

const fn test<'a>(images: (u64, &'a str), labels: (u64, &'a str)) -> Pair<'a> {
    Pair {
        images: Pinned {
            name: "t10k-images-idx3-ubyte.gz",
            size: images.0,
            sha256: images.1,
        },
        labels: Pinned {
            name: "t10k-labels-idx1-ubyte.gz",
            size: labels.0,
            sha256: labels.1,
        },
    }
}

const MNIST: Release<'static> = Release {
    train: train(
        (
            9912422,
            "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
        ),
        (
            28881,
            "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
        ),
    ),
    test: test(
        (
            1648877,
            "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
        ),
        (
            4542,
            "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
        ),
    ),
    mirrors: &[
        "http://storage.googleapis.com/cvdf-datasets/mnist/",
        "http://ossci-datasets.s3.amazonaws.com/mnist/",
    ],
};

const FASHION_MNIST: Release<'static> = Release {
    train: train(
        (
            26421880,
            "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
        ),
        (
            29515,
            "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
        ),
    ),
    test: test(
        (
            4422102,
            "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
        ),
        (
            5148,
            "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
        ),
    ),
    mirrors: &[
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        "http://storage.googleapis.com/tensorflow/tf-keras-datasets/",
    ],
};

const USPS: Release<'static> = Release {
    train: train(
        (
            849165,
            "89df495a1cebbeb839b36309d20e11f27dd3062a4faa67fcbfbd4d0c5bc5b99e",
        ),
        (
            3429,
            "b8577876ee5da3289c5dd6c30f21ceed01a7df7f2b23b19affc167880ebb2ddf",
        ),
    ),
    test: test(
        (
            235985,
            "fea6c6a7be4a82e1736cdc4f9b853951eacb9faba7409db358a06f2b5eab465c",
        ),
        (
            979,
            "1955b0a729c700a7a55d4b36dd0a2e55a300d59868da0398d90ec08f09f806cb",
        ),
    ),
    mirrors: &[],
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_go_there_and_back() {
        for name in DatasetName::ALL {
            assert_eq!(name.to_string().parse::<DatasetName>().unwrap(), name);
        }
        assert_eq!(
            "mnits".parse::<DatasetName>().unwrap_err().to_string(),
            "there is no data set \"mnits\"; did you mean mnist? the names are mnist, fashion-mnist, usps, drawn-digits, \
             mnist-0-4, mnist-5-9, stacked-mnist, cifar10"
        );
    }

    #[test]
    fn pins_are_sums_and_mirrors_speak_plain_http() {
        for release in DatasetName::ALL.into_iter().filter_map(DatasetName::release) {
            for pair in [release.train, release.test] {
                for file in [pair.images, pair.labels] {
                    assert_eq!(file.sha256.len(), 64);
                    assert!(
                        file.sha256
                            .bytes()
                            .all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f'))
                    );
                    assert!(file.size > 0 && file.name.ends_with("-ubyte.gz"));
                }
            }
            assert!(release.mirrors.is_empty() || release.mirrors.len() >= 2);
            assert!(
                release
                    .mirrors
                    .iter()
                    .all(|url| url.starts_with("http://") && url.ends_with('/'))
            );
        }
    }

    #[test]
    fn both_spellings_are_accepted() {
        assert_eq!(
            MNIST.test.labels.accepted_names(),
            [
                "t10k-labels-idx1-ubyte.gz",
                "t10k-labels-idx1-ubyte",
                "t10k-labels.idx1-ubyte.gz",
                "t10k-labels.idx1-ubyte"
            ]
        );
    }
}
