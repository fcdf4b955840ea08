"""Trains the reference DCGAN in PyTorch with the settings of this project's default preset, and saves samples.

    python dcgan_pytorch.py --images DIR/train-images-idx3-ubyte[.gz] --out samples.npy [--steps 4000] [--seed 1]
    cargo engraft evaluate --samples samples.npy --data mnist

Same networks, first weights of the same distributions, Adam 2e-4 with betas 0.5 and 0.999, batches of 64, the
simultaneous step, and the averaged generator with the statistics of the live one. Random numbers differ, so that only
runs over several seeds compare.
"""

import argparse
import copy
import gzip
import json
import time

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

SLOPE, EPS, MOMENTUM = 0.3, 1e-3, 0.01


class Generator(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Linear(100, 7 * 7 * 256, bias=False)
        self.norm0 = nn.BatchNorm1d(7 * 7 * 256, EPS, MOMENTUM)
        self.block1 = nn.ConvTranspose2d(256, 128, 5, padding=2, bias=False)
        self.norm1 = nn.BatchNorm2d(128, EPS, MOMENTUM)
        # TensorFlow's "same" at stride 2: padding 1, and the last row and column cut off.
        self.block2 = nn.ConvTranspose2d(128, 64, 5, stride=2, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(64, EPS, MOMENTUM)
        self.to_image = nn.ConvTranspose2d(64, 1, 5, stride=2, padding=1, bias=False)

    def forward(self, z):
        x = F.leaky_relu(self.norm0(self.stem(z)), SLOPE).view(-1, 256, 7, 7)
        x = F.leaky_relu(self.norm1(self.block1(x)), SLOPE)
        x = F.leaky_relu(self.norm2(self.block2(x)[..., :-1, :-1]), SLOPE)
        return torch.tanh(self.to_image(x)[..., :-1, :-1])


class Discriminator(nn.Module):
    def __init__(self):
        super().__init__()
        self.block1 = nn.Conv2d(1, 64, 5, stride=2)
        self.block2 = nn.Conv2d(64, 128, 5, stride=2)
        self.norm2 = nn.BatchNorm2d(128, EPS, MOMENTUM)
        self.head = nn.Linear(7 * 7 * 128, 1)

    def forward(self, x):
        x = F.leaky_relu(self.block1(F.pad(x, (1, 2, 1, 2))), SLOPE)
        x = F.leaky_relu(self.norm2(self.block2(F.pad(x, (1, 2, 1, 2)))), SLOPE)
        return self.head(x.flatten(1))


def glorot(module):
    """Keras' first weights: Glorot's uniform distribution, biases zero."""
    for layer in module.modules():
        if isinstance(layer, (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)):
            nn.init.xavier_uniform_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
    return module


def read_images(path):
    opened = gzip.open(path) if path.endswith(".gz") else open(path, "rb")
    with opened as file:
        pixels = np.frombuffer(file.read()[16:], np.uint8).reshape(-1, 1, 28, 28)
    return torch.from_numpy(pixels.astype(np.float32) / 127.5 - 1)


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--images", required=True)
    arguments.add_argument("--out", required=True)
    arguments.add_argument("--steps", type=int, default=4000)
    arguments.add_argument("--batch", type=int, default=64)
    arguments.add_argument("--half-life", type=int, default=10_000)
    arguments.add_argument("--count", type=int, default=10_000)
    arguments.add_argument("--seed", type=int, default=1)
    arguments.add_argument("--threads", type=int, default=2)
    a = arguments.parse_args()
    torch.set_num_threads(a.threads)
    torch.set_flush_denormal(True)
    torch.manual_seed(a.seed)
    images = read_images(a.images)
    g, d = glorot(Generator()), glorot(Discriminator())
    average = copy.deepcopy(g)
    g_adam, d_adam = (
        torch.optim.Adam(m.parameters(), 2e-4, betas=(0.5, 0.999), eps=1e-7, fused=True) for m in (g, d)
    )
    order, start = torch.randperm(len(images)), time.time()
    for step in range(a.steps):
        at = step * a.batch % (len(images) // a.batch * a.batch)
        if at == 0:
            order = torch.randperm(len(images))
        real, z = images[order[at : at + a.batch]], torch.randn(a.batch, 100)
        fake = g(z)
        real_logits, fake_logits = d(real), d(fake)
        g_loss = F.softplus(-fake_logits).mean()
        d_loss = F.softplus(-real_logits).mean() + F.softplus(fake_logits).mean()
        g_gradients = torch.autograd.grad(g_loss, list(g.parameters()), retain_graph=True)
        d_gradients = torch.autograd.grad(d_loss, list(d.parameters()))
        for module, adam, gradients in ((g, g_adam, g_gradients), (d, d_adam, d_gradients)):
            for parameter, gradient in zip(module.parameters(), gradients):
                parameter.grad = gradient
            adam.step()
        with torch.no_grad():
            half_life = min(a.half_life, 0.05 * step * a.batch)
            keep = 0.5 ** (a.batch / half_life) if half_life > 0 else 0.0
            for mean, live in zip(average.parameters(), g.parameters()):
                mean.lerp_(live, 1 - keep)
            for mean, live in zip(average.buffers(), g.buffers()):
                mean.copy_(live)
    average.eval()
    with torch.inference_mode():
        drawn = [average(torch.randn(min(500, a.count - i), 100)) for i in range(0, a.count, 500)]
    np.save(a.out, torch.cat(drawn).numpy())
    print(json.dumps({"steps": a.steps, "seed": a.seed, "seconds": round(time.time() - start, 1)}))


if __name__ == "__main__":
    main()
