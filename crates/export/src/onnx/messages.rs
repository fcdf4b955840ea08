//! Messages of ONNX: tensors, declared values, attributes.

use super::proto::{Attribute, Dimension, Size, TensorProto, TensorShape, TensorType, TypeProto, ValueInfo};
use crate::graph::Dim;

pub(super) fn tensor(name: &str, data_type: i32, dims: Vec<i64>, raw_data: Vec<u8>) -> TensorProto {
    TensorProto {
        dims,
        data_type,
        name: name.into(),
        raw_data,
    }
}

pub(super) fn value_info(name: &str, elem_type: i32, shape: &[Dim], doc_string: String) -> ValueInfo {
    let dimension = |dim: &Dim| Dimension {
        size: Some(match dim {
            Dim::Fixed(size) => Size::Value(*size as i64),
            Dim::Batch(1) => Size::Param("N".into()),
            Dim::Batch(factor) => Size::Param(format!("{factor}N")),
            Dim::Share(part) => Size::Param(format!("N/{part}")),
        }),
    };
    let shape = TensorShape {
        dim: shape.iter().map(dimension).collect(),
    };
    ValueInfo {
        name: name.into(),
        r#type: Some(TypeProto {
            tensor_type: Some(TensorType {
                elem_type,
                shape: Some(shape),
            }),
        }),
        doc_string,
    }
}

fn attribute(name: &str, kind: i32) -> Attribute {
    Attribute {
        name: name.into(),
        kind,
        ..Attribute::default()
    }
}

pub(super) fn float(name: &str, value: f64) -> Attribute {
    Attribute {
        f: Some(value as f32),
        ..attribute(name, 1)
    }
}

pub(super) fn int(name: &str, value: usize) -> Attribute {
    Attribute {
        i: Some(value as i64),
        ..attribute(name, 2)
    }
}

pub(super) fn text(name: &str, value: &str) -> Attribute {
    Attribute {
        s: Some(value.into()),
        ..attribute(name, 3)
    }
}

pub(super) fn ints(name: &str, values: &[usize]) -> Attribute {
    Attribute {
        ints: values.iter().map(|&value| value as i64).collect(),
        ..attribute(name, 7)
    }
}
