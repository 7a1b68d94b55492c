"""The match: every work in turn by hp and by all peers, round after round, within a budget of time."""
import statistics
import sys
import time

import numpy as np

from . import plan
from .process import ChildFailed, LoadMeter


class Match:
    def __init__(self, hp, peers, state, works, folder):
        self.hp, self.peers, self.state, self.works, self.folder = hp, peers, state, works, folder
        self.meter = LoadMeter([hp, *peers.values()])
        self.variants = {}  # work: [(library, variant)]
        self.warm = set()  # (work, contestant) that these processes have done once: a command that goes on has new ones

    # --- before anything is timed

    def introduce(self):
        """Asks everybody who they are and what they can do."""
        self.state.data["machine"] = self.hp.ask("describe")
        self.state.data["works"] = self.hp.ask("works")
        for library, child in self.peers.items():
            answer = child.ask("describe")
            self.state.versions.update(answer["versions"])
            for work, variant in answer["works"]:
                if plan.peer_of(work, library, variant):
                    self.variants.setdefault(work, []).append((library, variant))
        self.works = [work for work in self.works if work in self.variants or work in plan.ALONE]

    def check_agreement(self):
        """Everybody's logits and one map of each method against hp's; a contestant that differs is an error."""
        for work in (work for work in plan.AGREE if work in self.works):
            ours = None
            for library, variant in self.variants[work]:
                contestant = f"{library}|{variant}"
                if contestant in self.state.agreement.get(work, {}):
                    continue
                if ours is None:
                    ours = self.result(self.hp, f"save {work} {{}}")
                try:
                    theirs = self.result(self.peers[library], f"save {work}|{variant}|{{}}")
                except ChildFailed as failure:
                    self.fail(work, contestant, failure)
                    continue
                difference = float(np.linalg.norm(ours - theirs) / np.linalg.norm(theirs))
                if not difference < plan.AGREE[work]:
                    raise SystemExit(f"{work}: hp and {contestant} differ by {difference:.2g} "
                                     f"(allowed: {plan.AGREE[work]}): not the same work, nothing was timed")
                self.state.agreement.setdefault(work, {})[contestant] = difference
                say(f"{work}: {contestant} agrees within {difference:.1g}")
                self.state.save()

    def result(self, child, command):
        file = self.folder / f"{child.name}.npy"
        child.ask(command.format(file))
        return np.load(file).ravel()

    # --- rounds

    def play(self, until):
        """Rounds of all works, those first that lag behind, until each has enough or the time is over."""
        while time.monotonic() < until:
            waiting = [work for work in self.works if self.progress(work) < 1]
            if not waiting:
                return True
            fitting = [work for work in waiting if time.monotonic() + self.cost(work) < until]
            if not fitting:
                return False
            began = time.monotonic()
            self.round(min(fitting, key=self.progress))
            self.state.data["seconds"] += time.monotonic() - began
            self.state.save()
        return False

    def progress(self, work):
        return self.state.rounds.get(work, 0) / plan.rounds_wanted(self.cost(work))

    def cost(self, work):
        """Seconds of one round, as far as known."""
        total = 0.0
        for contestant in self.contestants(work):
            seconds = self.state.seconds_of(work, contestant)
            if seconds:
                per_call = statistics.median(seconds) / self.times(work, contestant)
                total += sum(plan.calls_of(per_call)) * per_call
        return total

    @staticmethod
    def times(work, contestant):
        """Nine targets are one call each: one of them is timed, and counted nine times."""
        one_by_one = work.startswith("grid-") and contestant != "hp" and "retained" not in contestant
        return 9 if one_by_one else 1

    def contestants(self, work):
        others = [f"{library}|{variant}" for library, variant in self.variants.get(work, [])]
        gone = self.state.failures.get(work, {})
        return ["hp"] + [name for name in others if name not in gone and [work, name] not in self.state.dropped]

    def round(self, work):
        number = self.state.rounds.get(work, 0)
        contestants = self.contestants(work)
        shift = number % len(contestants)
        if self.state.rounds.get(work, 0) % 3 == 0:
            self.state.limits.append(self.hp.ask("limits"))
        for contestant in contestants[shift:] + contestants[:shift]:
            try:
                self.turn(work, contestant)
            except ChildFailed as failure:
                if contestant == "hp":
                    raise
                self.fail(work, contestant, failure)
        self.state.rounds[work] = number + 1
        self.drop_slow_variants(work)
        fastest = ", ".join(f"{name.split('|')[-1]} {min(self.state.seconds_of(work, name)) * 1e3:.1f}"
                            for name in self.contestants(work) if self.state.seconds_of(work, name))
        say(f"{work}, round {number + 1}, ms: {fastest}")

    def turn(self, work, contestant):
        known = self.state.seconds_of(work, contestant)
        if known:
            calls, warm = plan.calls_of(statistics.median(known) / self.times(work, contestant))
        else:
            calls, warm = 1, 1
        if (work, contestant) not in self.warm:
            warm = 1
        self.meter.start()
        if contestant == "hp":
            answer = self.hp.ask(f"run {work} {calls} {warm}")
            self.state.flops[work] = answer["flops"]
        else:
            library, variant = contestant.split("|")
            answer = self.peers[library].ask(f"run {work}|{variant}|{calls}|{warm}")
        self.warm.add((work, contestant))
        self.state.add(work, contestant, answer["seconds"], self.meter.others())

    def drop_slow_variants(self, work):
        """Of a peer's variants only the better goes on after two rounds; another within 10 % stays."""
        if self.state.rounds[work] < 2:
            return
        best = {}
        for contestant in self.contestants(work)[1:]:
            name = plan.peer_of(work, *contestant.split("|"))[0]
            best[name] = min(best.get(name, float("inf")), min(self.state.seconds_of(work, contestant)))
        for contestant in self.contestants(work)[1:]:
            name = plan.peer_of(work, *contestant.split("|"))[0]
            if min(self.state.seconds_of(work, contestant)) > 1.1 * best[name]:
                self.state.dropped.append([work, contestant])

    def fail(self, work, contestant, failure):
        say(f"{work}: {contestant} failed: {failure}")
        self.state.failures.setdefault(work, {})[contestant] = str(failure)


def say(text):
    print(time.strftime("%H:%M:%S ", time.gmtime()) + text, file=sys.stderr, flush=True)
