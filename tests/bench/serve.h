// Serving a program that interleaves hp's works with those of others (peers.py): one command a line, one JSON line
// back.
#pragma once

#include <iosfwd>

#include "tests/bench/run.h"

namespace hp::bench {

// Commands: "describe" (machine), "limits" (one more sample of the peak, and copies), "works" (all of them), "run WORK
// CALLS WARM" (seconds of each call, after WARM that are not timed), "save WORK FILE" (its result as .npy), "quit". A
// command that fails is answered by {"error": ...}.
void serve(CpuKernels&, const WorkOptions&, std::istream&, std::ostream&);

}  // namespace hp::bench
