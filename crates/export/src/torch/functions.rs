//! Operators without weights as expressions of Python.

use super::text::{arguments, number, pair};
use crate::graph::Dim;
use crate::operator::{Operator, Window};

/// The expression of an operator on `values`, whose result has the sizes `to`. `None` for layers with weights, which are
/// attributes of the module.
pub(super) fn functional(operator: &Operator, values: &[String], to: &[Dim]) -> Option<String> {
    let x = values.first().map_or("", String::as_str);
    let binary = |sign: &str| format!("{x} {sign} {}", values[1]);
    Some(match operator {
        Operator::Add => binary("+"),
        Operator::Sub => binary("-"),
        Operator::Mul => binary("*"),
        Operator::Div => binary("/"),
        Operator::MatMul => binary("@"),
        Operator::Greater => format!("({}).to({x}.dtype)", binary(">")),
        Operator::Less => format!("({}).to({x}.dtype)", binary("<")),
        Operator::Equal => format!("({}).to({x}.dtype)", binary("==")),
        Operator::Where => format!("torch.where({x} != 0, {}, {})", values[1], values[2]),
        Operator::Maximum => format!("torch.maximum({x}, {})", values[1]),
        Operator::Minimum => format!("torch.minimum({x}, {})", values[1]),
        Operator::Affine { scale, shift } => match (*scale, *shift) {
            (-1.0, 0.0) => format!("-{x}"),
            (1.0, shift) => format!("{x} + {}", number(shift)),
            (scale, 0.0) => format!("{x} * {}", number(scale)),
            (scale, shift) => format!("{x} * {} + {}", number(scale), number(shift)),
        },
        Operator::Exp => format!("{x}.exp()"),
        Operator::Log => format!("{x}.log()"),
        Operator::Sqrt => format!("{x}.sqrt()"),
        Operator::Abs => format!("{x}.abs()"),
        Operator::Sin => format!("{x}.sin()"),
        Operator::Cos => format!("{x}.cos()"),
        Operator::Erf => format!("{x}.erf()"),
        Operator::Pow { exponent } => format!("{x} ** {}", number(*exponent)),
        Operator::LeakyRelu { slope } if *slope == 0.0 => format!("F.relu({x})"),
        Operator::LeakyRelu { slope } => format!("F.leaky_relu({x}, {})", number(*slope)),
        Operator::Clip { low, high } => {
            let high = high.map_or(String::new(), |high| format!(", max={}", number(high)));
            format!("{x}.clamp(min={}{high})", number(*low))
        }
        Operator::Tanh => format!("torch.tanh({x})"),
        Operator::Sigmoid => format!("torch.sigmoid({x})"),
        Operator::Softplus => format!("F.softplus({x})"),
        Operator::Softmax { axis } => format!("{x}.softmax(dim={axis})"),
        Operator::LogSoftmax { axis } => format!("{x}.log_softmax(dim={axis})"),
        Operator::Sum { axes } => format!("{x}.sum(dim={axes:?}, keepdim=True)"),
        Operator::ReduceMax { axis } => format!("{x}.amax(dim={axis}, keepdim=True)"),
        Operator::ReduceMin { axis } => format!("{x}.amin(dim={axis}, keepdim=True)"),
        Operator::Reshape => format!("{x}.reshape({})", arguments(to)),
        Operator::Expand => format!("{x}.expand({})", arguments(to)),
        Operator::Transpose { order } => {
            let order: Vec<String> = order.iter().map(ToString::to_string).collect();
            format!("{x}.permute({})", order.join(", "))
        }
        Operator::Slice { axis, start, end } => format!("{x}.narrow({axis}, {start}, {})", end - start),
        Operator::Select { axis, indices } => format!("{x}[{}{indices:?}]", ":, ".repeat(*axis)),
        Operator::Pad { axis, before, after } => {
            let mut pads = vec![0; 2 * (to.len() - axis)];
            let last = pads.len();
            (pads[last - 2], pads[last - 1]) = (*before, *after);
            format!("F.pad({x}, {pads:?})")
        }
        Operator::Concat { axis } => format!("torch.cat([{}], dim={axis})", values.join(", ")),
        Operator::Upsample { factor } => {
            format!("F.interpolate({x}, scale_factor={factor}, mode=\"nearest\")")
        }
        Operator::ResizeBilinear => format!(
            "F.interpolate({x}, size=({}), mode=\"bilinear\", align_corners=False)",
            arguments(&to[2..])
        ),
        Operator::AveragePool(window) => {
            let inside = if window.padding == [0, 0] {
                ""
            } else {
                ", count_include_pad=False"
            };
            format!("F.avg_pool2d({x}, {}{inside})", windows(window))
        }
        Operator::MaxPool(window) => format!("F.max_pool2d({x}, {})", windows(window)),
        Operator::OneHot { classes } => format!("F.one_hot({x}, {classes}).to(torch.float32)"),
        Operator::Linear | Operator::Conv { .. } | Operator::ConvTranspose { .. } | Operator::Embedding => {
            return None;
        }
    })
}

/// The arguments of a pooling.
fn windows(window: &Window) -> String {
    let mut arguments = pair(window.kernel);
    for (name, values, default) in [
        ("stride", window.stride, window.kernel),
        ("padding", window.padding, [0, 0]),
    ] {
        if values != default {
            arguments += &format!(", {name}={}", pair(values));
        }
    }
    arguments
}
