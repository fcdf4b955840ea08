//! A reader of ONNX files that computes every operator by its definition, in `f64`, with none of this project's kernels.

mod kernels;
mod value;

use engraft_export::onnx::proto::{Model, NodeProto};
use kernels::{conv, conv_transpose, erf, find, int, pool, product, reduced, resize, sizes, zip};
use prost::Message;
use std::collections::HashMap;
use value::FLOAT;
pub(crate) use value::Value;

/// An element type of ONNX.
const BOOL: i64 = 9;

/// Reads a file and runs it on the inputs by name. Returns the outputs in their order.
pub(crate) fn run(bytes: &[u8], inputs: Vec<(&str, Value)>) -> Vec<Value> {
    let model = Model::decode(bytes).unwrap();
    let opset = model.opset_import[0].version;
    assert!((13..=24).contains(&opset) && (8..=12).contains(&model.ir_version));
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
        let result = compute(node, &operands, opset);
        let before = values.insert(node.output[0].clone(), result);
        assert!(before.is_none(), "{} is computed twice", node.output[0]);
    }
    graph
        .output
        .iter()
        .map(|output| values[&output.name].clone())
        .collect()
}

fn compute(node: &NodeProto, operands: &[Option<&Value>], opset: i64) -> Value {
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
        "Sin" => map(&f64::sin),
        "Cos" => map(&f64::cos),
        "Erf" => map(&erf),
        "Max" => zip(x, operand(1), f64::max),
        "Min" => zip(x, operand(1), f64::min),
        "Greater" => zip(x, operand(1), |a, b| f64::from(u8::from(a > b))),
        "Less" => zip(x, operand(1), |a, b| f64::from(u8::from(a < b))),
        "Equal" => zip(x, operand(1), |a, b| f64::from(u8::from(a == b))),
        "Cast" if int(node, "to") == BOOL => map(&|v| f64::from(u8::from(v != 0.0))),
        "Cast" => {
            assert_eq!(int(node, "to"), i64::from(FLOAT));
            x.clone()
        }
        "Where" => {
            let (a, b) = (operand(1), operand(2));
            let yes = zip(x, a, |c, a| if c == 0.0 { 0.0 } else { a });
            let no = zip(x, b, |c, b| if c == 0.0 { b } else { 0.0 });
            zip(&yes, &no, |a, b| a + b)
        }
        "Softmax" | "LogSoftmax" => {
            let axis = int(node, "axis") as usize;
            let total = reduced(&map(&f64::exp), axis, 0.0, |a, b| a + b);
            match node.op_type.as_str() {
                "Softmax" => zip(x, &total, |v, total| v.exp() / total),
                _ => zip(x, &total, |v, total| v - total.ln()),
            }
        }
        "ReduceMax" | "ReduceMin" => {
            assert_eq!(int(node, "keepdims"), 1);
            let axis = if opset < 18 {
                sizes(node, "axes")[0]
            } else {
                operand(1).ints()[0] as usize
            };
            match node.op_type.as_str() {
                "ReduceMax" => reduced(x, axis, f64::NEG_INFINITY, f64::max),
                _ => reduced(x, axis, f64::INFINITY, f64::min),
            }
        }
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
        "Resize" => resize(node, x, operand(2)),
        "AveragePool" | "MaxPool" => pool(node, x),
        "Gather" => {
            let axis = int(node, "axis") as usize;
            let indices = operand(1).ints();
            let mut shape = x.shape.clone();
            shape[axis] = indices.len();
            Value::from_fn(&shape, |at| {
                let mut from = at.to_vec();
                from[axis] = indices[at[axis]] as usize;
                x.at(&from)
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
