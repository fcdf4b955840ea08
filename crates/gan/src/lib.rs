//! Generative adversarial networks: objectives, networks, training and checkpoints.

pub mod checkpoint;
