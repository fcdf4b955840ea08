//! A reader of ONNX files that computes every operator by its definition, in `f64`, with none of this project's kernels.

use engraft_export::onnx::proto::{Attribute, Model, NodeProto, TensorProto};
use prost::Message;
use std::collections::HashMap;

/// Numbers with a shape; integers are stored as numbers.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Value {
    pub(crate) shape: Vec<usize>,
    pub(crate) data: Vec<f64>,
}

impl Value {
    pub(crate) fn new(shape: &[usize], data: Vec<f64>) -> Self {
        assert_eq!(shape.iter().product::<usize>(), data.len());
        Self {
            shape: shape.to_vec(),
            data,
        }
    }

    fn of(tensor: &TensorProto) -> Self {
        let bytes = &tensor.raw_data;
        let data = match tensor.data_type {
            1 => bytes
                .chunks_exact(4)
                .map(|b| f32::from_le_bytes(b.try_into().unwrap()).into())
                .collect(),
            7 => bytes
                .chunks_exact(8)
                .map(|b| i64::from_le_bytes(b.try_into().unwrap()) as f64)
                .collect(),
            other => panic!("type {other}"),
        };
        let shape: Vec<usize> = tensor.dims.iter().map(|&size| size as usize).collect();
        Self::new(&shape, data)
    }

    fn ints(&self) -> Vec<i64> {
        self.data.iter().map(|&v| v as i64).collect()
    }

    /// A value of the given shape from the index of each element.
    fn from_fn(shape: &[usize], mut f: impl FnMut(&[usize]) -> f64) -> Self {
        let count = shape.iter().product();
        let mut at = vec![0; shape.len()];
        let mut data = Vec::with_capacity(count);
        for _ in 0..count {
            data.push(f(&at));
            for axis in (0..shape.len()).rev() {
                at[axis] += 1;
                if at[axis] < shape[axis] {
                    break;
                }
                at[axis] = 0;
            }
        }
        Self::new(shape, data)
    }

    fn at(&self, index: &[usize]) -> f64 {
        let place = index
            .iter()
            .zip(&self.shape)
            .fold(0, |place, (i, size)| place * size + i);
        self.data[place]
    }

    /// The element at the end of a longer index, where axes of size 1 repeat.
    fn broadcast(&self, index: &[usize]) -> f64 {
        let own = &index[index.len() - self.shape.len()..];
        let own: Vec<usize> = own
            .iter()
            .zip(&self.shape)
            .map(|(&i, &size)| if size == 1 { 0 } else { i })
            .collect();
        self.at(&own)
    }
}

/// Reads a file and runs it on the inputs by name. Returns the outputs in their order.
pub(crate) fn run(bytes: &[u8], inputs: Vec<(&str, Value)>) -> Vec<Value> {
    let model = Model::decode(bytes).unwrap();
    assert_eq!((model.ir_version, model.opset_import[0].version), (8, 17));
    let graph = model.graph.unwrap();
    let mut values: HashMap<String, Value> = graph
        .initializer
        .iter()
        .map(|tensor| (tensor.name.clone(), Value::of(tensor)))
        .collect();
    let declared: Vec<&str> = graph.input.iter().map(|input| input.name.as_str()).collect();
    assert_eq!(declared, inputs.iter().map(|(name, _)| *name).collect::<Vec<_>>());
    values.extend(inputs.into_iter().map(|(name, value)| (name.to_string(), value)));
    for node in &graph.node {
        let operands: Vec<Option<&Value>> = node
            .input
            .iter()
            .map(|name| {
                (!name.is_empty()).then(|| {
                    values
                        .get(name)
                        .unwrap_or_else(|| panic!("{name} is not computed yet"))
                })
            })
            .collect();
        let result = compute(node, &operands);
        let before = values.insert(node.output[0].clone(), result);
        assert!(before.is_none(), "{} is computed twice", node.output[0]);
    }
    graph
        .output
        .iter()
        .map(|output| values[&output.name].clone())
        .collect()
}

fn find<'a>(node: &'a NodeProto, name: &str) -> Option<&'a Attribute> {
    node.attribute.iter().find(|attribute| attribute.name == name)
}

fn sizes(node: &NodeProto, name: &str) -> Vec<usize> {
    find(node, name)
        .unwrap()
        .ints
        .iter()
        .map(|&v| v as usize)
        .collect()
}

fn compute(node: &NodeProto, operands: &[Option<&Value>]) -> Value {
    let x = operands[0].unwrap();
    let operand = |i: usize| operands[i].unwrap();
    let map = |f: &dyn Fn(f64) -> f64| Value::new(&x.shape, x.data.iter().map(|&v| f(v)).collect());
    match node.op_type.as_str() {
        "Add" => zip(x, operand(1), |a, b| a + b),
        "Sub" => zip(x, operand(1), |a, b| a - b),
        "Mul" => zip(x, operand(1), |a, b| a * b),
        "Div" => zip(x, operand(1), |a, b| a / b),
        "Pow" => zip(x, operand(1), f64::powf),
        "Neg" => map(&|v| -v),
        "Exp" => map(&f64::exp),
        "Log" => map(&f64::ln),
        "Sqrt" => map(&f64::sqrt),
        "Abs" => map(&f64::abs),
        "Tanh" => map(&f64::tanh),
        "Relu" => map(&|v| v.max(0.0)),
        "Sigmoid" => map(&|v| 1.0 / (1.0 + (-v).exp())),
        "Softplus" => map(&|v| v.exp().ln_1p()),
        "LeakyRelu" => {
            let alpha = f64::from(find(node, "alpha").unwrap().f.unwrap());
            map(&|v| if v < 0.0 { alpha * v } else { v })
        }
        "Clip" => {
            let low = operand(1).data[0];
            let high = operands.get(2).map_or(f64::INFINITY, |v| v.unwrap().data[0]);
            map(&|v| v.max(low).min(high))
        }
        "Identity" => x.clone(),
        "Gemm" => {
            assert_eq!(find(node, "transB").unwrap().i, Some(1));
            let y = product(x, operand(1), true);
            operands
                .get(2)
                .map_or(y.clone(), |bias| zip(&y, bias.unwrap(), |a, b| a + b))
        }
        "MatMul" => product(x, operand(1), false),
        "Conv" => conv(node, x, operand(1), operands.get(2).map(|bias| bias.unwrap())),
        "ConvTranspose" => conv_transpose(node, x, operand(1), operands.get(2).map(|bias| bias.unwrap())),
        "ReduceSum" => {
            assert_eq!(find(node, "keepdims").unwrap().i, Some(1));
            let axes = operand(1).ints();
            let mut shape = x.shape.clone();
            axes.iter().for_each(|&axis| shape[axis as usize] = 1);
            let mut sums = Value::new(&shape, vec![0.0; shape.iter().product()]);
            Value::from_fn(&x.shape, |at| {
                let place = at
                    .iter()
                    .zip(&shape)
                    .fold(0, |p, (&i, &size)| p * size + if size == 1 { 0 } else { i });
                sums.data[place] += x.at(at);
                0.0
            });
            sums
        }
        "Reshape" => {
            let wanted = operand(1).ints();
            let known: i64 = wanted.iter().filter(|&&size| size >= 0).product();
            let free = x.data.len() / known as usize;
            let shape: Vec<usize> = wanted
                .iter()
                .map(|&size| if size < 0 { free } else { size as usize })
                .collect();
            Value::new(&shape, x.data.clone())
        }
        "Transpose" => {
            let order = sizes(node, "perm");
            let shape: Vec<usize> = order.iter().map(|&axis| x.shape[axis]).collect();
            Value::from_fn(&shape, |at| {
                let mut from = vec![0; at.len()];
                order.iter().zip(at).for_each(|(&axis, &i)| from[axis] = i);
                x.at(&from)
            })
        }
        "Expand" => {
            let wanted = operand(1).ints();
            let filled = Value::new(
                &wanted.iter().map(|&size| size as usize).collect::<Vec<_>>(),
                vec![0.0; wanted.iter().product::<i64>() as usize],
            );
            zip(x, &filled, |a, _| a)
        }
        "Slice" => {
            let [start, end, axis] = [1, 2, 3].map(|i| operand(i).ints()[0] as usize);
            let mut shape = x.shape.clone();
            shape[axis] = end - start;
            Value::from_fn(&shape, |at| {
                let mut from = at.to_vec();
                from[axis] += start;
                x.at(&from)
            })
        }
        "Pad" => {
            let pads = operand(1).ints();
            let rank = x.shape.len();
            let shape: Vec<usize> = (0..rank)
                .map(|i| x.shape[i] + (pads[i] + pads[rank + i]) as usize)
                .collect();
            Value::from_fn(&shape, |at| {
                let from: Option<Vec<usize>> = (0..rank)
                    .map(|i| at[i].checked_sub(pads[i] as usize).filter(|&j| j < x.shape[i]))
                    .collect();
                from.map_or(0.0, |from| x.at(&from))
            })
        }
        "Concat" => {
            let axis = find(node, "axis").unwrap().i.unwrap() as usize;
            let mut shape = x.shape.clone();
            shape[axis] = operands.iter().map(|v| v.unwrap().shape[axis]).sum();
            Value::from_fn(&shape, |at| {
                let mut from = at.to_vec();
                for value in operands.iter().map(|v| v.unwrap()) {
                    if from[axis] < value.shape[axis] {
                        return value.at(&from);
                    }
                    from[axis] -= value.shape[axis];
                }
                unreachable!()
            })
        }
        "Resize" => {
            let text = |name| String::from_utf8(find(node, name).unwrap().s.clone().unwrap()).unwrap();
            assert_eq!(text("mode"), "nearest");
            assert_eq!(text("coordinate_transformation_mode"), "asymmetric");
            assert_eq!(text("nearest_mode"), "floor");
            let factors: Vec<usize> = operand(2).data.iter().map(|&v| v as usize).collect();
            let shape: Vec<usize> = x.shape.iter().zip(&factors).map(|(a, b)| a * b).collect();
            Value::from_fn(&shape, |at| {
                x.at(&at.iter().zip(&factors).map(|(i, f)| i / f).collect::<Vec<_>>())
            })
        }
        "AveragePool" | "MaxPool" => {
            let (kernel, strides) = (sizes(node, "kernel_shape"), sizes(node, "strides"));
            assert_eq!(kernel, strides);
            let shape = [
                x.shape[0],
                x.shape[1],
                x.shape[2] / kernel[0],
                x.shape[3] / kernel[1],
            ];
            Value::from_fn(&shape, |at| {
                let block = (0..kernel[0] * kernel[1]).map(|i| {
                    x.at(&[
                        at[0],
                        at[1],
                        at[2] * kernel[0] + i / kernel[1],
                        at[3] * kernel[1] + i % kernel[1],
                    ])
                });
                match node.op_type.as_str() {
                    "MaxPool" => block.fold(f64::NEG_INFINITY, f64::max),
                    _ => block.sum::<f64>() / (kernel[0] * kernel[1]) as f64,
                }
            })
        }
        "Gather" => {
            assert_eq!(find(node, "axis").unwrap().i, Some(0));
            let labels = operand(1).ints();
            Value::from_fn(&[labels.len(), x.shape[1]], |at| {
                x.at(&[labels[at[0]] as usize, at[1]])
            })
        }
        "OneHot" => {
            let depth = operand(1).data[0] as usize;
            assert_eq!(operand(2).data, [0.0, 1.0]);
            Value::from_fn(&[x.shape[0], depth], |at| {
                f64::from(u8::from(x.data[at[0]] == at[1] as f64))
            })
        }
        other => panic!("the interpreter does not have {other}"),
    }
}

fn zip(a: &Value, b: &Value, f: impl Fn(f64, f64) -> f64) -> Value {
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

fn product(a: &Value, b: &Value, transposed: bool) -> Value {
    let [inner, outputs] = if transposed {
        [b.shape[1], b.shape[0]]
    } else {
        [b.shape[0], b.shape[1]]
    };
    assert_eq!(a.shape[1], inner);
    Value::from_fn(&[a.shape[0], outputs], |at| {
        let term = |k: usize| {
            a.at(&[at[0], k])
                * if transposed {
                    b.at(&[at[1], k])
                } else {
                    b.at(&[k, at[1]])
                }
        };
        (0..inner).map(term).sum()
    })
}

fn conv(node: &NodeProto, x: &Value, w: &Value, bias: Option<&Value>) -> Value {
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
fn conv_transpose(node: &NodeProto, x: &Value, w: &Value, bias: Option<&Value>) -> Value {
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
