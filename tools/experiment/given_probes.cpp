#include "tools/experiment/given_probes.h"

#include "runtime/error.h"
#include "runtime/safetensors.h"

namespace hp {

Experiment with_given_heads(Experiment experiment) {
  for (size_t i = 0; i < experiment.probes.size(); ++i) {
    ProbeSpec& spec = experiment.probes[i];
    const std::filesystem::path& file = experiment.probe_files[i];
    if (!file.empty()) {
      ProbeSpec given = Probe::load(file).spec();
      given.name = spec.name, given.loss = spec.loss, given.learning_rate = 0, given.frozen = true;
      spec = given;
    } else if (spec.head == HeadKind::converted) {
      spec.frozen = true;
      if (std::filesystem::exists(experiment.weights) &&
          SafetensorsFile(experiment.weights).find("head.linear.weight") != nullptr)
        spec.head = HeadKind::bcos_linear;
    }
  }
  return experiment;
}

std::optional<Probe> given_probe(const Experiment& experiment, const Network& network,
                                 const std::vector<std::string>& classes, size_t index) {
  const ProbeSpec& spec = experiment.probes[index];
  const std::filesystem::path& file = experiment.probe_files[index];
  if (!spec.frozen) return std::nullopt;
  if (file.empty()) return Probe::converted(spec, network.weights, network.channels, classes);
  const Probe probe = Probe::load(file);
  require(probe.channels() == network.channels,
          "[experiment] /probes/{}/file: does not fit the backbone; got {} for {} channels; expected {}", index,
          file.string(), probe.channels(), network.channels);
  return probe.for_classes(classes).copy(spec.name);
}

}  // namespace hp
