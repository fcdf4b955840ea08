//! Conversion of pixels between bytes and numbers from -1 to 1, the range of the networks.

/// Converts a pixel from -1 to 1 to the nearest byte. Values outside the range are clamped to 0 or 255, NaN becomes 0.
pub fn to_byte(value: f32) -> u8 {
    // The cast saturates and maps NaN to 0.
    ((value + 1.0) * 127.5).round() as u8
}

/// Applies [`to_byte`] to each value.
pub fn to_bytes(values: &[f32]) -> Vec<u8> {
    values.iter().map(|&value| to_byte(value)).collect()
}

/// Converts a byte to a pixel from -1 to 1: `byte / 127.5 - 1`.
pub fn from_byte(byte: u8) -> f32 {
    f32::from(byte) / 127.5 - 1.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_comes_back() {
        for byte in 0..=255 {
            assert_eq!(to_byte(from_byte(byte)), byte);
        }
        assert_eq!((from_byte(0), from_byte(255)), (-1.0, 1.0));
    }

    #[test]
    fn values_outside_the_range_are_clamped() {
        let values = [-1e30, -1.01, 0.0, 1.01, f32::INFINITY, f32::NAN];
        assert_eq!(to_bytes(&values), [0, 0, 128, 255, 255, 0]);
    }
}
