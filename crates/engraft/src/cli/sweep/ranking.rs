//! Ranks the combinations of a sweep by their scores.

use serde_json::{Map, Value, json};

/// Standard errors by which two scores must differ.
pub(super) const CERTAIN: f64 = 2.0;

/// What a combination reached until the end of a stage.
pub(super) trait Score: Clone + Send {
    /// The columns of the table between the steps and the settings.
    const HEADING: &'static str;

    /// Lower is better.
    fn value(&self) -> f64;

    /// Whether the combination counts. Others come after those that do.
    fn counts(&self) -> bool {
        true
    }

    /// Whether the value is above that of the best one by less than two standard errors of the difference.
    fn is_close_to(&self, best: &Self) -> bool;

    /// The score for a person, on one line.
    fn short(&self) -> String;

    /// The columns of a row. `relative` is the value divided by the mean of the stage.
    fn columns(&self, relative: f64) -> String;

    /// The fields of a row of `sweep.json`; all are null without a score.
    fn fields(score: Option<&Self>, relative: f64) -> Value;
}

/// A combination at the end of a stage.
#[derive(Clone, Debug)]
pub(super) struct Standing<S> {
    /// Index of the combination.
    pub(super) at: usize,
    /// Steps that it was trained for.
    pub(super) steps: u64,
    /// Its score; `None` if it diverged or could not be evaluated.
    pub(super) best: Option<S>,
    /// [`Score::value`] relative to the mean of the stage: 1 is average, lower is better.
    relative: f64,
}

/// The combinations of a stage, the best one first. Those that do not count or diverge come last.
pub(super) fn ranked<S: Score>(stage: Vec<(usize, u64, Option<S>)>) -> Vec<Standing<S>> {
    let scores = stage.iter().filter_map(|(_, _, best)| best.as_ref());
    let scores: Vec<f64> = scores.map(Score::value).collect();
    let mean = scores.iter().sum::<f64>() / scores.len().max(1) as f64;
    let relative = |best: &S| if mean > 0.0 { best.value() / mean } else { 1.0 };
    let mut standings: Vec<Standing<S>> = stage
        .into_iter()
        .map(|(at, steps, best)| Standing {
            at,
            steps,
            relative: best.as_ref().map_or(f64::INFINITY, relative),
            best,
        })
        .collect();
    let last = |s: &Standing<S>| s.best.as_ref().is_some_and(|best| !best.counts());
    let value = |s: &Standing<S>| s.best.as_ref().map_or(f64::INFINITY, Score::value);
    standings.sort_by(|a, b| {
        (a.best.is_none(), last(a))
            .cmp(&(b.best.is_none(), last(b)))
            .then(value(a).total_cmp(&value(b)))
            .then(a.at.cmp(&b.at))
    });
    standings
}

/// The other combinations of the last stage that count and are [close](Score::is_close_to) to the first one.
pub(super) fn as_good<S: Score>(standings: &[Standing<S>]) -> Vec<&Standing<S>> {
    let Some(best) = standings.first().and_then(|first| first.best.as_ref()) else {
        return Vec::new();
    };
    let is_as_good = |other: &S| other.counts() && other.is_close_to(best);
    standings[1..]
        .iter()
        .filter(|other| other.best.as_ref().is_some_and(is_as_good))
        .collect()
}

impl<S: Score> Standing<S> {
    /// The heading of the table.
    pub(super) fn heading() -> String {
        format!("rank   steps  {}  settings", S::HEADING)
    }

    /// A row of the table.
    pub(super) fn line(&self, rank: usize, label: &str) -> String {
        match &self.best {
            None => format!(
                "{rank:>4}  {:>6}  diverged, or without a measure {:>9}{label}",
                self.steps, ""
            ),
            Some(best) => format!(
                "{rank:>4}  {:>6}  {}  {label}",
                self.steps,
                best.columns(self.relative)
            ),
        }
    }

    /// The same for `sweep.json`.
    pub(super) fn json(&self, label: &str) -> Value {
        let mut row = Map::new();
        if let (Value::Object(first), Value::Object(of_score)) = (
            json!({ "run": super::run_name(self.at), "changes": label, "steps": self.steps }),
            S::fields(self.best.as_ref(), self.relative),
        ) {
            row.extend(first.into_iter().chain(of_score));
        }
        row.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use engraft_gan::Measurement;

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
