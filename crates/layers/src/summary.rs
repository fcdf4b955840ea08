//! A table of the layers of a network.

use crate::condition::Condition;
use crate::mode::Mode;
use crate::module::{Arrangement, Module};
use crate::parameter::Slot;
use crate::visit::{at, visit};
use engraft_tensor::{Real, Tensor, no_grad};
use std::fmt;

/// One layer of a [`Summary`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SummaryRow {
    /// Dotted name.
    pub name: String,
    /// Description of the layer.
    pub layer: String,
    /// Input shape of one example, without the batch axis.
    pub input: Vec<usize>,
    /// Output shape of one example, without the batch axis.
    pub output: Vec<usize>,
    /// Number of parameters (scalar values).
    pub parameters: usize,
    /// Number of trainable ones.
    pub trainable: usize,
}

/// Layers of a module with their outputs and parameter counts. `Display` prints a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// The layers in order.
    pub rows: Vec<SummaryRow>,
}

impl Summary {
    /// Total number of parameters (scalar values).
    pub fn parameters(&self) -> usize {
        self.rows.iter().map(|r| r.parameters).sum()
    }

    /// Total number of trainable parameters.
    pub fn trainable(&self) -> usize {
        self.rows.iter().map(|r| r.trainable).sum()
    }
}

/// Summarizes a module for examples of shape `example` (without the batch axis).
///
/// The shapes come from one forward pass of a single zero example in evaluation mode.
///
/// ```
/// use engraft_layers::{Conv2d, Flatten, Init, Sequential, summary};
/// let init = &mut Init::glorot(1);
/// let net = Sequential::<f32>::new()
///     .add("conv", Conv2d::new(1, 64, 5, init).stride(2).same())
///     .add("flat", Flatten);
/// let table = summary(&net, &[28, 28, 1]);
/// assert_eq!((table.rows[0].output.as_slice(), table.parameters()), ([14, 14, 64].as_slice(), 1664));
/// println!("{table}");
/// ```
///
/// # Panics
/// If the module does not accept such examples.
#[track_caller]
pub fn summary<T: Real>(module: &dyn Module<T>, example: &[usize]) -> Summary {
    summary_with(module, example, &Condition::None)
}

/// [`summary`] of a module that needs a condition. `condition` is that of one example.
///
/// # Panics
/// If the module does not accept such examples under this condition.
#[track_caller]
pub fn summary_with<T: Real>(module: &dyn Module<T>, example: &[usize], condition: &Condition<T>) -> Summary {
    let shape: Vec<usize> = std::iter::once(1).chain(example.iter().copied()).collect();
    let mut rows = Vec::new();
    let x = Tensor::zeros(shape);
    no_grad(|| walk(module, &mut String::new(), &x, condition, &mut rows));
    Summary { rows }
}

fn walk<T: Real>(
    module: &dyn Module<T>,
    path: &mut String,
    x: &Tensor<T>,
    condition: &Condition<T>,
    rows: &mut Vec<SummaryRow>,
) -> Tensor<T> {
    let children = module.children().into_iter();
    match module.arrangement() {
        Arrangement::Chain => {
            return children.fold(x.clone(), |x, (name, layer)| {
                at(path, name, |path| walk(layer, path, &x, condition, rows))
            });
        }
        Arrangement::Parallel => {
            let mut results = Vec::new();
            for (name, branch) in children {
                results.push(at(path, name, |path| walk(branch, path, x, condition, rows)));
            }
            // Only shapes matter here, and all branches have the same one.
            return results.swap_remove(0);
        }
        Arrangement::Opaque => (),
    }
    let y = module.forward_with(x, condition, Mode::Eval);
    let (mut parameters, mut trainable) = (0, 0);
    visit(module, |_, slot| {
        if let Slot::Parameter(p) = slot {
            parameters += p.tensor().len();
            trainable += if p.is_trainable() { p.tensor().len() } else { 0 };
        }
    });
    rows.push(SummaryRow {
        name: path.clone(),
        layer: module.describe(),
        input: x.shape()[1..].to_vec(),
        output: y.shape()[1..].to_vec(),
        parameters,
        trainable,
    });
    y
}

/// `1234567` as `1 234 567`.
fn grouped(n: usize) -> String {
    let digits = n.to_string();
    let mut text = String::new();
    for (i, c) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(c);
    }
    text
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shape = |s: &[usize]| s.iter().map(usize::to_string).collect::<Vec<_>>().join("x");
        let lines: Vec<[String; 4]> = self
            .rows
            .iter()
            .map(|r| {
                let frozen = if r.trainable < r.parameters { " frozen" } else { "" };
                let count = if r.parameters == 0 {
                    "-".into()
                } else {
                    grouped(r.parameters) + frozen
                };
                [r.name.clone(), r.layer.clone(), shape(&r.output), count]
            })
            .collect();
        let header = ["name", "layer", "output", "parameters"].map(String::from);
        let widths: Vec<usize> = (0..4)
            .map(|i| {
                lines
                    .iter()
                    .chain([&header])
                    .map(|l| l[i].chars().count())
                    .max()
                    .unwrap_or(0)
            })
            .collect();
        for line in std::iter::once(&header).chain(&lines) {
            let [name, layer, output, count] = line;
            writeln!(
                f,
                "{name:<0$}  {layer:<1$}  {output:>2$}  {count:>3$}",
                widths[0], widths[1], widths[2], widths[3]
            )?;
        }
        let (all, trainable) = (self.parameters(), self.trainable());
        write!(f, "{} parameters, {} trainable", grouped(all), grouped(trainable))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{BatchNorm, Dense, Init, Sequential, Tanh};

    #[test]
    fn the_table() {
        let init = &mut Init::glorot(1);
        let inner = Sequential::<f32>::new().add("dense", Dense::new(100, 20, init).no_bias());
        let net = Sequential::<f32>::new()
            .add("stem", inner.add("norm", BatchNorm::new(20)))
            .add("tanh", Tanh);
        let text = summary(&net, &[100]).to_string();
        let expected = "\
name        layer                     output  parameters
stem.dense  Dense 100 -> 20, no bias      20       2 000
stem.norm   BatchNorm 20                  20          40
tanh        Tanh                          20           -
2 040 parameters, 2 040 trainable";
        assert_eq!(
            text.replace(" \n", "\n"),
            expected.replace(" \n", "\n"),
            "\n{text}"
        );
    }

    #[test]
    fn thousands_are_grouped() {
        assert_eq!(
            [0, 999, 1000, 1234567].map(grouped),
            ["0", "999", "1 000", "1 234 567"]
        );
    }
}
