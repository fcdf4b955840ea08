//! Measured and expected times of a training step with frozen blocks.

use super::{Args, arithmetic, median};
use engraft_gan::{Gan, dcgan};
use engraft_layers::{Condition, Init, ParamFilter, Sequential, freeze, parameter_count, summary};
use engraft_tensor::Tensor;
use rand::SeedableRng;
use rand_pcg::Pcg64;
use std::fmt;
use std::hint::black_box;
use std::time::Instant;

/// Names of the blocks with parameters, from the input on.
fn blocks(network: &Sequential) -> Vec<String> {
    let layers = network.layers().iter();
    let learned = layers.filter(|(_, layer)| parameter_count(layer.as_ref()) > 0);
    learned.map(|(name, _)| name.clone()).collect()
}

/// Freezes the first `count` blocks, running statistics included.
fn freeze_first(network: &mut Sequential, count: usize) {
    let frozen = blocks(network).into_iter().take(count);
    freeze(network, &ParamFilter::under(frozen)).expect("the names are the network's own");
}

/// Numbers of frozen blocks of generator and discriminator: 0, 1, 2 and all but the last of either alone, and of both.
fn cases(generator: usize, discriminator: usize) -> Vec<[usize; 2]> {
    let counts = |blocks: usize| -> Vec<usize> {
        let most = blocks.saturating_sub(1);
        let mut counts = vec![1.min(most), 2.min(most), most];
        counts.dedup();
        counts.retain(|&count| count > 0);
        counts
    };
    let mut cases = vec![[0, 0]];
    cases.extend(counts(generator).into_iter().map(|count| [count, 0]));
    cases.extend(counts(discriminator).into_iter().map(|count| [0, count]));
    cases.push([generator.saturating_sub(1), discriminator.saturating_sub(1)]);
    cases
}

/// One line of the table.
struct FrozenRow {
    frozen: [usize; 2],
    /// Multiply-adds for each image.
    multiply_adds: u64,
    milliseconds: f64,
}

/// Measured and expected step times; `Display` prints the table.
pub(super) struct Table {
    rows: Vec<FrozenRow>,
    about: String,
}

/// Times all cases in turns, step by step, so that other load on the machine affects all equally.
pub(super) fn table(args: &Args) -> Table {
    let pair = || {
        let init = &mut Init::glorot(args.seed);
        Gan::<f32>::new(dcgan::generator(init), dcgan::discriminator(init), dcgan::LATENT)
    };
    let whole = pair();
    let all = cases(blocks(&whole.generator).len(), blocks(&whole.discriminator).len());
    let mut games: Vec<(FrozenRow, Gan, Vec<f64>)> = all
        .into_iter()
        .map(|frozen| {
            let mut gan = pair();
            freeze_first(&mut gan.generator, frozen[0]);
            freeze_first(&mut gan.discriminator, frozen[1]);
            let generator = summary(&gan.generator, &[dcgan::LATENT]);
            let discriminator = summary(&gan.discriminator, &dcgan::IMAGE);
            let multiply_adds =
                arithmetic::multiply_adds((&generator, &[dcgan::LATENT]), (&discriminator, &dcgan::IMAGE));
            let row = FrozenRow {
                frozen,
                multiply_adds,
                milliseconds: 0.0,
            };
            (row, gan, Vec::with_capacity(args.steps))
        })
        .collect();
    let rng = &mut Pcg64::seed_from_u64(args.seed);
    let [h, w, c] = dcgan::IMAGE;
    let real = Tensor::uniform([args.batch, h, w, c], -1.0, 1.0, rng);
    for number in 0..args.warmup + args.steps {
        for (_, gan, times) in &mut games {
            let start = Instant::now();
            black_box(gan.step(&real, Condition::None, rng));
            if number >= args.warmup {
                times.push(start.elapsed().as_secs_f64() * 1e3);
            }
        }
    }
    let rows = games
        .into_iter()
        .map(|(row, _, mut times)| FrozenRow {
            milliseconds: median(&mut times),
            ..row
        })
        .collect();
    Table {
        rows,
        about: format!(
            "median of {} steps of {} images on {} threads; share of the multiplications, if every tap of every kernel is \
             multiplied",
            args.steps, args.batch, args.threads
        ),
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "| frozen blocks of G | of D | multiply-adds, millions an image | share | ms | share | measured / expected |"
        )?;
        writeln!(f, "|---|---|---|---|---|---|---|")?;
        let Some(whole) = self.rows.first() else {
            return Ok(());
        };
        for row in &self.rows {
            let expected = row.multiply_adds as f64 / whole.multiply_adds as f64;
            let measured = row.milliseconds / whole.milliseconds;
            writeln!(
                f,
                "| {} | {} | {:.1} | {expected:.3} | {:.2} | {measured:.3} | {:.3} |",
                row.frozen[0],
                row.frozen[1],
                row.multiply_adds as f64 / 1e6,
                row.milliseconds,
                measured / expected
            )?;
        }
        write!(f, "{}", self.about)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn none_some_and_all_but_the_last() {
        let expected = [[0, 0], [1, 0], [2, 0], [3, 0], [0, 1], [0, 2], [3, 2]];
        assert_eq!(cases(4, 3), expected);
        assert_eq!(cases(2, 1), [[0, 0], [1, 0], [1, 0]]);
    }

    #[test]
    fn freezing_takes_the_blocks_at_the_input_and_the_arithmetic_follows() {
        let init = &mut Init::glorot(1);
        let mut gan = Gan::<f32>::new(dcgan::generator(init), dcgan::discriminator(init), dcgan::LATENT);
        let of = |gan: &Gan| {
            let g = summary(&gan.generator, &[dcgan::LATENT]);
            let d = summary(&gan.discriminator, &dcgan::IMAGE);
            arithmetic::multiply_adds((&g, &[dcgan::LATENT]), (&d, &dcgan::IMAGE))
        };
        let whole = of(&gan);
        freeze_first(&mut gan.generator, 2);
        // The gradient of the weights of stem and block1, and that of block1's and block2's inputs, are not computed.
        let (stem, block1, block2) = (100 * 12544, 25 * 256 * 128 * 49, 25 * 128 * 64 * 49);
        let saved: u64 = stem + 2 * block1 + block2;
        assert!((whole - of(&gan)).abs_diff(saved) < saved / 500);
        freeze_first(&mut gan.generator, 4);
        freeze_first(&mut gan.discriminator, 0);
        assert!(of(&gan) < whole - saved);
    }

    #[test]
    fn the_table_divides_by_the_first_row() {
        let row = |frozen, multiply_adds, milliseconds| FrozenRow {
            frozen,
            multiply_adds,
            milliseconds,
        };
        let table = Table {
            rows: vec![row([0, 0], 2_000_000, 10.0), row([1, 0], 1_000_000, 6.0)],
            about: "about".into(),
        };
        let text = table.to_string();
        assert!(
            text.contains("| 1 | 0 | 1.0 | 0.500 | 6.00 | 0.600 | 1.200 |"),
            "{text}"
        );
        assert!(text.ends_with("about"));
    }
}
