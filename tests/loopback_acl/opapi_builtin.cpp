// libopapi_nn of the loopback runtime: a stand-in for the group norm backward that CANN itself
// ships, on ATen. Only for the tests of the Atlas training series, where our C API hands its calls
// on to CANN; nowhere else may it be found.
#include "aten_operator.h"

// clang-format off
OPERATOR(GroupNormBackward, (T g, T x, T m, T r, T w, int64_t N, int64_t C, int64_t S, int64_t G, Mask k, T dx, T dw, T db), (g, x, m, r, w, N, C, S, G, k, dx, dw, db), (Tensor g, Tensor x, Tensor m, Tensor r, Tensor w, int64_t N, int64_t C, int64_t S, int64_t G, std::array<bool, 3> k, Tensor dx, Tensor dw, Tensor db) { if (x.numel() == 0) { if (k[1]) dw.zero_(); if (k[2]) db.zero_(); return; } auto [a, b, c] = at::native_group_norm_backward(g.contiguous().to(at::kDouble), x.contiguous().to(at::kDouble), m.contiguous().to(at::kDouble), r.contiguous().to(at::kDouble), w.defined() ? w.contiguous().to(at::kDouble) : w, N, C, S, G, k); if (k[0]) dx.copy_(a); if (k[1]) dw.copy_(b); if (k[2]) db.copy_(c); })
// clang-format on
