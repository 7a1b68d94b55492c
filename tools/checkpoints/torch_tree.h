// From the object of a pickle to the flat list of a checkpoint.
#pragma once

#include "tools/checkpoints/checkpoint.h"
#include "tools/checkpoints/torch_objects.h"

namespace hp {

// Fills `tensors` and `items` of the checkpoint with everything that the dictionaries below `root` hold, in their
// order. Dictionaries that contain themselves, are nested deeper than any checkpoint's, or unfold to millions of names
// are refused.
void flatten(PickleHeap& heap, const TorchObjects& objects, ValueId root, Checkpoint& checkpoint);

}  // namespace hp
