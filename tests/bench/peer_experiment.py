#!/usr/bin/env python3
"""experiments/cifar10.json in PyTorch, zennit and captum, as a competent user of these libraries would write it.

Features are cached and pooled for training, targets of a grid go through the network as one batch, hooks are registered
once per probe. Writes top-1 and the mean of every metric with its 95 % interval as JSON; peers.py compares them with
those of hp-run, and the times of both.

    peer_experiment.py --data ../shared/data/cifar10-jpeg --checkpoint resnet56.th --threads 2 --output result.json
"""
import argparse
import copy
import json
import pathlib
import sys
import time
import warnings

import numpy as np
import torch
from captum.attr import InputXGradient, IntegratedGradients, LayerAttribution, LayerGradCam
from PIL import Image
from torch import nn
from torch.nn import functional as F
from zennit.attribution import Gradient
from zennit.canonizers import SequentialMergeBatchNorm
from zennit.composites import EpsilonGammaBox

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "golden"))
from networks import CifarResNet  # noqa: E402

MEAN, STD = (torch.tensor(values).reshape(1, 3, 1, 1) for values in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
PROBES = {"linear-ce": ("ce", 0.1), "linear-bce": ("bce", 1.0), "linear-uobce": ("uo_bce", 1.0)}
EPOCHS, BATCH, CELLS, CONFIDENCE, MOST_PER_CLASS, NODES = 40, 128, 3, 0.9, 100, 16


def read_images(folder):
    """(normalised images [n, 3, 32, 32], labels) of <folder>/<class>/*.jpg."""
    pixels, labels = [], []
    for label, group in enumerate(sorted(path for path in folder.iterdir() if path.is_dir())):
        for file in sorted(group.iterdir()):
            pixels.append(np.asarray(Image.open(file).convert("RGB")))
            labels.append(label)
    images = torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2).float() / 255
    return (images - MEAN) / STD, torch.tensor(labels)


class Backbone(nn.Module):
    def __init__(self, network):
        super().__init__()
        for name in ("conv1", "bn1", "relu", "layer1", "layer2", "layer3"):
            setattr(self, name, getattr(network, name))

    def forward(self, x):
        return self.layer3(self.layer2(self.layer1(self.relu(self.bn1(self.conv1(x))))))


class Head(nn.Module):
    def __init__(self, classes=10):
        super().__init__()
        self.conv, self.pool, self.flatten = nn.Conv2d(64, classes, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten()

    def forward(self, features):
        return self.flatten(self.pool(self.conv(features)))


def load_backbone(checkpoint):
    network = CifarResNet(9)
    state = torch.load(checkpoint, map_location="cpu", weights_only=True)["state_dict"]
    network.load_state_dict({key.removeprefix("module."): value for key, value in state.items()}, strict=False)
    return Backbone(network).eval().requires_grad_(False)


@torch.inference_mode()
def pooled_features(backbone, images):
    return torch.cat([backbone(batch).mean((2, 3), keepdim=True) for batch in images.split(256)]).clone()


def loss_of(kind, logits, labels):
    if kind == "ce":
        return F.cross_entropy(logits, labels)
    targets = F.one_hot(labels, logits.shape[1]).float()
    if kind == "uo_bce":
        targets = targets.clamp(min=1 / logits.shape[1])
    return F.binary_cross_entropy_with_logits(logits, targets)


def train(kind, rate, features, labels):
    torch.manual_seed(1)
    head = Head()
    optimiser = torch.optim.SGD(head.parameters(), lr=rate, momentum=0.9)
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimiser, [EPOCHS * 6 // 10, EPOCHS * 8 // 10], 0.1)
    for _ in range(EPOCHS):
        for rows in torch.randperm(len(labels)).split(BATCH):
            optimiser.zero_grad()
            loss_of(kind, head(features[rows]), labels[rows]).backward()
            optimiser.step()
        schedule.step()
    return head.requires_grad_(False)


def confident(heads, features, labels):
    """Indices of images that every probe classifies correctly and confidently, at most so many of a class."""
    least = torch.ones(len(labels))
    for name, head in heads.items():
        logits = head(features)
        probabilities = logits.softmax(1) if PROBES[name][0] == "ce" else logits.sigmoid()
        right = logits.argmax(1) == labels
        least = torch.minimum(least, torch.where(right, probabilities.gather(1, labels[:, None])[:, 0], 0.0))
    chosen = {}
    for index in (least >= CONFIDENCE).nonzero()[:, 0].tolist():
        chosen.setdefault(int(labels[index]), []).append(index)
    return {label: indices[:MOST_PER_CLASS] for label, indices in chosen.items()}


def make_grids(images, candidates, count):
    """(grids [count, 3, 96, 96], targets [count, 9])."""
    random, grids, targets = np.random.default_rng(1), [], []
    for _ in range(count):
        labels = random.permutation(sorted(candidates))[:CELLS * CELLS]
        cells = images[[int(random.choice(candidates[int(label)])) for label in labels]]
        rows = [torch.cat(list(row), dim=2) for row in cells.split(CELLS)]
        grids.append(torch.cat(rows, dim=1))
        targets.append(torch.from_numpy(labels.astype(np.int64)))
    return torch.stack(grids), torch.stack(targets)


class Explainer:
    """The four methods for one probe. Maps are [rows, 96, 96]."""

    def __init__(self, checkpoint, head):
        self.model = nn.Sequential(load_backbone(checkpoint), head)
        self.canonical = nn.Sequential(load_backbone(checkpoint), copy.deepcopy(head))  # its hooks stay
        low, high = -MEAN / STD, (1 - MEAN) / STD
        EpsilonGammaBox(low=low, high=high, canonizers=[SequentialMergeBatchNorm()]).register(self.canonical)
        self.attributor = Gradient(self.canonical)

    def ixg(self, x, targets):
        return InputXGradient(self.model).attribute(x, target=targets).detach().sum(1)

    def gradcam(self, x, targets):
        cam = LayerGradCam(self.model, self.model[0].layer3).attribute(x, target=targets)
        return LayerAttribution.interpolate(cam, tuple(x.shape[2:]), "bilinear").detach()[:, 0]

    def lrp(self, x, targets):
        def relevance(logits):
            return logits.detach() * F.one_hot(targets, logits.shape[1])
        return self.attributor(x, relevance)[1].detach().sum(1)

    def intgrad(self, x, targets):
        return IntegratedGradients(self.model).attribute(
            x, baselines=0, target=targets, n_steps=NODES, method="gausslegendre", internal_batch_size=len(x)
        ).detach().sum(1)


def smooth(maps):
    return F.avg_pool2d(maps[:, None], 5, 1, 2)[:, 0]


def grid_pointing(maps, cells):
    energy = F.avg_pool2d(smooth(maps).clamp(min=0)[:, None], maps.shape[1] // CELLS).flatten(1)
    return energy.gather(1, cells[:, None])[:, 0] / (energy.sum(1) + 1e-12)


def entropy(maps, _):
    positive = smooth(maps).clamp(min=0).flatten(1)
    share = positive / (positive.sum(1, keepdim=True) + 1e-10)
    return -(share * (share + 1e-10).log2()).sum(1)


def gini(maps, _):
    positive = maps.clamp(min=0).flatten(1)
    values = (positive / positive.amax(1, keepdim=True) + 1e-7).sort(1).values.double()
    count = values.shape[1]
    ranks = 2 * torch.arange(1, count + 1) - count - 1
    return (ranks * values).sum(1) / (count * values.sum(1))


def interval(values):
    """Mean and 95 % bootstrap interval; whole grids are drawn. values: [grids, targets]."""
    by_grid = values.double().mean(1).numpy()
    drawn = np.random.default_rng(1).integers(len(by_grid), size=(2000, len(by_grid)))
    low, high = np.percentile(by_grid[drawn].mean(1), [2.5, 97.5])
    return [float(by_grid.mean()), float(low), float(high)]


def evaluate(heads, checkpoint, grids, targets, grids_at_once):
    every = {"gridpg": grid_pointing, "entropy": entropy, "gini": gini}
    plan = {method: (len(grids), every) for method in ("ixg", "gradcam", "lrp")}
    plan["intgrad"] = max(2, len(grids) // 10), {"gridpg-intgrad": grid_pointing}
    rows = {}
    for probe, head in heads.items():
        explainer = Explainer(checkpoint, head)
        for method, (count, metrics) in plan.items():
            began, scores = time.perf_counter(), {name: [] for name in metrics}
            for first in range(0, count, grids_at_once):
                some = slice(first, min(first + grids_at_once, count))
                x = grids[some].repeat_interleave(CELLS * CELLS, 0)
                maps = getattr(explainer, method)(x, targets[some].flatten())
                cells = torch.arange(CELLS * CELLS).repeat(len(grids[some]))
                for name, metric in metrics.items():
                    scores[name].append(metric(maps, cells))
            for name, parts in scores.items():
                rows[f"{name}|{method}|{probe}"] = interval(torch.cat(parts).reshape(count, CELLS * CELLS))
            print(f"{probe}, {method}: {time.perf_counter() - began:.1f} s", file=sys.stderr, flush=True)
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=pathlib.Path, required=True)
    parser.add_argument("--checkpoint", type=pathlib.Path, required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--grids", type=int, default=50, help="a tenth of them for Integrated Gradients")
    parser.add_argument("--grids-at-once", type=int, default=2)
    parser.add_argument("--output", type=pathlib.Path, required=True)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(options.threads)

    began = time.perf_counter()
    backbone = load_backbone(options.checkpoint)
    train_images, train_labels = read_images(options.data / "train")
    test_images, test_labels = read_images(options.data / "test")
    train_features, test_features = (pooled_features(backbone, images) for images in (train_images, test_images))
    print(f"features: {time.perf_counter() - began:.1f} s", file=sys.stderr, flush=True)
    heads = {name: train(kind, rate, train_features, train_labels) for name, (kind, rate) in PROBES.items()}
    top1 = {name: float((head(test_features).argmax(1) == test_labels).float().mean()) for name, head in heads.items()}
    print(f"probes: {time.perf_counter() - began:.1f} s", file=sys.stderr, flush=True)
    grids, targets = make_grids(test_images, confident(heads, test_features, test_labels), options.grids)
    rows = evaluate(heads, options.checkpoint, grids, targets, options.grids_at_once)
    options.output.write_text(json.dumps({"top1": top1, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
