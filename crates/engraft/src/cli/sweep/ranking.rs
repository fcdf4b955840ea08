//! Ranks the combinations of a sweep by their validation measures.

use engraft_gan::Measurement;
use serde_json::{Value, json};

/// Standard errors by which two scores must differ.
const CERTAIN: f64 = 2.0;

/// A combination at the end of a stage.
#[derive(Clone, Debug)]
pub(super) struct Standing {
    /// Index of the combination.
    pub(super) at: usize,
    /// Steps that it was trained for.
    pub(super) steps: u64,
    /// Its best measurement; `None` if it diverged or could not be evaluated.
    pub(super) best: Option<Measurement>,
    /// [`Measurement::score`] relative to the mean of the stage: 1 is average, lower is better.
    pub(super) score: f64,
}

/// The combinations of a stage, the best one first. Runs that memorize or diverge come last.
pub(super) fn ranked(stage: Vec<(usize, u64, Option<Measurement>)>) -> Vec<Standing> {
    let scores = stage.iter().filter_map(|(_, _, m)| m.as_ref());
    let scores: Vec<f64> = scores.map(Measurement::score).collect();
    let mean = scores.iter().sum::<f64>() / scores.len().max(1) as f64;
    let score = |m: &Measurement| if mean > 0.0 { m.score() / mean } else { 1.0 };
    let mut standings: Vec<Standing> = stage
        .iter()
        .map(|&(at, steps, best)| Standing {
            at,
            steps,
            best,
            score: best.as_ref().map_or(f64::INFINITY, score),
        })
        .collect();
    let last = |s: &Standing| s.best.as_ref().is_some_and(Measurement::is_memorized);
    standings.sort_by(|a, b| {
        (a.best.is_none(), last(a))
            .cmp(&(b.best.is_none(), last(b)))
            .then(a.score.total_cmp(&b.score))
            .then(a.at.cmp(&b.at))
    });
    standings
}

/// The other combinations of the last stage whose score is above that of the first one by less than two standard errors of the
/// difference. Runs that memorize do not count.
pub(super) fn as_good(standings: &[Standing]) -> Vec<&Standing> {
    let Some(best) = standings.first().and_then(|first| first.best) else {
        return Vec::new();
    };
    let is_close = |other: &Measurement| {
        let difference = other.score() - best.score();
        !other.is_memorized() && difference <= CERTAIN * other.score_se().hypot(best.score_se())
    };
    standings[1..]
        .iter()
        .filter(|other| other.best.as_ref().is_some_and(is_close))
        .collect()
}

impl Standing {
    /// A row of the table.
    pub(super) fn line(&self, rank: usize, label: &str) -> String {
        match &self.best {
            None => format!(
                "{rank:>4}  {:>6}  diverged, or without a measure {:>9}{label}",
                self.steps, ""
            ),
            Some(m) => format!(
                "{rank:>4}  {:>6}  {:>8.4} ± {:<7.4}  {:>8.3}  {:>6.3}  {:>5.2}  {label}",
                self.steps, m.kid, m.kid_se, m.coverage, m.memorized, self.score
            ),
        }
    }

    /// The same for `sweep.json`.
    pub(super) fn json(&self, label: &str) -> Value {
        let best = self.best.as_ref();
        json!({
            "run": super::run_name(self.at), "changes": label, "steps": self.steps,
            "step": best.map(|m| m.step), "kid": best.map(|m| m.kid), "kid_se": best.map(|m| m.kid_se),
            "coverage": best.map(|m| m.coverage), "memorized": best.map(|m| m.memorized),
            "score": best.map(|_| self.score),
        })
    }
}

/// The heading of the table.
pub(super) const HEADING: &str = "rank   steps       KID ± error    coverage  copied  score  settings";

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(kid: f64, coverage: f64, memorized: f64) -> Option<Measurement> {
        let text = format!(
            r#"{{"step":10,"kid":{kid},"kid_se":0.01,"coverage":{coverage},"spread":1.0,"memorised":{memorized},"overfitting":0.0}}"#
        );
        Some(serde_json::from_str(&text).unwrap())
    }

    #[test]
    fn kid_and_coverage_decide_and_copies_and_divergence_come_last() {
        let stage = vec![
            (0, 10, None),
            (1, 10, measured(0.001, 0.9, 0.9)),
            (2, 10, measured(0.2, 0.5, 0.05)),
            (3, 10, measured(0.1, 0.5, 0.05)),
            (4, 10, measured(0.11, 0.8, 0.05)),
        ];
        let found = ranked(stage);
        let order: Vec<usize> = found.iter().map(|standing| standing.at).collect();
        // A little more KID and far more coverage.
        assert_eq!(order, [4, 3, 2, 1, 0]);
        let close: Vec<usize> = as_good(&found).iter().map(|standing| standing.at).collect();
        assert_eq!(
            close,
            [3],
            "0.2 is nine standard errors away, and copies do not count"
        );
        assert!(found[4].line(5, "x").contains("diverged"));
    }
}
