"""Times one training step of the reference DCGAN in TensorFlow on the CPU, on random images, and prints one line of JSON.

    python dcgan_step.py --batch 64 --threads 2 [--variant jit]

The layers are those of `cargo xtask bench-step`; one evaluation of each network serves both gradients, and Adam updates both
networks. It needs tensorflow-cpu only.

Variants: `function` is one graph, `jit` is the same graph compiled by XLA.
"""

import argparse
import json
import os
import resource
import statistics
import time

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--variant", choices=["function", "jit"], default="jit")
parser.add_argument("--batch", type=int, default=64)
parser.add_argument("--threads", type=int, default=2)
parser.add_argument("--steps", type=int, default=15)
parser.add_argument("--warmup", type=int, default=5)
parser.add_argument("--seed", type=int, default=1)
parser.add_argument("--label", default="")
parser.add_argument("--infer", action="store_true", help="time the generator in evaluation mode")
options = parser.parse_args()
os.environ["OMP_NUM_THREADS"] = str(options.threads)
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
if options.threads == 1:
    # XLA has a pool of its own, which the setting below does not limit.
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})

import tensorflow as tf
from tensorflow.keras import Sequential, layers

tf.config.threading.set_intra_op_parallelism_threads(options.threads)
tf.config.threading.set_inter_op_parallelism_threads(1)
tf.keras.utils.set_random_seed(options.seed)
LATENT = 100


def stage(layer):
    """A layer without bias, with batch norm and a leaky ReLU."""
    return [layer, layers.BatchNormalization(), layers.LeakyReLU(negative_slope=0.3)]


def up(channels, stride):
    return layers.Conv2DTranspose(channels, 5, stride, "same", use_bias=False)


def down(channels):
    return layers.Conv2D(channels, 5, 2, "same")


generator = Sequential([
    layers.Input((LATENT,)), *stage(layers.Dense(7 * 7 * 256, use_bias=False)), layers.Reshape((7, 7, 256)),
    *stage(up(128, 1)), *stage(up(64, 2)), up(1, 2), layers.Activation("tanh"),
])
discriminator = Sequential([
    layers.Input((28, 28, 1)), down(64), layers.LeakyReLU(negative_slope=0.3), *stage(down(128)), layers.Flatten(), layers.Dense(1),
])
networks = [generator, discriminator]
optimizers = [tf.keras.optimizers.Adam(2e-4, 0.5, 0.99) for _ in networks]
for optimizer, network in zip(optimizers, networks):
    optimizer.build(network.trainable_variables)


def train(real):
    z = tf.random.normal((options.batch, LATENT))
    with tf.GradientTape(persistent=True) as tape:
        on_real = discriminator(real, training=True)
        on_fake = discriminator(generator(z, training=True), training=True)
        losses = [
            tf.reduce_mean(tf.nn.softplus(-on_fake)),
            tf.reduce_mean(tf.nn.softplus(-on_real)) + tf.reduce_mean(tf.nn.softplus(on_fake)),
        ]
    slopes = [tape.gradient(loss, network.trainable_variables) for loss, network in zip(losses, networks)]
    for optimizer, slope, network in zip(optimizers, slopes, networks):
        optimizer.apply_gradients(zip(slope, network.trainable_variables))
    return losses


def infer(_):
    return generator(tf.random.normal((options.batch, LATENT)), training=False)


step = tf.function(infer if options.infer else train, jit_compile=options.variant == "jit")
real = tf.random.uniform((options.batch, 28, 28, 1), -1, 1)
times, found = [], None
for i in range(options.warmup + options.steps):
    begin = time.perf_counter()
    found = [tensor.numpy() for tensor in tf.nest.flatten(step(real))]
    if i >= options.warmup:
        times.append(1e3 * (time.perf_counter() - begin))
median = statistics.median(times)
print(json.dumps({
    "peer": "tensorflow",
    "network": "dcgan",
    "precision": "f32",
    "variant": options.variant + (f"+{options.label}" if options.label else ""),
    "mode": "infer" if options.infer else "train",
    "batch": options.batch,
    "threads": options.threads,
    "steps": options.steps,
    "ms_median": round(median, 3),
    "ms_min": round(min(times), 3),
    "ms_max": round(max(times), 3),
    "images_per_s": round(1e3 * options.batch / median, 2),
    "peak_rss_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    "loss_g": None if options.infer else float(found[0]),
    "loss_d": None if options.infer else float(found[1]),
    "version": tf.__version__,
}))
