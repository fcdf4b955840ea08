//! Medians, ratios and tables of pairs of runs.

use super::Setting;
use super::peer_output::Line;
use crate::bench_step::median;
use serde::Serialize;
use serde_json::{Value, json};
use std::fmt::Write;

/// A run of engraft and the run of a peer right after it.
#[derive(Clone, Debug)]
pub(super) struct Pair {
    pub(super) setting: Setting,
    pub(super) round: usize,
    pub(super) peer: &'static str,
    pub(super) variant: &'static str,
    pub(super) ours: Line,
    pub(super) theirs: Line,
}

impl Pair {
    /// Time of the peer divided by engraft's: above 1 if engraft is faster.
    pub(super) fn ratio(&self) -> f64 {
        self.theirs.ms / self.ours.ms
    }

    pub(super) fn json(&self) -> Value {
        json!({
            "peer": self.peer,
            "variant": self.variant,
            "threads": self.setting.threads,
            "batch": self.setting.batch,
            "round": self.round,
            "ratio": self.ratio(),
            "engraft_line": self.ours.raw,
            "peer_line": self.theirs.raw,
        })
    }
}

/// All pairs of one variant in one configuration.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct SummaryRow {
    pub(super) threads: usize,
    pub(super) batch: usize,
    pub(super) peer: &'static str,
    pub(super) variant: &'static str,
    pub(super) rounds: usize,
    pub(super) engraft_ms: f64,
    pub(super) peer_ms: f64,
    pub(super) ratio: f64,
    pub(super) ratio_min: f64,
    pub(super) ratio_max: f64,
    pub(super) engraft_peak_mb: Option<f64>,
    pub(super) peer_peak_mb: Option<f64>,
}

/// One row for each variant and configuration, in the order in which they first ran.
pub(super) fn rows(pairs: &[Pair]) -> Vec<SummaryRow> {
    let key = |pair: &Pair| (pair.setting.threads, pair.setting.batch, pair.peer, pair.variant);
    let mut keys = Vec::new();
    for pair in pairs {
        if !keys.contains(&key(pair)) {
            keys.push(key(pair));
        }
    }
    keys.into_iter()
        .map(|this| row(&pairs.iter().filter(|pair| key(pair) == this).collect::<Vec<_>>()))
        .collect()
}

/// The row of pairs of one variant and configuration, of which there must be one.
fn row(pairs: &[&Pair]) -> SummaryRow {
    let of = |value: fn(&Pair) -> f64| pairs.iter().map(|pair| value(pair)).collect::<Vec<f64>>();
    let largest =
        |value: fn(&Pair) -> Option<f64>| pairs.iter().filter_map(|pair| value(pair)).reduce(f64::max);
    let mut ratios = of(Pair::ratio);
    let ratio = median(&mut ratios);
    SummaryRow {
        threads: pairs[0].setting.threads,
        batch: pairs[0].setting.batch,
        peer: pairs[0].peer,
        variant: pairs[0].variant,
        rounds: pairs.len(),
        engraft_ms: median(&mut of(|pair| pair.ours.ms)),
        peer_ms: median(&mut of(|pair| pair.theirs.ms)),
        ratio,
        ratio_min: ratios[0],
        ratio_max: ratios[ratios.len() - 1],
        engraft_peak_mb: largest(|pair| pair.ours.peak_mb),
        peer_peak_mb: largest(|pair| pair.theirs.peak_mb),
    }
}

/// The row with the smallest ratio of each configuration.
///
/// The ratio is compared, not the time: two peers did not run in the same minute, a peer and engraft did.
pub(super) fn fastest(rows: &[SummaryRow]) -> Vec<&SummaryRow> {
    let mut best: Vec<&SummaryRow> = Vec::new();
    for row in rows {
        match best
            .iter_mut()
            .find(|b| (b.threads, b.batch) == (row.threads, row.batch))
        {
            None => best.push(row),
            Some(b) if row.ratio < b.ratio => *b = row,
            Some(_) => (),
        }
    }
    best
}

/// All rows as a Markdown table.
pub(super) fn table(rows: &[SummaryRow]) -> String {
    let mut text = String::from(
        "| threads | batch | peer | variant | engraft, ms | peer, ms | ratio | least .. greatest | engraft, MB | peer, MB | rounds |\n\
         |--:|--:|---|---|--:|--:|--:|--:|--:|--:|--:|\n",
    );
    for row in rows {
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} | {} | {:.2} | {:.2} .. {:.2} | {} | {} | {} |",
            row.threads,
            row.batch,
            row.peer,
            row.variant,
            ms(row.engraft_ms),
            ms(row.peer_ms),
            row.ratio,
            row.ratio_min,
            row.ratio_max,
            mb(row.engraft_peak_mb),
            mb(row.peer_peak_mb),
            row.rounds,
        );
    }
    text
}

/// The fastest peers as a Markdown table.
pub(super) fn fastest_table(rows: &[SummaryRow]) -> String {
    let mut text = String::from(
        "| threads | batch | engraft, ms | fastest peer | its ms | ratio | peak memory, MB |\n\
         |--:|--:|--:|---|--:|--:|---|\n",
    );
    for row in fastest(rows) {
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} {} | {} | {:.2} | {} against {} |",
            row.threads,
            row.batch,
            ms(row.engraft_ms),
            row.peer,
            row.variant,
            ms(row.peer_ms),
            row.ratio,
            mb(row.engraft_peak_mb),
            mb(row.peer_peak_mb),
        );
    }
    text
}

/// Milliseconds with about three digits.
pub(super) fn ms(x: f64) -> String {
    let digits = match x {
        x if x < 10.0 => 2,
        x if x < 100.0 => 1,
        _ => 0,
    };
    format!("{x:.digits$}")
}

pub(super) fn mb(x: Option<f64>) -> String {
    x.map_or_else(|| "?".into(), |x| format!("{x:.0}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(ms: f64, peak_mb: Option<f64>) -> Line {
        Line {
            ms,
            peak_mb,
            version: "1".into(),
            raw: json!({"ms_median": ms}),
        }
    }

    fn pair(batch: usize, peer: &'static str, ours: f64, theirs: f64) -> Pair {
        let setting = Setting {
            threads: 2,
            batch,
            infer: false,
        };
        Pair {
            setting,
            round: 1,
            peer,
            variant: "v",
            ours: line(ours, Some(ours)),
            theirs: line(theirs, None),
        }
    }

    #[test]
    fn the_ratio_is_the_median_of_the_rounds_ratios() {
        // Ratios 3, 0.5 and 1.2: not the ratio of the medians, 30 / 20.
        let rows = rows(&[
            pair(64, "a", 10.0, 30.0),
            pair(64, "a", 20.0, 10.0),
            pair(64, "a", 30.0, 36.0),
        ]);
        let [row] = &rows[..] else {
            panic!("one row: {rows:?}");
        };
        assert_eq!((row.engraft_ms, row.peer_ms, row.rounds), (20.0, 30.0, 3));
        assert_eq!((row.ratio, row.ratio_min, row.ratio_max), (1.2, 0.5, 3.0));
        assert_eq!((row.engraft_peak_mb, row.peer_peak_mb), (Some(30.0), None));
    }

    #[test]
    fn two_rounds_give_their_mean() {
        let rows = rows(&[pair(64, "a", 10.0, 10.0), pair(64, "a", 20.0, 40.0)]);
        assert_eq!(
            (rows[0].engraft_ms, rows[0].peer_ms, rows[0].ratio),
            (15.0, 25.0, 1.5)
        );
    }

    #[test]
    fn rows_stand_in_the_order_of_the_runs() {
        let pairs = [
            pair(64, "b", 1.0, 2.0),
            pair(64, "a", 1.0, 1.0),
            pair(32, "b", 1.0, 1.0),
            pair(64, "b", 1.0, 4.0),
        ];
        let order: Vec<_> = rows(&pairs)
            .iter()
            .map(|row| (row.batch, row.peer, row.rounds))
            .collect();
        assert_eq!(order, [(64, "b", 2), (64, "a", 1), (32, "b", 1)]);
        assert!(rows(&[]).is_empty());
    }

    #[test]
    fn the_fastest_is_the_one_closest_to_its_own_pair() {
        // `b` has the smaller time, measured while the machine was twice as fast.
        let pairs = [
            pair(64, "b", 10.0, 15.0),
            pair(64, "a", 20.0, 16.0),
            pair(32, "b", 1.0, 1.0),
        ];
        let rows = rows(&pairs);
        let best: Vec<_> = fastest(&rows).iter().map(|row| (row.batch, row.peer)).collect();
        assert_eq!(best, [(64, "a"), (32, "b")]);
    }

    #[test]
    fn tables_have_a_line_for_each_row() {
        let rows = rows(&[pair(64, "a", 120.4, 75.25), pair(64, "b", 120.0, 7.5)]);
        let all = table(&rows);
        assert_eq!(all.lines().count(), 4);
        assert!(
            all.contains("| 2 | 64 | a | v | 120 | 75.2 | 0.62 | 0.62 .. 0.62 | 120 | ? | 1 |"),
            "{all}"
        );
        let best = fastest_table(&rows);
        assert_eq!(best.lines().count(), 3);
        assert!(
            best.ends_with("| 2 | 64 | 120 | b v | 7.50 | 0.06 | 120 against ? |\n"),
            "{best}"
        );
    }

    #[test]
    fn raw_lines_are_kept() {
        let json = pair(64, "a", 10.0, 5.0).json();
        assert_eq!(json["ratio"], 0.5);
        assert_eq!(
            (
                &json["engraft_line"]["ms_median"],
                &json["peer_line"]["ms_median"]
            ),
            (&json!(10.0), &json!(5.0))
        );
    }
}
