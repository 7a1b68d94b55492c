"""Writes golden tensors: safetensors with one JSON string of metadata (README.md describes the format)."""
import json

import numpy as np
import torch
from safetensors.numpy import save_file

import formula

WHOLE_LIMIT = 4096


FLOAT32_RUNS = ("oneDNN", "without oneDNN", "channels last")


class Float32Run:
    """Context of one float32 evaluation: torch's default, its own convolutions, or channels-last feature maps."""

    def __init__(self, run):
        self.run = run
        self.flags = torch.backends.mkldnn.flags(enabled=run != "without oneDNN")

    def place(self, value):
        """The tensor or module in this run's memory format."""
        return value.to(memory_format=torch.channels_last if self.run == "channels last" else torch.contiguous_format)

    def __enter__(self):
        self.flags.__enter__()
        return self

    def __exit__(self, *error):
        self.flags.__exit__(*error)


def evaluate_all(function):
    """function(dtype, place) -> {key: tensor}; yields (key, float64 result, [float32 results])."""
    exact = function(torch.float64, lambda value: value)
    rounded = []
    for run in FLOAT32_RUNS:
        with Float32Run(run) as context:
            rounded.append(function(torch.float32, context.place))
    for key in exact:
        yield key, exact[key], [results[key] for results in rounded]


def in_storage_order(value):
    """A float64 array, [batch, channels, height, width] as [batch, height, width, channels]."""
    value = value.detach().double()
    return (value.permute(0, 2, 3, 1) if value.dim() == 4 else value).contiguous().numpy()


class GoldenFile:
    """Collects entries. Every tensor comes in double precision and as the reference computes it in float32, in each of
    FLOAT32_RUNS: equally good evaluations that round differently, so that their largest error is a fair measure."""

    def __init__(self, path, versions, **header):
        self.path = path
        self.header = {"format": 1, **header, "versions": versions}
        self.tensors = {}
        self.entries = {}

    def add(self, name, exact, rounded, samples=WHOLE_LIMIT, **metadata):
        """`exact`: the float64 result, `rounded`: a list of float32 results. Feature maps [batch, channels, height,
        width] are stored [batch, height, width, channels]; tensors of more than `samples` elements are sampled."""
        values = in_storage_order(exact)
        if not np.isfinite(values).all():
            raise ValueError(f"{self.path.name}: '{name}' is not finite")
        norm = float(np.linalg.norm(values))
        differences = [float(np.linalg.norm(in_storage_order(value) - values)) for value in rounded]
        error = max(differences) / norm if norm > 0 else 0.0
        sampled = values.size > samples
        stored = values.reshape(-1)
        if sampled:
            stored = stored[formula.sample_index(samples, values.size, formula.fnv1a(name))]
        self.tensors[name] = np.ascontiguousarray((stored if sampled else values).astype(np.float32))
        self.entries[name] = {**metadata, "shape": list(values.shape), "samples": samples if sampled else 0,
                              "sum": float(values.sum()), "l2": norm, "float32_error": error}

    def write(self):
        by_group = {}
        for entry in self.entries.values():
            by_group.setdefault(entry.get("group", ""), []).append(entry["float32_error"])
        for entry in self.entries.values():
            if "group" in entry:
                entry["group_float32_error"] = max(by_group[entry["group"]])
        text = json.dumps({**self.header, "entries": self.entries}, separators=(",", ":"))
        save_file(self.tensors, str(self.path), metadata={"golden": text})
        self.path.chmod(0o644)
        size = self.path.stat().st_size
        if size > 2_000_000:
            raise ValueError(f"{self.path.name}: {size} bytes, more than 2 MB")
        return f"{self.path.name} {len(self.entries)} entries {size / 1e6:.2f} MB"


def in_precision(dtype):
    """Context: the default floating-point type, which captum uses for its integration weights."""
    class Default:
        def __enter__(self):
            self.before = torch.get_default_dtype()
            torch.set_default_dtype(dtype)

        def __exit__(self, *_):
            torch.set_default_dtype(self.before)
    return Default()
