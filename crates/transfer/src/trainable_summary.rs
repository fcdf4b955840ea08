//! Summary of the trainable parameters of a network and their learning rates.

use engraft_layers::{Module, parameters};
use engraft_tensor::Real;
use std::fmt;

/// One parameter of a [`TrainableSummary`].
#[derive(Clone, Debug, PartialEq)]
pub struct TrainableRow {
    /// Dotted name of the parameter.
    pub name: String,
    /// Shape.
    pub shape: Vec<usize>,
    /// Learning rate; `None` for a frozen parameter.
    pub learning_rate: Option<f64>,
}

/// Every parameter of a network with its learning rate. `Display` formats it as a table.
#[derive(Clone, Debug, PartialEq)]
pub struct TrainableSummary {
    /// The parameters in network order.
    pub rows: Vec<TrainableRow>,
}

impl TrainableSummary {
    /// Number of trainable values and total number of values.
    pub fn counts(&self) -> [usize; 2] {
        let size = |row: &TrainableRow| row.shape.iter().product::<usize>();
        let trained = self.rows.iter().filter(|row| row.learning_rate.is_some());
        [trained.map(size).sum(), self.rows.iter().map(size).sum()]
    }
}

/// The summary of a network. `rate` gives the learning rate of each parameter name.
///
/// ```
/// use engraft_layers::{Dense, Init, ParamFilter, Sequential, freeze};
/// use engraft_transfer::trainable_summary;
/// let init = &mut Init::glorot(1);
/// let mut net = Sequential::<f32>::new().add("hidden", Dense::new(2, 3, init)).add("head", Dense::new(3, 1, init));
/// freeze(&mut net, &ParamFilter::under(["hidden"]))?;
/// let table = trainable_summary(&net, |_| 1e-4);
/// assert_eq!(table.counts(), [4, 13]);
/// assert!(table.to_string().contains("hidden.weight  2x3  frozen"));
/// # Ok::<(), engraft_layers::LayersError>(())
/// ```
pub fn trainable_summary<T: Real>(module: &dyn Module<T>, rate: impl Fn(&str) -> f64) -> TrainableSummary {
    let rows = parameters(module)
        .into_iter()
        .map(|(name, parameter)| TrainableRow {
            shape: parameter.tensor().shape().to_vec(),
            learning_rate: parameter.is_trainable().then(|| rate(&name)),
            name,
        })
        .collect();
    TrainableSummary { rows }
}

impl fmt::Display for TrainableSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shapes: Vec<String> = self
            .rows
            .iter()
            .map(|row| {
                row.shape
                    .iter()
                    .map(usize::to_string)
                    .collect::<Vec<_>>()
                    .join("x")
            })
            .collect();
        let width = |texts: &mut dyn Iterator<Item = usize>| texts.max().unwrap_or(0);
        let names = width(&mut self.rows.iter().map(|row| row.name.len()));
        let sizes = width(&mut shapes.iter().map(String::len));
        for (row, shape) in self.rows.iter().zip(&shapes) {
            let rate = row
                .learning_rate
                .map_or("frozen".into(), |rate| format!("{rate:e}"));
            writeln!(f, "{:<names$}  {shape:>sizes$}  {rate}", row.name)?;
        }
        let [trained, all] = self.counts();
        let share = 100.0 * trained as f64 / (all as f64).max(1.0);
        write!(f, "{trained} of {all} parameters are trainable ({share:.1} %)")
    }
}
