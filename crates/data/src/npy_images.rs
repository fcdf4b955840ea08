//! Images from an NPY file.

use std::path::Path;

use crate::dataset::Dataset;
use crate::error::DataError;
use crate::npy::{Npy, Numbers};
use crate::provenance::Provenance;

/// Images `[n, h, w]` or `[n, h, w, c]` with 1 or 3 channels, as bytes, and a description of the conversion.
///
/// Bytes are unchanged. Floating-point numbers are taken as the range from -1 to 1 if one of them is negative, otherwise
/// as the range from 0 to 1. They are rounded to bytes.
///
/// # Errors
/// Those of [`Npy::open`]. [`DataError::Unusable`] for another shape, other numbers, or no images.
pub(crate) fn images(path: &Path) -> Result<(Dataset, String), DataError> {
    let npy = Npy::open(path)?;
    let unusable = |expected: &str, found: String, advice| DataError::Unusable {
        place: path.into(),
        expected: expected.into(),
        found,
        advice,
    };
    let size = match *npy.shape() {
        [n, h, w] if n > 0 => [h, w, 1],
        [n, h, w, c @ (1 | 3)] if n > 0 => [h, w, c],
        ref other => {
            let expected = "images of shape [n, h, w], [n, h, w, 1] or [n, h, w, 3]";
            let advice = "save them with the channels last";
            return Err(unusable(expected, format!("{other:?}"), advice));
        }
    };
    let read = match npy.into_numbers() {
        Numbers::U8(bytes) => Ok((bytes, "unchanged bytes")),
        Numbers::F32(numbers) => floats(&numbers),
        Numbers::F64(numbers) => floats(&numbers),
    };
    let (bytes, how) = read.map_err(|found| {
        let expected = "numbers from -1 to 1, or from 0 to 1";
        unusable(expected, found, "scale them, or save bytes (uint8)")
    })?;
    let name = path
        .file_stem()
        .map_or("images".into(), |stem| stem.to_string_lossy().into_owned());
    let data = Dataset::unlabeled(name, Provenance::File(path.into()), bytes, size)?;
    Ok((data, how.into()))
}

/// The numbers as bytes and their range, or a description of the unsupported range.
fn floats<T: Copy + Into<f64>>(numbers: &[T]) -> Result<(Vec<u8>, &'static str), String> {
    let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
    for &number in numbers {
        let number = number.into();
        if !number.is_finite() {
            return Err(number.to_string());
        }
        (low, high) = (low.min(number), high.max(number));
    }
    // Allow for rounding errors.
    if low < -1.001 || high > 1.001 {
        return Err(format!("numbers from {low} to {high}"));
    }
    let (from, how) = if low < 0.0 {
        (-1.0, "numbers from -1 to 1")
    } else {
        (0.0, "numbers from 0 to 1")
    };
    let byte = |&number: &T| ((number.into() - from) / (1.0 - from) * 255.0).round() as u8;
    Ok((numbers.iter().map(byte).collect(), how))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::write_npy;
    use std::fs;

    fn written(shape: &[usize], numbers: &[f32]) -> Result<(Dataset, String), DataError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("some.npy");
        write_npy(&path, shape, numbers).unwrap();
        images(&path)
    }

    #[test]
    fn npy_numbers_become_bytes_by_their_range() {
        let (data, how) = written(&[2, 1, 2], &[-1.0, 1.0, 0.0, 0.5]).unwrap();
        assert_eq!(
            (data.name(), data.image_size(), data.classes()),
            ("some", [1, 2, 1], 0)
        );
        assert_eq!(
            (data.images(), &*how),
            (&[0, 255, 128, 191][..], "numbers from -1 to 1")
        );
        let (data, how) = written(&[1, 1, 1, 3], &[0.0, 1.0, 0.2]).unwrap();
        assert_eq!(
            (data.image_size(), data.images(), &*how),
            ([1, 1, 3], &[0, 255, 51][..], "numbers from 0 to 1")
        );
    }

    #[test]
    fn npy_bytes_are_unchanged() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.npy");
        let header = "{'descr': '|u1', 'fortran_order': False, 'shape': (1, 2, 2), }\n";
        let file = [
            b"\x93NUMPY\x01\0",
            &[header.len() as u8, 0][..],
            header.as_bytes(),
            &[1, 2, 3, 4],
        ]
        .concat();
        fs::write(&path, file).unwrap();
        assert_eq!(images(&path).unwrap().0.images(), [1, 2, 3, 4]);
    }

    #[test]
    fn npy_of_other_numbers_or_shapes_is_refused() {
        let cases: [(&[usize], &[f32], &str); 5] = [
            (&[1, 1, 2], &[0.0, 200.0], "0 to 200"),
            (&[1, 1, 1], &[f32::NAN], "NaN"),
            (&[4], &[0.0; 4], "[4]"),
            (&[1, 1, 1, 2], &[0.0; 2], "[1, 1, 1, 2]"),
            (&[0, 2, 2], &[], "[0, 2, 2]"),
        ];
        for (shape, numbers, datum) in cases {
            let error = written(shape, numbers).unwrap_err();
            assert!(
                matches!(&error, DataError::Unusable { found, .. } if found.contains(datum)),
                "{error}"
            );
        }
    }
}
