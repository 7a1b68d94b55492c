// ArenaPool: device memory that is taken and given back without asking the device again.
#pragma once

#include <memory>

#include "runtime/kernels.h"
#include "runtime/tensor.h"

namespace hp {

// take() hands out the smallest free block that is large enough, or a new one; the block comes back when the last
// Tensor on it is gone, also after the pool itself is gone. After a first round of the same requests nothing is
// allocated. One thread at a time.
class ArenaPool {
 public:
  explicit ArenaPool(Kernels& kernels);

  std::shared_ptr<Storage> take(size_t bytes);
  Tensor take(Shape shape, DType dtype = DType::float32);
  size_t bytes() const;  // everything this pool ever asked the device for and still holds or lent

 private:
  struct Blocks;
  Kernels& kernels_;
  std::shared_ptr<Blocks> blocks_;
};

// What kernels calls need besides their arguments.
struct Context {
  Kernels& kernels;
  ArenaPool& scratch;
};

}  // namespace hp
