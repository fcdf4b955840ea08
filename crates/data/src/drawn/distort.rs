//! Random variation of a style: jitter, curves, elastic distortion, slant.
//!
//! Uses only additions, multiplications, divisions and square roots. IEEE 754 defines their rounding, so
//! the same seed gives the same bytes on every platform. Sines and logarithms would depend on the system's
//! mathematical library.

use rand::RngExt;
use rand_pcg::Pcg64;

use super::strokes::{Point, Style};

/// A sum of four uniform numbers: mean 0, variance 1, at most 3.5 in absolute value. A true normal distribution would move
/// one knot in a thousand across the image.
pub(super) fn bell(rng: &mut Pcg64) -> f32 {
    let sum: f32 = (0..4).map(|_| rng.random::<f32>()).sum();
    (sum - 2.0) * 1.732_050_8
}

/// Uniform in `[low, high)`.
pub(super) fn between(rng: &mut Pcg64, low: f32, high: f32) -> f32 {
    low + (high - low) * rng.random::<f32>()
}

/// Straight segments between two knots.
const PIECES: usize = 8;

/// Generates one variant of `style`: one polyline per stroke.
pub(super) fn write(style: &Style, rng: &mut Pcg64) -> Vec<Vec<Point>> {
    let care = between(rng, 0.4, 1.4);
    let mut strokes: Vec<Vec<Point>> = Vec::with_capacity(style.strokes.len());
    for knots in &style.strokes {
        let offset = Point::new(1.5 * care * bell(rng), 1.5 * care * bell(rng));
        // The pen drifts: each knot keeps part of the deviation of the one before, which bends curves instead of denting
        // them.
        let mut drift = Point::new(bell(rng), bell(rng));
        let jittered: Vec<(Point, bool)> = knots
            .iter()
            .map(|knot| {
                let x = knot.at.x + offset.x + 3.5 * care * drift.x;
                let y = knot.at.y + offset.y + 3.5 * care * drift.y;
                drift = Point::new(
                    0.75 * drift.x + 0.66 * bell(rng),
                    0.75 * drift.y + 0.66 * bell(rng),
                );
                let kink = knot.kink && rng.random::<f32>() < 0.8;
                (Point { x, y }, kink)
            })
            .collect();
        let mut line = curve(&jittered);
        trim(&mut line, rng);
        strokes.push(line);
    }
    let waist = Waist::draw(rng);
    let elastic = Elastic::draw(rng);
    let affine = Affine::draw(rng);
    for point in strokes.iter_mut().flatten() {
        *point = affine.apply(elastic.apply(waist.apply(*point)));
    }
    strokes
}

/// A centripetal Catmull-Rom spline through the knots. Unlike the uniform one, it does not form loops where two knots
/// are close together.
fn curve(knots: &[(Point, bool)]) -> Vec<Point> {
    let mut line = Vec::with_capacity(PIECES * knots.len());
    for i in 0..knots.len() - 1 {
        let (from, to) = (knots[i], knots[i + 1]);
        let (p1, p2) = (from.0, to.0);
        // At a corner the previous knot is ignored; the missing neighbor is mirrored.
        let p0 = if i == 0 || from.1 {
            mirror(p2, p1)
        } else {
            knots[i - 1].0
        };
        let p3 = if i + 2 == knots.len() || to.1 {
            mirror(p1, p2)
        } else {
            knots[i + 2].0
        };
        let (t0, t1, t2) = (
            root_distance(p0, p1),
            root_distance(p1, p2),
            root_distance(p2, p3),
        );
        let out = tangent(p0, p1, p2, t0, t1, t1);
        let into = tangent(p1, p2, p3, t1, t2, t1);
        for piece in 0..PIECES {
            let t = piece as f32 / PIECES as f32;
            line.push(hermite(p1, out, p2, into, t));
        }
    }
    line.push(knots[knots.len() - 1].0);
    line
}

fn mirror(point: Point, at: Point) -> Point {
    Point::new(2.0 * at.x - point.x, 2.0 * at.y - point.y)
}

fn root_distance(a: Point, b: Point) -> f32 {
    let (dx, dy) = (a.x - b.x, a.y - b.y);
    (dx * dx + dy * dy).sqrt().sqrt().max(1e-2)
}

/// Derivative of the spline at `b` for knot intervals `t0` before and `t1` after, scaled to an interval of `span`.
fn tangent(a: Point, b: Point, c: Point, t0: f32, t1: f32, span: f32) -> Point {
    let along = |a: f32, b: f32, c: f32| span * ((b - a) / t0 - (c - a) / (t0 + t1) + (c - b) / t1);
    Point::new(along(a.x, b.x, c.x), along(a.y, b.y, c.y))
}

fn hermite(p: Point, out: Point, q: Point, into: Point, t: f32) -> Point {
    let (t2, t3) = (t * t, t * t * t);
    let (a, b, c, d) = (
        2.0 * t3 - 3.0 * t2 + 1.0,
        t3 - 2.0 * t2 + t,
        3.0 * t2 - 2.0 * t3,
        t3 - t2,
    );
    Point::new(
        a * p.x + b * out.x + c * q.x + d * into.x,
        a * p.y + b * out.y + c * q.y + d * into.y,
    )
}

/// Shortens both ends a little.
fn trim(line: &mut Vec<Point>, rng: &mut Pcg64) {
    let most = line.len() as f32 * 0.06;
    let tail = between(rng, 0.0, most) as usize;
    let head = between(rng, 0.0, most) as usize;
    line.truncate(line.len() - tail);
    line.drain(..head);
}

/// Moves the waist up or down and widens the upper or the lower half.
struct Waist {
    shift: f32,
    taper: f32,
}

impl Waist {
    /// Near the middle of all skeletons.
    const AXIS: f32 = 30.0;

    fn draw(rng: &mut Pcg64) -> Self {
        Self {
            shift: 0.09 * bell(rng),
            taper: 0.14 * bell(rng),
        }
    }

    fn apply(&self, p: Point) -> Point {
        let y = p.y / 100.0;
        // The parabola keeps top and bottom fixed.
        let shifted = y + 4.0 * self.shift * y * (1.0 - y);
        Point::new(
            Self::AXIS + (p.x - Self::AXIS) * (1.0 + self.taper * (2.0 * y - 1.0)),
            100.0 * shifted,
        )
    }
}

/// Random displacements on a coarse grid, smoothly interpolated.
struct Elastic {
    grid: [[Point; Elastic::NODES]; Elastic::NODES],
}

impl Elastic {
    const NODES: usize = 5;
    /// The grid spans [-20, 120] in both directions.
    const CELL: f32 = 140.0 / (Elastic::NODES - 1) as f32;

    fn draw(rng: &mut Pcg64) -> Self {
        let strength = between(rng, 1.5, 6.5);
        let mut grid = [[Point::new(0.0, 0.0); Self::NODES]; Self::NODES];
        for node in grid.iter_mut().flatten() {
            *node = Point::new(strength * bell(rng), strength * bell(rng));
        }
        Self { grid }
    }

    fn apply(&self, p: Point) -> Point {
        let (column, right) = Self::cell(p.x);
        let (row, low) = Self::cell(p.y);
        let mix = |a: Point, b: Point, t: f32| Point::new(a.x + t * (b.x - a.x), a.y + t * (b.y - a.y));
        let (upper, lower) = (&self.grid[row], &self.grid[row + 1]);
        let top = mix(upper[column], upper[column + 1], right);
        let bottom = mix(lower[column], lower[column + 1], right);
        let d = mix(top, bottom, low);
        Point::new(p.x + d.x, p.y + d.y)
    }

    /// The cell of a coordinate, and the smoothed position inside it.
    fn cell(coordinate: f32) -> (usize, f32) {
        let position = ((coordinate + 20.0) / Self::CELL).clamp(0.0, Self::NODES as f32 - 1.001);
        let cell = position as usize;
        let t = position - cell as f32;
        (cell, t * t * (3.0 - 2.0 * t))
    }
}

/// Width, slant and rotation.
struct Affine {
    xx: f32,
    xy: f32,
    yx: f32,
    yy: f32,
}

impl Affine {
    fn draw(rng: &mut Pcg64) -> Self {
        let width = (1.0 + 0.25 * bell(rng)).clamp(0.5, 1.8);
        // Most people slant to the right.
        let slant = 0.18 + 0.3 * bell(rng);
        // Half the tangent of the angle parametrizes a rotation without sine and cosine.
        let half = 0.05 * bell(rng);
        let (cos, sin) = (
            (1.0 - half * half) / (1.0 + half * half),
            2.0 * half / (1.0 + half * half),
        );
        // Rotation times shear times width.
        Self {
            xx: cos * width,
            xy: -cos * slant - sin,
            yx: sin * width,
            yy: cos - sin * slant,
        }
    }

    fn apply(&self, p: Point) -> Point {
        Point::new(self.xx * p.x + self.xy * p.y, self.yx * p.x + self.yy * p.y)
    }
}
