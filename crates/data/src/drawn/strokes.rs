//! Styles of the ten digits, read from the table of [`super::skeletons`].

use std::sync::LazyLock;

use super::skeletons::{Row, TABLE};

/// A point of the image, in hundredths of the digit's height.
#[derive(Clone, Copy, Debug)]
pub(super) struct Point {
    pub(super) x: f32,
    pub(super) y: f32,
}

impl Point {
    pub(super) const fn new(x: f32, y: f32) -> Self {
        Self { x, y }
    }
}

/// A point on the curve.
#[derive(Clone, Copy, Debug)]
pub(super) struct Knot {
    pub(super) at: Point,
    /// Whether the curve has a corner here instead of a continuous tangent.
    pub(super) kink: bool,
}

/// One way to write a digit.
#[derive(Debug)]
pub(super) struct Style {
    /// Frequency relative to the other styles of the same digit.
    pub(super) weight: u32,
    pub(super) strokes: Vec<Vec<Knot>>,
}

/// The styles of every digit.
pub(super) static STYLES: LazyLock<[Vec<Style>; 10]> =
    LazyLock::new(|| TABLE.map(|styles| styles.iter().map(read).collect()));

fn read((weight, strokes): &Row) -> Style {
    Style {
        weight: *weight,
        strokes: strokes
            .iter()
            .map(|text| text.split_whitespace().map(knot).collect())
            .collect(),
    }
}

fn knot(text: &str) -> Knot {
    let (kink, place) = text.strip_prefix('^').map_or((false, text), |rest| (true, rest));
    let at = place
        .split_once(',')
        .and_then(|(x, y)| Some(Point::new(x.parse().ok()?, y.parse().ok()?)));
    Knot {
        at: at.expect("a knot has the form x,y"),
        kink,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn skeletons_are_whole() {
        for (digit, styles) in STYLES.iter().enumerate() {
            assert!(styles.len() >= 3, "{digit}: {} styles", styles.len());
            for style in styles {
                assert!(style.weight > 0 && !style.strokes.is_empty());
                assert!(
                    style.strokes.iter().all(|stroke| stroke.len() >= 3),
                    "{digit}: a stroke of two knots"
                );
                let knots = || style.strokes.iter().flatten();
                // The elastic grid and the waist expect a height of about 100.
                assert!(
                    knots().all(|knot| (-16.0..=104.0).contains(&knot.at.y)),
                    "{digit}: too high"
                );
                assert!(
                    knots().all(|knot| (-20.0..=125.0).contains(&knot.at.x)),
                    "{digit}: too wide"
                );
            }
        }
    }
}
