#!/usr/bin/python3
"""Writes the checkpoints of this folder with PyTorch itself, and what they hold as safetensors.

Made with Debian 12's python3-torch 1.13.1 and python3-torchvision 0.14.1 (torch 1.13.1, torchvision 0.14.1). Tests read the
files and never run this script. Usage: make_files.py FOLDER
"""
import argparse
import collections
import json
import pathlib
import struct
import sys
import types

import numpy
import torch
import torchvision

LEGACY = {"_use_new_zipfile_serialization": False}


def formula(*shape, dtype=torch.float32):
    """Values that every element type holds exactly: k / 4 - 3 for floating point, small counts otherwise."""
    count = int(torch.tensor(shape).prod()) if shape else 1
    steps = torch.arange(count, dtype=torch.float64)
    values = steps / 4 - 3 if dtype.is_floating_point else steps % 2 if dtype == torch.bool else steps % 100
    return values.to(dtype).reshape(shape)


def state_dict():
    """Every layout and element type that a state dict may hold."""
    base = formula(4, 6)
    result = collections.OrderedDict()
    result["contiguous"] = formula(2, 3)
    result["transposed"] = formula(3, 5).t()
    result["permuted"] = formula(2, 3, 4).permute(2, 0, 1)
    result["channels_last"] = formula(2, 3, 2, 2).contiguous(memory_format=torch.channels_last)
    result["shared.whole"] = base
    result["shared.row"] = base[2]
    result["shared.column"] = base[:, 1]
    result["shared.steps"] = base[1::2, ::3]
    result["expanded"] = formula(3, 1).expand(3, 4)
    result["scalar"] = formula()
    result["empty"] = torch.empty(0, 7)
    result["parameter"] = torch.nn.Parameter(formula(5))
    result["double"] = formula(3, dtype=torch.float64)
    result["half"] = formula(4, dtype=torch.float16)
    result["bfloat16"] = formula(4, dtype=torch.bfloat16)
    result["int64"] = formula(3, dtype=torch.int64)
    result["int16"] = formula(3, dtype=torch.int16)
    result["int8"] = formula(3, dtype=torch.int8)
    result["uint8"] = formula(3, dtype=torch.uint8)
    result["bool"] = formula(3, dtype=torch.bool)
    result._metadata = collections.OrderedDict([("", {"version": 1}), ("shared", {"version": 2})])
    return result


def foreign_class():
    """A class of a package that is not there when the file is read."""
    module = types.ModuleType("mmengine.logging.history_buffer")
    class HistoryBuffer:
        def __init__(self):
            self._log_history = numpy.arange(3.0)
            self._statistics = {"mean": "mean"}
    HistoryBuffer.__module__, HistoryBuffer.__qualname__ = module.__name__, "HistoryBuffer"
    module.HistoryBuffer = HistoryBuffer
    for name in ("mmengine", "mmengine.logging"):
        sys.modules[name] = types.ModuleType(name)
    sys.modules[module.__name__] = module
    return HistoryBuffer


def training_checkpoint(weights, foreign):
    """What a training run saves: the weights between objects of classes that only the trainer knows."""
    parameter = torch.nn.Parameter(formula(2))
    optimizer = torch.optim.SGD([parameter], lr=0.1, momentum=0.9)
    parameter.sum().backward()
    optimizer.step()
    return {
        "meta": {"epoch": 3, "seed": 2 ** 70, "classes": ("cat", "dog"), "path": None},
        "args": argparse.Namespace(lr=0.1, arch="tiny"),
        "state_dict": weights,
        "optimizer": optimizer.state_dict(),
        "message_hub": {"log_scalars": {"train/loss": foreign()}, "best": numpy.float64(0.5), "set": {1, 2}},
        "param_schedulers": [{"last_step": 7, "_get_lr_called_within_step": False}],
    }


def hollow(network):
    """A network's state dict with its real names and shapes, but one element a tensor, stretched: the files stay small."""
    elements = torch.arange(1, 1 + len(network.state_dict()), dtype=torch.float32) / 1024
    result = collections.OrderedDict()
    for number, (name, tensor) in enumerate(network.state_dict().items()):
        integer = not tensor.dtype.is_floating_point
        result[name] = torch.tensor(number) if integer else elements[number].expand(tensor.shape)
    return result


def save_safetensors(path, tensors):
    data, header = b"", {}
    for name, tensor in tensors.items():
        raw = tensor.detach().to(torch.float32).contiguous().numpy().tobytes()
        header[name] = {"dtype": "F32", "shape": list(tensor.shape), "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def main():
    folder = pathlib.Path(sys.argv[1])
    weights, foreign = state_dict(), foreign_class()
    save_safetensors(folder / "expected.safetensors", weights)
    torch.save(weights, folder / "bare_zip.pth")
    torch.save(weights, folder / "bare_legacy.pth", **LEGACY)
    torch.save(weights, folder / "protocol4_zip.pth", pickle_protocol=4)
    torch.save(weights, folder / "protocol4_legacy.pth", pickle_protocol=4, **LEGACY)
    torch.save(training_checkpoint(weights, foreign), folder / "training_zip.pth")
    torch.save(training_checkpoint(weights, foreign), folder / "training_legacy.pth", **LEGACY)
    torch.save(hollow(torchvision.models.resnet18()), folder / "resnet18_zip.pth")
    torch.save(hollow(torchvision.models.resnet50(num_classes=7)), folder / "resnet50_legacy.pth", **LEGACY)
    torch.save(torch.nn.Linear(2, 1), folder / "whole_module.pth")
    torch.jit.script(torch.nn.Linear(2, 1)).save(str(folder / "torchscript.pt"))


if __name__ == "__main__":
    main()
