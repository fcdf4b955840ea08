//! Images as the feature network reads them.

use engraft_data::{Dataset, Provenance};
use engraft_metrics::IMAGE;
use engraft_tensor::Tensor;

/// Images `[n, h, w, c]` with values in `[-1, 1]` as the measures' feature networks read them: grey, 28x28.
///
/// Such images pass as they are. Others are rounded to bytes, as a file would hold them, made grey with the weights
/// of ITU-R BT.709 without their alpha channel, and [resized](Dataset::resized).
///
/// # Panics
/// If the images have another shape or other than 1 to 4 channels.
#[must_use]
#[track_caller]
pub fn feature_view(images: &Tensor) -> Tensor {
    let &[n, h, w, c] = images.shape() else {
        panic!(
            "feature_view: images must be [n, h, w, c], got {:?}",
            images.shape()
        )
    };
    if [h, w, c] == IMAGE || n == 0 {
        return images.clone();
    }
    assert!(
        (1..=4).contains(&c),
        "feature_view: 1 to 4 channels, got images {:?}",
        images.shape()
    );
    let grey: Vec<u8> = images
        .as_slice()
        .chunks_exact(c)
        .map(|pixel| {
            let value = match *pixel {
                [r, g, b, ..] => 0.2126 * r + 0.7152 * g + 0.0722 * b,
                [value, ..] => value,
                [] => unreachable!("a chunk has c values"),
            };
            ((value + 1.0) * 127.5).round().clamp(0.0, 255.0) as u8
        })
        .collect();
    let data = Dataset::new("view", Provenance::Memory, grey, [h, w, 1], vec![0; n])
        .expect("a pixel for each place")
        .resized(IMAGE[0], IMAGE[1]);
    let all: Vec<usize> = (0..n).collect();
    Tensor::from_vec([n, IMAGE[0], IMAGE[1], 1], data.batch_f32(&all))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_become_grey_and_sizes_one() {
        let grey = Tensor::full([2, 28, 28, 1], 0.3);
        assert_eq!(feature_view(&grey).as_slice(), grey.as_slice());
        let white = feature_view(&Tensor::full([1, 32, 32, 3], 1.0));
        assert_eq!(white.shape(), [1, 28, 28, 1]);
        assert!(white.as_slice().iter().all(|&x| x == 1.0));
        // Of grey with alpha, alpha does not count.
        let values = (0..2 * 28 * 28).map(|i| if i % 2 == 0 { -1.0 } else { 1.0 });
        let black = feature_view(&Tensor::from_vec([1, 28, 28, 2], values.collect()));
        assert!(black.as_slice().iter().all(|&x| x == -1.0));
    }
}
