#include "runtime/op.h"

namespace hp {

std::string_view name_of(OpKind kind) {
  switch (kind) {
    case OpKind::input:
      return "input";
    case OpKind::parameter:
      return "parameter";
    case OpKind::conv2d:
      return "conv2d";
    case OpKind::linear:
      return "linear";
    case OpKind::batch_norm:
      return "batch_norm";
    case OpKind::batch_statistics:
      return "batch_statistics";
    case OpKind::batch_normalise:
      return "batch_normalise";
    case OpKind::batch_norm_train:
      return "batch_norm_train";
    case OpKind::relu:
      return "relu";
    case OpKind::sigmoid:
      return "sigmoid";
    case OpKind::tanh:
      return "tanh";
    case OpKind::affine:
      return "affine";
    case OpKind::softmax:
      return "softmax";
    case OpKind::log_softmax:
      return "log_softmax";
    case OpKind::max_pool:
      return "max_pool";
    case OpKind::avg_pool:
      return "avg_pool";
    case OpKind::resize:
      return "resize";
    case OpKind::add:
      return "add";
    case OpKind::mul:
      return "mul";
    case OpKind::concat:
      return "concat";
    case OpKind::slice:
      return "slice";
    case OpKind::pad:
      return "pad";
    case OpKind::reshape:
      return "reshape";
    case OpKind::detach:
      return "detach";
    case OpKind::unit_norm:
      return "unit_norm";
    case OpKind::patch_norm:
      return "patch_norm";
    case OpKind::bcos_scale:
      return "bcos_scale";
    case OpKind::max_out:
      return "max_out";
    case OpKind::uncentred_norm:
      return "uncentred_norm";
    case OpKind::uncentred_norm_train:
      return "uncentred_norm_train";
    case OpKind::cross_entropy:
      return "cross_entropy";
    case OpKind::binary_cross_entropy:
      return "binary_cross_entropy";
  }
  return "?";
}

}  // namespace hp
