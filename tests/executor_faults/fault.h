// What every fault kernel uses: the registry of faults and a small bench of tensors. No executor
// check is known here.
#pragma once

#include <algorithm>
#include <string>
#include <vector>

#include "kernel_operator.h"

namespace faults {

using namespace AscendC;  // NOLINT: kernels are written against CANN's names

constexpr uint32_t kElems =
    1024;  // of every tensor of the bench, and of the input and output of one core
constexpr uint32_t kWorkspaceElems = 4096;

struct Args {
  GM_ADDR x;  // input, float, kElems a core
  GM_ADDR y;  // output, float, kElems a core
  GM_ADDR w;  // workspace
};

struct Fault {
  const char* name;
  const char* check;
  std::vector<std::string> expected;  // each must be in the text of one finding of that check
  void (*kernel)(const Args&, bool defect);
  int32_t arch = 2201;
  int32_t blocks = 1;
  bool changes_numbers = false;  // some schedule must give another result than the clean twin's
  int32_t vector_cores = 48;
};

inline std::vector<Fault>& AllFaults() {
  static std::vector<Fault> all;
  return all;
}

struct Register {
  explicit Register(Fault fault) { AllFaults().push_back(std::move(fault)); }
};

template <HardEvent event>
void Order(int32_t id = 0, executor::Where where = executor::Where::current()) {
  SetFlag<event>(id, where);
  WaitFlag<event>(id, where);
}

// Three UB tensors and this core's part of the input and the output.
class Bench {
 public:
  explicit Bench(const Args& args, uint32_t elems = kElems) {
    x.SetGlobalBuffer(reinterpret_cast<__gm__ float*>(args.x), kElems * GetBlockNum());
    y.SetGlobalBuffer(reinterpret_cast<__gm__ float*>(args.y), kElems * GetBlockNum());
    w.SetGlobalBuffer(reinterpret_cast<__gm__ float*>(args.w), kWorkspaceElems);
    first = kElems * GetBlockIdx();
    for (TBuf<TPosition::VECIN>* buffer : {&a_buffer_, &b_buffer_, &c_buffer_}) {
      pipe.InitBuffer(*buffer, elems * sizeof(float));
    }
    a = a_buffer_.Get<float>();
    b = b_buffer_.Get<float>();
    c = c_buffer_.Get<float>();
  }

  void Load(const LocalTensor<float>& dst, executor::Where where = executor::Where::current()) {
    DataCopy(dst, x[first], kElems, where);
  }
  void LoadForV(const LocalTensor<float>& dst, executor::Where where = executor::Where::current()) {
    Load(dst, where);
    Order<HardEvent::MTE2_V>(0, where);
  }
  void Store(const LocalTensor<float>& src, executor::Where where = executor::Where::current()) {
    DataCopy(y[first], src, kElems, where);
  }
  void StoreFromV(const LocalTensor<float>& src,
                  executor::Where where = executor::Where::current()) {
    Order<HardEvent::V_MTE3>(0, where);
    Store(src, where);
  }

  TPipe pipe;
  GlobalTensor<float> x, y, w;
  LocalTensor<float> a, b, c;
  int64_t first = 0;

 private:
  TBuf<TPosition::VECIN> a_buffer_, b_buffer_, c_buffer_;
};

}  // namespace faults
