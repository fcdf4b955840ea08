//! 16-bit floating point numbers (IEEE 754 binary16, "half"), for weights in files.

/// Largest finite half.
pub const MAX_HALF: f64 = 65504.0;

/// The value of an IEEE 754 half: 1 bit of sign, 5 of exponent, 10 of fraction.
pub fn half(bits: u16) -> f64 {
    let (exponent, fraction) = (i32::from(bits >> 10 & 0x1f), f64::from(bits & 0x3ff) / 1024.0);
    let size = match exponent {
        0 => fraction * 2.0_f64.powi(-14),
        0x1f if fraction == 0.0 => f64::INFINITY,
        0x1f => f64::NAN,
        _ => (1.0 + fraction) * 2.0_f64.powi(exponent - 15),
    };
    if bits >> 15 == 1 { -size } else { size }
}

/// The half nearest to a value of at most [`MAX_HALF`]. Ties go to the even one.
pub fn half_bits(value: f64) -> u16 {
    let size = value.abs();
    let exponent = (size.log2().floor() as i32).max(-14);
    let exponent = if size < 2.0_f64.powi(exponent) {
        exponent - 1
    } else {
        exponent
    }
    .max(-14);
    // If this rounds up to 2048, the sum below carries into the exponent.
    let units = (size / 2.0_f64.powi(exponent - 10)).round_ties_even() as u16;
    let bits = if units < 1024 {
        units
    } else {
        ((exponent + 14) as u16) * 1024 + units
    };
    if value.is_sign_negative() {
        bits | 0x8000
    } else {
        bits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_have_the_values_of_the_standard() {
        for (bits, value) in [
            (0x0000, 0.0),
            (0x3c00, 1.0),
            (0xc000, -2.0),
            (0x3555, 0.333_251_953_125),
            (0x7bff, 65504.0),
            (0x0400, 2.0_f64.powi(-14)),
            (0x0001, 2.0_f64.powi(-24)),
            (0x83ff, -1023.0 * 2.0_f64.powi(-24)),
            (0x7c00, f64::INFINITY),
            (0xfc00, f64::NEG_INFINITY),
        ] {
            assert_eq!(half(bits), value, "{bits:#x}");
        }
        assert!(half(0x7c01).is_nan());
        // Every finite half rounds to itself, and values between two round to the nearer one.
        for bits in (0..0x7c00).chain(0x8000..0xfc00) {
            assert_eq!(half_bits(half(bits)), bits, "{bits:#x}");
            let next = half(bits + 1);
            if next.is_finite() {
                let third = half(bits) + (next - half(bits)) / 3.0;
                assert_eq!(half_bits(third), bits, "{bits:#x}");
                assert_eq!(
                    half_bits((half(bits) + next) / 2.0),
                    bits + (bits & 1),
                    "{bits:#x}"
                );
            }
        }
        assert!(half(0x8000).is_sign_negative());
    }
}
