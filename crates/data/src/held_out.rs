//! Which pictures are held out where the data themselves have no test part.

/// Fewest pictures of which some are held out; of fewer, every picture is needed to train.
pub const ENOUGH_TO_HOLD_OUT: usize = 100;

/// One picture in so many is held out.
const EVERY: usize = 5;

/// Indices of `n` pictures: those to train on, and every fifth, which is held out. The order of the pictures is that of
/// their paths, so each class gives its share.
///
/// ```
/// let [train, held_out] = engraft_data::every_fifth(11);
/// assert_eq!((train.len(), held_out), (9, vec![4, 9]));
/// ```
pub fn every_fifth(n: usize) -> [Vec<usize>; 2] {
    let (held_out, train) = (0..n).partition(|&i| is_held_out(i));
    [train, held_out]
}

/// Whether picture `i` is one of these.
pub(crate) fn is_held_out(i: usize) -> bool {
    i % EVERY == EVERY - 1
}
