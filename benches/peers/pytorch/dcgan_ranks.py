"""Times a DCGAN step of several processes in PyTorch: torchrun with gloo, the batch divided among them, batch norm over the whole
batch. Rank 0 prints one line of JSON.

    torchrun --nproc-per-node 2 dcgan_ranks.py --batch 64 --threads 1

The layers and the simultaneous step are those of `dcgan_step.py --network dcgan`, which is the same with one process. Gradients of both
networks are averaged with one `all_reduce` of all of them, as `DistributedDataParallel` does in buckets. Batch norm sums its moments over
the ranks in both passes; `--local-batch-norm` leaves that out. It needs torch only.
"""

import argparse
import json
import os
import statistics
import time

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--batch", type=int, default=64, help="images of all ranks together")
parser.add_argument("--threads", type=int, default=1, help="threads of each rank")
parser.add_argument("--steps", type=int, default=30)
parser.add_argument("--warmup", type=int, default=5)
parser.add_argument("--seed", type=int, default=1)
parser.add_argument("--local-batch-norm", action="store_true")
options = parser.parse_args()
os.environ["OMP_NUM_THREADS"] = str(options.threads)

import torch
import torch.distributed as dist
import torch.distributed.nn.functional as summed
import torch.nn.functional as F
from torch import nn

torch.set_num_threads(options.threads)
torch.set_flush_denormal(True)
dist.init_process_group("gloo")
rank, ranks = dist.get_rank(), dist.get_world_size()
if options.batch % ranks:
    raise SystemExit(f"--batch {options.batch}: expected a multiple of the {ranks} ranks")
torch.manual_seed(options.seed)


class SharedNorm(nn.Module):
    """Batch norm with the moments of all ranks. PyTorch's SyncBatchNorm has no CPU version."""

    def __init__(self, channels):
        super().__init__()
        self.scale, self.shift = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels))

    def forward(self, x):
        axes = [0, *range(2, x.dim())]
        moments = torch.stack([x.mean(axes), (x * x).mean(axes)])
        if ranks > 1 and not options.local_batch_norm:
            moments = summed.all_reduce(moments) / ranks
        mean, variance = moments[0], moments[1] - moments[0] ** 2
        shape = [1, -1] + [1] * (x.dim() - 2)
        factor = self.scale * torch.rsqrt(variance + 1e-5)
        return x * factor.view(shape) + (self.shift - mean * factor).view(shape)


def act():
    return nn.LeakyReLU(0.3)


generator = nn.Sequential(
    nn.Linear(100, 7 * 7 * 256, bias=False), SharedNorm(7 * 7 * 256), act(), nn.Unflatten(1, (256, 7, 7)),
    nn.ConvTranspose2d(256, 128, 5, padding=2, bias=False), SharedNorm(128), act(),
    nn.ConvTranspose2d(128, 64, 5, 2, 2, output_padding=1, bias=False), SharedNorm(64), act(),
    nn.ConvTranspose2d(64, 1, 5, 2, 2, output_padding=1, bias=False), nn.Tanh(),
)
discriminator = nn.Sequential(
    nn.Conv2d(1, 64, 5, 2, 2), act(), nn.Conv2d(64, 128, 5, 2, 2), SharedNorm(128), act(),
    nn.Flatten(), nn.Linear(128 * 7 * 7, 1),
)
weights = [list(net.parameters()) for net in (generator, discriminator)]
optimizers = [torch.optim.Adam(w, 2e-4, (0.5, 0.99), fused=True) for w in weights]
torch.manual_seed(options.seed + rank)
share = options.batch // ranks
real = torch.rand(share, 1, 28, 28) * 2 - 1


def step():
    on_real, on_fake = discriminator(real), discriminator(generator(torch.randn(share, 100)))
    of_generator = torch.autograd.grad(F.softplus(-on_fake).mean(), weights[0], retain_graph=True)
    loss = F.softplus(-on_real).mean() + F.softplus(on_fake).mean()
    slopes = of_generator + torch.autograd.grad(loss, weights[1])
    flat = torch.cat([slope.reshape(-1) for slope in slopes])
    if ranks > 1:
        dist.all_reduce(flat)
        flat /= ranks
    parameters = weights[0] + weights[1]
    for parameter, slope in zip(parameters, flat.split([p.numel() for p in parameters])):
        parameter.grad = slope.view_as(parameter)
    for optimizer in optimizers:
        optimizer.step()
    return loss.item()


times, last = [], None
for i in range(options.warmup + options.steps):
    begin = time.perf_counter()
    last = step()
    if i >= options.warmup:
        times.append(1e3 * (time.perf_counter() - begin))
if rank == 0:
    print(json.dumps({
        "peer": "pytorch", "version": torch.__version__, "network": "dcgan", "batch": options.batch, "ranks": ranks,
        "threads": options.threads, "batch_norm": "local" if options.local_batch_norm else "shared",
        "median_ms": round(statistics.median(times), 1), "min_ms": round(min(times), 1), "max_ms": round(max(times), 1),
        "loss": round(last, 4),
    }))
dist.destroy_process_group()
