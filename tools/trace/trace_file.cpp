#include "tools/trace/trace_file.h"

#include <fmt/format.h>

#include <iterator>
#include <nlohmann/json.hpp>

namespace hp {

namespace {

constexpr size_t flush_at = size_t{1} << 20;

std::string json_text(std::string_view text) {
  return nlohmann::json(text).dump(-1, ' ', true, nlohmann::json::error_handler_t::replace);
}

std::string arguments(const TraceEvent& event) {
  const auto [flops, bytes] = event.cost;
  if (flops <= 0 && bytes <= 0) return "";
  std::string text = fmt::format(",\"args\":{{\"bytes\":{:.0f},\"flops\":{:.0f}", bytes, flops);
  if (event.duration > 0) {
    if (flops > 0) text += fmt::format(",\"GFLOP/s\":{:.3f}", flops / event.duration * 1e-9);
    text += fmt::format(",\"GB/s\":{:.3f}", bytes / event.duration * 1e-9);
  }
  return text + "}";
}

}  // namespace

void write_trace(AtomicFile& file, const Trace& trace, std::string_view program) {
  std::string text = fmt::format(
      "{{\"displayTimeUnit\":\"ms\",\"otherData\":{{\"program\":{},\"seconds\":{:.6f},\"events_left_out\":{}}},"
      "\"traceEvents\":[",
      json_text(program), trace.seconds, trace.events_left_out);
  for (int thread = 0; thread < trace.threads; ++thread) {
    text +=
        fmt::format("{}\n{{\"ph\":\"M\",\"pid\":1,\"tid\":{},\"name\":\"thread_name\",\"args\":{{\"name\":\"{}\"}}}}",
                    thread == 0 ? "" : ",", thread, thread == 0 ? "compute" : fmt::format("worker {}", thread));
  }
  std::vector<std::string> names;  // with their categories, once per label
  for (const TraceLabel& label : trace.labels) {
    names.push_back(fmt::format("\"cat\":{},\"name\":{}", json_text(label.phase.substr(0, label.phase.find('/'))),
                                json_text(label.name)));
  }
  for (const TraceEvent& event : trace.events) {
    fmt::format_to(std::back_inserter(text),
                   ",\n{{\"ph\":\"X\",\"pid\":1,\"tid\":{},\"ts\":{:.3f},\"dur\":{:.3f},{}{}}}", event.thread,
                   event.start * 1e6, event.duration * 1e6, names[static_cast<size_t>(event.label)], arguments(event));
    if (text.size() < flush_at) continue;
    file.write(text);
    text.clear();
  }
  file.write(text + "\n]}\n");
}

}  // namespace hp
