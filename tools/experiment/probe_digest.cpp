#include "tools/experiment/probe_digest.h"

#include <fmt/format.h>

#include <algorithm>

#include "probes/digest.h"

namespace hp {

std::string digest_of(const Probe& probe) {
  const ProbeSpec& spec = probe.spec();
  std::string all = fmt::format("{} {} {} {} {} {} {}\n", spec.name, name_of(spec.head), name_of(spec.loss),
                                spec.layers, spec.b, spec.temperature, spec.logit_constant);
  std::vector<std::string> names = probe.parameters.names();
  std::ranges::sort(names);
  for (const std::string& name : names) {
    const Tensor& tensor = probe.parameters.at(name);
    all += fmt::format("{} {}\n", name, sha256_of(std::span(tensor.bytes_begin(), tensor.bytes())));
  }
  return sha256_of(all);
}

}  // namespace hp
