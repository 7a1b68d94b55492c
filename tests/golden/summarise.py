#!/usr/bin/env python3
"""Prints README.md's table: the largest float32 error of the reference in each golden file, by quantity."""
import json
import pathlib
import struct
import sys


def metadata(path):
    with open(path, "rb") as file:
        header = json.loads(file.read(struct.unpack("<Q", file.read(8))[0]))
    return json.loads(header["__metadata__"]["golden"])


def rows(path):
    worst = {}
    for entry in metadata(path)["entries"].values():
        if entry["kind"] == "node":
            key = entry["quantity"].rstrip("01")
        elif entry["kind"] == "relevance":
            key = entry["node"] if entry["node"].startswith("input") else "layers"
        else:
            key = entry["group"]
        worst[key] = max(worst.get(key, 0.0), entry["float32_error"])
    return worst


def main():
    folder = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else pathlib.Path(__file__).resolve().parent
    print("| file | largest relative L2 error of the reference in float32 |\n|---|---|")
    for path in sorted(folder.glob("*.safetensors")):
        if "entries" not in metadata(path):
            continue  # training and optimisers hold no single results
        cells = ", ".join(f"{key} {error:.1e}" for key, error in rows(path).items())
        print(f"| `{path.name}` | {cells} |")


if __name__ == "__main__":
    main()
