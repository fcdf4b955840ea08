//! Learning rates that differ between the runs of a sweep although no value says so: presets choose them by other settings.

use super::run_name;
use crate::cli::options::Search;
use engraft_gan::TrainConfig;
use std::collections::BTreeMap;

/// Most runs that are listed for one learning rate.
const LISTED: usize = 4;

/// A sentence about learning rates that differ between these runs and that no `--over` names, or `None` if there are none.
pub(super) fn unnamed_rates<'c>(
    search: &Search,
    different: &[usize],
    config: impl Fn(usize) -> &'c TrainConfig,
) -> Option<String> {
    let is_named = |names: [&str; 3]| search.over.iter().any(|over| names.contains(&over.name.as_str()));
    let named = [
        is_named(["learning-rate", "learning-rate-g", "generator.learning_rate"]),
        is_named(["learning-rate", "learning-rate-d", "discriminator.learning_rate"]),
    ];
    let rates = different.iter().map(|&at| {
        let config = config(at);
        let rates = [config.generator.learning_rate, config.discriminator.learning_rate];
        (run_name(at), rates)
    });
    sentence(named, &rates.collect::<Vec<_>>())
}

/// The sentence for runs with these learning rates of generator and discriminator, of which some are `named`.
fn sentence(named: [bool; 2], runs: &[(String, [f64; 2])]) -> Option<String> {
    let (_, first) = runs.first()?;
    let differs =
        |network: usize| !named[network] && runs.iter().any(|(_, rates)| rates[network] != first[network]);
    if !differs(0) && !differs(1) {
        return None;
    }
    let mut groups: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for (run, [generator, discriminator]) in runs {
        let rates = match generator == discriminator {
            true => format!("{generator:e}"),
            false => format!("{generator:e} and {discriminator:e}"),
        };
        groups.entry(rates).or_default().push(run);
    }
    let listed = groups.into_iter().map(|(rates, runs)| {
        let more = match runs.len().saturating_sub(LISTED) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        format!("{rates} in {}{more}", runs[..runs.len().min(LISTED)].join(", "))
    });
    Some(format!(
        "the runs also differ in learning rate, which follows from other settings: {}; --learning-rate gives all runs the same",
        listed.collect::<Vec<_>>().join("; ")
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_that_no_value_names_are_told() {
        let run = |at: usize, generator, discriminator| (run_name(at), [generator, discriminator]);
        let runs = [run(0, 5e-4, 5e-4), run(1, 2e-4, 2e-4), run(2, 5e-4, 5e-4)];
        let said = sentence([false; 2], &runs).unwrap();
        assert!(said.contains("2e-4 in 002; 5e-4 in 001, 003;"), "{said}");
        assert!(sentence([true, false], &runs).is_some());
        assert_eq!(sentence([true; 2], &runs), None);
        assert_eq!(sentence([false; 2], &runs[..1]), None);
        let of_one_network = [run(0, 5e-4, 1e-4), run(1, 5e-4, 2e-4)];
        let said = sentence([true, false], &of_one_network).unwrap();
        assert!(said.contains("5e-4 and 1e-4 in 001"), "{said}");
        assert_eq!(sentence([false, true], &of_one_network), None);
        let many: Vec<_> = (0..9)
            .map(|at| run(at, if at == 8 { 1.0 } else { 2.0 }, 2.0))
            .collect();
        let said = sentence([false; 2], &many).unwrap();
        assert!(said.contains("004 and 4 more"), "{said}");
    }
}
