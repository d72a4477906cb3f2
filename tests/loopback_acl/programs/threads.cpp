// Many calls of aclnnGroupNormBackward from two threads with a stream each, where another thread
// runs phase 2 of every call; half of the tensors are not contiguous. For ThreadSanitizer, and for
// wrong values. Argument: calls a thread.
#include <acl/acl.h>
#include <aclnnop/aclnn_group_norm_backward.h>

#include <atomic>
#include <cmath>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace {

constexpr int64_t kN = 2, kC = 4, kS = 9, kG = 2;
constexpr int64_t kElements = kN * kC * kS;
std::atomic<int> failures{0};

#define CHECK(call)                                                \
  do {                                                             \
    const int status_ = (call);                                    \
    if (status_ != 0) {                                            \
      std::fprintf(stderr, "%s returned %d: %s\n", #call, status_, \
                   aclnnGroupNormBackwardGetLastError());          \
      std::abort();                                                \
    }                                                              \
  } while (0)

// Hands work to one thread, in order.
class Worker {
 public:
  Worker() : thread_([this] { Run(); }) {}
  ~Worker() {
    Post(nullptr);
    thread_.join();
  }
  void Post(std::function<void()> work) {
    {
      std::lock_guard<std::mutex> lock(mutex_);
      queue_.push_back(std::move(work));
    }
    changed_.notify_one();
  }

 private:
  void Run() {
    CHECK(aclrtSetDevice(0));
    while (true) {
      std::unique_lock<std::mutex> lock(mutex_);
      changed_.wait(lock, [this] { return !queue_.empty(); });
      const std::function<void()> work = std::move(queue_.front());
      queue_.pop_front();
      lock.unlock();
      if (!work) return;
      work();
    }
  }
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::function<void()>> queue_;
  std::thread thread_;
};

struct Buffer {
  void* data = nullptr;
  explicit Buffer(size_t bytes) { CHECK(aclrtMalloc(&data, bytes, ACL_MEM_MALLOC_HUGE_FIRST)); }
  ~Buffer() { CHECK(aclrtFree(data)); }
  Buffer(const Buffer&) = delete;
};

// (N, C, S), contiguous or with the channels last.
aclTensor* Images(void* data, bool transposed) {
  const int64_t dims[3] = {kN, kC, kS};
  const int64_t strides[3] = {kC * kS, transposed ? 1 : kS, transposed ? kC : 1};
  const int64_t elements = kElements;
  return aclCreateTensor(dims, 3, ACL_FLOAT, strides, 0, ACL_FORMAT_ND, &elements, 1, data);
}

aclTensor* Vector(void* data, std::vector<int64_t> dims) {
  return aclCreateTensor(dims.data(), dims.size(), ACL_FLOAT, nullptr, 0, ACL_FORMAT_ND,
                         dims.data(), dims.size(), data);
}

int64_t At(int64_t n, int64_t c, int64_t s, bool transposed) {
  return n * kC * kS + (transposed ? s * kC + c : c * kS + s);
}

struct Data {
  std::vector<float> dy, x, mean, rstd, gamma;  // dy and x as the strides say

  explicit Data(int64_t round)
      : dy(kElements), x(kElements), mean(kN * kG), rstd(kN * kG), gamma(kC) {
    uint32_t state = static_cast<uint32_t>(round * 2654435761u + 1);
    const auto random = [&state] {
      state = state * 1664525u + 1013904223u;
      return static_cast<float>(state >> 8) / 8388608.0f - 1.0f;
    };
    for (float& value : dy) value = random();
    for (float& value : x) value = 3.0f + random();
    for (float& value : gamma) value = 1.5f + random();
    for (int64_t i = 0; i < kN * kG; ++i) {
      mean[i] = 3.0f;
      rstd[i] = 1.7f + 0.1f * random();
    }
  }

  // The largest error of the three results against the formula in double, in units of 1e-5.
  double Error(const std::vector<float>& dx, const std::vector<float>& dgamma,
               const std::vector<float>& dbeta, bool transposed) const {
    double worst = 0;
    const int64_t D = kC / kG;
    std::vector<double> want_gamma(kC), want_beta(kC);
    for (int64_t n = 0; n < kN; ++n) {
      for (int64_t g = 0; g < kG; ++g) {
        const double mu = mean[n * kG + g], r = rstd[n * kG + g];
        double a = 0, b = 0;
        for (int64_t c = g * D; c < (g + 1) * D; ++c) {
          for (int64_t s = 0; s < kS; ++s) {
            const double grad = dy[At(n, c, s, transposed)],
                         xhat = (x[At(n, c, s, transposed)] - mu) * r;
            want_gamma[c] += grad * xhat;
            want_beta[c] += grad;
            a += grad * gamma[c];
            b += grad * gamma[c] * xhat;
          }
        }
        for (int64_t c = g * D; c < (g + 1) * D; ++c) {
          for (int64_t s = 0; s < kS; ++s) {
            const int64_t at = At(n, c, s, transposed);
            const double xhat = (x[at] - mu) * r;
            const double want = r * (gamma[c] * dy[at] - a / (D * kS) - xhat * b / (D * kS));
            worst = std::fmax(worst, std::fabs(want - dx[at]));
          }
        }
      }
    }
    for (int64_t c = 0; c < kC; ++c) {
      worst = std::fmax(worst, std::fabs(want_gamma[c] - dgamma[c]) / 4);
      worst = std::fmax(worst, std::fabs(want_beta[c] - dbeta[c]) / 4);
    }
    return worst / 1e-5;
  }
};

void Calls(int thread, int calls) {
  CHECK(aclrtSetDevice(0));
  aclrtStream stream;
  CHECK(aclrtCreateStream(&stream));
  {
    Worker phase2;
    Buffer dy(kElements * 4), x(kElements * 4), dx(kElements * 4), mean(kN * kG * 4),
        rstd(kN * kG * 4), gamma(kC * 4), dgamma(kC * 4), dbeta(kC * 4), workspace(1 << 20);
    std::vector<float> out_x(kElements), out_gamma(kC), out_beta(kC);
    const auto upload = [&](const Buffer& to, const std::vector<float>& from) {
      CHECK(aclrtMemcpyAsync(to.data, from.size() * 4, from.data(), from.size() * 4,
                             ACL_MEMCPY_HOST_TO_DEVICE, stream));
    };
    const auto download = [&](std::vector<float>& to, const Buffer& from) {
      CHECK(aclrtMemcpyAsync(to.data(), to.size() * 4, from.data, to.size() * 4,
                             ACL_MEMCPY_DEVICE_TO_HOST, stream));
    };
    for (int i = 0; i < calls; ++i) {
      const bool transposed = i % 2 == 1;
      const bool repeatable = i % 3 == 2;
      const Data data(static_cast<int64_t>(thread) * 1000003 + i);
      upload(dy, data.dy);
      upload(x, data.x);
      upload(mean, data.mean);
      upload(rstd, data.rstd);
      upload(gamma, data.gamma);
      aclTensor* tensors[] = {Images(dy.data, transposed), Images(x.data, transposed),
                              Vector(mean.data, {kN, kG}), Vector(rstd.data, {kN, kG}),
                              Vector(gamma.data, {kC}),    Images(dx.data, transposed),
                              Vector(dgamma.data, {kC}),   Vector(dbeta.data, {kC})};
      const bool ask[3] = {true, true, true};
      aclBoolArray* mask = aclCreateBoolArray(ask, 3);
      uint64_t bytes = 0;
      aclOpExecutor* executor = nullptr;
      CHECK(aclnnGroupNormBackwardGetWorkspaceSize(tensors[0], tensors[1], tensors[2], tensors[3],
                                                   tensors[4], kN, kC, kS, kG, mask, tensors[5],
                                                   tensors[6], tensors[7], &bytes, &executor));
      if (bytes > (1 << 20)) std::abort();
      if (repeatable) CHECK(aclSetAclOpExecutorRepeatable(executor));
      std::mutex mutex;
      std::condition_variable changed;
      bool done = false;
      phase2.Post([&] {
        CHECK(aclnnGroupNormBackward(workspace.data, bytes, executor, stream));
        if (repeatable) {
          CHECK(aclnnGroupNormBackward(workspace.data, bytes, executor, stream));
          CHECK(aclDestroyAclOpExecutor(executor));
        }
        if (aclnnGroupNormBackward(workspace.data, bytes, executor, stream) != 161002)
          std::abort();  // it is used up
        std::lock_guard<std::mutex> lock(mutex);
        done = true;
        changed.notify_one();
      });
      {
        std::unique_lock<std::mutex> lock(mutex);
        changed.wait(lock, [&] { return done; });
      }
      for (aclTensor* tensor : tensors) aclDestroyTensor(tensor);
      aclDestroyBoolArray(mask);
      download(out_x, dx);
      download(out_gamma, dgamma);
      download(out_beta, dbeta);
      CHECK(aclrtSynchronizeStream(stream));
      const double error = data.Error(out_x, out_gamma, out_beta, transposed);
      if (!(error < 1)) {
        std::fprintf(stderr, "thread %d call %d: error %g of the bound\n", thread, i, error);
        failures.fetch_add(1);
      }
    }
  }
  CHECK(aclrtDestroyStream(stream));
}

}  // namespace

int main(int argc, char** argv) {
  const int calls = argc > 1 ? std::atoi(argv[1]) : 100;
  CHECK(aclInit(nullptr));
  std::thread first(Calls, 0, calls), second(Calls, 1, calls);
  first.join();
  second.join();
  CHECK(aclFinalize());
  std::printf("%d calls, %d wrong\n", 2 * calls, failures.load());
  return failures.load() == 0 ? 0 : 1;
}
