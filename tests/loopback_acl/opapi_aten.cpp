// libopapi of the loopback runtime: the operators that tests need around the one under test, each one line of ATen's CPU
// kernels over views of device memory. The operator under test must never be here.
#include <ATen/ATen.h>

#include <tuple>
#include <vector>

#include "operator.h"

namespace {

at::ScalarType TypeOf(aclDataType dtype) {
  switch (dtype) {
    case ACL_FLOAT:
      return at::kFloat;
    case ACL_FLOAT16:
      return at::kHalf;
    case ACL_BF16:
      return at::kBFloat16;
    case ACL_DOUBLE:
      return at::kDouble;
    case ACL_INT32:
      return at::kInt;
    case ACL_INT64:
      return at::kLong;
    case ACL_BOOL:
      return at::kBool;
    case ACL_UINT8:
      return at::kByte;
    default:
      TORCH_CHECK(false, "loopback_acl: no dtype ", static_cast<int>(dtype));
  }
}

// What phase 1 keeps of an argument, because torch_npu destroys the descriptors before the work runs; and what the body of an
// operator gets in its place when it does.
struct KeptTensor {
  bool defined;
  aclTensor descriptor;

  at::Tensor Open() const {
    if (!defined) return {};
    const auto type = TypeOf(descriptor.dtype);
    const auto options = at::TensorOptions().dtype(type);
    int64_t last = 0;
    for (size_t i = 0; i < descriptor.sizes.size(); ++i) {
      if (descriptor.sizes[i] == 0) return at::empty_strided(descriptor.sizes, descriptor.strides, options);
      last += (descriptor.sizes[i] - 1) * descriptor.strides[i];
    }
    const int64_t item = static_cast<int64_t>(c10::elementSize(type));
    void* view = LoopbackAclView(static_cast<char*>(descriptor.data) + descriptor.offset * item,
                                 static_cast<uint64_t>((last + 1) * item));
    TORCH_CHECK(view, "loopback_acl: a tensor is outside its allocation");
    return at::from_blob(view, descriptor.sizes, descriptor.strides, options);
  }
};

struct KeptScalar {
  aclScalar descriptor;

  at::Scalar Open() const {
    return at::from_blob(const_cast<char*>(descriptor.value), {}, TypeOf(descriptor.dtype)).item();
  }
};

struct KeptInts {
  std::vector<int64_t> values;
  std::vector<int64_t> Open() const { return values; }
};

struct KeptMask {
  std::array<bool, 3> values;
  std::array<bool, 3> Open() const { return values; }
};

template <typename T>
struct KeptValue {
  T value;
  T Open() const { return value; }
};

KeptTensor Hold(const aclTensor* tensor) { return {tensor != nullptr, tensor ? *tensor : aclTensor{}}; }
KeptScalar Hold(const aclScalar* scalar) { return {*scalar}; }
KeptInts Hold(const aclIntArray* array) { return {{array->GetData(), array->GetData() + array->Size()}}; }
KeptMask Hold(const aclBoolArray* array) { return {{array->GetData()[0], array->GetData()[1], array->GetData()[2]}}; }
template <typename T, typename = std::enable_if_t<std::is_arithmetic_v<T> || std::is_enum_v<T>>>
KeptValue<T> Hold(T value) {
  return {value};
}

template <typename Body, typename... Arguments>
int Phase1(const char* name, uint64_t* workspace_bytes, aclOpExecutor** executor, Body body, Arguments... arguments) {
  return loopback_acl::Keep(
      [name, body, kept = std::make_tuple(Hold(arguments)...)] {
        try {
          const at::AutoDispatchBelowADInplaceOrView no_autograd;
          std::apply([&](const auto&... argument) { body(argument.Open()...); }, kept);
        } catch (const std::exception& error) {
          LoopbackAclViolation((std::string(name) + ": " + error.what()).c_str());
        }
      },
      workspace_bytes, executor);
}

// Matrix products in the type that the CPU knows best; results rounded once.
at::Tensor Wide(const at::Tensor& tensor) { return tensor.defined() ? tensor.to(at::kFloat) : tensor; }

void PutIf(const at::Tensor& out, const at::Tensor& value) {
  if (out.defined()) out.copy_(value);
}

using T = const aclTensor*;
using S = const aclScalar*;
using Ints = const aclIntArray*;
using Mask = const aclBoolArray*;
using at::Scalar;
using at::Tensor;
using std::vector;

}  // namespace

// OPERATOR(name, (C parameters), (their names), (parameters of the body) { body })
#define STRIP(...) __VA_ARGS__
#define OPERATOR(name, parameters, names, ...)                                                             \
  extern "C" int aclnn##name##GetWorkspaceSize(STRIP parameters, uint64_t* bytes, aclOpExecutor** executor) { \
    return Phase1("aclnn" #name, bytes, executor, [] __VA_ARGS__, STRIP names);                            \
  }                                                                                                        \
  extern "C" int aclnn##name(void* workspace, uint64_t bytes, aclOpExecutor* executor, aclrtStream stream) { \
    return loopback_acl::Launch(workspace, bytes, executor, stream);                                       \
  }

// clang-format off
OPERATOR(InplaceCopy, (T y, T x), (y, x), (Tensor y, Tensor x) { y.copy_(x); })
OPERATOR(Cast, (T x, aclDataType t, T y), (x, t, y), (Tensor x, aclDataType, Tensor y) { y.copy_(x); })
OPERATOR(InplaceFillScalar, (T y, S v), (y, v), (Tensor y, Scalar v) { y.fill_(v); })
OPERATOR(InplaceZero, (T y, int64_t), (y, int64_t{0}), (Tensor y, int64_t) { y.zero_(); })
OPERATOR(Add, (T a, T b, S k, T y), (a, b, k, y), (Tensor a, Tensor b, Scalar k, Tensor y) { y.copy_(at::add(a, b, k)); })
OPERATOR(Adds, (T a, S b, S k, T y), (a, b, k, y), (Tensor a, Scalar b, Scalar k, Tensor y) { y.copy_(at::add(a, b, k)); })
OPERATOR(InplaceAdd, (T y, T b, S k), (y, b, k), (Tensor y, Tensor b, Scalar k) { y.add_(b, k); })
OPERATOR(InplaceAdds, (T y, S b, S k), (y, b, k), (Tensor y, Scalar b, Scalar k) { y.add_(b, k); })
OPERATOR(Sub, (T a, T b, S k, T y), (a, b, k, y), (Tensor a, Tensor b, Scalar k, Tensor y) { y.copy_(at::sub(a, b, k)); })
OPERATOR(InplaceSub, (T y, T b, S k), (y, b, k), (Tensor y, Tensor b, Scalar k) { y.sub_(b, k); })
OPERATOR(Mul, (T a, T b, T y), (a, b, y), (Tensor a, Tensor b, Tensor y) { y.copy_(at::mul(a, b)); })
OPERATOR(Muls, (T a, S b, T y), (a, b, y), (Tensor a, Scalar b, Tensor y) { y.copy_(at::mul(a, b)); })
OPERATOR(InplaceMul, (T y, T b), (y, b), (Tensor y, Tensor b) { y.mul_(b); })
OPERATOR(InplaceMuls, (T y, S b), (y, b), (Tensor y, Scalar b) { y.mul_(b); })
OPERATOR(Div, (T a, T b, T y), (a, b, y), (Tensor a, Tensor b, Tensor y) { y.copy_(at::div(a, b)); })
OPERATOR(Divs, (T a, S b, T y), (a, b, y), (Tensor a, Scalar b, Tensor y) { y.copy_(at::div(a, b)); })
OPERATOR(InplaceDivs, (T y, S b), (y, b), (Tensor y, Scalar b) { y.div_(b); })
OPERATOR(Neg, (T a, T y), (a, y), (Tensor a, Tensor y) { y.copy_(a.neg()); })
OPERATOR(ReduceSum, (T x, Ints d, bool keep, aclDataType t, T y), (x, d, keep, t, y), (Tensor x, vector<int64_t> d, bool keep, aclDataType t, Tensor y) { y.copy_(at::sum(x, d, keep, TypeOf(t))); })
OPERATOR(Mean, (T x, Ints d, bool keep, aclDataType t, T y), (x, d, keep, t, y), (Tensor x, vector<int64_t> d, bool keep, aclDataType t, Tensor y) { y.copy_(at::mean(x, d, keep, TypeOf(t))); })
OPERATOR(MeanV2, (T x, Ints d, bool keep, bool, T y), (x, d, keep, false, y), (Tensor x, vector<int64_t> d, bool keep, bool, Tensor y) { y.copy_(at::mean(x, d, keep)); })
OPERATOR(Relu, (T x, T y), (x, y), (Tensor x, Tensor y) { y.copy_(at::relu(x)); })
OPERATOR(InplaceRelu, (T y), (y), (Tensor y) { y.relu_(); })
OPERATOR(ThresholdBackward, (T g, T x, S k, T y), (g, x, k, y), (Tensor g, Tensor x, Scalar k, Tensor y) { y.copy_(at::threshold_backward(g, x, k)); })
OPERATOR(Mm, (T a, T b, T y, int8_t), (a, b, y, int8_t{0}), (Tensor a, Tensor b, Tensor y, int8_t) { y.copy_(at::mm(Wide(a), Wide(b))); })
OPERATOR(Matmul, (T a, T b, T y, int8_t), (a, b, y, int8_t{0}), (Tensor a, Tensor b, Tensor y, int8_t) { y.copy_(at::matmul(Wide(a), Wide(b))); })
OPERATOR(Addmm, (T c, T a, T b, S v, S w, T y, int8_t), (c, a, b, v, w, y, int8_t{0}), (Tensor c, Tensor a, Tensor b, Scalar v, Scalar w, Tensor y, int8_t) { y.copy_(at::addmm(Wide(c), Wide(a), Wide(b), v, w)); })
OPERATOR(LogSoftmax, (T x, int64_t d, T y), (x, d, y), (Tensor x, int64_t d, Tensor y) { y.copy_(at::log_softmax(x, d)); })
OPERATOR(LogSoftmaxBackward, (T g, T o, int64_t d, T y), (g, o, d, y), (Tensor g, Tensor o, int64_t d, Tensor y) { y.copy_(at::_log_softmax_backward_data(g, o, d, o.scalar_type())); })
OPERATOR(NLLLoss, (T x, T t, T w, int64_t r, int64_t i, T y, T n), (x, t, w, r, i, y, n), (Tensor x, Tensor t, Tensor w, int64_t r, int64_t i, Tensor y, Tensor n) { auto [a, b] = at::nll_loss_forward(x, t, w, r, i); y.copy_(a); n.copy_(b); })
OPERATOR(NLLLossBackward, (T g, T x, T t, T w, int64_t r, int64_t i, T n, T y), (g, x, t, w, r, i, n, y), (Tensor g, Tensor x, Tensor t, Tensor w, int64_t r, int64_t i, Tensor n, Tensor y) { y.copy_(at::nll_loss_backward(g, x, t, w, r, i, n.reshape({}))); })
OPERATOR(Convolution, (T x, T w, T b, Ints s, Ints p, Ints d, bool t, Ints o, int64_t g, T y, int8_t), (x, w, b, s, p, d, t, o, g, y, int8_t{0}), (Tensor x, Tensor w, Tensor b, vector<int64_t> s, vector<int64_t> p, vector<int64_t> d, bool t, vector<int64_t> o, int64_t g, Tensor y, int8_t) { y.copy_(at::convolution(Wide(x), Wide(w), Wide(b), s, p, d, t, o, g)); })
OPERATOR(ConvolutionBackward, (T e, T x, T w, Ints bs, Ints s, Ints p, Ints d, bool t, Ints o, int64_t g, Mask m, int8_t, T dx, T dw, T db), (e, x, w, bs, s, p, d, t, o, g, m, int8_t{0}, dx, dw, db), (Tensor e, Tensor x, Tensor w, vector<int64_t> bs, vector<int64_t> s, vector<int64_t> p, vector<int64_t> d, bool t, vector<int64_t> o, int64_t g, std::array<bool, 3> m, int8_t, Tensor dx, Tensor dw, Tensor db) { auto [a, b, c] = at::convolution_backward(Wide(e), Wide(x), Wide(w), bs, s, p, d, t, o, g, m); if (m[0]) PutIf(dx, a); if (m[1]) PutIf(dw, b); if (m[2]) PutIf(db, c); })
OPERATOR(GroupNorm, (T x, T w, T b, int64_t N, int64_t C, int64_t S, int64_t G, double eps, T y, T mean, T rstd), (x, w, b, N, C, S, G, eps, y, mean, rstd), (Tensor x, Tensor w, Tensor b, int64_t N, int64_t C, int64_t S, int64_t G, double eps, Tensor y, Tensor mean, Tensor rstd) { auto [a, m, r] = at::native_group_norm(x.contiguous(), w, b, N, C, S, G, eps); y.copy_(a); mean.copy_(m.view_as(mean)); rstd.copy_(r.view_as(rstd)); })
// clang-format on
