#!/usr/bin/env python3
"""Makes the golden files of this folder with the reference frameworks (torch, torchvision, zennit, captum, Pillow).

README.md says what the files hold, how the environment was made, and which command lines were used.
"""
import argparse
import pathlib
import time

import torch

import image_goldens
import versions

PARTS = {
    "images": lambda arguments, found: image_goldens.make(arguments.out, found),
}


def main():
    here = pathlib.Path(__file__).resolve().parent
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=pathlib.Path, default=here, help="folder to write to (default: this one)")
    parser.add_argument("--shared", type=pathlib.Path, default=here.parents[2] / "shared",
                        help="folder with data/checkpoints and data/cifar10-jpeg")
    parser.add_argument("--only", action="append", choices=sorted(PARTS), help="make this part only (may be repeated)")
    parser.add_argument("--any-versions", action="store_true", help="warn instead of stop at other versions")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    found = versions.check(arguments.any_versions)
    for name, part in PARTS.items():
        if arguments.only and name not in arguments.only:
            continue
        start = time.time()
        print(f"{name}: {part(arguments, found)} ({time.time() - start:.0f} s)", flush=True)


if __name__ == "__main__":
    main()
