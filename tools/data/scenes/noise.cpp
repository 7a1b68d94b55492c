#include "tools/data/scenes/noise.h"

namespace hp::scenes {
namespace {

std::vector<float> lattice(Dice& dice, size_t count) {
  std::vector<float> values;
  values.reserve(count + 8);
  while (values.size() < count) {
    const uint64_t bits = dice.bits();
    for (int shift = 0; shift < 64; shift += 8) values.push_back(static_cast<float>(bits >> shift & 255U) / 255);
  }
  return values;
}

// Where a pixel lies between two points of a lattice.
struct Between {
  size_t before;
  float share;
};

std::vector<Between> positions(int size, int cells) {
  std::vector<Between> list;
  for (int i = 0; i < size; ++i) {
    const float at = (static_cast<float>(i) + 0.5F) * static_cast<float>(cells) / static_cast<float>(size);
    const float before = std::floor(at);
    list.push_back({static_cast<size_t>(before), smooth(at - before)});
  }
  return list;
}

void add_octave(Dice& dice, int size, int cells, float weight, std::vector<float>& field) {
  const size_t side = static_cast<size_t>(cells) + 2;
  const std::vector<float> values = lattice(dice, side * side);
  const std::vector<Between> places = positions(size, cells);
  std::vector<float> row(side);
  float* out = field.data();
  for (const Between& y : places) {
    const float* above = values.data() + y.before * side;
    for (size_t x = 0; x < side; ++x) row[x] = weight * (above[x] + (above[x + side] - above[x]) * y.share);
    for (const Between& x : places) *out++ += row[x.before] + (row[x.before + 1] - row[x.before]) * x.share;
  }
}

}  // namespace

std::vector<float> noise_field(Dice& dice, int size, int frequency, int octaves) {
  std::vector<float> field(static_cast<size_t>(size) * static_cast<size_t>(size));
  int used = 1;
  while (used < octaves && (frequency << used) * 2 <= size) ++used;
  float weight = 1, total = 0;
  for (int i = 0; i < used; ++i, weight *= 0.5F) total += weight;
  weight = 1 / total;
  for (int i = 0; i < used; ++i, weight *= 0.5F) add_octave(dice, size, frequency << i, weight, field);
  return field;
}

}  // namespace hp::scenes
