//! An update from a batch that is cut into shards.
//!
//! Each shard computes its update; gradients are averaged over all shards of all processes, in an order that the number of
//! shards fixes. Random numbers are drawn for the whole batch in every shard, which keeps its own.

use crate::adversarial_loss::AdversarialLoss;
use crate::update::{Losses, Pair, Update, Work};
use engraft_layers::{Condition, Gradients};
use engraft_tensor::shards::ShardGroup;
use engraft_tensor::{Real, Tensor, concat};
use std::sync::Arc;

/// Numbers of a shard's report before its logits.
const LOSSES: usize = 3;

/// The place of a gradient in the joined numbers: whether it is the generator's, its name and its shape.
type Place = (bool, String, Vec<usize>);

/// The update of the whole batch. `inputs` and `condition` are those of the shards of this process.
pub(crate) fn sharded<T: Real>(
    group: &Arc<ShardGroup>,
    networks: Pair<'_, T>,
    loss: &mut AdversarialLoss<T>,
    inputs: [&Tensor<T>; 2],
    condition: &Condition<T>,
    work: Work<T>,
) -> Update<T> {
    let local = group.local();
    let rows = inputs[0].shape()[0] / local.len();
    let sum = group.sum();
    let before = &*loss;
    let done = group.run(|shard| {
        let mut loss = before.clone();
        let start = (shard - local.start) * rows;
        let [first, second] = inputs.map(|input| input.narrow(0, start, rows));
        let condition = condition.narrow(start, rows);
        let mut update = work(networks, &mut loss, [&first, &second], &condition);
        let (places, numbers) = joined(&mut update);
        sum.add(shard, numbers);
        (update, places, loss.state)
    });
    let mut updates = Vec::new();
    let mut places = Vec::new();
    for (update, of_shard, state) in done {
        updates.push(update);
        places = of_shard;
        // The same for all shards.
        loss.state = state;
    }
    let reports: Vec<f64> = updates.iter().flat_map(report).collect();
    let reports = group.gather(reports);
    let (losses, logits) = merged(&updates[0], &reports, group.shards());
    let mut total = Update {
        generator: updates[0].generator.take(),
        discriminator: updates[0].discriminator.take(),
        losses,
        logits,
        images: together(&updates),
    };
    if !places.is_empty() {
        let share = T::from_f64(1.0 / group.shards() as f64);
        let mut numbers = group.total(sum).into_iter().map(|x| x * share);
        for (is_generator, name, shape) in places {
            let values = numbers.by_ref().take(shape.iter().product()).collect();
            let of_network = match is_generator {
                true => &mut total.generator,
                false => &mut total.discriminator,
            };
            let gradient = Tensor::from_vec(&shape, values);
            of_network.get_or_insert_default().insert(name, gradient);
        }
    }
    total
}

/// Takes the gradients out of an update and joins their numbers.
fn joined<T: Real>(update: &mut Update<T>) -> (Vec<Place>, Vec<T>) {
    let (mut places, mut numbers) = (Vec::new(), Vec::new());
    for (is_generator, gradients) in [(true, &mut update.generator), (false, &mut update.discriminator)] {
        let Some(gradients) = gradients else { continue };
        for (name, gradient) in std::mem::take::<Gradients<T>>(gradients) {
            numbers.extend_from_slice(gradient.as_slice());
            places.push((is_generator, name, gradient.shape().to_vec()));
        }
    }
    (places, numbers)
}

/// Losses and logits of a shard.
fn report<T: Real>(update: &Update<T>) -> Vec<f64> {
    let Losses {
        generator,
        discriminator,
        penalty,
        ..
    } = update.losses;
    let logits = update.logits.iter().flatten();
    let logits = logits.flat_map(|logits| logits.as_slice().iter().map(|x| x.into_f64()));
    [generator, discriminator, penalty]
        .into_iter()
        .chain(logits)
        .collect()
}

/// Mean losses and all logits, from the reports of all shards in their order.
fn merged<T: Real>(one: &Update<T>, reports: &[f64], shards: usize) -> (Losses, Option<[Tensor<T>; 2]>) {
    let len = reports.len() / shards;
    let mean = |at: usize| reports.iter().skip(at).step_by(len).sum::<f64>() / shards as f64;
    let losses = Losses {
        generator: mean(0),
        discriminator: mean(1),
        penalty: mean(2),
        augment_probability: one.losses.augment_probability,
    };
    let logits = one.logits.as_ref().map(|[real, fake]| {
        let all = |of_shard: &Tensor<T>, start: usize| {
            let parts = reports
                .chunks_exact(len)
                .flat_map(|report| &report[start..][..of_shard.len()]);
            let mut shape = of_shard.shape().to_vec();
            shape[0] *= shards;
            Tensor::from_vec(&shape, parts.map(|x| T::from_f64(*x)).collect())
        };
        [all(real, LOSSES), all(fake, LOSSES + real.len())]
    });
    (losses, logits)
}

/// The images of all shards of this process.
fn together<T: Real>(updates: &[Update<T>]) -> Option<Tensor<T>> {
    let images: Option<Vec<&Tensor<T>>> = updates.iter().map(|update| update.images.as_ref()).collect();
    Some(concat(&images?, 0))
}
