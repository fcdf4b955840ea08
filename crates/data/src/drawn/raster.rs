//! Rasterization: anti-aliased strokes, scaled and centered as in MNIST.
//!
//! LeCun and others scaled every digit, with its aspect ratio, into a box of 20x20 and moved its center of mass to the
//! middle of 28x28. The gray edges come from that scaling.

use rand_pcg::Pcg64;

use super::distort::{bell, between};
use super::strokes::Point;

/// Side of an image.
pub(super) const SIDE: usize = 28;
/// Side of the box that a digit fills.
const BOX: f32 = 20.0;
/// Margin around the box while the center of mass is unknown.
const MARGIN: usize = (SIDE - BOX as usize) / 2;

/// Thickness of the pen at a point of the image.
struct Pen {
    radius: f32,
    /// Width of the gray edge.
    softness: f32,
    /// Pressure at the four corners of the box, as a factor of the radius.
    pressure: [f32; 4],
    /// A ragged edge, as from paper and scanner: change of the radius at each pixel.
    rough: [f32; SIDE * SIDE],
}

impl Pen {
    fn draw(rng: &mut Pcg64) -> Self {
        let felt = if between(rng, 0.0, 1.0) < 0.1 {
            between(rng, 1.2, 2.0)
        } else {
            1.0
        };
        let radius = felt * (1.25 + 0.38 * bell(rng)).clamp(0.65, 2.4);
        let softness = between(rng, 0.7, 1.4);
        let pressure = std::array::from_fn(|_| 1.0 + 0.14 * bell(rng));
        let ragged = between(rng, 0.0, 0.4);
        let rough = std::array::from_fn(|_| ragged * between(rng, -1.0, 1.0));
        Self {
            radius,
            softness,
            pressure,
            rough,
        }
    }

    fn radius_at(&self, p: Point) -> f32 {
        let (u, v) = ((p.x / BOX).clamp(0.0, 1.0), (p.y / BOX).clamp(0.0, 1.0));
        let [a, b, c, d] = self.pressure;
        let factor = (a * (1.0 - u) + b * u) * (1.0 - v) + (c * (1.0 - u) + d * u) * v;
        (self.radius * factor).max(0.55)
    }
}

/// Draws the strokes as a white digit on black.
pub(super) fn ink(strokes: &[Vec<Point>], rng: &mut Pcg64) -> [u8; SIDE * SIDE] {
    let mut pen = Pen::draw(rng);
    // A pen for a bar would fill the loops of an 8, so longer lines are thinner.
    let length = strokes.iter().map(|line| length(line)).sum::<f32>() * BOX / 100.0;
    pen.radius = pen.radius.min(1.1 + 40.0 / length.max(1.0));
    let fitted = fit(strokes, pen.radius);
    let mut paper = [0.0f32; SIDE * SIDE];
    for line in &fitted {
        for pair in line.windows(2) {
            segment(&mut paper, pair[0], pair[1], &pen);
        }
    }
    center(&paper)
}

fn length(line: &[Point]) -> f32 {
    let distance = |pair: &[Point]| {
        let (dx, dy) = (pair[1].x - pair[0].x, pair[1].y - pair[0].y);
        (dx * dx + dy * dy).sqrt()
    };
    line.windows(2).map(distance).sum()
}

/// Scales the strokes so that they fill the box, and moves them to its middle.
fn fit(strokes: &[Vec<Point>], radius: f32) -> Vec<Vec<Point>> {
    let (mut low, mut high) = (Point::new(f32::MAX, f32::MAX), Point::new(f32::MIN, f32::MIN));
    for p in strokes.iter().flatten() {
        low = Point::new(low.x.min(p.x), low.y.min(p.y));
        high = Point::new(high.x.max(p.x), high.y.max(p.y));
    }
    let extent = (high.x - low.x).max(high.y - low.y).max(1.0);
    let scale = (BOX - 2.0 * radius) / extent;
    let middle = Point::new(0.5 * (low.x + high.x), 0.5 * (low.y + high.y));
    let place = |p: &Point| {
        Point::new(
            0.5 * BOX + scale * (p.x - middle.x),
            0.5 * BOX + scale * (p.y - middle.y),
        )
    };
    strokes
        .iter()
        .map(|line| line.iter().map(place).collect())
        .collect()
}

/// Draws one straight segment. Coverage falls off linearly over the soft edge. Overlapping segments use the larger
/// coverage, so that joins have no seam.
fn segment(paper: &mut [f32; SIDE * SIDE], from: Point, to: Point, pen: &Pen) {
    let (r0, r1) = (pen.radius_at(from), pen.radius_at(to));
    let reach = r0.max(r1) + pen.softness;
    let (dx, dy) = (to.x - from.x, to.y - from.y);
    let length2 = (dx * dx + dy * dy).max(1e-6);
    let rows = pixels(from.y.min(to.y) - reach, from.y.max(to.y) + reach);
    for row in rows {
        let y = row as f32 + 0.5 - MARGIN as f32;
        for column in pixels(from.x.min(to.x) - reach, from.x.max(to.x) + reach) {
            let x = column as f32 + 0.5 - MARGIN as f32;
            let t = (((x - from.x) * dx + (y - from.y) * dy) / length2).clamp(0.0, 1.0);
            let (ex, ey) = (x - from.x - t * dx, y - from.y - t * dy);
            let distance = (ex * ex + ey * ey).sqrt();
            let radius = r0 + t * (r1 - r0) + pen.rough[row * SIDE + column];
            let coverage = ((radius - distance) / pen.softness + 0.5).clamp(0.0, 1.0);
            let pixel = &mut paper[row * SIDE + column];
            *pixel = pixel.max(coverage);
        }
    }
}

/// The rows or columns of the image between two coordinates of the box.
fn pixels(low: f32, high: f32) -> std::ops::Range<usize> {
    let place = |coordinate: f32| (coordinate + MARGIN as f32).clamp(0.0, SIDE as f32) as usize;
    place(low)..(place(high) + 1).min(SIDE)
}

/// Shifts by whole pixels so that the center of mass is in the middle.
fn center(paper: &[f32; SIDE * SIDE]) -> [u8; SIDE * SIDE] {
    let (mut mass, mut mx, mut my) = (0.0f32, 0.0f32, 0.0f32);
    for (i, value) in paper.iter().enumerate() {
        mass += value;
        mx += value * (i % SIDE) as f32;
        my += value * (i / SIDE) as f32;
    }
    let middle = (SIDE as f32 - 1.0) / 2.0;
    let shift = |moment: f32| (middle - moment / mass.max(1e-6)).round() as isize;
    let (right, down) = (shift(mx), shift(my));
    let mut image = [0u8; SIDE * SIDE];
    for row in 0..SIDE {
        for column in 0..SIDE {
            let (Some(y), Some(x)) = (row.checked_add_signed(-down), column.checked_add_signed(-right))
            else {
                continue;
            };
            if y < SIDE && x < SIDE {
                image[row * SIDE + column] = (paper[y * SIDE + x] * 255.0).round() as u8;
            }
        }
    }
    image
}
