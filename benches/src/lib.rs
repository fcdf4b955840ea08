//! Benchmarks of the project; see the files in `benches/`.
