//! `cargo xtask benchmark-digits`: tables of domain adaptation and semi-supervised learning on digits.

use clap::Args as ClapArgs;
use engraft::cli::Seeds;
use std::path::PathBuf;

/// Measure domain adaptation and semi-supervised learning on digits.
///
/// Every table is a command of `engraft`, which is printed before it runs. Results are cached: the same command resumes an
/// interrupted one.
#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// Small tables: small protocol, only MCD, 3 seeds, 300 steps; 100 labels, 2 seeds, 5 epochs
    #[arg(long, conflicts_with_all = ["seeds", "steps", "full", "budget"])]
    quick: bool,

    /// Seeds of adaptation: a number N (seeds 1 to N), a range such as 3-7, or a list such as 2,5,9
    #[arg(long, value_name = "SEEDS", default_value = "5")]
    seeds: Seeds,

    /// Training steps of adaptation
    #[arg(long, value_name = "N", default_value_t = 2000)]
    steps: u64,

    /// Also run the protocol with all training images (hours)
    #[arg(long)]
    full: bool,

    /// Budget of semi-supervised learning
    #[arg(long, value_parser = ["fast", "paper"], default_value = "fast", value_name = "BUDGET")]
    budget: String,

    /// Directory of the results
    #[arg(long, value_name = "DIR", default_value = "runs/benchmark-digits")]
    out: PathBuf,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    for mut command in commands(args) {
        let out = args.out.join(name(&command));
        command.push("--out".into());
        command.push(out.to_string_lossy().into_owned());
        out!("\n$ engraft {}\n", command.join(" "));
        let words: Vec<&str> = command.iter().map(String::as_str).collect();
        engraft::cli::run(&words)?;
    }
    Ok(())
}

/// Directory of a command's results: its words without dashes. Options have the names that they had in an earlier version,
/// so that results of that version are found.
fn name(command: &[String]) -> String {
    let words: Vec<&str> = command
        .iter()
        .map(|word| match word.as_str() {
            "--source-data" => "source",
            "--target-data" => "target",
            other => other.trim_start_matches('-'),
        })
        .filter(|word| !word.is_empty())
        .collect();
    words.join("-").replace(',', "+")
}

fn commands(args: &Args) -> Vec<Vec<String>> {
    let (seeds, steps, methods) = if args.quick {
        ("3".to_string(), "300".to_string(), "mcd")
    } else {
        (
            args.seeds.to_string(),
            args.steps.to_string(),
            "dann,cdan,adda,mcd,vada,cogan",
        )
    };
    let protocols: &[&str] = if args.full { &["small", "full"] } else { &["small"] };
    let mut commands = Vec::new();
    let pairs: &[[&str; 2]] = if args.quick {
        &[["mnist", "usps"], ["usps", "mnist"]]
    } else {
        &[["mnist", "usps"], ["usps", "mnist"], ["drawn-digits", "mnist"]]
    };
    for protocol in protocols {
        for [source, target] in pairs {
            commands.push(
                [
                    "adapt",
                    "--source-data",
                    source,
                    "--target-data",
                    target,
                    "--method",
                    methods,
                    "--protocol",
                    protocol,
                    "--seeds",
                    &seeds,
                    "--steps",
                    &steps,
                ]
                .map(String::from)
                .to_vec(),
            );
        }
    }
    let labels: &[&str] = if args.quick {
        &["100"]
    } else {
        &["20", "50", "100", "200"]
    };
    for labels in labels {
        let mut command = ["semi-supervised", "--data", "mnist", "--labels", labels]
            .map(String::from)
            .to_vec();
        let more: &[&str] = if args.quick {
            &["--seeds", "2", "--epochs", "5"]
        } else {
            &["--seeds", "5", "--budget", &args.budget]
        };
        command.extend(more.iter().map(|word| (*word).to_string()));
        commands.push(command);
    }
    commands
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_table_has_a_directory_of_its_own() {
        let args = |quick| Args {
            quick,
            seeds: Seeds::from(vec![1, 2]),
            steps: 3000,
            full: true,
            budget: "fast".into(),
            out: "runs".into(),
        };
        for quick in [false, true] {
            let commands = commands(&args(quick));
            let mut names: Vec<String> = commands.iter().map(|command| name(command)).collect();
            assert!(names.iter().all(|n| !n.contains(['/', ',', ' '])), "{names:?}");
            names.sort();
            names.dedup();
            assert_eq!(names.len(), commands.len());
            assert!(
                names
                    .iter()
                    .any(|n| n.starts_with("adapt-source-mnist-target-usps-")),
                "{names:?}"
            );
        }
    }
}
