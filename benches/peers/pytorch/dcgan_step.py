"""Times one GAN training step in PyTorch on the CPU, on random images, and prints one line of JSON.

    python dcgan_step.py --batch 64 --threads 2 [--network dcgan] [--precision f32] [--variant twograd]

The networks are those of `cargo xtask bench-step --network`: the same layers, the same simultaneous step (the discriminator
evaluates the generated images once, and both gradients come from that evaluation), Adam for both. bf16 is PyTorch's autocast with channels-last
tensors. It needs torch only.

Variants: `twograd` runs eagerly; `compile` compiles each network; `compile_step` compiles both gradients together.
"""

import argparse
import contextlib
import json
import os
import resource
import statistics
import time

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--network", choices=["dcgan", "dcgan64", "light64", "light128"], default="dcgan")
parser.add_argument("--precision", choices=["f32", "bf16"], default="f32")
parser.add_argument("--variant", choices=["twograd", "compile", "compile_step"], default="twograd")
parser.add_argument("--batch", type=int, default=64)
parser.add_argument("--threads", type=int, default=2)
parser.add_argument("--steps", type=int, default=15)
parser.add_argument("--warmup", type=int, default=5)
parser.add_argument("--seed", type=int, default=1)
parser.add_argument("--label", default="")
parser.add_argument("--infer", action="store_true", help="time the generator in evaluation mode")
options = parser.parse_args()
for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = str(options.threads)

import torch
import torch.nn.functional as F
from torch import nn

torch.set_num_threads(options.threads)
torch.set_flush_denormal(True)
torch.manual_seed(options.seed)


def rectify(slope):
    return nn.LeakyReLU(slope)


def reference():
    """TensorFlow's DCGAN tutorial: 28x28x1, kernels of 5x5."""
    generator = nn.Sequential(
        nn.Linear(100, 7 * 7 * 256, bias=False), nn.BatchNorm1d(7 * 7 * 256), rectify(0.3), nn.Unflatten(1, (256, 7, 7)),
        nn.ConvTranspose2d(256, 128, 5, padding=2, bias=False), nn.BatchNorm2d(128), rectify(0.3),
        nn.ConvTranspose2d(128, 64, 5, 2, 2, output_padding=1, bias=False), nn.BatchNorm2d(64), rectify(0.3),
        nn.ConvTranspose2d(64, 1, 5, 2, 2, output_padding=1, bias=False), nn.Tanh(),
    )
    discriminator = nn.Sequential(
        nn.Conv2d(1, 64, 5, 2, 2), rectify(0.3),
        nn.Conv2d(64, 128, 5, 2, 2), nn.BatchNorm2d(128), rectify(0.3),
        nn.Flatten(), nn.Linear(128 * 7 * 7, 1),
    )
    return generator, discriminator, 100, (1, 28, 28)


def tutorial64():
    """PyTorch's DCGAN tutorial: 64x64x3, kernels of 4x4."""
    up = [nn.Unflatten(1, (100, 1, 1))]
    sizes = [100, 512, 256, 128, 64]
    for i, (a, b) in enumerate(zip(sizes, sizes[1:])):
        up += [nn.ConvTranspose2d(a, b, 4, 2 if i else 1, 1 if i else 0, bias=False), nn.BatchNorm2d(b), nn.ReLU()]
    up += [nn.ConvTranspose2d(64, 3, 4, 2, 1, bias=False), nn.Tanh()]
    down = [nn.Conv2d(3, 64, 4, 2, 1, bias=False), rectify(0.2)]
    for a, b in zip(sizes[:0:-1], sizes[-2:0:-1]):
        down += [nn.Conv2d(a, b, 4, 2, 1, bias=False), nn.BatchNorm2d(b), rectify(0.2)]
    down += [nn.Conv2d(512, 1, 4, bias=False), nn.Flatten()]
    return nn.Sequential(*up), nn.Sequential(*down), 100, (3, 64, 64)


class LightGenerator(nn.Module):
    def __init__(self, widths):
        super().__init__()
        self.start = nn.Sequential(
            nn.Linear(128, widths[0] * 16, bias=False), nn.Unflatten(1, (widths[0], 4, 4)), nn.BatchNorm2d(widths[0]), rectify(0.2)
        )
        self.stages = nn.Sequential(*(
            nn.Sequential(
                nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False),
                nn.Conv2d(a, b, 3, padding=1, bias=False), nn.BatchNorm2d(b), rectify(0.2),
            )
            for a, b in zip(widths, widths[1:])
        ))
        # The map four stages before gates the channels of a stage.
        self.gates = nn.ModuleList(
            nn.Sequential(nn.AdaptiveAvgPool2d(4), nn.Conv2d(a, b, 4), rectify(0.2), nn.Conv2d(b, b, 1), nn.Sigmoid())
            for a, b in zip(widths, widths[4:])
        )
        self.image = nn.Conv2d(widths[-1], 3, 3, padding=1)

    def forward(self, z):
        maps = [self.start(z)]
        for i, stage in enumerate(self.stages, start=1):
            x = stage(maps[-1])
            maps.append(x * self.gates[i - 4](maps[i - 4]) if i >= 4 else x)
        return torch.tanh(self.image(maps[-1]))


class LightBlock(nn.Module):
    def __init__(self, a, b):
        super().__init__()
        self.strided = nn.Sequential(nn.Conv2d(a, b, 4, 2, 1), rectify(0.2))
        self.pointwise = nn.Sequential(nn.AvgPool2d(2), nn.Conv2d(a, b, 1))

    def forward(self, x):
        return self.strided(x) + self.pointwise(x)


def light(size, widths, down):
    """This project's light networks."""
    discriminator = nn.Sequential(
        nn.Conv2d(3, down[0], 3, padding=1), rectify(0.2), *(LightBlock(a, b) for a, b in zip(down, down[1:])),
        nn.Conv2d(down[-1], down[-1], 3, padding=1), rectify(0.2), nn.Flatten(), nn.Linear(down[-1] * 16, 1),
    )
    return LightGenerator(widths), discriminator, 128, (3, size, size)


make = {
    "dcgan": reference,
    "dcgan64": tutorial64,
    "light64": lambda: light(64, (256, 256, 128, 64, 32), (32, 64, 128, 256, 256)),
    "light128": lambda: light(128, (256, 256, 192, 96, 48, 24), (16, 32, 64, 128, 256, 256)),
}
generator, discriminator, latent, image = make[options.network]()
layout = torch.channels_last if options.precision == "bf16" else torch.contiguous_format
generator, discriminator = (net.to(memory_format=layout) for net in (generator, discriminator))
weights = [list(net.parameters()) for net in (generator, discriminator)]
optimizers = [torch.optim.Adam(w, 2e-4, (0.5, 0.99), fused=True) for w in weights]
run_generator, run_discriminator = generator, discriminator
if options.variant == "compile":
    import torch._functorch.config

    torch._functorch.config.donated_buffer = False  # two gradients of one evaluation
    run_generator, run_discriminator = torch.compile(generator), torch.compile(discriminator)


def autocast():
    if options.precision == "bf16":
        return torch.autocast("cpu", torch.bfloat16)
    return contextlib.nullcontext()


def gradients(real, z):
    with autocast():
        on_real = run_discriminator(real)
        on_fake = run_discriminator(run_generator(z))
    on_real, on_fake = on_real.float(), on_fake.float()
    generator_loss = F.softplus(-on_fake).mean()
    discriminator_loss = F.softplus(-on_real).mean() + F.softplus(on_fake).mean()
    of_generator = torch.autograd.grad(generator_loss, weights[0], retain_graph=True)
    of_discriminator = torch.autograd.grad(discriminator_loss, weights[1])
    return generator_loss.detach(), discriminator_loss.detach(), of_generator, of_discriminator


if options.variant == "compile_step":
    import torch._dynamo.config

    if hasattr(torch._dynamo.config, "trace_autograd_ops"):
        torch._dynamo.config.trace_autograd_ops = True
    gradients = torch.compile(gradients, fullgraph=True)

real = (torch.rand(options.batch, *image) * 2 - 1).contiguous(memory_format=layout)


def train():
    *losses, of_generator, of_discriminator = gradients(real, torch.randn(options.batch, latent))
    for optimizer, parameters, slopes in zip(optimizers, weights, (of_generator, of_discriminator)):
        for parameter, slope in zip(parameters, slopes):
            parameter.grad = slope
        optimizer.step()
    return losses


def infer():
    with torch.inference_mode(), autocast():
        return run_generator(torch.randn(options.batch, latent))


if options.infer:
    generator.eval()
times, found = [], None
for i in range(options.warmup + options.steps):
    begin = time.perf_counter()
    found = infer() if options.infer else train()
    if i >= options.warmup:
        times.append(1e3 * (time.perf_counter() - begin))
median = statistics.median(times)
print(json.dumps({
    "peer": "pytorch",
    "network": options.network,
    "precision": options.precision,
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
    "version": torch.__version__,
}))
