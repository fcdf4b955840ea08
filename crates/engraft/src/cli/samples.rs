//! Images of any program: an NPY file or a folder of pictures.

use super::images::{Fit, choose, chosen, pictures, read, read_data};
use anyhow::{Context, bail};
use engraft_data::{Npy, Numbers};
use engraft_metrics::{FeatureNetwork, FeatureOutput, IMAGE};
use engraft_tensor::Tensor;
use std::path::Path;

/// Reads at most `count` images of an NPY file or a folder of pictures, chosen by the seed where there are more.
pub(super) fn read_samples(
    network: &FeatureNetwork,
    path: &Path,
    count: usize,
    seed: u64,
) -> anyhow::Result<(FeatureOutput, Fit)> {
    if path.is_dir() {
        let (data, fit) = pictures(path)?;
        let reading = read_data(network, "pictures", &choose(data, count, seed))?;
        return Ok((reading, fit));
    }
    let array = Npy::open(path)?;
    let images = from_npy(&array, count, seed).with_context(|| format!("{}", path.display()))?;
    let reading = read(network, "samples", images.shape()[0], |start, end| {
        images.narrow(0, start, end - start)
    })?;
    Ok((reading, Fit::AsTheyAre))
}

/// At most `count` images, chosen by the seed, from an array `[n, 28, 28]`, `[n, 28, 28, 1]` or `[n, 1, 28, 28]`: bytes
/// from 0 to 255, or floats from -1 to 1.
fn from_npy(array: &Npy, count: usize, seed: u64) -> anyhow::Result<Tensor> {
    let [height, width, _] = IMAGE;
    let n = match *array.shape() {
        [n, h, w] | [n, h, w, 1] | [n, 1, h, w] if [h, w] == [height, width] => n,
        ref other => bail!(
            "expected images [n, {height}, {width}], with an axis of one channel or without, found an array of shape {other:?}"
        ),
    };
    let rows = chosen(n, count, seed);
    let pixels = height * width;
    let places = rows.iter().flat_map(|&row| row * pixels..(row + 1) * pixels);
    let values: Vec<f32> = match array.numbers() {
        Numbers::U8(bytes) => places.map(|i| f32::from(bytes[i]) / 127.5 - 1.0).collect(),
        Numbers::F32(values) => places.map(|i| values[i]).collect(),
        Numbers::F64(values) => places.map(|i| values[i] as f32).collect(),
        _ => bail!("expected float32, float64 or uint8"),
    };
    if let Some(at) = values.iter().position(|x| !(-1.001..=1.001).contains(x)) {
        bail!(
            "pixel {} of image {} is {}: floats must be from -1 to 1; scale them, or save bytes from 0 to 255",
            at % pixels,
            rows[at / pixels],
            values[at]
        );
    }
    let floats = !matches!(array.numbers(), Numbers::U8(_));
    if floats && values.iter().all(|&x| x >= 0.0) {
        bail!(
            "no pixel is below 0: floats must run from -1 (black) to 1 (white); where x runs from 0 to 1, save 2 x - 1"
        );
    }
    Ok(Tensor::from_vec([rows.len(), height, width, 1], values))
}

#[cfg(test)]
mod tests {
    use super::*;
    use engraft_data::write_npy;

    #[test]
    fn arrays_as_images() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.npy");
        let read = |shape: &[usize], values: &[f32]| {
            write_npy(&path, shape, values).unwrap();
            from_npy(&Npy::open(&path).unwrap(), 2, 1)
        };
        for shape in [&[2, 28, 28][..], &[2, 28, 28, 1], &[2, 1, 28, 28]] {
            assert_eq!(read(shape, &[-0.5; 1568]).unwrap().shape(), [2, 28, 28, 1]);
        }
        let error = read(&[2, 14, 56], &[0.5; 1568]).unwrap_err().to_string();
        assert!(error.contains("[2, 14, 56]"), "{error}");
        let error = read(&[2, 28, 28], &[0.5; 1568]).unwrap_err().to_string();
        assert!(error.contains("from -1 (black) to 1"), "{error}");
        let mut values = [0.0; 1568];
        values[784 + 3] = 255.0;
        let error = read(&[2, 28, 28], &values).unwrap_err().to_string();
        assert!(error.contains("pixel 3 of image 1 is 255"), "{error}");
    }

    #[test]
    fn samples_are_chosen_by_the_seed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.npy");
        let values: Vec<f32> = (0..40 * 784).map(|i| (i / 784) as f32 / 40.0 - 1.0).collect();
        write_npy(&path, &[40, 28, 28], &values).unwrap();
        let array = Npy::open(&path).unwrap();
        let choice = |count, seed| -> Vec<usize> {
            let images = from_npy(&array, count, seed).unwrap();
            let images = images.as_slice().chunks_exact(784);
            images
                .map(|image| (40.0 * (image[783] + 1.0)).round() as usize)
                .collect()
        };
        let [a, b, c] = [1, 1, 2].map(|seed| choice(10, seed));
        assert!(a == b && a != c && a.len() == 10, "{a:?} {c:?}");
        assert_ne!(a, (0..10).collect::<Vec<_>>());
        assert_eq!(choice(50, 1), (0..40).collect::<Vec<_>>());
    }
}
