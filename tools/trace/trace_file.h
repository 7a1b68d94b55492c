// A trace as a file for chrome://tracing and ui.perfetto.dev.
#pragma once

#include <string>
#include <string_view>

#include "runtime/file.h"
#include "tools/trace/recorder.h"

namespace hp {

// One complete event ("ph": "X", microseconds) per piece of work, named as it was reported, with bytes, FLOPs, GFLOP/s
// and GB/s as arguments where they were counted; its category is the phase up to the first '/'. Format: "Trace Event
// Format", the JSON object form. Does not commit the file.
void write_trace(AtomicFile& file, const Trace& trace, std::string_view program);

}  // namespace hp
