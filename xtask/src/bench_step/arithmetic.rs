//! Number of multiply-adds of a training step, from the gradients that each layer needs.

use engraft_layers::Summary;

/// One layer: its multiply-adds per image, and whether it is trained.
struct Cost {
    multiply_adds: u64,
    trainable: bool,
}

/// The layers of a network, from its summary and the shape of its input.
///
/// Every weight is multiplied once per position of the smaller side: the output of a convolution, the input of a transposed
/// one. Biases and batch norm scales are counted the same way, at one position each.
fn costs(summary: &Summary, input: &[usize]) -> Vec<Cost> {
    let places = |shape: &[usize]| match *shape {
        [h, w, _] => h * w,
        _ => 1,
    };
    let mut from = input.to_vec();
    let mut costs = Vec::new();
    for row in &summary.rows {
        let is_norm = row.layer.starts_with("BatchNorm");
        let places = if is_norm {
            1
        } else {
            places(&from).min(places(&row.output))
        };
        costs.push(Cost {
            multiply_adds: (row.parameters * places) as u64,
            trainable: row.trainable > 0,
        });
        from.clone_from(&row.output);
    }
    costs
}

/// Multiply-adds of a simultaneous training step for each image of the batch, if every tap of every kernel is
/// multiplied: the generator runs once and the discriminator twice, on real and on generated images.
///
/// A gradient with respect to a weight is computed if the weight is trained, and one with respect to an input if
/// an earlier layer is trained. If the generator is trained, its loss propagates through the whole discriminator. Each costs as
/// much as the forward pass.
pub(super) fn multiply_adds(generator: (&Summary, &[usize]), discriminator: (&Summary, &[usize])) -> u64 {
    let generator = costs(generator.0, generator.1);
    let discriminator = costs(discriminator.0, discriminator.1);
    let generator_is_trained = generator.iter().any(|layer| layer.trainable);
    let backward = |layers: &[Cost]| -> u64 {
        let mut below = false;
        let mut sum = 0;
        for layer in layers {
            sum += layer.multiply_adds * (u64::from(layer.trainable) + u64::from(below));
            below |= layer.trainable;
        }
        sum
    };
    let forward = |layers: &[Cost]| -> u64 { layers.iter().map(|layer| layer.multiply_adds).sum() };
    let through = if generator_is_trained {
        forward(&discriminator)
    } else {
        0
    };
    forward(&generator)
        + backward(&generator)
        + 2 * (forward(&discriminator) + backward(&discriminator))
        + through
}

#[cfg(test)]
mod tests {
    use super::super::freeze_all_but;
    use super::*;
    use engraft_gan::dcgan;
    use engraft_layers::{Init, Module, summary};

    #[test]
    fn the_reference_step() {
        let init = &mut Init::glorot(1);
        let g = dcgan::generator::<f32>(init);
        let mut d = dcgan::discriminator::<f32>(init);
        let of = |g: &dyn Module<f32>, d: &dyn Module<f32>| {
            let g = summary(g, &[dcgan::LATENT]);
            let d = summary(d, &dcgan::IMAGE);
            multiply_adds((&g, &[dcgan::LATENT]), (&d, &dcgan::IMAGE))
        };
        // Multiply-adds of the four layers of the generator and the three of the discriminator.
        let layers = [
            100 * 12544,
            25 * 256 * 128 * 49,
            25 * 128 * 64 * 49,
            25 * 64 * 196,
        ];
        let forward_g: u64 = layers.iter().sum();
        let layers_d = [25 * 64 * 196, 25 * 64 * 128 * 49, 6272];
        let forward_d: u64 = layers_d.iter().sum();
        let close = |found: u64, by_hand: u64| found.abs_diff(by_hand) < by_hand / 500;
        let whole = 3 * forward_g - layers[0] + 2 * (3 * forward_d - layers_d[0]) + forward_d;
        assert!(close(of(&g, &d), whole), "{} against {whole}", of(&g, &d));

        let mut g = g;
        freeze_all_but(&mut g, None);
        freeze_all_but(&mut d, Some("head"));
        let head = forward_g + 2 * (forward_d + layers_d[2]);
        assert!(close(of(&g, &d), head), "{} against {head}", of(&g, &d));
    }
}
