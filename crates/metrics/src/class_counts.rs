//! Measures of predicted classes: histogram, modes, divergence.

/// Number of images per class.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClassCounts(Vec<usize>);

impl ClassCounts {
    /// Counts classes, each below `number`.
    ///
    /// # Panics
    /// If a class is not below `number`.
    #[track_caller]
    pub fn new(classes: &[usize], number: usize) -> Self {
        let mut counts = vec![0; number];
        for &class in classes {
            assert!(class < number, "class {class} of {number} classes");
            counts[class] += 1;
        }
        Self(counts)
    }

    /// Counts the modes of stacked digits. The three digits of an image give one of 1000 modes.
    ///
    /// # Panics
    /// If the channels differ in length or a digit is not below 10.
    ///
    /// *Source*: Srivastava et al., "VEEGAN", 2017, section 5.2; Lin et al., "PacGAN", 2018.
    #[track_caller]
    pub fn stacked(channels: [&[usize]; 3]) -> Self {
        let [red, green, blue] = channels;
        assert!(
            red.len() == green.len() && red.len() == blue.len(),
            "stacked: {}, {} and {} digits in the channels",
            red.len(),
            green.len(),
            blue.len()
        );
        for digit in channels.into_iter().flatten() {
            assert!(*digit < 10, "stacked: the digit {digit} is not below 10");
        }
        let digits = red.iter().zip(green).zip(blue);
        let modes: Vec<usize> = digits.map(|((r, g), b)| 100 * r + 10 * g + b).collect();
        Self::new(&modes, 1000)
    }

    /// Images in each class.
    pub fn counts(&self) -> &[usize] {
        &self.0
    }

    /// Classes with at least one image.
    pub fn modes(&self) -> usize {
        self.0.iter().filter(|&&count| count > 0).count()
    }

    /// Kullback-Leibler divergence of the class distribution from the uniform one, in nats: `Σ p ln(p K)`. 0 if all classes
    /// are equally frequent, `ln K` if there is only one.
    pub fn divergence_from_uniform(&self) -> f64 {
        let all: usize = self.0.iter().sum();
        let number = self.0.len() as f64;
        let shares = self.0.iter().filter(|&&count| count > 0);
        shares
            .map(|&count| count as f64 / all as f64)
            .map(|share| share * (share * number).ln())
            .sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_hand() {
        let counts = ClassCounts::new(&[0, 0, 0, 1], 4);
        assert_eq!((counts.counts(), counts.modes()), ([3, 1, 0, 0].as_slice(), 2));
        let by_hand = 0.75 * 3.0_f64.ln() + 0.25 * 1.0_f64.ln();
        assert!((counts.divergence_from_uniform() - by_hand).abs() < 1e-12);
        assert_eq!(ClassCounts::new(&[0, 1, 2], 3).divergence_from_uniform(), 0.0);
        assert_eq!(ClassCounts::new(&[], 3).divergence_from_uniform(), 0.0);
        let one = ClassCounts::new(&[2; 7], 10).divergence_from_uniform();
        assert!((one - 10.0_f64.ln()).abs() < 1e-12);
    }

    #[test]
    fn stacked_digits() {
        let counts = ClassCounts::stacked([&[1, 1, 0], &[2, 2, 0], &[3, 3, 9]]);
        assert_eq!(
            (counts.modes(), counts.counts()[123], counts.counts()[9]),
            (2, 2, 1)
        );
    }

    #[test]
    #[should_panic(expected = "the digit 12 is not below 10")]
    fn a_digit_above_nine_is_refused() {
        ClassCounts::stacked([&[1], &[12], &[3]]);
    }
}
