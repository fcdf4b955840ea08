//! Results and conditions of a comparison, as Markdown and JSON.

use super::Args;
use super::peers::Skipped;
use super::summary::{self, Pair};
use crate::system;
use serde_json::{Value, json};

/// Load above which other programs were probably running.
const QUIET: f64 = 0.5;

/// A comparison, finished or not.
pub(super) struct Report {
    pub(super) pairs: Vec<Pair>,
    pub(super) skipped: Vec<Skipped>,
    /// Whether the user stopped it.
    pub(super) interrupted: bool,
    infer: bool,
    rounds: usize,
    steps: usize,
    warmup: usize,
    cpu: String,
    cores: usize,
    /// Before the first run.
    load: Option<f64>,
}

impl Report {
    /// An empty report with the current state of the machine.
    pub(super) fn new(args: &Args, skipped: Vec<Skipped>) -> Self {
        Self {
            pairs: Vec::new(),
            skipped,
            interrupted: false,
            infer: args.infer,
            rounds: args.rounds,
            steps: args.steps,
            warmup: args.warmup,
            cpu: engraft_base::cpu_model().unwrap_or_else(|| "unknown".into()),
            cores: engraft::cli::cores(),
            load: system::load(),
        }
    }

    /// Known reasons not to trust the numbers.
    pub(super) fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if self.interrupted {
            notes.push("interrupted: rounds and configurations are missing".into());
        }
        if let Some(load) = self.load.filter(|load| *load > QUIET) {
            notes.push(format!(
                "the load was {load:.1} at the start: other work was running, and the figures are not to be trusted"
            ));
        }
        if cfg!(debug_assertions) {
            notes.push("this is a debug build of engraft, much slower than `cargo xtask` makes".into());
        }
        notes
    }

    /// Each program with its version, engraft first.
    fn versions(&self) -> Vec<(&'static str, &str)> {
        let mut versions: Vec<(&'static str, &str)> = Vec::new();
        for pair in &self.pairs {
            for (name, line) in [("engraft", &pair.ours), (pair.peer, &pair.theirs)] {
                if !versions.iter().any(|(known, _)| *known == name) {
                    versions.push((name, &line.version));
                }
            }
        }
        versions
    }

    pub(super) fn markdown(&self) -> String {
        let what = match self.infer {
            false => "One training step of the DCGAN",
            true => "The DCGAN's generator alone, in evaluation mode",
        };
        let versions: Vec<String> = self
            .versions()
            .iter()
            .map(|(name, v)| format!("{name} {v}"))
            .collect();
        let mut text = format!(
            "## {what}\n\n\
             - CPU: {}, {} cores\n\
             - {}\n\
             - rounds: {}; a run is the median of {} steps after {} for warming up, and every run of a peer comes right after one of engraft\n\
             - ratio: time of the peer over time of engraft in the same pair, median of the rounds; above 1 engraft is faster\n",
            self.cpu,
            self.cores,
            versions.join(", "),
            self.rounds,
            self.steps,
            self.warmup,
        );
        for note in self.notes() {
            text += &format!("- **{note}**\n");
        }
        for Skipped { what, why } in &self.skipped {
            text += &format!("- without {what}: {why}\n");
        }
        let rows = summary::rows(&self.pairs);
        text += &format!("\n{}", summary::table(&rows));
        text += &format!(
            "\nThe fastest peer of each configuration:\n\n{}",
            summary::fastest_table(&rows)
        );
        text
    }

    pub(super) fn json(&self) -> Value {
        let rows = summary::rows(&self.pairs);
        let versions: serde_json::Map<String, Value> = self
            .versions()
            .into_iter()
            .map(|(name, version)| (name.to_string(), version.into()))
            .collect();
        json!({
            "mode": if self.infer { "infer" } else { "train" },
            "rounds": self.rounds,
            "steps": self.steps,
            "warmup": self.warmup,
            "machine": {"cpu": self.cpu, "cores": self.cores, "load_at_start": self.load},
            "notes": self.notes(),
            "versions": versions,
            "skipped": self.skipped,
            "fastest": summary::fastest(&rows),
            "rows": rows,
            "pairs": self.pairs.iter().map(Pair::json).collect::<Vec<_>>(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(load: Option<f64>) -> Report {
        Report {
            pairs: Vec::new(),
            skipped: vec![Skipped {
                what: "jax".into(),
                why: "not installed".into(),
            }],
            interrupted: false,
            infer: true,
            rounds: 3,
            steps: 9,
            warmup: 3,
            cpu: "A CPU".into(),
            cores: 2,
            load,
        }
    }

    #[test]
    fn only_a_busy_machine_is_noted() {
        let noted = |load| {
            report(load)
                .notes()
                .iter()
                .any(|note| note.contains("other work"))
        };
        assert_eq!(
            [None, Some(0.0), Some(0.5), Some(0.51)].map(noted),
            [false, false, false, true]
        );
    }

    #[test]
    fn the_head_says_what_was_measured_and_what_was_not() {
        let mut report = report(Some(2.0));
        report.interrupted = true;
        let text = report.markdown();
        for part in [
            "generator alone",
            "A CPU, 2 cores",
            "rounds: 3; a run is the median of 9 steps after 3",
            "the load was 2.0",
            "**interrupted",
            "without jax: not installed\n",
        ] {
            assert!(text.contains(part), "{part:?} is missing in {text}");
        }
        let json = report.json();
        assert_eq!(
            (&json["mode"], &json["machine"]["cores"]),
            (&"infer".into(), &2.into())
        );
        assert_eq!(json["skipped"][0]["what"], "jax");
    }
}
