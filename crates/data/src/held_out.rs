//! Held-out pictures for data without a test part.

/// Minimum number of pictures for holding some out. With fewer, all are needed for training.
pub const ENOUGH_TO_HOLD_OUT: usize = 100;

/// One in this many pictures is held out.
const EVERY: usize = 5;

/// Splits the indices `0..n` of pictures into training and held-out ones. Every fifth is held out. Pictures are sorted by
/// path, so each class contributes its share.
///
/// ```
/// let [train, held_out] = engraft_data::every_fifth(11);
/// assert_eq!((train.len(), held_out), (9, vec![4, 9]));
/// ```
pub fn every_fifth(n: usize) -> [Vec<usize>; 2] {
    let (held_out, train) = (0..n).partition(|&i| is_held_out(i));
    [train, held_out]
}

/// Whether picture `i` is held out.
pub(crate) fn is_held_out(i: usize) -> bool {
    i % EVERY == EVERY - 1
}
