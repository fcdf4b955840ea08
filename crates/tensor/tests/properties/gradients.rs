//! First and second derivatives of every operation against central differences.

use crate::operations::{Call, Sample};
use crate::strategies::registry;
use engraft_tensor::{Tensor, grad_of, grad_of_with_graph, gradcheck, gradgradcheck};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

/// Runs a property over every entry of the registry, each with `share` of the usual number of cases.
fn for_every_operation(share: u32, property: impl Fn(&Sample) -> Result<(), TestCaseError>) {
    for entry in registry() {
        let mut config = Config::with_source_file(file!());
        config.cases = (config.cases / share).max(1);
        if let Err(error) = TestRunner::new(config).run(&entry.samples, |sample| property(&sample)) {
            panic!("`{}`: {error}", entry.name);
        }
    }
}

fn failed(error: impl ToString) -> TestCaseError {
    TestCaseError::fail(error.to_string())
}

#[test]
fn rules_match_central_differences() {
    for_every_operation(2, |sample| {
        gradcheck(|x| sample.apply(x), &sample.inputs()).map_err(failed)
    });
}

#[test]
fn rules_of_rules_match_central_differences() {
    for_every_operation(2, |sample| {
        gradgradcheck(|x| sample.apply(x), &sample.inputs()).map_err(failed)
    });
}

/// An input on several paths sums up the gradients of all paths.
#[test]
fn gradients_of_reused_inputs_add_up() {
    for_every_operation(8, |sample| {
        // The same tensor for every input of its shape, and the whole operation on two paths.
        let f = |x: &[Tensor<f64>]| {
            let y = sample.apply(x);
            y.mean() * y.tanh()
        };
        let inputs = sample.inputs();
        gradcheck(f, &inputs).map_err(failed)?;
        gradgradcheck(f, &inputs).map_err(failed)?;
        if inputs.len() > 1 && sample.shapes.iter().all(|s| *s == sample.shapes[0]) {
            // The last input is in the domain of every input of every operation.
            let last = inputs.last().cloned().into_iter().collect::<Vec<_>>();
            let same = |x: &[Tensor<f64>]| sample.apply(&vec![x[0].clone(); inputs.len()]);
            gradcheck(same, &last).map_err(failed)?;
            gradgradcheck(same, &last).map_err(failed)?;
        }
        Ok(())
    });
}

/// Empty tensors have values and derivatives of both orders, with the right shapes.
#[test]
fn axes_of_size_zero_are_no_special_case() {
    for_every_operation(8, |sample| {
        for sample in emptied(sample) {
            let x: Vec<Tensor<f64>> = sample.inputs().iter().map(Tensor::as_leaf).collect();
            let wrt: Vec<&Tensor<f64>> = x.iter().collect();
            let y = sample.apply(&x);
            let first = grad_of_with_graph(&(&y * &y).sum(), &wrt);
            for (d, x) in first.iter().zip(&x) {
                prop_assert_eq!(d.as_ref().map(Tensor::shape), Some(x.shape()));
            }
            let squares = first.iter().flatten().map(|d| d.square().sum());
            let penalty = squares.fold(Tensor::scalar(0.0), |a, b| a + b);
            for (d, x) in grad_of(&penalty, &wrt).iter().zip(&x) {
                prop_assert_eq!(d.as_ref().map_or(x.shape(), Tensor::shape), x.shape());
            }
        }
        Ok(())
    });
}

/// The sample with one axis after the other made empty, as long as the operation is still defined.
fn emptied(sample: &Sample) -> Vec<Sample> {
    let with = |call: Call, shapes: Vec<Vec<usize>>| Sample {
        call,
        shapes,
        seed: sample.seed,
    };
    let zero_at = |shape: &[usize], axis: usize| {
        let mut shape = shape.to_vec();
        shape[axis] = 0;
        shape
    };
    let first = &sample.shapes[0];
    match &sample.call {
        // A mean of zero rows is not a number and is refused. A condition has no gradient.
        Call::BatchNorm(_) | Call::BatchNormLeakyRelu(..) | Call::SelectWhere => Vec::new(),
        Call::BiasLeakyRelu(_) | Call::AffineLeakyRelu(_) => (0..first.len())
            .map(|axis| {
                let (mut shapes, last) = (sample.shapes.clone(), first.len() - 1);
                shapes[0][axis] = 0;
                shapes[1..]
                    .iter_mut()
                    .filter(|_| axis == last)
                    .for_each(|s| s[0] = 0);
                with(sample.call.clone(), shapes)
            })
            .collect(),
        Call::Conv2d(_) | Call::Conv2dInput(_) | Call::Conv2dWeight(_) => {
            // Channels in, channels out, batch: their positions in the two operands.
            let places: [[Option<usize>; 2]; 3] = match sample.call {
                Call::Conv2d(_) => [[Some(3), Some(2)], [None, Some(3)], [Some(0), None]],
                Call::Conv2dInput(_) => [[None, Some(2)], [Some(3), Some(3)], [Some(0), None]],
                _ => [[Some(3), None], [None, Some(3)], [Some(0), Some(0)]],
            };
            let emptied = places.map(|places| {
                let operands = sample.shapes.iter().zip(places);
                operands
                    .map(|(s, at)| at.map_or(s.clone(), |at| zero_at(s, at)))
                    .collect()
            });
            emptied.map(|shapes| with(sample.call.clone(), shapes)).to_vec()
        }
        Call::Matmul | Call::MatmulNt | Call::MatmulTn => {
            let (inner, [rows, columns]) = match sample.call {
                Call::Matmul => ([1, 0], [0, 1]),
                Call::MatmulNt => ([1, 1], [0, 0]),
                _ => ([0, 0], [1, 1]),
            };
            let second = &sample.shapes[1];
            vec![
                with(
                    sample.call.clone(),
                    vec![zero_at(first, inner[0]), zero_at(second, inner[1])],
                ),
                with(sample.call.clone(), vec![zero_at(first, rows), second.clone()]),
                with(sample.call.clone(), vec![first.clone(), zero_at(second, columns)]),
            ]
        }
        Call::Add | Call::Sub | Call::Mul | Call::Div => {
            let mut row = first.clone();
            row.insert(0, 0);
            vec![
                with(sample.call.clone(), vec![row.clone(), first.clone()]),
                with(sample.call.clone(), vec![first.clone(), row.clone()]),
                with(sample.call.clone(), vec![row.clone(), vec![1; row.len()]]),
                with(sample.call.clone(), vec![row.clone(), row]),
            ]
        }
        Call::Reshape(_) => vec![with(Call::Reshape(vec![3, 0]), vec![vec![0, 2]])],
        Call::SumTo(_) => vec![
            with(Call::SumTo(vec![2]), vec![vec![0, 2]]),
            with(Call::SumTo(vec![0]), vec![vec![3, 0]]),
            with(Call::SumTo(vec![1, 1]), vec![vec![0, 2]]),
        ],
        Call::BroadcastTo(_) => vec![
            with(Call::BroadcastTo(vec![0, 2]), vec![vec![2]]),
            with(Call::BroadcastTo(vec![3, 0]), vec![vec![0]]),
            with(Call::BroadcastTo(vec![0, 2]), vec![vec![1, 1]]),
        ],
        Call::Narrow(axis, start, length) => (0..first.len())
            .map(|a| match a == *axis {
                true => with(Call::Narrow(a, 0, 0), vec![zero_at(first, a)]),
                false => with(Call::Narrow(*axis, *start, *length), vec![zero_at(first, a)]),
            })
            .collect(),
        // An axis without elements has no extreme and nothing to reflect.
        Call::MaxKeep(axis) | Call::MinKeep(axis) | Call::PadReflect(axis, ..) => (0..first.len())
            .filter(|a| a != axis)
            .map(|a| with(sample.call.clone(), vec![zero_at(first, a)]))
            .collect(),
        Call::IndexSelect(axis, _)
        | Call::IndexAdd(axis, ..)
        | Call::Gather(axis, ..)
        | Call::Split(axis, _) => (0..first.len())
            .map(|a| {
                let call = match &sample.call {
                    call if a != *axis => call.clone(),
                    Call::IndexSelect(axis, _) => Call::IndexSelect(*axis, Vec::new()),
                    Call::IndexAdd(axis, _, size) => Call::IndexAdd(*axis, Vec::new(), *size),
                    Call::Gather(axis, _, seed) => Call::Gather(*axis, 0, *seed),
                    _ => Call::Split(*axis, vec![0, 0]),
                };
                with(call, vec![zero_at(first, a)])
            })
            .collect(),
        Call::BatchMatmul | Call::BatchMatmulNt | Call::BatchMatmulTn => {
            let shapes = sample.shapes.iter().map(|s| zero_at(s, 0)).collect();
            vec![with(sample.call.clone(), shapes)]
        }
        Call::Conv2dGrouped(..) | Call::Conv1d(..) => {
            let shapes = vec![zero_at(first, 0), sample.shapes[1].clone()];
            vec![with(sample.call.clone(), shapes)]
        }
        // A window and an image need pixels.
        Call::ResizeBilinear(_)
        | Call::AdaptiveAvgPool(_)
        | Call::AvgPoolWindows(..)
        | Call::AvgPoolInside(..)
        | Call::MaxPoolWindows(..) => [0, 3]
            .map(|a| with(sample.call.clone(), vec![zero_at(first, a)]))
            .to_vec(),
        call => (0..first.len())
            .map(|axis| {
                let shapes = sample.shapes.iter().map(|s| zero_at(s, axis)).collect();
                with(call.clone(), shapes)
            })
            .collect(),
    }
}

/// Whole powers at 0. A rule that multiplies `0` by `0^-1` would give NaN instead of 0.
#[test]
fn whole_powers_are_smooth_at_zero() {
    for p in [0.0, 1.0, 2.0, 3.0] {
        let at = [Tensor::from_vec([3], vec![-1.0, 0.0, 2.0])];
        gradcheck(|x| x[0].powf(p), &at).unwrap_or_else(|e| panic!("power {p}: {e}"));
        gradgradcheck(|x| x[0].powf(p), &at).unwrap_or_else(|e| panic!("power {p}: {e}"));
    }
}
