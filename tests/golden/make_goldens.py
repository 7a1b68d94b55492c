#!/usr/bin/env python3
"""Makes the golden files of this folder with the reference frameworks (torch, torchvision, zennit, captum, Pillow).

README.md says what the files hold, how the environment was made, and which command lines were used.
"""
import argparse
import pathlib
import time

import torch

import bcos
import end_to_end
import image_goldens
import nodes
import training
import versions

NETWORKS = ("resnet20", "resnet56", "resnet18", "resnet50")
PARTS = {"images": lambda arguments, found: image_goldens.make(arguments.out, found),
         "bcos": lambda arguments, found: bcos.make(arguments.out, found),
         "optimisers": lambda arguments, found: training.make_optimisers(arguments.out, found)}
for network in training.SIZES:
    PARTS[network + "_training"] = lambda arguments, found, network=network: training.make(
        network, arguments.out, arguments.shared, found)
for network in NETWORKS:
    PARTS[network + "_pick"] = lambda arguments, found, network=network: end_to_end.pick(
        network, arguments.out, arguments.shared)
    PARTS[network] = lambda arguments, found, network=network: end_to_end.make(
        network, arguments.out, arguments.shared, found)
    PARTS[network + "_nodes"] = lambda arguments, found, network=network: nodes.make(
        network, arguments.out, arguments.shared, found)


def main():
    here = pathlib.Path(__file__).resolve().parent
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=pathlib.Path, default=here, help="folder to write to (default: this one)")
    parser.add_argument("--shared", type=pathlib.Path, default=here.parents[2] / "shared",
                        help="folder with data/checkpoints and data/cifar10-jpeg")
    parser.add_argument("--only", action="append", choices=sorted(PARTS),
                        help="make this part only (may be repeated); the *_pick parts are made only so")
    parser.add_argument("--any-versions", action="store_true", help="warn instead of stop at other versions")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    found = versions.check(arguments.any_versions)
    for name, part in PARTS.items():
        if name not in arguments.only if arguments.only else name.endswith("_pick"):
            continue
        start = time.time()
        print(f"{name}: {part(arguments, found)} ({time.time() - start:.0f} s)", flush=True)


if __name__ == "__main__":
    main()
