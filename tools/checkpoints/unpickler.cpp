#include "tools/checkpoints/unpickler.h"

#include <bit>
#include <cstring>

#include "runtime/error.h"

namespace hp {
namespace {

enum Opcode : unsigned char {
  MARK = '(',
  STOP = '.',
  POP = '0',
  POP_MARK = '1',
  DUP = '2',
  PROTO = 0x80,
  FRAME = 0x95,
  NONE = 'N',
  NEWTRUE = 0x88,
  NEWFALSE = 0x89,
  BININT = 'J',
  BININT1 = 'K',
  BININT2 = 'M',
  LONG1 = 0x8A,
  LONG4 = 0x8B,
  BINFLOAT = 'G',
  BINUNICODE = 'X',
  SHORT_BINUNICODE = 0x8C,
  BINUNICODE8 = 0x8D,
  BINSTRING = 'T',
  SHORT_BINSTRING = 'U',
  BINBYTES = 'B',
  SHORT_BINBYTES = 'C',
  EMPTY_LIST = ']',
  APPEND = 'a',
  APPENDS = 'e',
  LIST = 'l',
  EMPTY_TUPLE = ')',
  TUPLE = 't',
  TUPLE1 = 0x85,
  TUPLE2 = 0x86,
  TUPLE3 = 0x87,
  EMPTY_DICT = '}',
  DICT = 'd',
  SETITEM = 's',
  SETITEMS = 'u',
  EMPTY_SET = 0x8F,
  ADDITEMS = 0x90,
  BINGET = 'h',
  LONG_BINGET = 'j',
  BINPUT = 'q',
  LONG_BINPUT = 'r',
  MEMOIZE = 0x94,
  GLOBAL = 'c',
  STACK_GLOBAL = 0x93,
  REDUCE = 'R',
  NEWOBJ = 0x81,
  BUILD = 'b',
  BINPERSID = 'Q'
};

constexpr uint8_t newest_protocol = 5;

}  // namespace

ValueId Unpickler::read() {
  stack_.clear();
  marks_.clear();
  memo_.clear();
  for (;;) {
    const size_t start = position_;
    try {
      const auto opcode = static_cast<unsigned char>(take(1).front());
      if (opcode == STOP) return pop();
      step(opcode);
    } catch (const Error& error) {
      fail("{} (at byte {} of the pickle)", error.what(), start);
    }
  }
}

void Unpickler::step(unsigned char opcode) {
  if (step_literal(opcode) || step_container(opcode) || step_stack(opcode) || step_object(opcode)) return;
  fail("[pickle] opcode 0x{:02x} is none that weights need; the file is damaged or hostile", opcode);
}

bool Unpickler::step_literal(unsigned char opcode) {
  switch (opcode) {
    case NONE:
      push(None{});
      return true;
    case NEWTRUE:
      push(true);
      return true;
    case NEWFALSE:
      push(false);
      return true;
    case BININT:
      push(int64_t{little_endian<int32_t>()});
      return true;
    case BININT1:
      push(int64_t{little_endian<uint8_t>()});
      return true;
    case BININT2:
      push(int64_t{little_endian<uint16_t>()});
      return true;
    case LONG1:
      push(big_integer(little_endian<uint8_t>()));
      return true;
    case LONG4:
      push(big_integer(little_endian<uint32_t>()));
      return true;
    case BINFLOAT:
      push(big_endian_double());
      return true;
    case BINUNICODE:
    case BINSTRING:
      push(Text{take(little_endian<uint32_t>())});
      return true;
    case SHORT_BINUNICODE:
    case SHORT_BINSTRING:
      push(Text{take(little_endian<uint8_t>())});
      return true;
    case BINUNICODE8:
      push(Text{take(little_endian<uint64_t>())});
      return true;
    case BINBYTES:
      push(Bytes{take(little_endian<uint32_t>())});
      return true;
    case SHORT_BINBYTES:
      push(Bytes{take(little_endian<uint8_t>())});
      return true;
    default:
      return false;
  }
}

bool Unpickler::step_container(unsigned char opcode) {
  switch (opcode) {
    case EMPTY_LIST:
      push(Sequence{Sequence::Kind::list, {}});
      return true;
    case EMPTY_SET:
      push(Sequence{Sequence::Kind::set, {}});
      return true;
    case EMPTY_DICT:
      push(Dict{});
      return true;
    case EMPTY_TUPLE:
      push_tuple(0);
      return true;
    case TUPLE1:
      push_tuple(1);
      return true;
    case TUPLE2:
      push_tuple(2);
      return true;
    case TUPLE3:
      push_tuple(3);
      return true;
    case TUPLE:
      push(Sequence{Sequence::Kind::tuple, pop_to_mark()});
      return true;
    case LIST:
      push(Sequence{Sequence::Kind::list, pop_to_mark()});
      return true;
    case DICT: {
      const std::vector<ValueId> items = pop_to_mark();
      push(Dict{});
      set_items(top(), items);
      return true;
    }
    case APPEND: {
      const ValueId item = pop();
      append(top(), {item});
      return true;
    }
    case APPENDS:
    case ADDITEMS: {
      const std::vector<ValueId> items = pop_to_mark();
      append(top(), items);
      return true;
    }
    case SETITEM: {
      const ValueId value = pop(), key = pop();
      set_items(top(), {key, value});
      return true;
    }
    case SETITEMS: {
      const std::vector<ValueId> items = pop_to_mark();
      set_items(top(), items);
      return true;
    }
    default:
      return false;
  }
}

bool Unpickler::step_stack(unsigned char opcode) {
  switch (opcode) {
    case PROTO: {
      const auto protocol = little_endian<uint8_t>();
      require(protocol <= newest_protocol, "[pickle] unknown protocol; got {}; expected at most {}", protocol,
              newest_protocol);
      return true;
    }
    case FRAME:
      little_endian<uint64_t>();
      return true;  // a hint for readers of streams
    case MARK:
      heap_.charge_bytes(3 * sizeof(size_t));
      marks_.push_back(stack_.size());
      return true;
    case POP:
      if (!marks_.empty() && marks_.back() == stack_.size()) {
        marks_.pop_back();
      } else {
        pop();
      }
      return true;
    case POP_MARK:
      pop_to_mark();
      return true;
    case DUP:
      push_again(top());
      return true;
    case BINGET:
      recall(little_endian<uint8_t>());
      return true;
    case LONG_BINGET:
      recall(little_endian<uint32_t>());
      return true;
    case BINPUT:
      memoize(little_endian<uint8_t>());
      return true;
    case LONG_BINPUT:
      memoize(little_endian<uint32_t>());
      return true;
    case MEMOIZE:
      memoize(static_cast<uint32_t>(memo_.size()));
      return true;
    default:
      return false;
  }
}

bool Unpickler::step_object(unsigned char opcode) {
  switch (opcode) {
    case GLOBAL: {
      const std::string_view module = line(), name = line();
      push_again(objects_.global(module, name));
      return true;
    }
    case STACK_GLOBAL: {
      const ValueId name = pop(), module = pop();
      const auto *name_text = heap_.as<Text>(name), *module_text = heap_.as<Text>(module);
      require(name_text && module_text, "[pickle] a global is named by {} and {}; expected two texts",
              describe(heap_, module), describe(heap_, name));
      push_again(objects_.global(module_text->text, name_text->text));
      return true;
    }
    case REDUCE:
    case NEWOBJ: {
      const ValueId arguments = pop(), callable = pop();
      push_again(objects_.call(callable, arguments));
      return true;
    }
    case BUILD: {  // an object's attributes; those of a state dict (_metadata) are nothing that weights need
      const ValueId state = pop();
      objects_.build(top(), state);
      return true;
    }
    case BINPERSID: {
      const ValueId id = pop();
      push_again(objects_.persistent(id));
      return true;
    }
    default:
      return false;
  }
}

std::string_view Unpickler::take(uint64_t count) {
  require(count <= bytes_.size() - position_,
          "[pickle] the pickle is cut off; got {} more bytes; expected {}; download the file again",
          bytes_.size() - position_, count);
  const std::string_view text(reinterpret_cast<const char*>(bytes_.data()) + position_, count);
  position_ += count;
  return text;
}

std::string_view Unpickler::line() {
  const std::string_view rest(reinterpret_cast<const char*>(bytes_.data()) + position_, bytes_.size() - position_);
  const size_t end = rest.find('\n');
  require(end != rest.npos, "[pickle] the pickle is cut off inside a name; download the file again");
  position_ += end + 1;
  return rest.substr(0, end);
}

template <class T>
T Unpickler::little_endian() {
  T value{};
  take(sizeof(T)).copy(reinterpret_cast<char*>(&value), sizeof(T));
  return value;
}

double Unpickler::big_endian_double() { return std::bit_cast<double>(__builtin_bswap64(little_endian<uint64_t>())); }

PickleValue Unpickler::big_integer(uint64_t count) {
  const std::string_view bytes = take(count);
  if (count > sizeof(int64_t)) return BigInteger{bytes};
  int64_t value = !bytes.empty() && (bytes.back() & 0x80) != 0 ? -1 : 0;  // the sign fills the missing bytes
  std::memcpy(&value, bytes.data(), bytes.size());
  return value;
}

void Unpickler::push_again(ValueId id) {
  heap_.charge_bytes(3 * sizeof(ValueId));
  stack_.push_back(id);
}

ValueId Unpickler::pop() {
  const ValueId id = top();
  stack_.pop_back();
  return id;
}

ValueId Unpickler::top() {
  require(stack_.size() > (marks_.empty() ? 0 : marks_.back()),
          "[pickle] a value is missing on the stack; the file is damaged");
  return stack_.back();
}

std::vector<ValueId> Unpickler::pop_to_mark() {
  require(!marks_.empty(), "[pickle] a mark is missing on the stack; the file is damaged");
  const auto begin = stack_.begin() + static_cast<std::ptrdiff_t>(marks_.back());
  std::vector<ValueId> items(begin, stack_.end());
  stack_.erase(begin, stack_.end());
  marks_.pop_back();
  heap_.charge(items.size());
  return items;
}

void Unpickler::push_tuple(size_t count) {
  heap_.charge(count);
  std::vector<ValueId> items(count);
  for (size_t i = count; i > 0; --i) items[i - 1] = pop();
  push(Sequence{Sequence::Kind::tuple, std::move(items)});
}

void Unpickler::memoize(uint32_t key) {
  constexpr uint64_t bytes_of_entry = 64;
  heap_.charge_bytes(bytes_of_entry);
  memo_[key] = top();
}

void Unpickler::recall(uint32_t key) {
  const auto found = memo_.find(key);
  require(found != memo_.end(), "[pickle] value {} was never remembered; the file is damaged", key);
  push_again(found->second);
}

// Subclasses of list and dict are foreign objects here; what is put into them is dropped.
void Unpickler::append(ValueId container, const std::vector<ValueId>& items) {
  if (std::holds_alternative<Foreign>(heap_[container])) return;
  auto* sequence = std::get_if<Sequence>(&heap_[container]);
  require(sequence && sequence->kind != Sequence::Kind::tuple, "[pickle] items are added to {}; expected a list or set",
          describe(heap_, container));
  heap_.charge(items.size());
  sequence->items.insert(sequence->items.end(), items.begin(), items.end());
}

void Unpickler::set_items(ValueId container, const std::vector<ValueId>& items) {
  require(items.size() % 2 == 0, "[pickle] a dictionary is given {} items; expected keys with values", items.size());
  if (std::holds_alternative<Foreign>(heap_[container])) return;
  auto* dict = std::get_if<Dict>(&heap_[container]);
  require(dict != nullptr, "[pickle] items are set in {}; expected a dictionary", describe(heap_, container));
  heap_.charge(items.size());
  for (size_t i = 0; i < items.size(); i += 2) dict->items.emplace_back(items[i], items[i + 1]);
}

}  // namespace hp
