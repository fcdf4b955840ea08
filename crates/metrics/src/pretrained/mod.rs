//! Feature extractors with user-supplied weights: safetensors files with PyTorch's names.

mod inception;
mod layers;
mod mobilenet_v2;
mod weights;

pub use inception::{INCEPTION_WEIGHTS, Inception};
pub use mobilenet_v2::{MOBILENET_V2_WEIGHTS, MobileNetV2};

/// A line for a shell that converts weights from PyTorch's file (first argument) to a safetensors file (second argument).
/// It needs the Python packages torch and safetensors. The file records the SHA-256 of PyTorch's file.
pub const CONVERT: &str = "python -c \"import sys, hashlib, torch, safetensors.torch as s; p, o = sys.argv[1:]; \
     s.save_file({k: v.contiguous() for k, v in torch.load(p, map_location='cpu').items()}, o, \
     {'source_sha256': hashlib.sha256(open(p, 'rb').read()).hexdigest()})\"";
