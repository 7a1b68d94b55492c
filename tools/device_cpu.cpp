#include "tools/device.h"

namespace hp {

OpenedDevice open_device(const Experiment& experiment) { return open_cpu(experiment); }

}  // namespace hp
