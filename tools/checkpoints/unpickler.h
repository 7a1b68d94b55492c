// Reads pickles without running anything: a stack machine for the opcodes that weight files need.
// Opcodes: https://github.com/python/cpython/blob/main/Lib/pickletools.py (protocols 0 to 5).
#pragma once

#include <cstddef>
#include <span>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "tools/checkpoints/pickle_value.h"
#include "tools/checkpoints/torch_objects.h"

namespace hp {

// Every opcode outside of the allowed ones (INST, OBJ, EXT, NEXT_BUFFER, ...) is refused, and so is whatever pops an
// empty stack, reads beyond the end or names an unknown memo. Errors give the byte's position. Work and memory are
// linear in the size of the pickle.
class Unpickler {
 public:
  // `bytes` must outlive the heap of `objects`.
  Unpickler(std::span<const std::byte> bytes, PickleHeap& heap, TorchObjects& objects)
      : bytes_(bytes), heap_(heap), objects_(objects) {}

  ValueId read();                                // the next pickle, up to its STOP
  size_t position() const { return position_; }  // just behind the last pickle

 private:
  void step(unsigned char opcode);
  bool step_literal(unsigned char opcode);
  bool step_container(unsigned char opcode);
  bool step_stack(unsigned char opcode);
  bool step_object(unsigned char opcode);

  std::string_view take(uint64_t count);
  std::string_view line();
  template <class T>
  T little_endian();
  double big_endian_double();
  PickleValue big_integer(uint64_t count);

  void push(PickleValue value) { stack_.push_back(heap_.add(std::move(value))); }
  void push_again(ValueId id);
  ValueId pop();
  ValueId top();
  std::vector<ValueId> pop_to_mark();
  void push_tuple(size_t count);
  void memoize(uint32_t key);
  void recall(uint32_t key);
  void append(ValueId container, const std::vector<ValueId>& items);
  void set_items(ValueId container, const std::vector<ValueId>& items);

  std::span<const std::byte> bytes_;
  size_t position_ = 0;
  PickleHeap& heap_;
  TorchObjects& objects_;
  std::vector<ValueId> stack_;
  std::vector<size_t> marks_;
  std::unordered_map<uint32_t, ValueId> memo_;
};

}  // namespace hp
