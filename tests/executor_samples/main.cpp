// Small kernels with the shapes of the vendor's published samples, to hold the time model against
// their measurements. Prints "name | published us | modelled us (fast, nominal, slow)", with 0
// where nothing is published; nothing is measured here. Usage: samples [NAME [TRACE]]. Published
// figures: repository mirror-cann/asc-devkit at 82b89a15,
// examples/01_simd_cpp_api/05_best_practices, README.md of the sample named.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>

#include "../../kernels/executor/checked_launch.h"
#include "kernel_operator.h"

namespace {

using namespace AscendC;  // NOLINT: kernels are written against CANN's names

struct Buffers {
  GM_ADDR x;
  GM_ADDR y;
  GM_ADDR z;
};

// The sample fills all 192 KiB; where its operands are shifted, a little more. The checks are off
// here.
constexpr uint32_t kUbBytes = 200 * 1024;

// add_high_performance: z = x + y of 8192 x 8192 half, the rows dealt to the cores.
struct AddSample {
  uint32_t tile_elems;
  bool double_buffer;
  bool bypass_l2;
  bool apart;  // y half a bank period behind x

  static constexpr uint64_t kElems = 8192ull * 8192;

  void operator()(const Buffers& buffers) const {
    TPipe pipe;
    TBuf<TPosition::VECIN> ub;
    pipe.InitBuffer(ub, kUbBytes);
    const uint64_t blocks = GetBlockNum();
    const uint64_t rows = 8192 / blocks + (static_cast<uint64_t>(GetBlockIdx()) < 8192 % blocks);
    const uint64_t first_row =
        GetBlockIdx() * (8192 / blocks) + std::min<uint64_t>(GetBlockIdx(), 8192 % blocks);
    GlobalTensor<half> x, y, z;
    x.SetGlobalBuffer(reinterpret_cast<__gm__ half*>(buffers.x), kElems);
    y.SetGlobalBuffer(reinterpret_cast<__gm__ half*>(buffers.y), kElems);
    z.SetGlobalBuffer(reinterpret_cast<__gm__ half*>(buffers.z), kElems);
    if (bypass_l2) {
      x.SetL2CacheHint(CacheMode::CACHE_MODE_DISABLE);
      y.SetL2CacheHint(CacheMode::CACHE_MODE_DISABLE);
    }
    const uint32_t bytes = tile_elems * 2;
    const int sets = double_buffer ? 2 : 1;
    LocalTensor<half> xs[2], ys[2], zs[2];
    for (int i = 0; i < sets; ++i) {
      const uint32_t at = i * (3 * bytes + 512);
      xs[i] = ub.GetWithOffset<half>(tile_elems, at);
      ys[i] = ub.GetWithOffset<half>(tile_elems, at + bytes + (apart ? 256 : 0));
      zs[i] = ub.GetWithOffset<half>(tile_elems, at + 2 * bytes + 512);
      SetFlag<HardEvent::V_MTE2>(i);
      SetFlag<HardEvent::MTE3_V>(i);
    }
    const uint64_t end = (first_row + rows) * 8192;
    int set = 0;
    for (uint64_t at = first_row * 8192; at < end; at += tile_elems) {
      const uint32_t elems = static_cast<uint32_t>(std::min<uint64_t>(tile_elems, end - at));
      WaitFlag<HardEvent::V_MTE2>(set);
      DataCopy(xs[set], x[at], elems);
      DataCopy(ys[set], y[at], elems);
      SetFlag<HardEvent::MTE2_V>(set);
      WaitFlag<HardEvent::MTE2_V>(set);
      WaitFlag<HardEvent::MTE3_V>(set);
      Add(zs[set], xs[set], ys[set], static_cast<int32_t>(elems));
      SetFlag<HardEvent::V_MTE2>(set);
      SetFlag<HardEvent::V_MTE3>(set);
      WaitFlag<HardEvent::V_MTE3>(set);
      DataCopy(z[at], zs[set], elems);
      SetFlag<HardEvent::MTE3_V>(set);
      set = (set + 1) % sets;
    }
    for (int i = 0; i < sets; ++i) {
      WaitFlag<HardEvent::V_MTE2>(i);
      WaitFlag<HardEvent::MTE3_V>(i);
    }
  }
};

// data_copy: a matrix of 12288 rows of half into UB, in tiles of rows x columns; `slices` of the
// columns one after the other, each read `times` times.
struct CopySample {
  uint32_t columns;
  uint32_t tile_rows;
  uint32_t tile_columns;
  uint32_t slices = 1;
  uint32_t times = 1;

  void operator()(const Buffers& buffers) const {
    TPipe pipe;
    TBuf<TPosition::VECIN> ub;
    pipe.InitBuffer(ub, 64 * 2048);
    const LocalTensor<half> tile = ub.Get<half>();
    GlobalTensor<half> x;
    x.SetGlobalBuffer(reinterpret_cast<__gm__ half*>(buffers.x), 12288ull * columns);
    const uint32_t rows = 12288 / static_cast<uint32_t>(GetBlockNum());
    const uint32_t first_row = static_cast<uint32_t>(GetBlockIdx()) * rows;
    const uint32_t slice = columns / slices;
    for (uint32_t s = 0; s < slices; ++s) {
      for (uint32_t time = 0; time < times; ++time) {
        for (uint32_t row = 0; row < rows; row += tile_rows) {
          for (uint32_t column = 0; column < slice; column += tile_columns) {
            const uint32_t wide = std::min(tile_columns, slice - column);
            const DataCopyParams params(static_cast<uint16_t>(tile_rows),
                                        static_cast<uint16_t>(wide * 2),
                                        static_cast<uint16_t>((columns - wide) * 2), 0);
            const uint64_t at = (first_row + row) * static_cast<uint64_t>(columns);
            DataCopyPad(tile, x[at + s * slice + column], params, DataCopyPadParams());
          }
        }
      }
    }
  }
};

// bank_conflict_ub: 1000 times Add of 4096 floats on one core, with the operands at these UB bytes.
struct BankSample {
  uint32_t src0, src1, dst;

  void operator()(const Buffers&) const {
    TPipe pipe;
    TBuf<TPosition::VECIN> ub;
    pipe.InitBuffer(ub, kUbBytes);
    const LocalTensor<float> a = ub.GetWithOffset<float>(4096, src0);
    const LocalTensor<float> b = ub.GetWithOffset<float>(4096, src1);
    const LocalTensor<float> c = ub.GetWithOffset<float>(4096, dst);
    for (int i = 0; i < 1000; ++i) Add(c, a, b, 4096);
  }
};

// bank_conflict_ub, scenarios 7 and 8: the same, with one block of src0 for all lanes of a repeat,
// moved by `step` blocks from one repeat to the next.
struct RepeatedBlockSample {
  uint8_t step;

  void operator()(const Buffers&) const {
    TPipe pipe;
    TBuf<> ub;
    pipe.InitBuffer(ub, kUbBytes);
    const LocalTensor<float> a = ub.GetWithOffset<float>(4096, 0);
    const LocalTensor<float> b = ub.GetWithOffset<float>(4096, 0x10100);
    for (int i = 0; i < 1000; ++i) {
      Add(b, a, b, 64, 64, BinaryRepeatParams(1, 0, 1, 8, step, 8));
    }
  }
};

// 选择低延迟指令-优化归约操作性能.md: 100 times the sum of 256 floats, by these steps.
struct ReduceSample {
  const char* steps;  // W: WholeReduceSum, B: BlockReduceSum

  void operator()(const Buffers&) const {
    TPipe pipe;
    TBuf<> ub;
    pipe.InitBuffer(ub, kUbBytes);
    const LocalTensor<float> data = ub.GetWithOffset<float>(1024, 0);
    for (int i = 0; i < 100; ++i) {
      int32_t left = 256;
      for (const char* step = steps; *step != 0; ++step) {
        const int32_t repeats = (left + 63) / 64;
        const int32_t mask = std::min(left, 64);
        const LocalTensor<float> from = data[step == steps ? 0 : 256];
        if (*step == 'W') {
          WholeReduceSum(data[256], from, mask, repeats, 1, 1, 8);
          left = repeats;
        } else {
          BlockReduceSum(data[256], from, repeats, mask, 1, 1, 8);
          left = (left + 7) / 8;
        }
        PipeBarrier<PIPE_V>();
      }
    }
  }
};

// No published figure: a SyncAll beside the flags that it is built of, with loads of 16 KiB and
// Adds of 16 KiB.
struct SyncSample {
  bool flags;               // CrossCoreSetFlag and CrossCoreWaitFlag instead
  int loads = 0;            // behind the SyncAll, or between set and wait
  int loads_of_core_7 = 0;  // before it, of that core alone
  bool of_v = false;        // on 3510 the wait holds back V alone
  int adds = 0;             // behind
  int loads_behind = 0;

  void operator()(const Buffers& buffers) const {
    TPipe pipe;
    TBuf<TPosition::VECIN> ub;
    pipe.InitBuffer(ub, kUbBytes);
    const LocalTensor<float> data = ub.Get<float>();
    GlobalTensor<float> x;
    x.SetGlobalBuffer(reinterpret_cast<__gm__ float*>(buffers.x), 1u << 26);
    uint64_t at = static_cast<uint64_t>(GetBlockIdx()) << 20;
    const auto load = [&](int times) {
      for (int i = 0; i < times; ++i, at += 4096) DataCopy(data, x[at], 4096);
    };
    if (GetBlockIdx() == 7) load(loads_of_core_7);
    if (flags) {
      CrossCoreSetFlag<0, PIPE_MTE2>(0);
    } else {
      SyncAll();
    }
    load(loads);
    if (flags && of_v) CrossCoreWaitFlag<0, PIPE_V>(0);
    if (flags && !of_v) CrossCoreWaitFlag(0);
    for (int i = 0; i < adds; ++i) Adds(data[8192], data[4096], 1.0f, 4096);
    load(loads_behind);
  }
};

struct Sample {
  const char* name;
  double published_us;
  int32_t arch;
  int32_t blocks;
  bool without_launch;  // the published figure is of the cores alone
  std::function<void(const Buffers&)> kernel;
};

const Sample kSamples[] = {
    {"add one core", 6909.6, 2201, 1, false, AddSample{4096, false, false, false}},
    {"add 8 KiB", 306.58, 2201, 48, false, AddSample{4096, false, false, false}},
    {"add 32 KiB", 268.5, 2201, 48, false, AddSample{16384, false, false, false}},
    {"add double buffer", 264.02, 2201, 48, false, AddSample{16384, true, false, false}},
    {"add L2 bypass", 187.68, 2201, 48, false, AddSample{16384, true, true, false}},
    {"add no bank conflict", 184.5, 2201, 48, false, AddSample{16384, true, true, true}},
    {"copy 64x1024", 215.82, 2201, 48, false, CopySample{12288, 64, 1024}},
    {"copy 64x64", 233.54, 2201, 48, false, CopySample{12288, 64, 64}},
    {"copy 1x64", 564.84, 2201, 48, false, CopySample{12288, 1, 64}},
    {"copy unaligned", 275.3, 2201, 48, false, CopySample{12287, 64, 1024}},
    {"copy whole 4 times", 828.06, 2201, 48, false, CopySample{12288, 64, 1024, 1, 4}},
    {"copy slices 4 times", 365.74, 2201, 48, false, CopySample{12288, 64, 1024, 4, 4}},
    {"3510 copy 64x1024", 188.52, 3510, 64, false, CopySample{12288, 64, 1024}},
    {"3510 copy 64x64", 208.64, 3510, 64, false, CopySample{12288, 64, 64}},
    {"3510 copy 1x64", 884.06, 3510, 64, false, CopySample{12288, 1, 64}},
    {"3510 copy unaligned", 192.07, 3510, 64, false, CopySample{12287, 64, 1024}},
    {"3510 copy whole 4 times", 741.58, 3510, 64, false, CopySample{12288, 64, 1024, 1, 4}},
    {"3510 copy slices 4 times", 354.95, 3510, 64, false, CopySample{12288, 64, 1024, 4, 4}},
    {"bank no conflict", 47.8, 2201, 1, true, BankSample{0, 0x4100, 0x10000}},
    {"bank read and read", 83.34, 2201, 1, true, BankSample{0, 0x4000, 0x10000}},
    {"bank read and write", 75.02, 2201, 1, true, BankSample{0, 0x4100, 0x8020}},
    {"bank repeated block meets", 71.68, 2201, 1, true, RepeatedBlockSample{1}},
    {"bank repeated block apart", 47.78, 2201, 1, true, RepeatedBlockSample{8}},
    {"reduce twice whole", 13.0, 2201, 1, true, ReduceSample{"WW"}},
    {"reduce three blocks", 13.94, 2201, 1, true, ReduceSample{"BBB"}},
    {"reduce block and whole", 8.44, 2201, 1, true, ReduceSample{"BW"}},
    {"sync all", 0, 2201, 48, false, SyncSample{false}},
    {"sync flags", 0, 2201, 48, false, SyncSample{true}},
    {"sync all, then loads", 0, 2201, 48, false, SyncSample{false, 2}},
    {"sync flags around loads", 0, 2201, 48, false, SyncSample{true, 2}},
    {"sync flags around many loads", 0, 2201, 48, false, SyncSample{true, 20}},
    {"sync all, a late core", 0, 2201, 48, false, SyncSample{false, 0, 40}},
    {"sync flags, a late core", 0, 2201, 48, false, SyncSample{true, 0, 40}},
    {"sync flags, loads behind", 0, 2201, 48, false, SyncSample{true, 0, 0, true, 1, 2}},
    {"3510 sync flags, loads behind", 0, 3510, 64, false, SyncSample{true, 0, 0, true, 1, 2}},
    {"3510 sync flags", 0, 3510, 64, false, SyncSample{true}},
};

// Pages are never touched where a kernel only reads, so the memory is not really used.
std::unique_ptr<uint8_t, void (*)(void*)> Zeros(uint64_t bytes) {
  return {static_cast<uint8_t*>(std::calloc(bytes, 1)), std::free};
}

void Run(const Sample& sample, const char* trace) {
  constexpr uint64_t kBytes = 12288ull * 12288 * 2;
  const auto x = Zeros(kBytes);
  const auto y = Zeros(kBytes);
  const auto z = Zeros(kBytes);
  executor::GlobalMemory memory;
  auto add = [&](const char* name, uint8_t* data, executor::BufferRole role) {
    return reinterpret_cast<GM_ADDR>(memory.Add({name, data, kBytes, role, 0}));
  };
  const Buffers buffers = {add("x", x.get(), executor::BufferRole::kInput),
                           add("y", y.get(), executor::BufferRole::kInput),
                           add("z", z.get(), executor::BufferRole::kOutput)};
  const bool next = sample.arch == 3510;
  executor::Device device;
  device.arch = sample.arch;
  device.ub_bytes = next ? 248 * 1024 : kUbBytes;
  const executor::MemorySystem system = {next ? 1600.0 : 1800.0, 5200.0, next ? 1.65 : 1.85,
                                         (next ? 128ull : 192ull) << 20};
  executor::Options options;
  options.seed = 0;
  const executor::Report report =
      executor::CheckedLaunch([&] { sample.kernel(buffers); }, sample.blocks, device, memory,
                              options, false, executor::CostRequest{system, trace});
  if (!report.cost) {
    std::printf("%s | did not finish\n", sample.name);
    return;
  }
  const executor::CostReport& cost = *report.cost;
  const double skip = sample.without_launch ? cost.launch_us : 0;
  std::printf("%s | %.2f | %.2f %.2f %.2f\n", sample.name, sample.published_us,
              cost.total_us[0] - skip, cost.total_us[1] - skip, cost.total_us[2] - skip);
}

}  // namespace

int main(int argc, char** argv) {
  for (const Sample& sample : kSamples) {
    if (argc < 2 || std::strcmp(argv[1], sample.name) == 0) Run(sample, argc < 3 ? "" : argv[2]);
  }
  return 0;
}
