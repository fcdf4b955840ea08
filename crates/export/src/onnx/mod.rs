//! Writes a graph as an ONNX file.

mod messages;
mod op_type;
pub mod proto;
mod writer;

use crate::graph::Graph;
use prost::Message;
use proto::{Entry, Model, OperatorSet};
use std::ops::RangeInclusive;
use writer::Writer;

/// Version of the operators, unless another one is asked for. ONNX Runtime reads it since 2022.
pub const OPSET: i64 = 17;

/// Versions of the operators that can be written. In 13 the axes of a sum became an input and the softmax got its axis. Later
/// versions than the last are not tested.
pub const OPSETS: RangeInclusive<i64> = 13..=24;

/// The version of the format that was published with a version of the operators.
fn ir_version(opset: i64) -> i64 {
    match opset {
        ..=18 => 8,
        19 | 20 => 9,
        21 | 22 => 10,
        23 => 11,
        _ => 12,
    }
}

/// The bytes of an ONNX file of a graph, with operators of version [`OPSET`]. See [`encode_as`].
///
/// ```
/// use engraft_export::{InputSpec, onnx, trace};
/// use engraft_layers::{Dense, Init, Mode, Module, Sequential};
/// let mut net = Sequential::<f32>::new().add("dense", Dense::new(4, 1, &mut Init::glorot(1)));
/// let graph = trace(&mut net, &[InputSpec::numbers("x", [4])], &["y"], |net, x| vec![net.forward(&x[0], Mode::Eval)])?;
/// let bytes = onnx::encode(&graph, "one dense layer", &[("license".into(), "CC0".into())]);
/// assert!(bytes.len() > 4 * 5);
/// # Ok::<(), engraft_export::ExportError>(())
/// ```
pub fn encode(graph: &Graph, about: &str, metadata: &[(String, String)]) -> Vec<u8> {
    encode_as(graph, about, metadata, OPSET)
}

/// The bytes of an ONNX file of a graph with operators of a version.
///
/// The number of examples is the symbol `N`. Values are `f32`, labels `i64`. `about` and `metadata` are stored with the
/// model.
///
/// # Panics
/// If the version is not in [`OPSETS`].
pub fn encode_as(graph: &Graph, about: &str, metadata: &[(String, String)], opset: i64) -> Vec<u8> {
    assert!(
        OPSETS.contains(&opset),
        "onnx: expected operators of version {OPSETS:?}, got {opset}"
    );
    let entry = |(key, value): &(String, String)| Entry {
        key: key.clone(),
        value: value.clone(),
    };
    let model = Model {
        ir_version: ir_version(opset),
        producer_name: "engraft".into(),
        producer_version: env!("CARGO_PKG_VERSION").into(),
        doc_string: about.into(),
        graph: Some(Writer::new(graph, opset).write()),
        opset_import: vec![OperatorSet {
            domain: String::new(),
            version: opset,
        }],
        metadata_props: metadata.iter().map(entry).collect(),
    };
    model.encode_to_vec()
}
