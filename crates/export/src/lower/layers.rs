//! Dense and convolutional layers and products of matrices.

use super::values::{Site, Values};
use crate::error::ExportError;
use crate::graph::{Dim, Operand};
use crate::operator::Operator;
use engraft_tensor::{Geometry, Operation, Tensor, TraceValue};

/// `x + bias` as part of the dense or convolutional layer that computes `x`, if nothing else reads `x`.
pub(super) fn with_bias(values: &mut Values<'_>, site: &Site<'_>) -> Option<Operand> {
    let [x, bias] = [0, 1].map(|i| &site.node.operands[i]);
    let (TraceValue::Node(i), TraceValue::Constant { value, parameters }) = (x, bias) else {
        return None;
    };
    let is_layer = matches!(
        values.trace.nodes[*i].operation,
        Some(
            Operation::MatMul { .. }
                | Operation::Conv2d(_)
                | Operation::Conv2dInput(_)
                | Operation::Conv2dGrouped { .. }
                | Operation::Blur
        )
    );
    let outputs = *values.shapes[*i].last()?;
    let fits = values.uses[*i] == 1 && value.rank() == 1 && outputs == Dim::Fixed(value.len());
    let layer = values.results[*i];
    if !is_layer || !fits || !values.builder.takes_bias(layer) {
        return None;
    }
    let bias = values.builder.constant(value.clone(), parameters, "bias");
    values.builder.add_bias(layer, bias);
    Some(layer)
}

/// `x + bias`, with the bias in the layer before it where that is possible.
pub(super) fn add(values: &mut Values<'_>, site: &Site<'_>) -> Operand {
    with_bias(values, site).unwrap_or_else(|| values.broadcasting(site, Operator::Add))
}

/// A product of two matrices.
pub(super) fn matmul(values: &mut Values<'_>, site: &Site<'_>, transposed: [bool; 2]) -> Operand {
    let [x, weight] = [0, 1].map(|i| &site.node.operands[i]);
    let here = site.here.clone();
    let is_labels = matches!(x, TraceValue::Input(i) if values.builder.graph().inputs[*i].classes.is_some());
    if let (TraceValue::Constant { value, parameters }, false) = (weight, transposed[0]) {
        if let (true, TraceValue::Input(i)) = (is_labels, x) {
            let table = turned(value, transposed[1]);
            let table = values.builder.constant(table, parameters, "table");
            let operands = vec![table, Operand::Input(*i)];
            return values.builder.push(Operator::Embedding, operands, here);
        }
        let weight = turned(value, !transposed[1]);
        let weight = values.builder.constant(weight, parameters, "weight");
        let x = values.operand(x);
        return values.builder.push(Operator::Linear, vec![x, weight], here);
    }
    product(values, site, transposed)
}

/// A matrix, transposed if `is_turned`. The values of an untransposed one stay shared.
fn turned(matrix: &Tensor, is_turned: bool) -> Tensor {
    if is_turned {
        matrix.transpose()
    } else {
        matrix.clone()
    }
}

/// A product of matrices, or of batches of matrices, none of them a layer's weight.
pub(super) fn product(values: &mut Values<'_>, site: &Site<'_>, transposed: [bool; 2]) -> Operand {
    let operands = [0, 1].map(|i| {
        let value = &site.node.operands[i];
        let (operand, mut shape) = (values.operand(value), values.shape(value));
        if !transposed[i] {
            return operand;
        }
        let rank = shape.len();
        let mut order: Vec<usize> = (0..rank).collect();
        order.swap(rank - 2, rank - 1);
        shape.swap(rank - 2, rank - 1);
        values.transpose(operand, &order, shape)
    });
    values
        .builder
        .push(Operator::MatMul, operands.into(), site.here.clone())
}

/// A convolution or a transposed one with a constant weight.
pub(super) fn convolution(
    values: &mut Values<'_>,
    site: &Site<'_>,
    operator: Operator,
) -> Result<Operand, ExportError> {
    let TraceValue::Constant { value, parameters } = &site.node.operands[1] else {
        return Err(site.refuse("has a weight that depends on an input"));
    };
    // Both kinds have their input and output axes mirrored, so one permutation serves both.
    let weight = value.permute(&[3, 2, 0, 1]);
    let weight = values.builder.constant(weight, parameters, "weight");
    let x = values.operand(site.x());
    Ok(values.builder.push(operator, vec![x, weight], site.here.clone()))
}

/// The binomial 3x3 filter as a convolution of each channel.
pub(super) fn blur(values: &mut Values<'_>, site: &Site<'_>) -> Result<Operand, ExportError> {
    let Some(Dim::Fixed(channels)) = site.shape.last().copied() else {
        return Err(site.refuse("needs a fixed number of channels"));
    };
    let filter = [1.0, 2.0, 1.0, 2.0, 4.0, 2.0, 1.0, 2.0, 1.0].map(|tap: f32| tap / 16.0);
    let weight = Tensor::from_vec([channels, 1, 3, 3], filter.repeat(channels));
    let weight = values.builder.constant(weight, &[], "blur");
    let x = values.operand(site.x());
    let operator = Operator::Conv {
        stride: [1, 1],
        dilation: [1, 1],
        pads: [1; 4],
        groups: channels,
    };
    Ok(values.builder.push(operator, vec![x, weight], site.here.clone()))
}

/// Rows or columns between the first and the last tap of a kernel, both included.
fn extent(geometry: &Geometry, axis: usize) -> usize {
    (geometry.kernel[axis] - 1) * geometry.dilation[axis] + 1
}

/// The operator of a convolution in groups of channels.
pub(super) fn forward(geometry: &Geometry, groups: usize) -> Operator {
    let after = |a: usize| {
        let end = (geometry.output[a] - 1) * geometry.stride[a] + extent(geometry, a);
        end.saturating_sub(geometry.input[a] + geometry.pad[a])
    };
    Operator::Conv {
        stride: geometry.stride,
        dilation: geometry.dilation,
        pads: [geometry.pad[0], geometry.pad[1], after(0), after(1)],
        groups,
    }
}

/// The operator of a transposed convolution.
pub(super) fn transposed(geometry: &Geometry) -> Operator {
    // Rows after the first cut; negative if the result has more rows than the taps reach.
    let [rows, columns] = [0, 1].map(|a| {
        let full = (geometry.output[a] - 1) * geometry.stride[a] + extent(geometry, a);
        let wanted = geometry.input[a] + geometry.pad[a];
        (full.saturating_sub(wanted), wanted.saturating_sub(full))
    });
    Operator::ConvTranspose {
        stride: geometry.stride,
        dilation: geometry.dilation,
        pads: [geometry.pad[0], geometry.pad[1], rows.0, columns.0],
        output_padding: [rows.1, columns.1],
    }
}
