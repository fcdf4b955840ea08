"""Values of the measures by other people's implementations, for tests/reference.rs.

    python -m venv venv && venv/bin/pip install numpy scipy scikit-learn prdc torch torchmetrics torch-fidelity
    venv/bin/python generate.py > values.json

The features are not stored: both sides make them from the same sequence of integers.
"""

import json
import sys
from contextlib import redirect_stdout
from importlib.metadata import version

import numpy as np
import scipy.linalg
import torch
from prdc import compute_prdc
from torch_fidelity.metric_kid import kernel_mmd
from torchmetrics.image.fid import _compute_fid
from torchmetrics.image.kid import poly_mmd


def uniform(count, seed):
    """Numbers from 0 to 1 of the linear congruential generator of Numerical Recipes."""
    state, values = seed, []
    for _ in range(count):
        state = (state * 1664525 + 1013904223) % 2**32
        values.append(state / 2**32)
    return np.array(values)


def features(n, d, seed, shift):
    """Correlated, skewed points: each coordinate mixes three uniform numbers, and negative ones count a tenth."""
    u = uniform(n * (d + 2), seed).reshape(n, d + 2)
    mixed = u[:, :d] + 0.5 * u[:, 1 : d + 1] - 0.75 * u[:, 2:] + shift
    return np.where(mixed > 0, mixed, 0.1 * mixed)


def measures(n, m, d, shift):
    x, y = features(n, d, 1, 0.0), features(m, d, 2, shift)
    sx, sy = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    root = scipy.linalg.sqrtm(sx @ sy)
    fid = np.sum((x.mean(0) - y.mean(0)) ** 2) + np.trace(sx + sy - 2 * root.real)
    t = [torch.from_numpy(a) for a in (x, y)]
    fid_torchmetrics = _compute_fid(t[0].mean(0), torch.from_numpy(sx), t[1].mean(0), torch.from_numpy(sy))
    found = {
        "real": n,
        "fake": m,
        "dimension": d,
        "shift": shift,
        "fid_scipy": float(fid),
        "fid_torchmetrics": float(fid_torchmetrics),
    }
    # It prints the numbers of points to where the JSON goes.
    with redirect_stdout(sys.stderr):
        three, five = (compute_prdc(x, y, k) for k in (3, 5))
    found |= {k: three[k] for k in ("precision", "recall")}
    found |= {k: five[k] for k in ("density", "coverage")}
    # These two know only sets of equal size.
    if n == m:
        found["kid_torchmetrics"] = float(poly_mmd(t[0], t[1]))
        polynomial = {"kid_kernel": "poly", "kid_kernel_poly_degree": 3}
        polynomial |= {"kid_kernel_poly_gamma": None, "kid_kernel_poly_coef0": 1}
        found["kid_torch_fidelity"] = float(kernel_mmd(x, y, **polynomial, verbose=False))
    return {k: float(v) for k, v in found.items()}


packages = ["numpy", "scipy", "prdc", "torchmetrics", "torch-fidelity"]
cases = [measures(400, 400, 16, 0.05), measures(700, 500, 48, 0.3), measures(300, 300, 128, 0.0)]
json.dump({"versions": {p: version(p) for p in packages}, "cases": cases}, sys.stdout, indent=1)
print()
