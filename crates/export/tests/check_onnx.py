"""Runs exported ONNX files with ONNX Runtime and compares them with engraft's results.

usage: python3 check_onnx.py FOLDER

For every NAME.onnx in the folder there are arrays NAME.INPUT.npy, one for each input, and NAME.OUTPUT.npy, one for each
output; `engraft export --examples` writes them. The largest difference may be 1e-5 of the largest value.
It needs numpy and onnxruntime. If the package onnx is there, its checker runs too.
"""

import pathlib
import sys

import numpy
import onnxruntime

try:
    import onnx
except ImportError:
    onnx = None

LIMIT = 1e-5


def check(path):
    """The largest difference, relative to the largest value of each output."""
    if onnx is not None:
        onnx.checker.check_model(str(path), full_check=True)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    array = lambda value: numpy.load(path.with_name(f"{path.stem}.{value.name}.npy"))
    feeds = {}
    for value in session.get_inputs():
        kind = numpy.int64 if "int64" in value.type else numpy.float32
        feeds[value.name] = array(value).astype(kind)
    worst = 0.0
    for value, found in zip(session.get_outputs(), session.run(None, feeds)):
        expected = array(value)
        if found.shape != expected.shape:
            sys.exit(f"{path}: {value.name} has the shape {found.shape}, expected {expected.shape}")
        worst = max(worst, float(numpy.abs(found - expected).max() / numpy.abs(expected).max()))
    return worst


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    paths = sorted(pathlib.Path(sys.argv[1]).glob("*.onnx"))
    if not paths:
        sys.exit(f"{sys.argv[1]}: there is no .onnx file")
    bad = False
    for path in paths:
        worst = check(path)
        bad |= not worst <= LIMIT
        print(f"{path.name}: {worst:.1e}")
    print(f"onnxruntime {onnxruntime.__version__}, onnx {onnx.__version__ if onnx else 'not installed'}")
    sys.exit(1 if bad else 0)


main()
