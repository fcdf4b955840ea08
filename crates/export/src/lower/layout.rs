//! The two layouts of images: `[n, h, w, c]` here, `[n, c, h, w]` in a graph.

use crate::graph::Dim;

/// Axis `i` of an image here is axis `TO_CHANNELS_LAST[i]` of the image in the graph.
pub(super) const TO_CHANNELS_LAST: [usize; 4] = [0, 2, 3, 1];
/// The inverse.
pub(super) const TO_CHANNELS_FIRST: [usize; 4] = [0, 3, 1, 2];

/// Sizes in the layout of the graph.
pub(super) fn in_graph(shape: &[Dim]) -> Vec<Dim> {
    match shape.len() {
        4 => TO_CHANNELS_FIRST.map(|axis| shape[axis]).to_vec(),
        _ => shape.to_vec(),
    }
}

/// An axis in the layout of the graph, of a tensor with `rank` axes.
pub(super) fn axis_in_graph(axis: usize, rank: usize) -> usize {
    match rank {
        4 => TO_CHANNELS_LAST[axis],
        _ => axis,
    }
}

/// Whether the elements of images have the same order in both layouts.
pub(super) fn is_layout_free(shape: &[Dim]) -> bool {
    shape[3] == Dim::Fixed(1) || shape[1..3] == [Dim::Fixed(1); 2]
}

/// The size whose value is `sizes` for the numbers of examples `batches`.
pub(super) fn dim(sizes: [usize; 2], batches: [usize; 2]) -> Option<Dim> {
    let [a, b] = sizes;
    if a == b {
        return Some(Dim::Fixed(a));
    }
    let factor = b.checked_sub(a)? / (batches[1] - batches[0]);
    if factor > 0 && [a, b] == batches.map(|n| factor * n) {
        return Some(Dim::Batch(factor));
    }
    let part = batches[0].checked_div(a)?;
    ([a, b].map(|size| size * part) == batches).then_some(Dim::Share(part))
}
