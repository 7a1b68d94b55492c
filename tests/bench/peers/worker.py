"""A process that runs works of one library when asked: python -m peers.worker --peer torch ...

Commands, one a line, answered by one line of JSON: "describe", "run WORK|VARIANT|CALLS|WARM" (seconds of each call of
the whole work, after WARM calls that are not timed), "save WORK|VARIANT|FILE" (the result of one call as .npy)."""
import argparse
import contextlib
import json
import os
import sys
import time
import warnings

import numpy as np


def library(options):
    if options.peer == "torch":
        from .torch_works import TorchWorks
        return TorchWorks(options)
    from .onnx_works import OpenVinoWorks, RuntimeWorks
    return {"onnxruntime": RuntimeWorks, "openvino": OpenVinoWorks}[options.peer](options)


class Server:
    def __init__(self, options):
        self.works, self.functions = library(options), {}

    def function(self, work, variant):
        if (work, variant) not in self.functions:
            self.functions[work, variant] = self.works.make(work, variant)
        return self.functions[work, variant]

    def answer(self, line):
        command, _, rest = line.partition(" ")
        if command == "describe":
            return {"versions": self.works.versions(), "works": [list(key) for key in self.works.makers]}
        work, variant, *arguments = rest.split("|")
        function = self.function(work, variant)
        if command == "run":
            for _ in range(int(arguments[1])):
                function()
            return {"seconds": [timed(function) * function.times for _ in range(int(arguments[0]))]}
        if command == "save":
            np.save(arguments[0], np.asarray(function(), dtype=np.float32))
            return {"file": arguments[0]}
        raise ValueError(f"unknown command {command}")


def timed(function):
    began = time.perf_counter()
    function()
    return time.perf_counter() - began


def peak_memory():
    """Bytes of memory that this process held at most."""
    with open("/proc/self/status") as file:
        return next(1024 * int(line.split()[1]) for line in file if line.startswith("VmHWM"))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--peer", required=True)
    parser.add_argument("--network", default="resnet50")
    parser.add_argument("--weights", required=True)
    parser.add_argument("--onnx")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--grid", type=int, default=672)
    parser.add_argument("--rows", type=int, default=50000)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--once", nargs=2, metavar=("WORK", "VARIANT"), help="one call; prints the peak memory in bytes")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what libraries print goes to standard error
    if options.once:
        library(options).make(*options.once)()
        print(peak_memory(), file=answers)
        return
    server = Server(options)
    for line in sys.stdin:
        try:
            answer = server.answer(line.rstrip("\n"))
        except Exception as error:  # the parent decides what a failure means
            answer = {"error": f"{type(error).__name__}: {error}"[:500]}
        with contextlib.suppress(BrokenPipeError):
            print(json.dumps(answer), file=answers)


if __name__ == "__main__":
    main()
