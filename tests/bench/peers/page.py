"""The page of results: docs/results/speed-<cpu>.md."""
import datetime
import statistics

from . import plan
from .state import BUSY

QUIET = 0.03  # of all processor time may go to other programs while something is timed


def page(state):
    machine = state.machine
    median_load, largest_load = state.others()
    lines = [f"# Speed on {machine['cpu']}", ""]
    if median_load > QUIET:
        lines += [f"**Not final: the machine was busy.** Other programs took {median_load:.0%} of its processors (median "
                  "over all turns), so only ratios of minima mean something here.", ""]
    lines += introduction(state, machine, median_load, largest_load)
    lines += own_table(state) + peer_table(state) + training_table(state) + process_table(state)
    lines += experiment_table(state) + agreement(state)
    return "\n".join(lines) + "\n"


def introduction(state, machine, median_load, largest_load):
    versions = ", ".join(f"{name} {version}" for name, version in sorted(state.versions.items()))
    peaks = [limit["peak"] * 1e-9 for limit in state.limits] or [0]
    copies = [limit["copy"] * 1e-9 for limit in state.limits] or [0]
    return [
        f"{state.configuration['network']}, images of {state.configuration['size']}, grids of "
        f"{state.configuration['grid']} pixels, float32, {machine['threads']} of {machine['cores']} cores, "
        f"{machine['instruction_set']}. Measured {datetime.date.today():%Y-%m-%d} by", "",
        *(f"    {command}" for command in state.commands), "",
        "Everybody has the same weights, pixels and number of threads, and takes turns in the same minutes: "
        "every round lets hp and each peer do the work once, in another order, while the others are stopped. Of each "
        "peer the faster of its variants counts (NCHW or channels_last, batch sizes). Times are minimum and median over "
        "the rounds, of the whole work.", "",
        f"Peak of a multiply-add loop {max(peaks):.0f} GFLOP/s (worst round {min(peaks):.0f}), copies in memory "
        f"{max(copies):.0f} GB/s. Other programs took {median_load:.1%} of the processors (median of the turns; "
        f"{largest_load:.0%} at most; {state.set_aside()} samples taken beside more than {BUSY:.0%} are set aside). "
        f"{versions}.", ""]


def own_table(state):
    """hp against the machine: shares of the peak and multiples of the forward pass."""
    # hp-bench's bounds are ResNet-50's.
    bounds = {"must": 0} if state.configuration["network"] in plan.ASKED else {}
    works = {work["name"]: work | bounds for work in state.works}
    peak = max([limit["peak"] for limit in state.limits] or [0])
    lines = ["## hp against the machine", "", "F is the forward pass of the same images in the same minutes, or the "
             "work that is named.", "", "| work | rounds | minimum | median | share of peak, or F (medians) | must | |",
             "|---|--:|--:|--:|--:|--:|---|"]
    for name, work in works.items():
        seconds = state.seconds_of(name, "hp")
        if not seconds:
            continue
        reading = asked = met = ""
        if name.startswith("forward") or name == "grid-forward":
            flops = state.flops.get(name, 0)
            share = flops / min(seconds) / peak if peak else 0
            reading = f"{share:.1%}"
            if work["must"]:
                asked, met = f"{work['must']:.0%}", share >= work["must"]
        elif work["unit"] and state.seconds_of(work["unit"], "hp"):
            unit = state.seconds_of(work["unit"], "hp")
            ratio = min(seconds) / min(unit) / work["units"]
            middle = statistics.median(seconds) / statistics.median(unit) / work["units"]
            named = "" if "forward" in work["unit"] else f" x {work['unit']}"
            reading = f"{ratio:.2f} ({middle:.2f}){named}"
            if work["must"]:
                asked, met = f"{work['must']:g}", ratio <= work["must"]
        lines.append(f"| {work['text']} | {len(seconds)} | {text_of(min(seconds))} | "
                     f"{text_of(statistics.median(seconds))} | {reading} | {asked} | {verdict(met)} |")
    return lines + [""]


def peer_table(state):
    works = {work["name"]: work for work in state.works}
    lines = ["## hp against its peers", "", "Ratio: the peer's time by hp's, of minima and of medians.", "",
             "| work | peer | its better variant | peer, minimum | median | hp, minimum | median | ratio | of medians | "
             "must | |", "|---|---|---|--:|--:|--:|--:|--:|--:|--:|---|"]
    for name in works:
        ours = state.seconds_of(name, "hp")
        for library, prefix, peer, usual in plan.PEERS.get(name, []):
            asked = plan.asked(state.configuration["network"], name, library, prefix, usual)
            best = best_variant(state, name, prefix)
            if best is None:
                continue
            seconds = state.seconds_of(name, best)
            ratio = min(seconds) / min(ours)
            middle = statistics.median(seconds) / statistics.median(ours)
            variant = best.split("|")[1].removeprefix(prefix).strip(" ,")
            lines.append(f"| {works[name]['text']} | {peer} | {variant} | {text_of(min(seconds))} | "
                         f"{text_of(statistics.median(seconds))} | {text_of(min(ours))} | "
                         f"{text_of(statistics.median(ours))} | {ratio:.2f} | {middle:.2f} | {asked or ''} | "
                         f"{verdict(ratio >= asked if asked else '')} |")
    failures = [f"* {work}, {contestant}: {reason}" for work, failed in state.failures.items()
                for contestant, reason in failed.items()]
    return lines + [""] + (["Could not be run:", "", *failures, ""] if failures else [])


def training_table(state):
    """Images a second of training steps, rows a second of probes' epochs."""
    works = {work["name"]: work for work in state.works}
    lines = []
    for name in plan.TRAINING:
        ours, best = state.seconds_of(name, "hp"), best_variant(state, name, "eager")
        if not ours or best is None:
            continue
        images, theirs = works[name]["images"], state.seconds_of(name, best)
        middle = [images / statistics.median(seconds) for seconds in (ours, theirs)]
        lines.append(f"| {works[name]['text']} | {len(ours)} | {images / min(ours):.4g} | {middle[0]:.4g} | "
                     f"{images / min(theirs):.4g} | {middle[1]:.4g} |")
    if not lines:
        return []
    return ["## Training", "", "Images a second, forward, backward and update; of probes, rows of features a second.", "",
            "| work | rounds | hp, best | median | PyTorch, best | median |", "|---|--:|--:|--:|--:|--:|", *lines, ""]


def best_variant(state, work, prefix):
    """The contestant of the lowest minimum; those that were dropped early count as well."""
    found = [name for name in state.contestants(work) if "|" in name and name.split("|")[1].startswith(prefix)]
    return min(found, key=lambda name: min(state.seconds_of(work, name)), default=None)


def process_table(state):
    """Peak memory of whole processes, and the time from their start to their end."""
    processes = state.processes
    if not processes:
        return []
    lines = ["## Memory and start", "", "Of processes that do one thing and end; the better of several.", "",
             "| what | hp | peer | ratio | must | |", "|---|--:|--:|--:|--:|---|"]
    if "memory" in processes:
        ours, theirs = (min(processes["memory"][name]) / 2**20 for name in ("hp", "zennit"))
        lines.append(f"| peak memory, LRP of a grid (hp: nine targets at once; zennit: one) | {ours:.0f} MiB | "
                     f"{theirs:.0f} MiB | {ours / theirs:.2f} | 0.5 | {verdict(ours <= theirs / 2)} |")
    for name, text, asked in (("help", "`hp-run --help`", 0.02), ("gradcam", "from nothing to the first GradCAM", 0.5)):
        if name in processes:
            ours = min(processes[name]["hp"])
            theirs = min(processes[name].get("captum", [0]))
            ratio = f"{theirs / ours:.1f}" if theirs else ""
            lines.append(f"| {text} | {text_of(ours)} | {text_of(theirs) if theirs else ''} | {ratio} | {asked} s | "
                         f"{verdict(ours <= asked)} |")
    return lines + [""]


def experiment_table(state):
    if not state.experiment:
        return []
    ours, theirs = (min(pair[side] for pair in state.experiment) for side in ("hp", "script"))
    return ["## The whole experiment", "", "`hp-run experiments/cifar10.json` against `tests/bench/peer_experiment.py` "
            "(PyTorch, zennit, captum): features, three probes, four methods, grids, metrics; from nothing, best of "
            f"{len(state.experiment)}; {state.experiment[-1]['grids']} grids.", "",
            *agreed(state.experiment[-1]["complaints"]), "", "| hp | script | ratio | must | |",
            "|--:|--:|--:|--:|---|",
            f"| {ours:.1f} s | {theirs:.1f} s | {theirs / ours:.2f} | 5 | {verdict(theirs >= 5 * ours)} |", ""]


def agreed(complaints):
    if not complaints:
        return ["Top-1 and the mean of every metric agree within what other grids and orders of training change."]
    return ["**The two sides' numbers differ**, hp first:", "", *(f"* {complaint}" for complaint in complaints)]


def agreement(state):
    lines = ["## The same work", "", "Norm of the difference between hp's result and the peer's, by the norm of the "
             "peer's. A single pre-activation that float32 rounds to the other side of 0 moves pixels of a map.", "",
             "| work | contestant | difference |", "|---|---|--:|"]
    lines += [f"| {work} | {contestant.replace('|', ': ')} | {difference:.1g} |"
              for work, found in state.agreement.items() for contestant, difference in found.items()]
    return lines


def text_of(seconds):
    return f"{seconds:.2f} s" if seconds >= 10 else f"{seconds * 1e3:.1f} ms" if seconds < 1 else f"{seconds:.3f} s"


def verdict(met):
    return "" if met == "" else "met" if met else "**missed**"
