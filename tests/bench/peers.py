#!/usr/bin/env python3
"""Times hp against PyTorch, ONNX Runtime, OpenVINO, zennit and captum on this machine, and writes the page of ratios.

    tests/bench/peers-setup.sh /opt/hp-peers
    /opt/hp-peers/bin/peers-python tests/bench/peers.py --all --budget 20
    /opt/hp-peers/bin/peers-python tests/bench/peers.py --network vit_b_16 --works forward-1,gradient-1 --budget 5
    /opt/hp-peers/bin/peers-python tests/bench/peers.py --network bcos_resnet50 --works forward-1,contribution --budget 5

Interrupted or out of time, the same command goes on where it was: what was measured lies in the state file. A state of
other settings or of another build is refused. Before anything is timed, results are compared: only the same work counts.
"""
import argparse
import hashlib
import os
import pathlib
import re
import signal
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "bench"))

from peers import experiment, network, page, plan  # noqa: E402
from peers.match import Match, say  # noqa: E402
from peers.process import Child, run_once  # noqa: E402
from peers.state import State  # noqa: E402


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--all", action="store_true", help="every work, memory, start and the whole experiment")
    what.add_argument("--works", help="comma-separated parts of names, e.g. forward,lrp; also: processes, experiment")
    parser.add_argument("--budget", type=float, default=20, metavar="MINUTES", help="of this call, the experiment not counted (default: 20)")
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build/release", help="folder with tools/")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--network", default="resnet50",
                        help=f"torchvision's ResNets, {', '.join(network.SPECIAL)}; of the latter --state and --output are others")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--grid", type=int, default=672)
    parser.add_argument("--rows", type=int, default=50000, help="of the features that probes are trained on")
    parser.add_argument("--compile", action="store_true", help="torch.compile too (minutes of compilation)")
    parser.add_argument("--experiment-grids", type=int, default=50, help="fewer than 50: for a quick try")
    parser.add_argument("--state", type=pathlib.Path, help="default: out/peers/state.json, or state-NETWORK.json")
    parser.add_argument("--output", type=pathlib.Path, help="page to write (default: docs/results/speed-<cpu>[-<network>].md)")
    options = parser.parse_args()
    if options.state is None:
        of_network = f"-{options.network}" if options.network in network.SPECIAL else ""
        options.state = ROOT / f"out/peers/state{of_network}.json"
    return options


def wanted_works(options):
    """(works of plan.py, whether processes, whether the experiment)."""
    names = list(plan.PEERS) + plan.ALONE
    if options.all:
        return names, True, True
    parts = options.works.split(",")
    works = [name for name in names if any(part in name for part in parts)]
    units = {"probes-lrp": ["grid-lrp"], "probes-gradcam": ["grid-gradcam"], "intgrad-50": ["forward-16"],
             "eight-probes": ["probe-20"]}
    for work in list(works):
        works += units.get(work, [])
        if work.startswith(("grid", "probes")):
            works.append("grid-forward")
        elif work.startswith("gradient-8"):
            works.append("forward-8")
        elif not work.startswith("forward") and work not in plan.TRAINING:
            works.append("forward-1")
    works = [name for name in names if name in works]
    return works, "processes" in parts, "experiment" in parts


def prepare_files(options, folder, with_onnx):
    """The weights for both sides and the ONNX file, made once."""
    import torch
    from peers import onnx_works
    weights, converted, onnx = (folder / f"{options.network}.{end}" for end in ("pth", "safetensors", "onnx"))
    if not converted.exists():
        torch.save(network.state(options.network), weights)
        run_once([options.build / "tools/convert-weights", weights, "-o", converted], options.threads)
    if with_onnx and not onnx.exists():
        part = onnx.with_suffix(".part")
        onnx_works.export(options.network, weights, part)
        part.rename(onnx)
    return weights, converted, onnx


def measure_processes(state, hp, worker, threads, until):
    """Peak memory and start, from outside; twice each."""
    tools = pathlib.Path(hp[0]).parent
    commands = {"memory": {"hp": [hp[0], "once", "grid-lrp", *hp[2:]],
                           "zennit": [*worker("torch"), "--once", "grid-lrp", "zennit NCHW"]},
                "help": {"hp": [tools / "hp-run", "--help"]},
                "gradcam": {"hp": [hp[0], "once", "gradcam-1", *hp[2:]],
                            "captum": [*worker("torch"), "--once", "gradcam-1", "captum NCHW"]}}
    for kind, sides in commands.items():
        for _ in range(2 - len(state.processes.get(kind, {}).get("hp", []))):
            if time.monotonic() > until:
                return
            for name, command in sides.items():
                seconds, output = run_once(command, threads)
                value = float(output) if kind == "memory" else seconds
                state.processes.setdefault(kind, {}).setdefault(name, []).append(value)
                say(f"{kind}, {name}: {value / 2**20:.0f} MiB" if kind == "memory" else f"{kind}, {name}: {value:.3f} s")
            state.save()


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated; the same command goes on"))
    options = parse()
    until = time.monotonic() + 60 * options.budget
    works, with_processes, with_experiment = wanted_works(options)
    hp_bench = options.build / "tools/hp-bench"
    if not hp_bench.exists():
        raise SystemExit(f"{hp_bench} is not there: cmake --preset release && cmake --build --preset release")
    configuration = {"network": options.network, "size": options.size, "grid": options.grid, "rows": options.rows,
                     "threads": options.threads, "build": hashlib.sha256(hp_bench.read_bytes()).hexdigest()[:16]}
    state = State(options.state, configuration)
    command = "tests/bench/peers.py " + " ".join(sys.argv[1:])
    if command not in state.commands:
        state.commands.append(command)
    folder = options.state.parent.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    libraries = {"torch"} | {library for work in works for library, *_ in plan.PEERS.get(work, [])}
    weights, converted, onnx = prepare_files(options, folder, libraries != {"torch"} or with_processes)

    settings = ["--size", options.size, "--grid", options.grid, "--rows", options.rows, "--threads", options.threads]
    hp = [hp_bench, "serve", "--weights", converted, *settings]
    launcher = pathlib.Path(sys.executable).with_name("peers-python")

    def worker(library):
        command = [launcher if launcher.exists() else sys.executable, "-m", "peers.worker", "--peer", library,
                   "--network", options.network, "--weights", weights, "--onnx", onnx, *settings]
        return command + (["--compile"] if options.compile else [])

    os.environ["PYTHONPATH"] = str(ROOT / "tests" / "bench")
    children = {library: Child(library, worker(library), options.threads)
                for library in ("torch", "onnxruntime", "openvino") if library in libraries}
    hp_child = Child("hp", hp, options.threads)
    try:
        with tempfile.TemporaryDirectory() as temporary:
            match = Match(hp_child, children, state, works, pathlib.Path(temporary))
            match.introduce()
            match.check_agreement()
            complete = match.play(until - (60 if with_processes else 0))
    finally:
        for child in (hp_child, *children.values()):
            child.close()
        state.save()
    if with_processes:
        measure_processes(state, hp, worker, options.threads, until)
    if with_experiment:
        experiment.measure(state, options, folder)
    of_network = f"-{options.network.replace('_', '-')}" if options.network in network.SPECIAL else ""
    output = options.output or ROOT / f"docs/results/speed-{slug(state.machine['cpu'])}{of_network}.md"
    output.write_text(page.page(state))
    say(f"{output}" + ("" if complete else "; the budget is used up, the same command goes on"))


def slug(cpu):
    return re.sub(r"[^a-z0-9]+", "-", cpu.lower()).strip("-")


if __name__ == "__main__":
    main()
