//! The QR algorithm: rotations that make a tridiagonal matrix diagonal.

/// Steps per eigenvalue after which the algorithm gives up. Two to three are needed.
const MOST_STEPS: usize = 60;

/// A rotation of the neighboring rows `first` and `first + 1`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rotation {
    pub(super) first: usize,
    cos: f64,
    sin: f64,
}

impl Rotation {
    /// Rotates two rows: `x ← cos x + sin y`, `y ← cos y - sin x`.
    #[inline(always)]
    pub(super) fn turn(self, x: &mut [f64], y: &mut [f64]) {
        for (x, y) in x.iter_mut().zip(y) {
            (*x, *y) = (self.cos * *x + self.sin * *y, self.cos * *y - self.sin * *x);
        }
    }
}

/// Rotates a symmetric tridiagonal matrix until it is diagonal. `rotated` gets the rotations of each step, in their order.
///
/// Each step shifts the matrix by an approximate eigenvalue (Wilkinson's shift) and passes one rotation after the other down the
/// diagonal. The numbers must be finite. A number beside the diagonal counts as zero if it is a rounding error of its neighbors, or
/// `ε²` times the largest number.
///
/// *Source*: Golub and Van Loan, "Matrix computations", section 8.3.
pub(super) fn diagonalize(diagonal: &mut [f64], beside: &mut [f64], mut rotated: impl FnMut(&[Rotation])) {
    let Some(mut last) = diagonal.len().checked_sub(1) else {
        return;
    };
    let norm = diagonal
        .iter()
        .chain(beside.iter())
        .fold(0.0, |norm: f64, x| norm.max(x.abs()));
    let least = f64::EPSILON * f64::EPSILON * norm;
    let mut rotations = Vec::new();
    for _ in 0..MOST_STEPS * diagonal.len() {
        let is_small = |i: usize| {
            let neighbors = diagonal[i].abs() + diagonal[i + 1].abs();
            beside[i].abs() <= (f64::EPSILON * neighbors).max(least)
        };
        while last > 0 && is_small(last - 1) {
            last -= 1;
        }
        if last == 0 {
            return;
        }
        // The part `first..=last` has no zeros beside its diagonal.
        let first = (1..=last).rev().find(|&i| is_small(i - 1)).unwrap_or(0);
        rotations.clear();
        step(diagonal, beside, [first, last], &mut rotations);
        rotated(&rotations);
    }
    debug_assert!(false, "the QR algorithm did not converge");
}

/// One step on the part `first..=last`.
fn step(diagonal: &mut [f64], beside: &mut [f64], [first, last]: [usize; 2], rotations: &mut Vec<Rotation>) {
    if first > 0 {
        beside[first - 1] = 0.0;
    }
    // The eigenvalue of the last two rows and columns that is closer to the last number.
    let half = 0.5 * (diagonal[last - 1] - diagonal[last]);
    let corner = beside[last - 1];
    let shift = diagonal[last] - corner * (corner / (half + half.hypot(corner).copysign(half)));
    // The rotation makes the second number zero.
    let (mut x, mut z) = (diagonal[first] - shift, beside[first]);
    for k in first..last {
        let length = x.hypot(z);
        let (cos, sin) = if length == 0.0 {
            (1.0, 0.0)
        } else {
            (x / length, z / length)
        };
        if k > first {
            beside[k - 1] = length;
        }
        let [upper, joint, lower] = [diagonal[k], beside[k], diagonal[k + 1]];
        let change = sin * (sin * (lower - upper) + 2.0 * cos * joint);
        diagonal[k] = upper + change;
        diagonal[k + 1] = lower - change;
        beside[k] = cos * sin * (lower - upper) + (cos * cos - sin * sin) * joint;
        if k + 1 < last {
            x = beside[k];
            z = sin * beside[k + 1];
            beside[k + 1] *= cos;
        }
        rotations.push(Rotation { first: k, cos, sin });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The matrix of second differences has the eigenvalues `2 - 2 cos(π i / (n + 1))`.
    #[test]
    fn second_differences() {
        for n in [1, 2, 3, 10, 200] {
            let (mut diagonal, mut beside) = (vec![2.0; n], vec![-1.0; n - 1]);
            let mut count = 0;
            diagonalize(&mut diagonal, &mut beside, |_| count += 1);
            diagonal.sort_by(f64::total_cmp);
            for (i, found) in diagonal.iter().enumerate() {
                let angle = std::f64::consts::PI * (i + 1) as f64 / (n + 1) as f64;
                assert!(
                    (found - (2.0 - 2.0 * angle.cos())).abs() < 1e-14,
                    "{n}, {i}: {found}"
                );
            }
            assert!(count <= 3 * n, "{n}: {count} steps");
        }
    }

    /// Numbers that grow by a hundred orders of magnitude from one row to the next.
    #[test]
    fn graded_matrices_converge() {
        for beside in [[1e-170, 1e-155, 1.0], [1e-300, 1e-200, 1.0]] {
            let (mut diagonal, mut beside) = ([0.0; 4], beside);
            let mut count = 0;
            diagonalize(&mut diagonal, &mut beside, |_| count += 1);
            diagonal.sort_by(f64::total_cmp);
            assert!(
                (diagonal[0] + 1.0).abs() < 1e-15 && (diagonal[3] - 1.0).abs() < 1e-15,
                "{diagonal:?}"
            );
            assert!(count <= 12, "{count} steps");
        }
    }
}
