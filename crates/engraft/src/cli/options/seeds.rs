//! Seeds as typed: a number, a range or a list.

use anyhow::ensure;
use serde_json::{Value, json};
use std::fmt;
use std::str::FromStr;

/// Most seeds of one command.
const MOST: u64 = 1000;
/// Largest seed.
const LARGEST: u64 = 1_000_000;

/// Random seeds of a command that repeats an experiment: `5` (seeds 1 to 5), `3-7` or `2,5,9`.
///
/// ```
/// use engraft::cli::Seeds;
/// let seeds: Seeds = "3-5".parse()?;
/// assert_eq!(seeds.iter().collect::<Vec<_>>(), [3, 4, 5]);
/// # Ok::<(), String>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seeds {
    /// At least one; no seed occurs twice.
    list: Vec<u64>,
    /// Whether only their number was given.
    is_count: bool,
}

impl Seeds {
    /// The seeds in the order of the list.
    pub fn iter(&self) -> impl Iterator<Item = u64> + '_ {
        self.list.iter().copied()
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.list.len()
    }

    /// The seeds with those of the hidden option `--first-seed`, which takes the place of 1 where only a number is given.
    ///
    /// # Errors
    /// If a first seed is given with a range or a list, or it is too large.
    pub fn starting_at(&self, first: Option<u64>) -> anyhow::Result<Vec<u64>> {
        let Some(first) = first else {
            return Ok(self.list.clone());
        };
        ensure!(
            self.is_count && first <= LARGEST,
            "--first-seed {first}: expected a seed up to {LARGEST}, and a number for --seeds; use --seeds with a range or a list"
        );
        Ok((first..first + self.list.len() as u64).collect())
    }

    /// Their number, or a list where they are not the seeds from 1 on.
    pub(crate) fn to_json(&self) -> Value {
        match self.is_count {
            true => json!(self.list.len()),
            false => json!(self.list),
        }
    }
}

impl From<Vec<u64>> for Seeds {
    fn from(list: Vec<u64>) -> Self {
        Self {
            list,
            is_count: false,
        }
    }
}

impl FromStr for Seeds {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = || {
            format!(
                "expected a number from 1 to {MOST}, a range such as 3-7, or a list such as 2,5,9, of seeds up to {LARGEST}"
            )
        };
        let number = |text: &str| text.trim().parse::<u64>().ok().filter(|&seed| seed <= LARGEST);
        let (list, is_count): (Option<Vec<u64>>, bool) = match text.split_once('-') {
            Some((first, last)) => match (number(first), number(last)) {
                (Some(first), Some(last)) if last - first.min(last) < MOST => {
                    (Some((first..=last).collect()), false)
                }
                _ => (None, false),
            },
            None if text.contains(',') => (text.split(',').map(number).collect(), false),
            None => (
                number(text).filter(|&n| n <= MOST).map(|n| (1..=n).collect()),
                true,
            ),
        };
        let list = list.filter(|list| !list.is_empty() && list.len() <= MOST as usize);
        let list = list.ok_or_else(expected)?;
        let mut sorted = list.clone();
        sorted.sort_unstable();
        match sorted.windows(2).find(|pair| pair[0] == pair[1]) {
            Some(pair) => Err(format!("seed {} is given twice", pair[0])),
            None => Ok(Self { list, is_count }),
        }
    }
}

/// As typed.
impl fmt::Display for Seeds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_count {
            return write!(f, "{}", self.list.len());
        }
        match (self.list.first(), self.list.last()) {
            (Some(first), Some(last)) if self.list.windows(2).all(|pair| pair[0] + 1 == pair[1]) => {
                write!(f, "{first}-{last}")
            }
            _ => {
                let seeds: Vec<String> = self.iter().map(|seed| seed.to_string()).collect();
                f.write_str(&seeds.join(","))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_a_range_and_a_list() {
        let seeds = |text: &str| text.parse::<Seeds>().map(|seeds| seeds.list);
        assert_eq!(seeds("3"), Ok(vec![1, 2, 3]));
        assert_eq!(seeds("3-5"), Ok(vec![3, 4, 5]));
        assert_eq!(seeds("2-2"), Ok(vec![2]));
        assert_eq!(seeds("9,0,5"), Ok(vec![9, 0, 5]));
        for wrong in [
            "0",
            "1001",
            "5-3",
            "-1",
            "a",
            "",
            "1,",
            "1-2000",
            "1000001-1000002",
            "1-2,5",
        ] {
            assert!(seeds(wrong).is_err(), "{wrong}");
        }
        assert!(seeds("2,5,2").unwrap_err().contains("seed 2"));
        for text in ["3", "3-5", "9,0,5"] {
            assert_eq!(text.parse::<Seeds>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn a_first_seed_shifts_a_number() {
        let from = |text: &str, first| text.parse::<Seeds>().unwrap().starting_at(first).ok();
        assert_eq!(from("3", None), Some(vec![1, 2, 3]));
        assert_eq!(from("3", Some(4)), Some(vec![4, 5, 6]));
        assert_eq!(from("1", Some(0)), Some(vec![0]));
        assert_eq!(from("3-5", Some(4)), None);
        assert_eq!(from("1", Some(u64::MAX)), None);
        assert_eq!("3".parse::<Seeds>().unwrap().to_json(), json!(3));
        assert_eq!("3-4".parse::<Seeds>().unwrap().to_json(), json!([3, 4]));
    }
}
