#include "runtime/safetensors_header.h"

#include <nlohmann/json.hpp>
#include <set>
#include <unordered_set>

#include "runtime/error.h"
#include "runtime/shape.h"
#include "runtime/text.h"

namespace hp {
namespace {

// Follows the parser's events through {"name": {"dtype": "F32", "shape": [..], "data_offsets": [..]}, "__metadata__":
// {..}}. Whatever the format does not have at the current place throws at once, so nesting never goes deeper than that.
class HeaderReader {
 public:
  using number_integer_t = nlohmann::json::number_integer_t;
  using number_unsigned_t = nlohmann::json::number_unsigned_t;
  using number_float_t = nlohmann::json::number_float_t;
  using string_t = nlohmann::json::string_t;
  using binary_t = nlohmann::json::binary_t;

  explicit HeaderReader(std::string_view where) : where_(where) {}

  bool null() { unexpected("null"); }
  bool boolean(bool) { unexpected("a truth value"); }
  bool number_integer(number_integer_t) { unexpected("a negative number"); }
  bool number_float(number_float_t, const string_t&) { unexpected("a number that is not a 64-bit integer"); }
  bool binary(binary_t&) { unexpected("binary data"); }

  bool number_unsigned(number_unsigned_t value) {
    if (place_ != Place::array) unexpected("a number");
    numbers_.push_back(value);
    if (numbers_.size() > Shape::max_rank) unexpected("an array of more than 8 numbers");
    return true;
  }

  bool string(string_t& value) {
    if (place_ == Place::metadata) {
      header_.metadata[member_] = std::move(value);
    } else if (place_ == Place::tensor && member_ == "dtype") {
      entry().dtype = std::move(value);
    } else {
      unexpected("a string");
    }
    return true;
  }

  bool start_object(size_t) {
    switch (place_) {
      case Place::outside:
        place_ = Place::top;
        return true;
      case Place::top:
        place_ = name_ == "__metadata__" ? Place::metadata : Place::tensor;
        if (place_ == Place::tensor) header_.entries.emplace_back().name = name_;
        return true;
      default:
        unexpected("an object");
    }
  }

  bool end_object() {
    if (place_ == Place::tensor && members_.size() != 3) {
      require(members_.contains("dtype"), "[safetensors] {}: {} has no \"dtype\"", where_, printable(name_));
      require(members_.contains("shape"), "[safetensors] {}: {} has no \"shape\"", where_, printable(name_));
      fail("[safetensors] {}: {} has no \"data_offsets\"", where_, printable(name_));
    }
    members_.clear();
    place_ = place_ == Place::top ? Place::outside : Place::top;
    return true;
  }

  bool key(string_t& key) {
    if (place_ == Place::top) {
      require(names_.insert(key).second, "[safetensors] {}: the name {} occurs twice", where_, printable(key));
      name_ = std::move(key);
      return true;
    }
    require(members_.insert(key).second, "[safetensors] {}: the key {} occurs twice in {}", where_, printable(key),
            printable(name_));
    require(place_ == Place::metadata || key == "dtype" || key == "shape" || key == "data_offsets",
            "[safetensors] {}: unknown key in {}; got {}; expected dtype, shape, data_offsets", where_,
            printable(name_), printable(key));
    member_ = std::move(key);
    return true;
  }

  bool start_array(size_t) {
    if (place_ != Place::tensor || member_ == "dtype") unexpected("an array");
    numbers_.clear();
    place_ = Place::array;
    return true;
  }

  bool end_array() {
    place_ = Place::tensor;
    if (member_ == "shape") {
      entry().shape = numbers_;
      return true;
    }
    require(numbers_.size() == 2,
            "[safetensors] {}: data_offsets of {} are no pair; got {} numbers; expected begin and end", where_,
            printable(name_), numbers_.size());
    entry().begin = numbers_[0];
    entry().end = numbers_[1];
    return true;
  }

  bool parse_error(size_t position, const std::string&, const nlohmann::json::exception& error) {
    fail("[safetensors] {}: the header is no valid JSON at byte {}: {}", where_, position, printable(error.what()));
  }

  Header take() { return std::move(header_); }

 private:
  enum class Place { outside, top, tensor, metadata, array };

  HeaderEntry& entry() { return header_.entries.back(); }

  [[noreturn]] void unexpected(std::string_view what) const {
    fail("[safetensors] {}: unexpected {} in the header, near {} {}", where_, what, printable(name_),
         printable(member_));
  }

  std::string_view where_;
  Place place_ = Place::outside;
  std::string name_, member_;
  std::vector<uint64_t> numbers_;
  std::unordered_set<std::string> names_;
  std::set<std::string> members_;
  Header header_;
};

}  // namespace

Header parse_header(std::string_view text, std::string_view where) {
  HeaderReader reader(where);
  nlohmann::json::sax_parse(text, &reader);
  return reader.take();
}

}  // namespace hp
