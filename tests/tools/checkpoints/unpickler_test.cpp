#include "tools/checkpoints/unpickler.h"

#include <doctest/doctest.h>

#include "runtime/error.h"
#include "tests/tools/checkpoints/checkpoint_builder.h"
#include "tools/checkpoints/torch_tree.h"

namespace {

using namespace hp;
using namespace hp::test;
using namespace std::string_literals;

struct Machine {
  explicit Machine(std::string text)
      : bytes(std::move(text)), objects(heap), unpickler(std::as_bytes(std::span(bytes)), heap, objects) {}
  std::string read() { return describe(heap, unpickler.read()); }

  std::string bytes;
  PickleHeap heap;
  TorchObjects objects;
  Unpickler unpickler;
};

// What the pickle of these opcodes is, or why it is refused.
std::string result(const std::string& opcodes) {
  try {
    return Machine(opcodes).read();
  } catch (const Error& error) {
    return error.what();
  }
}

bool refused(const std::string& opcodes, std::string_view part) {
  const std::string text = result(opcodes);
  CAPTURE(text);
  return text.starts_with("[") && text.find(part) != std::string::npos;
}

std::string repeated(std::string_view text, size_t count) {
  std::string bytes;
  for (size_t i = 0; i < count; ++i) bytes += text;
  return bytes;
}

const std::string ordered_dict = py::global("collections", "OrderedDict");

std::string rebuilt(const StorageSpec& storage, const TensorSpec& spec) {
  return tensor(persistent(storage, false), spec) + ".";
}

const StorageSpec six{.key = "0", .values = {0, 1, 2, 3, 4, 5}};

}  // namespace

TEST_CASE("unpickler: literals") {
  CHECK(result("N.") == "None");
  CHECK(result("\x88.") == "True");
  CHECK(result("\x89.") == "False");
  CHECK(result("K\xff.") == "a number (255)");
  CHECK(result("M\x01\x02.") == "a number (513)");
  CHECK(result("J\xff\xff\xff\xff.") == "a number (-1)");
  CHECK(result("\x8a\x00."s) == "a number (0)");
  CHECK(result("\x8a\x01\xff.") == "a number (-1)");
  CHECK(result("\x8a\x02\xff\x00."s) == "a number (255)");
  CHECK(result("\x8a\x09\1\1\1\1\1\1\1\1\1.") == "a large number");
  CHECK(result("\x8b\x01\x00\x00\x00\x07."s) == "a number (7)");
  CHECK(result(py::number(91.78) + ".") == "a number (91.78)");
  CHECK(result(py::text("abc") + ".") == "a text ('abc')");
  CHECK(result("\x8c\x02hi.") == "a text ('hi')");
  CHECK(result("\x8d\x02\0\0\0\0\0\0\0hi."s) == "a text ('hi')");
  CHECK(result("U\x02\xe9!.") == "a text ('\\xe9!')");
  CHECK(result("T\x01\0\0\0a."s) == "a text ('a')");
  CHECK(result("C\x01z.") == "1 bytes");
  CHECK(result("B\x02\0\0\0zz."s) == "2 bytes");
}

TEST_CASE("unpickler: containers, the stack and the memo") {
  CHECK(result("]K\1aK\2a.") == "a list of 2");
  CHECK(result("(K\1K\2l.") == "a list of 2");
  CHECK(result(").") == "a tuple of 0");
  CHECK(result("K\1K\2K\3\x87.") == "a tuple of 3");
  CHECK(result("(K\1K\2d.") == "a dictionary of 1");
  CHECK(result("}K\1K\2s.") == "a dictionary of 1");
  CHECK(result("\x8f(K\1K\2\x90.") == "a set of 2");
  CHECK(result("K\1K\2"
               "0.") == "a number (1)");
  CHECK(result("K\1(K\2K\3"
               "1.") == "a number (1)");
  CHECK(result("K\1(0.") == "a number (1)");
  CHECK(result("K\1"
               "2\x86.") == "a tuple of 2");
  CHECK(result("K\7q\5"
               "0h\5.") == "a number (7)");
  CHECK(result("K\7\x94"
               "0h\0."s) == "a number (7)");
  CHECK(result("K\7r\1\0\0\xff"
               "0j\1\0\0\xff."s) == "a number (7)");
  CHECK(result(ordered_dict + ")R.") == "a dictionary of 0");
  CHECK(result(ordered_dict + "(](](K\1K\2eetR.") == "a dictionary of 1");
  CHECK(result(ordered_dict + ")R}(" + py::text("_metadata") + "}ub.") == "a dictionary of 0");
  CHECK(result("\x80\x05\x95\1\0\0\0\0\0\0\0N."s) == "None");
}

TEST_CASE("unpickler: several pickles in a row have their own memo") {
  Machine machine("K\1q\0.h\0."s);
  CHECK(machine.read() == "a number (1)");
  CHECK_THROWS_WITH_AS(machine.read(), doctest::Contains("never remembered"), Error);
}

TEST_CASE("unpickler: broken pickles") {
  CHECK(refused("", "cut off"));
  CHECK(refused("N", "cut off"));
  CHECK(refused(".", "missing on the stack"));
  CHECK(refused("(.", "missing on the stack"));
  CHECK(
      refused("K\1(0"
              "0"
              "0.",
              "missing on the stack"));
  CHECK(refused("K\1(\x85.", "missing on the stack"));
  CHECK(refused("K\1t.", "a mark is missing"));
  CHECK(refused("h\1.", "never remembered"));
  CHECK(refused("q\1.", "missing on the stack"));
  CHECK(refused("X\xff\xff\xff\xff.", "cut off"));
  CHECK(refused("\x8d\xff\xff\xff\xff\xff\xff\xff\xff.", "cut off"));
  CHECK(refused("cos", "cut off inside a name"));
  CHECK(refused("\x80\x06N.", "unknown protocol"));
  CHECK(refused("}(K\1u.", "keys with values"));
  CHECK(refused("N(K\1e.", "expected a list or set"));
  CHECK(refused(")K\1a.", "expected a list or set"));
  CHECK(refused("]K\1K\1s.", "expected a dictionary"));
  CHECK(refused("K\1)R.", "expected a function or class"));
  CHECK(refused(ordered_dict + "K\1R.", "expected a tuple of arguments"));
  CHECK(refused("K\1K\2\x93.", "expected two texts"));
  CHECK(refused("K\1Q.", "expected a tuple of 5 or 6"));
}

TEST_CASE("unpickler: opcodes that weights do not need are refused, with their place") {
  for (const char opcode : {'i', 'o', 'P', 'S', 'V', 'I', 'L', 'F', 'p', 'g', '\x82', '\x83', '\x84', '\x92', '\x96',
                            '\x97', '\x98', '\0'}) {
    CAPTURE(opcode);
    CHECK(refused("N"s + opcode + ".", "at byte 1 of the pickle"));
    CHECK(refused("N"s + opcode + ".", "none that weights need"));
  }
}

TEST_CASE("unpickler: names that run code are refused at sight, called or not") {
  CHECK(refused(py::global("os", "system") + ".", "names os.system"));
  CHECK(refused(py::call(py::global("posix", "system"), py::tuple({py::text("touch /tmp/owned")})) + ".",
                "names posix.system"));
  CHECK(refused(py::text("subprocess") + py::text("Popen") + "\x93.", "names subprocess.Popen"));
  CHECK(refused(py::global("builtins", "eval") + ".", "nothing was run"));
  CHECK(refused(py::global("__builtin__", "exec") + ".", "nothing was run"));
  CHECK(result(py::global("builtins", "set") + "(](K\1etR.") == "a set of 1");
  CHECK(result(py::global("builtins", "getattr") + ".") == "the name builtins.getattr");
}

TEST_CASE("unpickler: calls of anything else leave an inert object") {
  CHECK(result(py::global("a.b", "C") + ")R.") == "an object of a.b.C");
  CHECK(result(py::global("a.b", "C") + ")\x81}b.") == "an object of a.b.C");
  CHECK(result(py::global("a.b", "C") + ")R)R.") == "an object of a.b.C");
  CHECK(result(py::global("a.b", "C") + ")R(K\1e.") == "an object of a.b.C");
  CHECK(result(py::global("a.b", "C") + ")R(K\1K\2u.") == "an object of a.b.C");
  CHECK(result(py::global("a\x1b[2J", "C") + ")R.") == "an object of a\\x1b[2J.C");
}

TEST_CASE("unpickler: tensors stay inside their storage") {
  CHECK(result(rebuilt(six, {{2, 3}, {3, 1}})) == "a tensor");
  CHECK(result(rebuilt(six, {{3, 2}, {1, 3}})) == "a tensor");
  CHECK(result(rebuilt(six, {{0, 9}, {9, 1}, 6})) == "a tensor");
  CHECK(refused(rebuilt(six, {{2, 3}, {3, 1}, 1}), "reaches outside its storage"));
  CHECK(refused(rebuilt(six, {{2, 3}, {4, 1}}), "reaches outside its storage"));
  CHECK(refused(rebuilt(six, {{7}, {1}}), "reaches outside its storage"));
  CHECK(refused(rebuilt(six, {{2}, {-1}, 1}), "reaches outside its storage"));
  CHECK(refused(rebuilt(six, {{2}, {1}, -1}), "reaches outside its storage"));
  CHECK(refused(rebuilt(six, {{2}, {INT64_MAX}, 5}), "reaches outside its storage"));
  CHECK(refused(rebuilt(six, {{-2}, {1}}), "negative extent"));
  CHECK(refused(rebuilt(six, {{int64_t{1} << 40, int64_t{1} << 40}, {0, 0}}), "too many elements"));
  CHECK(refused(rebuilt(six, {{2, 3}, {1}}), "two tuples of one length"));
  CHECK(refused(rebuilt(six, {{1, 1, 1, 1, 1, 1, 1, 1, 1}, {1, 1, 1, 1, 1, 1, 1, 1, 1}}), "9 axes"));
}

TEST_CASE("unpickler: storages") {
  const auto id = [](const std::vector<std::string>& parts) { return py::tuple(parts) + "Q."; };
  const std::string kind = py::text("storage"), floats = py::global("torch", "FloatStorage"), key = py::text("0"),
                    cpu = py::text("cpu");
  CHECK(result(id({kind, floats, key, cpu, py::integer(6)})) == "a bare storage");
  CHECK(refused(id({py::text("module"), floats, key, cpu, py::integer(6)}), "expected 'storage'"));
  CHECK(refused(id({kind, py::global("torch", "QInt8Storage"), key, cpu, py::integer(6)}), "unknown kind of storage"));
  CHECK(refused(id({kind, py::text("FloatStorage"), key, cpu, py::integer(6)}), "unknown kind of storage"));
  CHECK(refused(id({kind, floats, py::integer(0), cpu, py::integer(6)}), "expected a text"));
  CHECK(refused(id({kind, floats, key, cpu, py::text("6")}), "expected a number"));
  CHECK(refused(id({kind, floats, key, cpu, py::integer(-1)}), "impossible length"));
  CHECK(refused(id({kind, floats, key, cpu, py::integer(INT64_MAX)}), "impossible length"));
  CHECK(refused(persistent(six, false) + persistent({"0", {1, 2}}, false) + ".", "disagree"));
  const auto view = [&](int64_t offset, int64_t size) {
    return persistent(six, true, py::tuple({py::text("v"), py::integer(offset), py::integer(size)}));
  };
  CHECK(result(tensor(view(2, 4), {{4}, {1}}) + ".") == "a tensor");
  CHECK(refused(tensor(view(2, 4), {{5}, {1}}) + ".", "reaches outside its storage"));
  CHECK(refused(view(2, 5) + ".", "view reaches outside"));
  CHECK(refused(view(-1, 2) + ".", "view reaches outside"));
  CHECK(refused(view(INT64_MAX, 2) + ".", "view reaches outside"));
}

TEST_CASE("unpickler: untyped storages take the element type of the call") {
  const std::string untyped = py::tuple({py::text("storage"), py::global("torch.storage", "UntypedStorage"),
                                         py::text("0"), py::text("cpu"), py::integer(8)}) +
                              "Q";
  const auto rebuild = [&](const std::string& dtype, int64_t count) {
    return py::call(py::global("torch._utils", "_rebuild_tensor_v3"),
                    py::tuple({untyped, py::integer(0), py::integers({count}), py::integers({1}), py::boolean(false),
                               py::none(), py::global("torch", dtype)})) +
           ".";
  };
  CHECK(result(rebuild("float32", 2)) == "a tensor");
  CHECK(result(rebuild("bfloat16", 4)) == "a tensor");
  CHECK(refused(rebuild("float32", 3), "reaches outside its storage"));
  CHECK(result(rebuild("complex64", 1)) == "an object of torch.complex64");
}

TEST_CASE("unpickler: nesting of a million levels needs no stack") {
  CHECK(result(repeated("]", 1) + repeated("\x85", 1'000'000) + ".") == "a tuple of 1");
  CHECK(result(repeated("(", 1'000'000) + repeated("t", 1'000'000) + ".") == "a tuple of 1");
}

TEST_CASE("unpickler: a small file cannot ask for much work") {
  // A long list that is copied into sets again and again.
  const std::string list = "](" + repeated("N", 100'000) +
                           "eq\0"
                           "0"s;
  CHECK(refused(list + repeated("c__builtin__\nset\nh\0\x85R0"s, 10'000) + "N.", "containers too large"));
  CHECK(refused(repeated("]", 8'000'001) + ".", "too many values"));
}

TEST_CASE("unpickler: dictionaries that contain themselves or unfold without end are refused") {
  const auto flattened = [](const std::string& opcodes) -> std::string {
    Machine machine(opcodes);
    Checkpoint checkpoint;
    const ValueId root = machine.unpickler.read();
    try {
      flatten(machine.heap, machine.objects, root, checkpoint);
    } catch (const Error& error) {
      return error.what();
    }
    return "flat";
  };
  CHECK(flattened("}q\0"s + py::text("a") + "h\0s."s).find("nested too deeply") != std::string::npos);
  // Each level holds the one below twice: 2^24 names.
  std::string doubled = "}";
  for (int level = 0; level < 24; ++level)
    doubled += "q"s + static_cast<char>(level) + "0}" + py::text("a") + "h" + static_cast<char>(level) + "s" +
               py::text("b") + "h" + static_cast<char>(level) + "s";
  // The innermost must hold something for its names to count.
  doubled.insert(1, py::text("x") + "Ns");
  CHECK(flattened(doubled + ".").find("too many names") != std::string::npos);
  CHECK(flattened("}" + py::text(std::string(5000, 'k')) + "Ns.").find("name too long") != std::string::npos);
  CHECK(flattened("}(" + py::text("list") + "]q\0h\0au."s) == "flat");
}
