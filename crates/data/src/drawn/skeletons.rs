//! The table of skeletons.
//!
//! A style is a weight (its frequency relative to the other styles of its digit) and a list of pen
//! strokes. A stroke is a list of knots `x,y` in hundredths of the digit's height, with `y` downwards. The curve passes
//! through every knot, and has a corner at a knot marked `^`. Where a loop closes, the end of the stroke is near
//! its start without touching it. So jittered knots leave the small gaps and overshoots of real
//! handwriting. Sizes are approximate, because [`super::distort`] stretches, slants and bends them. Styles of a digit
//! must differ in ways that a smooth distortion cannot produce.

/// Weight and strokes of a style, as text.
pub(super) type Row = (u32, &'static [&'static str]);

/// The styles of every digit.
pub(super) const TABLE: [&[Row]; 10] = [ZERO, ONE, TWO, THREE, FOUR, FIVE, SIX, SEVEN, EIGHT, NINE];

const ZERO: &[Row] = &[
    // An oval from the top, against the clock.
    (4, &["36,0 12,18 2,50 12,82 32,100 54,82 64,50 56,18 38,1"]),
    // The end runs on over the start.
    (3, &["50,7 30,0 10,22 2,55 12,88 35,99 56,80 64,45 54,12 38,3 24,10"]),
    // Round.
    (4, &["50,0 20,10 2,45 10,82 42,100 78,86 92,50 78,15 48,1"]),
    // With the clock from the left.
    (2, &["18,10 44,0 64,22 66,58 50,92 26,98 6,78 2,42 14,12 28,3"]),
    // The end crosses the start and hangs inside.
    (2, &["54,12 34,1 12,18 2,52 12,90 36,100 60,80 66,46 54,16 34,10 22,20"]),
    // The start hangs inside, the end passes over it.
    (2, &["34,24 28,8 14,14 2,50 12,88 36,100 60,80 66,46 52,10 30,2 18,8"]),
    // A beak at the upper right.
    (1, &["70,2 44,2 16,16 2,52 12,90 36,100 60,84 68,50 56,18 42,6"]),
    // Wider than high.
    (1, &["70,4 30,6 2,36 4,74 40,98 90,90 124,56 112,16 72,2 50,6"]),
    // The start stands out above, the end tucks in below it.
    (3, &["46,0 18,12 2,52 12,90 36,100 60,80 64,44 52,18 30,12"]),
    // A long hook inside.
    (1, &["36,40 32,18 18,12 2,48 10,86 36,100 62,80 68,44 54,10 34,0 20,6"]),
    // The start comes in from the upper right, the end crosses it.
    (2, &["62,0 40,8 14,30 4,64 16,94 40,98 60,74 64,40 50,14 26,10"]),
    // Upright, leaning, and as round as a circle.
    (4, &["36,0 11,15 2,50 11,85 34,100 57,85 66,50 57,15 36,1 26,3"]),
    (6, &["50,0 22,12 4,48 8,86 28,99 54,82 67,44 63,12 46,1 36,4"]),
    (7, &["50,0 15,15 0,50 15,85 50,100 85,85 100,50 85,15 48,0 36,3"]),
];

const ONE: &[Row] = &[
    // A plain bar.
    (10, &["10,0 10,50 10,100"]),
    // A bar with a bend.
    (3, &["14,0 10,30 8,65 10,100"]),
    // A short flag.
    (2, &["0,18 ^18,0 18,50 17,100"]),
    // A flag and a foot.
    (1, &["0,20 ^22,0 22,50 22,100", "-4,100 22,99 48,100"]),
    // A foot alone.
    (1, &["22,0 22,50 22,100", "0,100 24,99 46,99"]),
];

const TWO: &[Row] = &[
    // A hook, a sharp turn, a flat base.
    (3, &["4,22 14,6 34,0 56,10 58,32 40,62 ^2,98 32,97 66,98"]),
    // A loop at the turn.
    (3, &["4,22 20,4 44,2 58,18 50,46 28,78 8,97 0,88 10,76 28,82 46,94 70,92"]),
    // A wavy base.
    (2, &["6,20 20,3 42,2 54,20 44,50 20,82 ^2,97 20,90 44,98 66,92"]),
    // Nearly a Z.
    (2, &["2,10 24,1 50,4 50,26 28,62 ^0,98 30,100 72,100"]),
    // A wide loop that leaves low.
    (3, &["2,30 14,8 40,0 60,16 56,44 34,76 12,93 -4,86 2,70 22,72 44,88 62,100 84,94"]),
    // The hook curls inward first.
    (1, &["18,32 8,28 10,10 32,0 56,10 56,34 36,66 ^0,96 30,94 70,98"]),
    // A big loop that leaves high, a long tail.
    (3, &["10,20 28,2 56,0 70,18 62,46 42,78 18,98 -2,94 -4,76 14,66 40,72 70,80 100,76"]),
    // A long flat tail.
    (3, &["6,18 28,2 54,2 62,22 46,54 20,86 ^4,98 40,90 76,88 112,88"]),
    // The arch leans over, the base falls.
    (1, &["0,26 18,8 46,0 64,10 58,36 34,66 ^8,88 34,86 60,94 84,104"]),
    // A large loop whose tail falls.
    (2, &["6,30 22,6 46,0 60,16 50,44 26,74 4,96 -10,84 4,72 24,82 46,104"]),
    // A round loop of half the height, a short falling tail.
    (4, &["8,30 20,4 46,0 60,14 54,44 36,74 14,94 -6,90 -8,72 12,60 34,70 52,90 62,100"]),
    // A straight neck into a round loop.
    (3, &["0,24 24,0 50,8 52,40 40,80 18,100 -2,90 4,70 24,68 44,86 58,102"]),
];

const THREE: &[Row] = &[
    // Two round bowls that meet in a corner.
    (4, &["4,14 22,0 46,4 54,22 42,40 ^22,46 46,52 60,72 50,92 24,100 0,88"]),
    // A flat top.
    (2, &["4,3 30,2 ^54,2 ^26,40 50,50 60,72 46,94 22,100 0,90"]),
    // A small loop at the waist.
    (2, &["4,12 26,0 50,10 50,30 32,46 18,50 20,43 38,46 58,62 58,84 36,100 2,92"]),
    // The pen hardly goes back at the waist.
    (2, &["2,8 28,0 56,8 56,28 ^36,46 58,58 60,82 36,100 0,96"]),
    // A deep waist, a long lower tail.
    (2, &["8,16 26,1 46,8 46,28 ^18,48 44,48 58,66 48,90 20,98 -10,84"]),
    // Angular, a straight lower tail.
    (2, &["0,10 20,0 ^52,6 38,26 ^20,42 ^48,56 40,78 24,90 0,100"]),
    // A small upper bowl, a lower one that leans out.
    (2, &["14,12 30,0 48,8 44,26 ^26,38 50,44 66,62 58,86 32,100 4,98"]),
    // Both ends curl in.
    (2, &["14,26 6,12 28,0 52,8 50,32 ^24,46 52,52 62,76 44,98 14,98 2,84 10,74"]),
    // The upper bowl leans over, the waist lies far right.
    (2, &["6,24 24,8 48,0 62,10 52,30 ^30,44 48,48 52,66 36,90 12,100 -10,94"]),
];

const FOUR: &[Row] = &[
    // Open: an L and a bar.
    (3, &["10,0 6,26 ^0,52 30,54 64,50", "54,2 51,50 48,100"]),
    // Open: a U and a bar.
    (3, &["6,2 0,28 10,50 34,52 54,42", "58,2 54,50 50,100"]),
    // Closed: a triangle and a bar.
    (2, &["44,0 22,30 ^0,62 34,62 72,60", "46,0 45,50 43,100"]),
    // In one movement, open above: down, across, up and down again.
    (3, &["8,2 2,30 10,50 36,46 ^56,6 52,50 46,100"]),
    // A long bar of the L, a short stem.
    (2, &["16,0 10,30 ^0,56 36,58 72,56", "44,26 42,60 38,100"]),
    // In one movement, closed by a pointed top.
    (1, &["48,4 24,18 2,46 18,56 40,48 ^52,4 49,50 44,100"]),
];

const FIVE: &[Row] = &[
    // Stem and belly, then the top bar.
    (3, &["14,4 12,22 ^8,42 32,36 54,50 56,78 34,98 0,92", "14,4 36,3 64,1"]),
    // In one movement from the right.
    (3, &["60,2 36,2 ^14,4 ^9,42 34,38 56,56 50,86 24,100 0,92"]),
    // Nearly an S.
    (3, &["60,4 34,1 12,12 14,34 38,48 54,68 42,92 18,99 0,92"]),
    // The bar hangs free of the stem.
    (2, &["10,14 10,30 ^6,50 30,42 50,54 52,80 30,98 2,92", "22,4 44,4 68,0"]),
    // A small belly low down that curls in.
    (2, &["62,0 42,4 ^24,8 18,28 ^14,46 34,48 44,68 36,92 14,100 2,90 8,80"]),
    // A long top bar that rises.
    (3, &["100,0 64,6 ^34,10 28,30 ^22,46 44,46 56,64 44,90 18,100 -6,92"]),
    // A flat belly with a long lower tail.
    (2, &["70,0 44,2 ^24,6 ^18,44 40,42 54,58 38,84 12,96 -16,98"]),
    // The belly nearly closes.
    (2, &["58,2 34,3 ^14,6 ^10,44 34,38 56,56 52,84 28,100 6,92 4,76"]),
    // A tall stem, a small low belly.
    (1, &["64,0 40,2 ^18,6 12,30 ^8,54 28,50 44,62 42,86 22,100 0,94"]),
    // A short bar, a wide belly that nearly closes.
    (2, &["52,0 20,2 ^12,20 ^6,48 34,36 66,50 68,80 38,100 10,94 2,82"]),
    // The belly's end curls up to the stem.
    (1, &["8,10 ^4,44 28,36 54,52 52,84 26,100 4,90 8,70", "10,8 34,6 60,4"]),
];

const SIX: &[Row] = &[
    // A curved back.
    (4, &["48,0 20,22 4,58 8,90 30,100 50,86 48,64 30,56 10,70 5,82"]),
    // A straight back.
    (3, &["40,0 22,26 6,60 4,86 22,100 46,92 52,70 34,58 14,68 6,84"]),
    // A small loop.
    (2, &["30,0 10,34 2,72 14,98 34,96 42,80 28,68 10,80 6,92"]),
    // A large loop.
    (1, &["52,4 30,8 8,38 2,70 20,98 48,96 64,72 52,48 28,46 8,64"]),
    // The loop ends as a spiral inside.
    (1, &["44,0 18,24 4,60 10,92 34,100 54,82 46,62 26,62 18,76 28,84"]),
    // A loop that reaches far to the right.
    (2, &["46,0 20,28 2,64 6,90 34,100 70,90 76,72 56,64 28,76 12,88"]),
];

const SEVEN: &[Row] = &[
    // A bar and a stem.
    (5, &["0,6 28,3 ^56,2 40,46 26,100"]),
    // With a crossbar.
    (2, &["0,6 28,3 ^58,2 40,46 26,100", "14,54 36,50 58,50"]),
    // A serif.
    (3, &["0,26 ^4,4 32,4 ^60,3 38,50 28,100"]),
    // A wavy top.
    (2, &["0,14 16,2 38,8 ^62,2 44,42 32,100"]),
    // A round shoulder.
    (2, &["2,12 30,2 54,8 50,34 36,66 28,100"]),
    // An upright stem.
    (2, &["0,8 28,4 ^50,4 50,50 46,100"]),
    // A short bar.
    (2, &["0,10 14,5 ^30,2 22,46 12,100"]),
    // A long bar, a stem that leans.
    (2, &["0,8 40,4 ^82,0 50,46 22,100"]),
    // A long serif and an upright stem.
    (1, &["2,38 ^4,10 30,6 ^60,4 56,50 52,100"]),
    // A serif and a crossbar.
    (2, &["2,22 ^6,4 32,4 ^60,2 42,46 28,100", "16,52 38,48 62,46"]),
    // A hooked start, a leaning stem.
    (2, &["0,30 ^8,12 22,8 ^56,0 34,48 12,100"]),
    // Square shoulders, a serif, an upright stem.
    (2, &["0,26 ^4,8 36,5 ^68,4 62,50 54,100"]),
    // A wide bar, a short stem.
    (2, &["0,16 ^6,6 46,4 ^88,2 66,50 52,96"]),
];

const EIGHT: &[Row] = &[
    // In one movement from the upper right.
    (4, &["50,12 32,0 12,10 10,28 28,44 46,60 50,82 30,100 8,88 6,68 24,50 44,32 50,12"]),
    // Two rings.
    (2, &["30,0 10,12 12,34 30,46 48,34 50,12 32,0", "30,46 6,60 4,86 28,100 54,86 52,60 30,46"]),
    // Open at the upper right.
    (3, &["52,10 30,0 8,16 20,40 44,58 48,86 24,100 4,86 14,62 40,38 62,8"]),
    // Thin loops.
    (3, &["44,6 26,2 16,16 24,40 34,62 32,90 18,100 8,88 14,66 30,44 44,22 46,8"]),
    // From the waist up and around.
    (2, &["30,46 10,32 14,6 34,0 52,14 42,38 14,60 4,84 26,100 52,84 48,62 28,46"]),
    // Wide, the upper loop open and the lower one thin.
    (2, &["66,8 36,0 8,14 14,36 40,54 46,80 30,100 16,88 26,66 52,40 72,20"]),
    // A long first stroke, the lower loop small.
    (1, &["62,2 30,2 6,14 14,34 36,50 42,74 30,96 14,92 16,74 40,48 52,28 44,10"]),
    // Two broad loops.
    (2, &["60,10 36,0 8,8 6,30 36,46 70,60 76,84 40,100 4,88 8,62 40,46 66,30 62,12"]),
    // The end stops short of the start.
    (2, &["58,6 34,0 12,12 16,34 44,54 54,80 34,100 8,90 10,66 34,46 52,34"]),
    // A small upper loop.
    (2, &["46,8 30,0 16,8 20,24 44,44 60,70 46,96 18,98 2,78 14,50 40,30 48,14"]),
    // A diagonal first, the upper loop last and open.
    (2, &["70,0 44,34 16,60 4,84 22,100 42,84 36,62 14,46 8,28 24,18 44,26"]),
    // A broad upper loop, a thin lower one.
    (1, &["48,0 10,6 2,30 30,48 44,70 34,96 20,98 22,78 50,48 76,24 60,2 46,0"]),
];

const NINE: &[Row] = &[
    // A straight tail.
    (4, &["50,14 28,2 6,16 6,38 24,48 44,36 ^52,8 50,50 46,100"]),
    // A curved tail.
    (3, &["50,18 30,0 6,14 4,36 24,48 46,36 52,14 54,46 46,84 24,100 4,92"]),
    // A leaning tail.
    (3, &["46,12 24,0 4,16 6,36 26,40 44,22 48,8 38,54 20,100"]),
    // The loop stays open above, as of a 4 with a roof.
    (2, &["46,8 20,4 2,26 10,46 36,42 ^52,6 51,50 44,100"]),
    // A large loop.
    (2, &["60,20 36,0 8,14 2,40 22,58 48,46 62,14 60,52 52,100"]),
    // The start reaches out to the right.
    (2, &["62,4 36,4 10,18 4,38 24,46 46,32 ^54,16 46,56 34,100"]),
    // A flat loop, a long leaning tail.
    (2, &["54,8 30,2 4,14 4,28 26,32 48,20 ^58,4 44,50 26,100"]),
    // The loop closes at the stem's top and the stem starts beyond it.
    (1, &["40,6 16,6 2,28 14,48 36,42 44,18 38,4", "50,2 48,50 44,100"]),
    // The stem starts below the hook.
    (2, &["64,2 38,2 14,14 6,32 22,44 42,36 ^54,22 46,60 32,100"]),
    // Pointed and open above.
    (2, &["30,2 8,20 2,40 16,48 36,36 ^52,4 49,50 44,100"]),
    // A tiny loop.
    (1, &["42,10 24,4 10,18 14,34 32,34 ^46,8 44,50 40,100"]),
];
