"""The whole experiment: hp-run against a script in PyTorch, zennit and captum that does the same work."""
import json
import pathlib
import shutil
import sys

from .match import say
from .process import run_once

ROOT = pathlib.Path(__file__).resolve().parents[3]
SHARED = ROOT.parent / "shared" / "data"


def compare(ours, theirs):
    """Complaints where the two sides' numbers differ by more than chance: both train on their own order of images and
    choose their own grids, so that means of the same quantity are drawn twice."""
    complaints = []
    for name, top1 in theirs["top1"].items():
        found = next(probe["top1"] for probe in ours["probes"] if probe["name"] == name)
        if abs(found - top1) > 0.01:
            complaints.append(f"top-1 of {name}: {found:.4f} and {top1:.4f}")
    rows = {(row["evaluation"], row["method"], row["probe"]): row for row in ours["rows"]}
    for key, (mean, low, high) in ((tuple(key.split("|")), value) for key, value in theirs["rows"].items()):
        row = rows[key]
        # The widths of both 95 % intervals together are about four standard errors of the difference; 2 % more for the
        # probes, which saw the images in another order.
        chance = ((high - low) ** 2 + (row["high"] - row["low"]) ** 2) ** 0.5 + 0.02 * abs(mean)
        if abs(row["mean"] - mean) > chance:
            complaints.append(f"{' '.join(key)}: {row['mean']:.4f} and {mean:.4f} (allowed: {chance:.4f})")
    return complaints


def own_results(path):
    """results.json with the bounds of the intervals beside the means."""
    results = json.loads(path.read_text())
    for row in results["rows"]:
        row["low"], row["high"] = row["interval"] or (row["mean"], row["mean"])
    return results


def measure(state, options, folder):
    """Runs both sides once more, from nothing; the numbers of both must agree."""
    checkpoint = SHARED / "checkpoints/resnet56-4bfd9763.th"
    if not checkpoint.exists():
        say(f"experiment skipped: {checkpoint} is not there")
        return
    weights, output = folder / "resnet56.safetensors", folder / "hp-run"
    run_once([options.build / "tools/convert-weights", checkpoint, "-o", weights], options.threads)
    grids = options.experiment_grids
    settings = {"backbone.weights": weights, "threads": options.threads}
    for index, count in ((0, grids), (1, max(2, grids // 10)), (2, grids), (3, grids)):
        settings[f"evaluations.{index}.grids"] = count
    shutil.rmtree(output, ignore_errors=True)
    sets = [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]
    ours, _ = run_once([options.build / "tools/hp-run", ROOT / "experiments/cifar10.json", "--output", output, *sets],
                       options.threads)
    say(f"hp-run: {ours:.1f} s")
    result = folder / "peer-experiment.json"
    theirs, _ = run_once([sys.executable, ROOT / "tests/bench/peer_experiment.py", "--data", SHARED / "cifar10-jpeg",
                          "--checkpoint", checkpoint, "--threads", options.threads, "--grids", grids,
                          "--output", result], options.threads)
    say(f"the script: {theirs:.1f} s, {theirs / ours:.2f} times as long")
    complaints = compare(own_results(output / "results.json"), json.loads(result.read_text()))
    for complaint in complaints:
        say(f"hp-run and the script differ: {complaint}")
    state.experiment.append({"hp": ours, "script": theirs, "grids": grids, "complaints": complaints})
    state.save()
