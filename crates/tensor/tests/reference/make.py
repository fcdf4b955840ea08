"""Writes values.json: operations of PyTorch, and their gradients, on small inputs.

  python make.py > values.json        (torch 2.x)

Arrays are in this project's layout: images [n, h, w, c], weights [kh, kw, c_in, c_out], lines [n, length, c].
"""

import json

import torch
import torch.nn.functional as F

torch.manual_seed(1)
cases = []


def case(name, function, *inputs):
    """The value of a function and the gradients of its sum of squares."""
    inputs = [x.double().requires_grad_() for x in inputs]
    y = function(*inputs)
    gradients = torch.autograd.grad((y * y).sum(), inputs)
    array = lambda x: {"shape": list(x.shape), "values": x.detach().flatten().tolist()}
    cases.append({
        "name": name,
        "inputs": [array(x) for x in inputs],
        "value": array(y),
        "gradients": [array(g) for g in gradients],
    })


def images(function):
    """A function of PyTorch's images [n, c, h, w] on images [n, h, w, c]."""
    return lambda x: function(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)


def grouped(stride, padding, dilation, groups):
    def run(x, w):
        y = F.conv2d(x.permute(0, 3, 1, 2), w.permute(3, 2, 0, 1), None, stride, padding, dilation, groups)
        return y.permute(0, 2, 3, 1)

    return run


def line(x, w):
    y = F.conv1d(x.permute(0, 2, 1), w.permute(2, 1, 0), None, 2, 1, 2)
    return y.permute(0, 2, 1)


x = torch.randn(2, 5, 6, 4)
case("sin", torch.sin, torch.randn(5))
case("cos", torch.cos, torch.randn(5))
case("erf", torch.erf, torch.tensor([-3.0, -0.2, 0.0, 0.5, 2.0]))
case("gelu", F.gelu, torch.randn(5))
case("silu", F.silu, torch.randn(5))
case("clip", lambda x: torch.clamp(x, -0.5, 0.7), torch.randn(8))
case("maximum", torch.maximum, torch.tensor([1.0, 2.0, 3.0]), torch.tensor([2.0, 2.0, 1.0]))
case("minimum", torch.minimum, torch.tensor([1.0, 2.0, 3.0]), torch.tensor([2.0, 2.0, 1.0]))
case("max_keep", lambda x: torch.max(x, 1, keepdim=True)[0], torch.randn(3, 4))
case("min_keep", lambda x: torch.min(x, 0, keepdim=True)[0], torch.randn(3, 4))
case("var_keep", lambda x: torch.var(x, (0, 2), correction=1, keepdim=True), torch.randn(3, 2, 4))
case("norm_keep", lambda x: torch.linalg.vector_norm(x, dim=1, keepdim=True), torch.randn(3, 4))
case("index_select", lambda x: torch.index_select(x, 1, torch.tensor([2, 0, 2])), torch.randn(2, 3))
case("gather", lambda x: torch.gather(x, 1, torch.tensor([[2, 0], [1, 1]])), torch.randn(2, 3))
case("roll", lambda x: torch.roll(x, -2, 1), torch.randn(2, 5))
case("pad_reflect", lambda x: F.pad(x[None], (2, 1), mode="reflect")[0], torch.randn(2, 4))
case("batch_matmul", torch.bmm, torch.randn(2, 3, 4), torch.randn(2, 4, 2))
case("grouped", grouped(1, 1, 1, 2), x, torch.randn(3, 3, 2, 6))
case("depthwise", grouped(2, 1, 1, 4), x, torch.randn(3, 3, 1, 4))
case("dilated depthwise", grouped(1, 2, 2, 4), x, torch.randn(3, 3, 1, 4))
case("conv1d", line, torch.randn(2, 7, 3), torch.randn(3, 3, 2))
case("bilinear up", images(lambda x: F.interpolate(x, (8, 9), mode="bilinear")), x)
case("bilinear down", images(lambda x: F.interpolate(x, (3, 2), mode="bilinear")), x)
case("adaptive", images(lambda x: F.adaptive_avg_pool2d(x, (3, 4))), x)
case("avg", images(lambda x: F.avg_pool2d(x, 3, 2)), x)
case("max", images(lambda x: F.max_pool2d(x, 3, 2, 1)), x)
print(json.dumps(cases))
