"""Trains the light networks for 64x64 color images in PyTorch with the settings of `--preset light`, and saves samples.

    python light_pytorch.py --images pictures.zip --out samples.npy [--steps 2000] [--seed 1]
    engraft evaluate --samples samples.npy --data pictures.zip

The networks, the distributions of the first weights, Adam, R1, DiffAugment, the simultaneous step and the averaged
generator are those of the preset. Random numbers differ, so only runs over several seeds compare. It prints one JSON line with
the median time of a step and the peak memory. It needs torch, numpy and Pillow. Transparent pictures are composited on white.
"""

import argparse
import copy
import io
import json
import resource
import statistics
import time
import zipfile

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn

SIZE, LATENT, SLOPE, EPS, MOMENTUM = 64, 128, 0.2, 1e-3, 0.01
UP = (256, 256, 128, 64, 32)
DOWN = (32, 64, 128, 256, 256)


def act(x):
    return F.leaky_relu(x, SLOPE)


class Generator(nn.Module):
    def __init__(self):
        super().__init__()
        self.dense = nn.Linear(LATENT, UP[0] * 16, bias=False)
        self.norms = nn.ModuleList(nn.BatchNorm2d(c, EPS, MOMENTUM) for c in UP)
        self.convs = nn.ModuleList(nn.Conv2d(i, o, 3, padding=1, bias=False) for i, o in zip(UP, UP[1:]))
        self.squeeze, self.excite = nn.Conv2d(UP[0], UP[-1], 4), nn.Conv2d(UP[-1], UP[-1], 1)
        self.to_image = nn.Conv2d(UP[-1], 3, 3, padding=1)

    def forward(self, z):
        first = x = act(self.norms[0](self.dense(z).view(-1, UP[0], 4, 4)))
        for conv, norm in zip(self.convs, self.norms[1:]):
            x = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
            x = act(norm(conv(x)))
        gates = torch.sigmoid(self.excite(act(self.squeeze(first))))
        return torch.tanh(self.to_image(x * gates))


class Discriminator(nn.Module):
    def __init__(self):
        super().__init__()
        pairs = list(zip(DOWN, DOWN[1:]))
        self.from_image = nn.Conv2d(3, DOWN[0], 3, padding=1)
        self.strided = nn.ModuleList(nn.Conv2d(i, o, 4, stride=2, padding=1) for i, o in pairs)
        self.pointwise = nn.ModuleList(nn.Conv2d(i, o, 1) for i, o in pairs)
        self.last = nn.Conv2d(DOWN[-1], DOWN[-1], 3, padding=1)
        self.head = nn.Linear(DOWN[-1] * 16, 1)

    def forward(self, x):
        x = act(self.from_image(x))
        for strided, pointwise in zip(self.strided, self.pointwise):
            x = act(strided(x)) + pointwise(F.avg_pool2d(x, 2))
        return self.head(act(self.last(x)).flatten(1))[:, 0]


def first_weights(generator, discriminator):
    """Uniform with He's variance for leaky ReLUs; the branches of a residual block carry half of it each."""
    halved = {*discriminator.strided, *discriminator.pointwise}
    for layer in [*generator.modules(), *discriminator.modules()]:
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            receptive = layer.weight[0, 0].numel() if layer.weight.dim() == 4 else 1
            fan_in, fan_out = layer.weight.shape[1] * receptive, layer.weight.shape[0] * receptive
            variance = 2 / (fan_in + fan_out)
            if layer not in (discriminator.head, generator.squeeze, generator.excite):
                variance = 1 / (fan_in * (1 + SLOPE**2)) * 2
            if layer in halved:
                variance /= 2
            bound = (3 * variance) ** 0.5
            nn.init.uniform_(layer.weight, -bound, bound)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


def read(path):
    images = []
    with zipfile.ZipFile(path) as archive:
        for name in sorted(archive.namelist()):
            if name.lower().endswith((".png", ".jpg", ".jpeg")):
                picture = Image.open(io.BytesIO(archive.read(name))).convert("RGBA")
                picture = picture.resize((SIZE, SIZE), Image.LANCZOS)
                ground = Image.new("RGBA", picture.size, "white")
                ground.alpha_composite(picture)
                images.append(np.asarray(ground.convert("RGB")))
    return torch.tensor(np.stack(images)).permute(0, 3, 1, 2).float() / 127.5 - 1


def amounts(n, p):
    """Random amounts of DiffAugment for one batch; each kind applies to an image with probability p."""
    def some(value, other):
        return torch.where(torch.rand(n) < p, value, torch.full_like(value, other)).view(n, 1, 1, 1)

    far = SIZE // 8
    moves = torch.randint(-far, far + 1, (n, 2)) * (torch.rand(n, 1) < p)
    return some(torch.rand(n) - 0.5, 0.0), some(2 * torch.rand(n), 1.0), some(0.5 + torch.rand(n), 1.0), moves.tolist()


def augment(x, random):
    brightness, saturation, contrast, moves = random
    x = x + brightness
    x = x * saturation + x.mean(1, keepdim=True) * (1 - saturation)
    x = x * contrast + x.mean((1, 2, 3), keepdim=True) * (1 - contrast)
    far = SIZE // 8
    x = F.pad(x, (far,) * 4)
    return torch.stack([x[i, :, far - y : far - y + SIZE, far - r : far - r + SIZE] for i, (y, r) in enumerate(moves)])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--gamma", type=float, default=1.0)
    parser.add_argument("--augment", type=float, default=0.5)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--samples", type=int, default=1000)
    options = parser.parse_args()
    torch.manual_seed(options.seed)
    torch.set_num_threads(options.threads)
    images = read(options.images)
    generator, discriminator = Generator(), Discriminator()
    first_weights(generator, discriminator)
    average = copy.deepcopy(generator)
    optimizers = [torch.optim.Adam(net.parameters(), 5e-4, (0.5, 0.99)) for net in (generator, discriminator)]
    n, keep, times = options.batch, 0.5 ** (options.batch / 10_000), []

    for step in range(1, options.steps + 1):
        start = time.perf_counter()
        real = images[torch.randint(len(images), (n,))]
        fake = generator(torch.randn(n, LATENT))
        of_real = discriminator(augment(real, amounts(n, options.augment)))
        of_fake = discriminator(augment(fake, amounts(n, options.augment)))
        d_loss = F.softplus(-of_real).mean() + F.softplus(of_fake).mean()
        g_loss = F.softplus(-of_fake).mean()
        d_grads = torch.autograd.grad(d_loss, list(discriminator.parameters()), retain_graph=True)
        g_grads = torch.autograd.grad(g_loss, list(generator.parameters()))
        for optimizer, net, grads in zip(optimizers, (generator, discriminator), (g_grads, d_grads)):
            for parameter, grad in zip(net.parameters(), grads):
                parameter.grad = grad
            optimizer.step()
        if step % 16 == 0:
            leaf = real.clone().requires_grad_()
            logits = discriminator(augment(leaf, amounts(n, options.augment)))
            (slope,) = torch.autograd.grad(logits.sum(), leaf, create_graph=True)
            optimizers[1].zero_grad()
            (16 * options.gamma / 2 * slope.square().sum((1, 2, 3)).mean()).backward()
            optimizers[1].step()
        with torch.no_grad():
            for mean, now in zip(average.parameters(), generator.parameters()):
                mean.lerp_(now, 1 - keep)
            for mean, now in zip(average.buffers(), generator.buffers()):
                mean.copy_(now)
        times.append(time.perf_counter() - start)
        if step % 100 == 0:
            print(f"step {step}  D {d_loss.item():.3f}  G {g_loss.item():.3f}  {statistics.median(times):.3f} s", flush=True)

    average.eval()
    with torch.no_grad():
        parts = [average(torch.randn(100, LATENT)) for _ in range((options.samples + 99) // 100)]
    pixels = ((torch.cat(parts)[: options.samples] + 1) * 127.5).round().clamp(0, 255).byte()
    np.save(options.out, pixels.permute(0, 2, 3, 1).contiguous().numpy())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(json.dumps({"version": torch.__version__, "steps": options.steps, "batch": n, "threads": options.threads,
                      "seconds_median": statistics.median(times), "peak_mb": peak // 1024}))


if __name__ == "__main__":
    main()
