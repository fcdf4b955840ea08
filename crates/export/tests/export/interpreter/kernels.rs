//! Operators of ONNX by their definition.

use super::value::Value;
use engraft_export::onnx::proto::{Attribute, NodeProto};

pub(super) fn find<'a>(node: &'a NodeProto, name: &str) -> Option<&'a Attribute> {
    node.attribute.iter().find(|attribute| attribute.name == name)
}

pub(super) fn sizes(node: &NodeProto, name: &str) -> Vec<usize> {
    find(node, name)
        .unwrap()
        .ints
        .iter()
        .map(|&v| v as usize)
        .collect()
}

pub(super) fn int(node: &NodeProto, name: &str) -> i64 {
    find(node, name).unwrap().i.unwrap()
}

pub(super) fn zip(a: &Value, b: &Value, f: impl Fn(f64, f64) -> f64) -> Value {
    let rank = a.shape.len().max(b.shape.len());
    let size = |v: &Value, i: usize| (i + v.shape.len()).checked_sub(rank).map_or(1, |j| v.shape[j]);
    let shape: Vec<usize> = (0..rank)
        .map(|i| match (size(a, i), size(b, i)) {
            (1, n) | (n, 1) => n,
            (m, n) => {
                assert_eq!(m, n, "{:?} {:?}", a.shape, b.shape);
                m
            }
        })
        .collect();
    Value::from_fn(&shape, |at| f(a.broadcast(at), b.broadcast(at)))
}

/// An axis combined to size 1.
pub(super) fn reduced(x: &Value, axis: usize, start: f64, f: impl Fn(f64, f64) -> f64) -> Value {
    let mut shape = x.shape.clone();
    shape[axis] = 1;
    Value::from_fn(&shape, |at| {
        let element = |i: usize| {
            let mut at = at.to_vec();
            at[axis] = i;
            x.at(&at)
        };
        (0..x.shape[axis]).map(element).fold(start, &f)
    })
}

/// `2/√π ∫₀ˣ exp(-t²) dt` by Simpson's rule.
pub(super) fn erf(x: f64) -> f64 {
    let steps = 400;
    let h = x / f64::from(steps);
    let term = |i: i32| {
        let weight = match i {
            0 => 1.0,
            i if i == steps => 1.0,
            i if i % 2 == 1 => 4.0,
            _ => 2.0,
        };
        weight * (-(h * f64::from(i)).powi(2)).exp()
    };
    (0..=steps).map(term).sum::<f64>() * h / 3.0 * std::f64::consts::FRAC_2_SQRT_PI
}

pub(super) fn resize(node: &NodeProto, x: &Value, factors: &Value) -> Value {
    let text = |name| String::from_utf8(find(node, name).unwrap().s.clone().unwrap()).unwrap();
    let factors: Vec<f32> = factors.data.iter().map(|&v| v as f32).collect();
    let sizes = x.shape.iter().zip(&factors);
    let shape: Vec<usize> = sizes
        .map(|(&size, factor)| (size as f64 * f64::from(*factor)).floor() as usize)
        .collect();
    if text("mode") == "nearest" {
        assert_eq!(text("coordinate_transformation_mode"), "asymmetric");
        assert_eq!(text("nearest_mode"), "floor");
        return Value::from_fn(&shape, |at| {
            let places = at.iter().zip(&factors);
            x.at(&places
                .map(|(&i, &factor)| i / factor as usize)
                .collect::<Vec<_>>())
        });
    }
    assert_eq!(
        (
            text("mode").as_str(),
            text("coordinate_transformation_mode").as_str()
        ),
        ("linear", "half_pixel")
    );
    let neighbors = |axis: usize, at: usize| {
        let last = x.shape[axis] - 1;
        let place = ((at as f64 + 0.5) / f64::from(factors[axis]) - 0.5).clamp(0.0, last as f64);
        let first = place.floor() as usize;
        [
            (first, 1.0 - place.fract()),
            ((first + 1).min(last), place.fract()),
        ]
    };
    Value::from_fn(&shape, |at| {
        let mut sum = 0.0;
        for (row, down) in neighbors(2, at[2]) {
            for (column, across) in neighbors(3, at[3]) {
                sum += down * across * x.at(&[at[0], at[1], row, column]);
            }
        }
        sum
    })
}

pub(super) fn pool(node: &NodeProto, x: &Value) -> Value {
    let (kernel, strides, pads) = (
        sizes(node, "kernel_shape"),
        sizes(node, "strides"),
        sizes(node, "pads"),
    );
    let size = |a: usize| (x.shape[2 + a] + pads[a] + pads[2 + a] - kernel[a]) / strides[a] + 1;
    Value::from_fn(&[x.shape[0], x.shape[1], size(0), size(1)], |at| {
        let inside = |a: usize, tap: usize| {
            (at[2 + a] * strides[a] + tap)
                .checked_sub(pads[a])
                .filter(|&i| i < x.shape[2 + a])
        };
        let taps = (0..kernel[0]).flat_map(|i| (0..kernel[1]).map(move |j| (i, j)));
        let window: Vec<f64> = taps
            .filter_map(|(i, j)| Some(x.at(&[at[0], at[1], inside(0, i)?, inside(1, j)?])))
            .collect();
        match node.op_type.as_str() {
            "MaxPool" => window.into_iter().fold(f64::NEG_INFINITY, f64::max),
            // The padding does not count, unless an attribute says so.
            _ => window.iter().sum::<f64>() / window.len() as f64,
        }
    })
}

/// The product of the matrices in the last two axes, with broadcasting of the others.
pub(super) fn product(a: &Value, b: &Value, transposed: bool) -> Value {
    let [ra, rb] = [a.shape.len(), b.shape.len()];
    let [inner, outputs] = if transposed {
        [b.shape[rb - 1], b.shape[rb - 2]]
    } else {
        [b.shape[rb - 2], b.shape[rb - 1]]
    };
    assert_eq!(a.shape[ra - 1], inner);
    let longer = if ra > rb { &a.shape } else { &b.shape };
    let mut shape = longer[..longer.len() - 2].to_vec();
    shape.extend([a.shape[ra - 2], outputs]);
    Value::from_fn(&shape, |at| {
        let (batch, [row, column]) = (&at[..at.len() - 2], [at[at.len() - 2], at[at.len() - 1]]);
        let element = |v: &Value, i: usize, j: usize| match batch {
            [] => v.at(&[i, j]),
            _ => v.broadcast(&[batch, &[i, j]].concat()),
        };
        let term = |k: usize| {
            let (i, j) = if transposed { (column, k) } else { (k, column) };
            element(a, row, k) * element(b, i, j)
        };
        (0..inner).map(term).sum()
    })
}

pub(super) fn conv(node: &NodeProto, x: &Value, w: &Value, bias: Option<&Value>) -> Value {
    let (strides, dilations, pads) = (
        sizes(node, "strides"),
        sizes(node, "dilations"),
        sizes(node, "pads"),
    );
    let groups = find(node, "group").unwrap().i.unwrap() as usize;
    let [outputs, inputs, kh, kw] = [w.shape[0], w.shape[1], w.shape[2], w.shape[3]];
    assert_eq!(x.shape[1], inputs * groups);
    let size = |a: usize| {
        let extent = (w.shape[2 + a] - 1) * dilations[a] + 1;
        (x.shape[2 + a] + pads[a] + pads[2 + a] - extent) / strides[a] + 1
    };
    Value::from_fn(&[x.shape[0], outputs, size(0), size(1)], |at| {
        let first = at[1] / (outputs / groups) * inputs;
        let mut sum = bias.map_or(0.0, |bias| bias.data[at[1]]);
        for (i, j) in (0..kh).flat_map(|i| (0..kw).map(move |j| (i, j))) {
            let row = (at[2] * strides[0] + i * dilations[0])
                .checked_sub(pads[0])
                .filter(|&v| v < x.shape[2]);
            let column = (at[3] * strides[1] + j * dilations[1])
                .checked_sub(pads[1])
                .filter(|&v| v < x.shape[3]);
            if let (Some(row), Some(column)) = (row, column) {
                let term = |c: usize| x.at(&[at[0], first + c, row, column]) * w.at(&[at[1], c, i, j]);
                sum += (0..inputs).map(term).sum::<f64>();
            }
        }
        sum
    })
}

/// Every input pixel adds its multiple of the kernel to the result.
pub(super) fn conv_transpose(node: &NodeProto, x: &Value, w: &Value, bias: Option<&Value>) -> Value {
    let (strides, dilations, pads) = (
        sizes(node, "strides"),
        sizes(node, "dilations"),
        sizes(node, "pads"),
    );
    let more = sizes(node, "output_padding");
    let [inputs, outputs, kh, kw] = [w.shape[0], w.shape[1], w.shape[2], w.shape[3]];
    assert_eq!(x.shape[1], inputs);
    let size = |a: usize| {
        let full = (x.shape[2 + a] - 1) * strides[a] + (w.shape[2 + a] - 1) * dilations[a] + 1;
        full + more[a] - pads[a] - pads[2 + a]
    };
    let shape = [x.shape[0], outputs, size(0), size(1)];
    let mut y = Value::from_fn(&shape, |at| bias.map_or(0.0, |bias| bias.data[at[1]]));
    Value::from_fn(&x.shape, |at| {
        for (i, j) in (0..kh).flat_map(|i| (0..kw).map(move |j| (i, j))) {
            let row = (at[2] * strides[0] + i * dilations[0])
                .checked_sub(pads[0])
                .filter(|&v| v < shape[2]);
            let column = (at[3] * strides[1] + j * dilations[1])
                .checked_sub(pads[1])
                .filter(|&v| v < shape[3]);
            let (Some(row), Some(column)) = (row, column) else {
                continue;
            };
            for o in 0..outputs {
                let place = ((at[0] * outputs + o) * shape[2] + row) * shape[3] + column;
                y.data[place] += x.at(at) * w.at(&[at[1], o, i, j]);
            }
        }
        0.0
    });
    y
}
