//! Generated images with their nearest training images: the picture of memorization.

use super::embedded::{Pixels, encoded};
use super::image_grid::grid_below_first_row;
use crate::batch::batch_tensor;
use engraft_base::equidistant;
use engraft_data::{DataError, TrainingData};
use engraft_tensor::{Tensor, concat, no_grad};

/// Columns of the picture: generated images.
const SHOWN: usize = 8;
/// Training images below each.
const NEAREST: usize = 3;
/// Most training images that are searched.
const SEARCHED: usize = 10_000;
/// Training images whose own nearest image is the yardstick.
const YARDSTICK: usize = 64;
/// Numbers in a block of images that is compared at once.
const BLOCK: usize = 8 << 20;
/// Values in `[-1, 1]` to gray levels.
const LEVELS: f64 = 127.5;

/// The training images nearest to one image: index and mean squared difference, nearest first.
type Neighbors = Vec<(usize, f64)>;

/// A PNG file of the generated images that are closest to a training image, each above its three nearest training images.
///
/// The distance is the root mean square difference of the pixels. The file's description has the distances, and the median
/// distance of training images to the nearest other training image for comparison. At most 10,000 training images are searched.
///
/// - `data`, `trained_on`: the training images are those of `data` at these indices.
/// - `generated`: `[n, h, w, c]`, with values in `[-1, 1]` and the shape of the training images.
///
/// `None` without images, with fewer than two training images, or if the data has more than 4 channels.
///
/// ```
/// use engraft_data::{Split, drawn_digits};
/// use engraft_gan::{dataset_tensor, report::nearest_training_images};
///
/// let digits = drawn_digits(Split::Train, 10, 1);
/// let copies = dataset_tensor(&digits, &[3, 5]);
/// let trained_on: Vec<usize> = (0..10).collect();
/// let png = nearest_training_images(&digits, &trained_on, &copies)?.expect("there are images");
/// assert!(png.starts_with(b"\x89PNG"));
/// # Ok::<(), engraft_data::DataError>(())
/// ```
///
/// # Errors
/// If training images cannot be read.
///
/// # Panics
/// If the generated images have another shape than the training images.
pub fn nearest_training_images(
    data: &dyn TrainingData,
    trained_on: &[usize],
    generated: &Tensor,
) -> Result<Option<Vec<u8>>, DataError> {
    let n = generated.shape()[0];
    if n == 0 || trained_on.len() < 2 || data.shape()[2] > 4 {
        return Ok(None);
    }
    let searched: Vec<usize> = equidistant(trained_on.len().min(SEARCHED), trained_on.len())
        .into_iter()
        .map(|i| trained_on[i])
        .collect();
    let measuring: Vec<usize> = equidistant(searched.len().min(YARDSTICK), searched.len())
        .into_iter()
        .map(|i| searched[i])
        .collect();
    let queries = concat(&[generated, &batch_tensor(data, &measuring)?], 0);
    let mut found = neighbors(data, &searched, &queries)?;
    let mut typical: Vec<f64> = found
        .split_off(n)
        .iter()
        .zip(&measuring)
        .filter_map(|(near, own)| near.iter().find(|(index, _)| index != own))
        .map(|&(_, distance)| levels(distance))
        .collect();
    typical.sort_unstable_by(f64::total_cmp);
    let mut order: Vec<usize> = (0..n).collect();
    order.sort_by(|&a, &b| found[a][0].1.total_cmp(&found[b][0].1));
    order.truncate(SHOWN);
    let rows = NEAREST.min(searched.len());
    let mut images: Vec<Tensor> = order.iter().map(|&i| generated.narrow(0, i, 1)).collect();
    let rank = |row: usize| order.iter().map(|&i| found[i][row].0).collect::<Vec<usize>>();
    for indices in (0..rows).map(rank) {
        images.push(batch_tensor(data, &indices)?);
    }
    let grid = grid_below_first_row(&concat(&images.iter().collect::<Vec<_>>(), 0), order.len());
    let distances: Vec<f64> = order.iter().map(|&i| levels(found[i][0].1)).collect();
    let text = description(
        n,
        &distances,
        typical.get(typical.len() / 2).copied(),
        [searched.len(), trained_on.len()],
    );
    let mut pixels = Pixels::decode(&grid).expect("a PNG file of this crate");
    pixels.description = Some(text);
    Ok(encoded(&[pixels], [0, 0]))
}

/// Root mean square difference in gray levels from 0 to 255, of a mean square in `[-1, 1]`.
fn levels(mean_square: f64) -> f64 {
    mean_square.sqrt() * LEVELS
}

/// The text of the picture.
fn description(n: usize, distances: &[f64], typical: Option<f64>, [searched, all]: [usize; 2]) -> String {
    let listed: Vec<String> = distances.iter().map(|d| format!("{d:.0}")).collect();
    let among = if searched == all {
        format!("{all} training images")
    } else {
        format!("{searched} of the {all} training images")
    };
    let mut text = format!(
        "Top row: the {} of {n} generated images that are closest to a training image. Below each: its nearest of {among} by pixel \
         distance. Distances of the top row, in gray levels from 0 to 255 (root mean square): {}.",
        distances.len(),
        listed.join(", ")
    );
    if let Some(typical) = typical {
        text += &format!(
            " For comparison, the median distance of a training image to the nearest other one is {typical:.0}. Copies have a \
             much smaller distance and look the same as the image below them."
        );
    }
    text
}

/// The nearest training images of each query `[n, h, w, c]`, one more than are shown.
fn neighbors(
    data: &dyn TrainingData,
    searched: &[usize],
    queries: &Tensor,
) -> Result<Vec<Neighbors>, DataError> {
    let [h, w, c] = data.shape();
    let n = queries.shape()[0];
    let dimension = h * w * c;
    let queries = queries.reshape([n, dimension]);
    let squares = |rows: &Tensor| -> Vec<f64> {
        let rows = rows.as_slice().chunks_exact(dimension);
        rows.map(|row| row.iter().map(|&x| f64::from(x).powi(2)).sum())
            .collect()
    };
    let of_queries = squares(&queries);
    let mut found: Vec<Neighbors> = vec![Vec::new(); n];
    for block in searched.chunks((BLOCK / dimension).clamp(1, 512)) {
        let images = batch_tensor(data, block)?.reshape([block.len(), dimension]);
        let of_images = squares(&images);
        let products = no_grad(|| queries.matmul_nt(&images));
        for (i, (near, products)) in found
            .iter_mut()
            .zip(products.as_slice().chunks_exact(block.len()))
            .enumerate()
        {
            let distances = block.iter().zip(products).zip(&of_images);
            near.extend(distances.map(|((&index, &product), of_image)| {
                let square = of_queries[i] + of_image - 2.0 * f64::from(product);
                (index, square.max(0.0) / dimension as f64)
            }));
            near.sort_by(|a, b| a.1.total_cmp(&b.1));
            near.truncate(NEAREST + 1);
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::dataset_tensor;
    use engraft_data::{Split, drawn_digits};

    #[test]
    fn copies_are_found_and_said() {
        let digits = drawn_digits(Split::Train, 30, 1);
        let trained_on: Vec<usize> = (0..20).collect();
        let gray = Tensor::zeros([1, 28, 28, 1]);
        let generated = concat(&[&gray, &dataset_tensor(&digits, &[7, 25])], 0);
        let file = nearest_training_images(&digits, &trained_on, &generated)
            .unwrap()
            .unwrap();
        let pixels = Pixels::decode(&file).unwrap().unenlarged();
        assert_eq!(pixels.width, 3 * 30 + 2, "three images wide");
        let text = pixels.description.clone().unwrap();
        assert!(
            text.contains("20 training images") && text.contains(": 0, "),
            "{text}"
        );
        // The copy comes first, and the image below it is the same.
        let line = |y: usize| &pixels.bytes[y * pixels.width..][2..30];
        let rows_apart = (pixels.height - 2) / 4;
        assert!(
            (0..28).all(|y| line(2 + y) == line(pixels.height - 3 * 30 + y)),
            "{rows_apart}"
        );
    }

    #[test]
    fn distances_are_those_of_the_definition() {
        let digits = drawn_digits(Split::Train, 12, 2);
        let all: Vec<usize> = (0..12).collect();
        let queries = dataset_tensor(&digits, &[0, 4]) * 0.5;
        let found = neighbors(&digits, &all, &queries).unwrap();
        for (i, near) in found.iter().enumerate() {
            assert_eq!(near.len(), NEAREST + 1);
            assert!(near.is_sorted_by(|a, b| a.1 <= b.1));
            for &(index, distance) in near {
                let difference = queries.narrow(0, i, 1) - dataset_tensor(&digits, &[index]);
                let expected = f64::from(difference.square().mean().item());
                assert!((distance - expected).abs() < 1e-5, "{distance} {expected}");
            }
        }
    }

    #[test]
    fn too_few_images_have_no_picture() {
        let digits = drawn_digits(Split::Train, 3, 1);
        let generated = dataset_tensor(&digits, &[0]);
        assert!(
            nearest_training_images(&digits, &[1], &generated)
                .unwrap()
                .is_none()
        );
        assert!(
            nearest_training_images(&digits, &[1, 2], &generated)
                .unwrap()
                .is_some()
        );
    }
}
