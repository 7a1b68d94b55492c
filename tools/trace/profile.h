// Profile: where the time of a run went, as tables.
#pragma once

#include <string>

#include "tools/trace/recorder.h"

namespace hp {

// How the time of the recorder's own thread divides.
struct TimeShares {
  double nodes = 0;     // within single nodes
  double passes = 0;    // whole passes and walks, nodes included
  double observed = 0;  // everything that was reported
  double whole = 0;     // from the first moment to the last
};
TimeShares time_shares(const Trace& trace);

// The ten most expensive nodes with their time by phase, then every phase; lines of at most 100 columns.
std::string profile_text(const Trace& trace);

}  // namespace hp
