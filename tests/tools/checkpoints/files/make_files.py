#!/usr/bin/python3
"""Writes the checkpoints of this folder with PyTorch itself, and what they hold as safetensors.

Made with Debian 12's python3-torch 1.13.1 and python3-torchvision 0.14.1 (torch 1.13.1, torchvision 0.14.1). Tests read the
files and never run this script. The files of `of_current_torch` were made with torch 2.15.0.
Usage: make_files.py FOLDER [--current]
"""
import argparse
import collections
import json
import pathlib
import struct
import sys
import types
import typing

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


class Tower(torch.nn.Module):
    """Attributes of every kind that torch.jit.save writes, among half and single precision tensors as CLIP's."""
    sizes: typing.List[int]
    names: typing.Dict[str, int]
    absent: typing.Optional[int]

    def __init__(self):
        super().__init__()
        self.conv1 = torch.nn.Conv2d(2, 3, 1, bias=False).half()
        self.bn1 = torch.nn.BatchNorm2d(3)
        self.layer1 = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.ReLU(), torch.nn.Linear(2, 2).to(torch.bfloat16))
        self.sizes, self.names, self.absent = [1, 2, 3], {"a": 1}, None
        self.scale, self.title, self.pair = 0.5, "tower", (1, 2.0)
        self.device = torch.device("cpu")

    def forward(self, x):
        return self.bn1(self.conv1(x).float()) * self.scale * len(self.sizes)


class TwoTowers(torch.nn.Module):
    """A CLIP in small: a visual tower, a tensor of its own, a tied one, a transposed one, integers as buffers."""

    def __init__(self):
        super().__init__()
        self.visual = Tower()
        self.logit_scale = torch.nn.Parameter(torch.ones([]))
        self.text_projection = torch.nn.Parameter(formula(3, 2).t())
        self.tied = self.visual.bn1.weight
        self.register_buffer("input_resolution", torch.tensor(64))

    def forward(self, x):
        return self.visual(x) * self.logit_scale


def of_current_torch(folder):
    """TorchScript of a module with a submodule, and what it holds."""
    model = TwoTowers().eval()
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if name != "text_projection":
                tensor.copy_(formula(*tensor.shape) if tensor.dtype.is_floating_point else tensor)
    script = torch.jit.script(model)
    script.save(str(folder / "towers_script.pt"))
    with torch.no_grad():
        torch.jit.trace(model, torch.zeros(1, 2, 2, 2).half()).save(str(folder / "towers_trace.pt"))
    save_safetensors(folder / "towers.safetensors", script.state_dict())


def main():
    folder = pathlib.Path(sys.argv[1])
    if "--current" in sys.argv:
        return of_current_torch(folder)
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
