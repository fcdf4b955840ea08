//! Writes a graph as a Python file that defines a `torch.nn.Module`, with its weights as a state dict.

mod functions;
mod names;
mod source;
mod text;

use crate::error::ExportError;
use crate::graph::Graph;
use engraft_layers::StateDict;

/// A network for PyTorch.
#[derive(Clone, Debug)]
pub struct TorchNetwork {
    /// A Python file that defines the network, and `load()`, which reads the weights from the file of the same name with
    /// the extension `.safetensors`.
    pub source: String,
    /// The weights in PyTorch's layout, by the names of the Python file. They differ from this project's only where these
    /// are not valid in Python.
    pub state: StateDict,
}

/// The network of a graph as a class with the given name. `about` becomes its documentation.
///
/// ```
/// use engraft_export::{InputSpec, torch_network, trace};
/// use engraft_layers::{Dense, Init, Mode, Module, Sequential};
/// let mut net = Sequential::<f32>::new().add("dense", Dense::new(4, 1, &mut Init::glorot(1)));
/// let graph = trace(&mut net, &[InputSpec::numbers("x", [4])], &["y"], |net, x| vec![net.forward(&x[0], Mode::Eval)])?;
/// let torch = torch_network(&graph, "Linear", "One dense layer.")?;
/// assert!(torch.source.contains("self.dense = nn.Linear(4, 1)"));
/// assert_eq!(torch.state.get("dense.weight").unwrap().shape(), [1, 4]);
/// # Ok::<(), engraft_export::ExportError>(())
/// ```
///
/// # Errors
/// If the weight of a layer depends on an input.
pub fn torch_network(graph: &Graph, class: &str, about: &str) -> Result<TorchNetwork, ExportError> {
    source::write(graph, class, about)
}
