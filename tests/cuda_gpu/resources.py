#!/usr/bin/env python3
"""Reads what ptxas says of every CUDA kernel: registers, shared memory, stack, spills. Fails on any spill or stack.

    tests/cuda_gpu/resources.py build/cuda [--table]

Compiles kernels/cuda/*.cu once more with -Xptxas -v for one architecture, by the build's own command lines. CUB's kernels
are not ours and are left out. --table prints a table in Markdown.
"""

import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ARCHITECTURE = "90"


def report_of(entry, scratch):
    """ptxas's report on one file."""
    words = [w for w in shlex.split(entry["command"]) if not w.startswith("--generate-code")]
    if "ccache" in words[0]:
        words = words[1:]
    words[words.index("-o") + 1] = os.path.join(scratch, Path(entry["file"]).stem + ".o")
    words += ["-arch=sm_" + ARCHITECTURE, "-Xptxas", "-v"]
    done = subprocess.run(words, cwd=entry["directory"], capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stderr)
    return done.stderr


def short_name(mangled):
    """map_kernel<4,1,1,1,StabilisedRatio> from the mangled name; c++filt is in every toolchain."""
    name = subprocess.run(["c++filt", mangled], capture_output=True, text=True).stdout.strip()
    name = re.sub(r"\((?:anonymous namespace|int|bool|hp::\w+)\)|hp::|_NV_ANON_NAMESPACE::|_GLOBAL__N__\w+::", "", name)
    return re.sub(r"^void |\(.*$", "", re.sub(r"\s+", " ", name)).replace(", ::", ", ")


def kernels_in(text):
    pattern = re.compile(
        r"Compiling entry function '(\w+)'.*?(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads"
        r".*?Used (\d+) registers([^\n]*)",
        re.S,
    )
    for name, stack, stores, loads, registers, rest in pattern.findall(text):
        shared = re.search(r"(\d+) bytes smem", rest)
        yield {
            "kernel": short_name(name),
            "registers": int(registers),
            "shared": int(shared.group(1)) if shared else 0,
            "stack": int(stack),
            "spills": int(stores) + int(loads),
        }


def main():
    build = Path(sys.argv[1])
    commands = json.loads((build / "compile_commands.json").read_text())
    own = [c for c in commands if "/kernels/cuda/" in c["file"] and c["file"].endswith(".cu") and "-x cu" in c["command"]]
    own = [c for c in own if not c["file"].endswith("sort_cub.cu")]
    if not own:
        sys.exit(f"{build} is no build with the CUDA backend; expected one of cmake --preset cuda")
    with tempfile.TemporaryDirectory() as scratch, ThreadPoolExecutor(2) as pool:
        reports = list(pool.map(lambda c: report_of(c, scratch), own))
    found = [(Path(c["file"]).name, k) for c, r in zip(own, reports) for k in kernels_in(r)]
    if "--table" in sys.argv:
        print("| file | kernel | registers | shared bytes |\n|---|---|---|---|")
        for file, k in found:
            print(f"| {file} | `{k['kernel']}` | {k['registers']} | {k['shared']} |")
    bad = [(f, k) for f, k in found if k["stack"] or k["spills"]]
    for file, k in bad:
        print(f"{file}: {k['kernel']}: {k['stack']} bytes of stack, {k['spills']} bytes of spills")
    most = max(k["registers"] for _, k in found)
    print(f"{len(found)} kernels for sm_{ARCHITECTURE}: {len(bad)} with spills or local memory, at most {most} registers")
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
