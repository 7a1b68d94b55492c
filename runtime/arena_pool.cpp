#include "runtime/arena_pool.h"

#include <map>

#include "runtime/out_of_memory.h"

namespace hp {

struct ArenaPool::Blocks {
  std::multimap<size_t, std::unique_ptr<Storage>> free;
  size_t total = 0;
};

ArenaPool::ArenaPool(Kernels& kernels) : kernels_(kernels), blocks_(std::make_shared<Blocks>()) {}

std::shared_ptr<Storage> ArenaPool::take(size_t bytes) {
  auto give_back = [blocks = blocks_](Storage* storage) {
    const size_t size = storage->bytes();
    blocks->free.emplace(size, std::unique_ptr<Storage>(storage));
  };
  auto found = blocks_->free.lower_bound(bytes);
  // A block of more than twice the size stays free for a request that needs it.
  if (found != blocks_->free.end() && found->first <= 2 * bytes + 4096) {
    Storage* storage = found->second.release();
    blocks_->free.erase(found);
    return {storage, give_back};
  }
  try {
    auto storage = std::make_unique<Storage>(kernels_.allocate(bytes));
    blocks_->total += bytes;
    return {storage.release(), give_back};
  } catch (const OutOfMemory& error) {
    throw OutOfMemory(error.bytes() + blocks_->total);
  }
}

Tensor ArenaPool::take(Shape shape, DType dtype) {
  return Tensor(shape, dtype, take(static_cast<size_t>(shape.count()) * size_of(dtype)));
}

size_t ArenaPool::bytes() const { return blocks_->total; }

}  // namespace hp
