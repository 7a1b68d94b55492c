"""Child processes that run a work when they are asked to, one at a time: the others are stopped meanwhile."""
import ctypes
import json
import os
import signal
import subprocess
import time


class ChildFailed(Exception):
    pass


def die_with_parent():
    """Asks the system to kill this process when its parent is gone, also while it is stopped."""
    set_parent_death_signal = 1
    ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGKILL)


class Child:
    """A server of works: a line of text in, a line of JSON out (`hp-bench serve`, `worker.py`)."""

    def __init__(self, name, command, threads):
        self.name = name
        self.command = [str(part) for part in command]
        self.environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
        self.process = None

    def ask(self, line):
        """Wakes the process (or starts it), asks, and stops it again, so that no thread of it spins beside others."""
        if self.process is None:
            self.process = subprocess.Popen(self.command, env=self.environment, stdin=subprocess.PIPE,
                                            stdout=subprocess.PIPE, text=True, bufsize=1,
                                            preexec_fn=die_with_parent)
        else:
            os.kill(self.process.pid, signal.SIGCONT)
        try:
            self.process.stdin.write(line + "\n")
            self.process.stdin.flush()
            answer = self.process.stdout.readline()
        except BrokenPipeError:
            answer = ""
        if not answer:
            status = self.process.wait()
            self.process = None
            raise ChildFailed(f"{self.name} ended with status {status} on '{line}'")
        os.kill(self.process.pid, signal.SIGSTOP)
        answer = json.loads(answer)
        if isinstance(answer, dict) and "error" in answer:
            raise ChildFailed(answer["error"])
        return answer

    def processor_seconds(self):
        """User and system time of the process so far."""
        if self.process is None:
            return 0.0
        with open(f"/proc/{self.process.pid}/stat") as file:
            fields = file.read().rsplit(") ", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def close(self):
        if self.process is None:
            return
        os.kill(self.process.pid, signal.SIGCONT)
        self.process.kill()
        self.process.wait()
        self.process = None


class LoadMeter:
    """How much processor time programs that are not ours took, as a share of all cores."""

    def __init__(self, children):
        self.children = children

    def start(self):
        self.began, self.busy, self.own = time.monotonic(), busy_seconds(), self.own_seconds()

    def others(self):
        elapsed = time.monotonic() - self.began
        others = busy_seconds() - self.busy - (self.own_seconds() - self.own)
        return max(0.0, others / max(elapsed, 0.02) / os.cpu_count())

    def own_seconds(self):
        return time.process_time() + sum(child.processor_seconds() for child in self.children)


def busy_seconds():
    """Seconds that all cores together were not idle, those taken by the host (steal) included."""
    with open("/proc/stat") as file:
        user, nice, system, _, _, irq, soft_irq, steal = (int(text) for text in file.readline().split()[1:9])
    return (user + nice + system + irq + soft_irq + steal) / os.sysconf("SC_CLK_TCK")


def run_once(command, threads):
    """A program from start to end: (seconds, its standard output)."""
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
    began = time.monotonic()
    done = subprocess.run([str(part) for part in command], env=environment, stdout=subprocess.PIPE, text=True)
    seconds = time.monotonic() - began
    if done.returncode != 0:
        raise ChildFailed(f"{command[0]} ended with status {done.returncode}")
    return seconds, done.stdout
