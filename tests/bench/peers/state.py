"""What was measured so far, in a file that an interrupted command continues from."""
import json
import os
import pathlib
import statistics


BUSY = 0.2  # share of all processors


class State:
    """samples: {work: {contestant: [[seconds, others' share of the processors], ...]}}; a contestant is "hp" or
    "library|variant"."""

    def __init__(self, path, configuration):
        self.path = pathlib.Path(path)
        self.data = {"configuration": configuration, "samples": {}, "rounds": {}, "agreement": {}, "failures": {},
                     "dropped": [], "limits": [], "processes": {}, "experiment": [], "seconds": 0.0, "machine": {},
                     "versions": {}, "works": [], "flops": {}, "commands": []}
        if self.path.exists():
            earlier = json.loads(self.path.read_text())
            if earlier.get("configuration") != configuration:
                raise SystemExit(f"{path} holds measurements of another configuration:\n  {earlier['configuration']}\n"
                                 f"and not\n  {configuration}\nRemove it to start anew.")
            self.data.update(earlier)

    def __getattr__(self, name):
        try:
            return self.__dict__["data"][name]
        except KeyError:
            raise AttributeError(name) from None

    def add(self, work, contestant, seconds, others):
        self.samples.setdefault(work, {}).setdefault(contestant, []).extend([value, others] for value in seconds)

    def save(self):
        self.path.parent.mkdir(parents=True, exist_ok=True)
        temporary = self.path.with_suffix(".part")
        temporary.write_text(json.dumps(self.data, indent=1) + "\n")
        os.replace(temporary, self.path)

    def seconds_of(self, work, contestant):
        """Without those taken while other programs had more than BUSY of the processors, unless there are no others."""
        samples = self.samples.get(work, {}).get(contestant, [])
        undisturbed = [value for value, others in samples if others <= BUSY]
        return undisturbed or [value for value, _ in samples]

    def set_aside(self):
        return sum(others > BUSY for work in self.samples.values() for samples in work.values() for _, others in samples)

    def contestants(self, work):
        return list(self.samples.get(work, {}))

    def others(self):
        """Median and largest share of the processors that other programs took during a turn."""
        shares = [share for work in self.samples.values() for samples in work.values() for _, share in samples]
        return (statistics.median(shares), max(shares)) if shares else (0.0, 0.0)
