#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "tests/cases/cases.h"

namespace hp::cases {

namespace {

using Map = HeadsMatmul::Map;
using Vector = std::vector<double>;

// One operand: its stored rows and columns, and where element (row, column) of a head lies.
struct Operand {
  int64_t rows, columns, heads;
  bool is_map;
  int64_t image() const { return rows * columns * heads; }
  int64_t at(int64_t head, int64_t row, int64_t column) const {
    return is_map ? (head * rows + row) * columns + column : row * heads * columns + head * columns + column;
  }
};

Operand left_of(const HeadsMatmul& p) {
  return {p.transpose_a ? p.k : p.m, p.transpose_a ? p.m : p.k, p.heads, p.map == Map::a};
}
Operand right_of(const HeadsMatmul& p) {
  return {p.transpose_b ? p.n : p.k, p.transpose_b ? p.k : p.n, p.heads, p.map == Map::b};
}
Operand result_of(const HeadsMatmul& p) { return {p.m, p.n, p.heads, p.map == Map::y}; }

void softmax_rows(int64_t columns, Vector& y) {
  for (auto row = y.begin(); row != y.end(); row += columns) {
    const double largest = *std::max_element(row, row + columns);
    double sum = 0;
    for (int64_t c = 0; c < columns; ++c) sum += row[c] = std::exp(row[c] - largest);
    for (int64_t c = 0; c < columns; ++c) row[c] /= sum;
  }
}

Vector product(const HeadsMatmul& p, const Vector& a, const Vector& b) {
  const Operand left = left_of(p), right = right_of(p), result = result_of(p);
  Vector y(static_cast<size_t>(p.batch * result.image()));
  for (int64_t image = 0; image < p.batch; ++image) {
    const double* in_a = a.data() + image % p.a_images * left.image();
    const double* in_b = b.data() + image % p.b_images * right.image();
    for (int64_t i = 0; i < p.heads * p.m * p.n; ++i) {
      const int64_t head = i / (p.m * p.n), row = i / p.n % p.m, column = i % p.n;
      double sum = 0;
      for (int64_t j = 0; j < p.k; ++j) {
        sum += in_a[p.transpose_a ? left.at(head, j, row) : left.at(head, row, j)] *
               in_b[p.transpose_b ? right.at(head, column, j) : right.at(head, j, column)];
      }
      y[image * result.image() + result.at(head, row, column)] = sum * p.scale;
    }
  }
  if (p.softmax) softmax_rows(p.n, y);
  return y;
}

KernelCase heads_case(const HeadsMatmul& p) {
  const char* maps[] = {"a", "b", "y"};
  KernelCase result;
  result.name = fmt::format("heads_matmul {}x{} of {}x{}{} * {}x{}{} map {}{}{}{}", p.batch, p.heads, p.m, p.k,
                            p.transpose_a ? "^T" : "", p.k, p.n, p.transpose_b ? "^T" : "",
                            maps[static_cast<int>(p.map)], p.softmax ? " softmax" : "",
                            p.a_images < p.batch ? " shared a" : "", p.b_images < p.batch ? " shared b" : "");
  result.inputs = {uniform(p.a_images * left_of(p).image(), -1, 1, 81),
                   uniform(p.b_images * right_of(p).image(), -1, 1, 82)};
  result.outputs = {output(p.batch * result_of(p).image())};
  result.call = [p](Kernels& k, const Arguments& a) { k.heads_matmul(p, a.in(0), a.in(1), a.out(0)); };
  result.reference = [p](const Values& in, Values& out) { out[0] = product(p, in[0], in[1]); };
  result.tolerance = 2e-6;
  result.flops = 2.0 * static_cast<double>(p.batch * p.heads * p.m * p.n * p.k);
  return result;
}

struct Sizes {
  int64_t batch, heads, queries, keys, width;
};

// The six products of attention: scores, values, and the adjoints of both inputs of each; `targets` messages.
std::vector<HeadsMatmul> products(const Sizes& s, int64_t targets) {
  const int64_t all = s.batch * targets;
  const HeadsMatmul scores{.batch = s.batch,
                           .a_images = s.batch,
                           .b_images = s.batch,
                           .heads = s.heads,
                           .m = s.queries,
                           .n = s.keys,
                           .k = s.width,
                           .transpose_b = true,
                           .map = Map::y,
                           .scale = 0.25f};
  HeadsMatmul weights = scores, values = scores, dq = scores, dk = scores, da = scores, dv = scores;
  weights.softmax = true;
  values.n = s.width, values.k = s.keys, values.transpose_b = false, values.map = Map::a, values.scale = 1;
  dq = values, dq.batch = dq.a_images = all;
  dk = dq, dk.m = s.keys, dk.k = s.queries, dk.transpose_a = true;
  da.batch = da.a_images = all, da.scale = 1;
  dv = dk, dv.a_images = s.batch, dv.b_images = all;
  if (targets == 1) return {scores, weights, values, dk};  // the others are the same products again
  return {scores, weights, values, dq, dk, da, dv};
}

}  // namespace

std::vector<KernelCase> attention_cases() {
  std::vector<KernelCase> cases;
  for (const Sizes& sizes : {Sizes{1, 1, 1, 1, 1}, Sizes{2, 3, 7, 7, 5}, Sizes{3, 2, 17, 10, 8}, Sizes{5, 4, 1, 50, 16},
                             Sizes{1, 12, 197, 197, 64}, Sizes{1, 2, 300, 1000, 16}}) {
    for (const HeadsMatmul& p : products(sizes, sizes.queries > 100 ? 1 : 3)) cases.push_back(heads_case(p));
  }
  return cases;
}

}  // namespace hp::cases
