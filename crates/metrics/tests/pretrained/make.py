"""Writes PyTorch's values for the test of the pretrained feature extractors.

    python make.py

needs torch and torchvision. The weights follow a formula that the test repeats, so that no weights are stored: the files
hold the names and shapes of the tensors and the features of two images.
"""

import json
import pathlib

import numpy as np
import torch
import torch.nn.functional as F
import torchvision
from torchvision.models import inception


def uniform(name, count):
    """Numbers from -0.5 to 0.5 that follow from a name."""
    seed = np.uint32(2166136261)
    with np.errstate(over="ignore"):
        for byte in name.encode():
            seed = (seed ^ np.uint32(byte)) * np.uint32(16777619)
        x = seed + np.arange(count, dtype=np.uint32) * np.uint32(2654435761)
        for _ in range(2):
            x = (x ^ (x >> np.uint32(16))) * np.uint32(73244475)
        x = x ^ (x >> np.uint32(16))
    return x.astype(np.float64) / 2.0**32 - 0.5


def weight(name, shape):
    u = uniform(name, int(np.prod(shape)))
    if len(shape) >= 2:
        values = u * np.sqrt(24.0 / np.prod(shape[1:]))
    elif name.endswith(("weight", "running_var")):
        values = 1.0 + 0.4 * u
    else:
        values = 0.4 * u
    return torch.tensor(values.astype(np.float32).reshape(shape))


def images(height, width):
    noise = uniform("images", 2 * height * width * 3).reshape(2, height, width, 3)
    ramp = (np.arange(height) / height - 0.5).reshape(1, height, 1, 1)
    return torch.tensor((noise + ramp).astype(np.float32)).permute(0, 3, 1, 2)


def mean_pool(x):
    return F.avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=False)


class BlockA(inception.InceptionA):
    def _forward(self, x):
        one = self.branch1x1(x)
        five = self.branch5x5_2(self.branch5x5_1(x))
        three = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        return [one, five, three, self.branch_pool(mean_pool(x))]


class BlockC(inception.InceptionC):
    def _forward(self, x):
        seven = self.branch7x7_3(self.branch7x7_2(self.branch7x7_1(x)))
        double = self.branch7x7dbl_1(x)
        for part in (self.branch7x7dbl_2, self.branch7x7dbl_3, self.branch7x7dbl_4, self.branch7x7dbl_5):
            double = part(double)
        return [self.branch1x1(x), seven, double, self.branch_pool(mean_pool(x))]


class BlockE(inception.InceptionE):
    def __init__(self, channels, pool):
        super().__init__(channels)
        self.pool = pool

    def _forward(self, x):
        three = self.branch3x3_1(x)
        double = self.branch3x3dbl_2(self.branch3x3dbl_1(x))
        return [
            self.branch1x1(x),
            torch.cat([self.branch3x3_2a(three), self.branch3x3_2b(three)], 1),
            torch.cat([self.branch3x3dbl_3a(double), self.branch3x3dbl_3b(double)], 1),
            self.branch_pool(self.pool(x)),
        ]


def fid_inception():
    net = torchvision.models.inception_v3(num_classes=1008, aux_logits=False, init_weights=False, transform_input=False)
    net.Mixed_5b, net.Mixed_5c, net.Mixed_5d = BlockA(192, 32), BlockA(256, 64), BlockA(288, 64)
    net.Mixed_6b, net.Mixed_6c = BlockC(768, 128), BlockC(768, 160)
    net.Mixed_6d, net.Mixed_6e = BlockC(768, 160), BlockC(768, 192)
    net.Mixed_7b = BlockE(1280, mean_pool)
    net.Mixed_7c = BlockE(2048, lambda x: F.max_pool2d(x, 3, stride=1, padding=1))
    net.fc = torch.nn.Identity()
    return net


def inception_features(net, x):
    # On a scale from 0 to 1 and back, as pytorch-fid does.
    x = F.interpolate((x + 1) / 2, size=(299, 299), mode="bilinear", align_corners=False)
    return net(2 * x - 1)


def mobilenet_features(net, x):
    mean, deviation = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
    x = ((x + 1) / 2 - torch.tensor(mean).view(1, 3, 1, 1)) / torch.tensor(deviation).view(1, 3, 1, 1)
    return net.features(x).mean([2, 3])


def write(name, net, features, size):
    state = {key: value for key, value in net.state_dict().items() if "num_batches" not in key}
    state = {key: value for key, value in state.items() if not key.startswith("classifier")}
    net.load_state_dict({key: weight(key, tuple(value.shape)) for key, value in state.items()}, strict=False)
    net.eval().double()
    with torch.no_grad():
        found = features(net, images(*size).double())
    content = {
        "torch": torch.__version__,
        "size": size,
        "tensors": {key: list(value.shape) for key, value in state.items()},
        "features": [[float(f"{x:.7g}") for x in row] for row in found.tolist()],
    }
    path = pathlib.Path(__file__).with_name(f"{name}.json")
    path.write_text(json.dumps(content, separators=(",", ":")) + "\n")
    print(name, found.shape, found.mean().item(), found.std().item())


if __name__ == "__main__":
    write("mobilenet_v2", torchvision.models.mobilenet_v2(), mobilenet_features, (224, 224))
    write("inception", fid_inception(), inception_features, (64, 80))
