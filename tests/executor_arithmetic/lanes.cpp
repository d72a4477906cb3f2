// Masks, strides, counter mode and the instructions that move values between lanes, against plain
// loops.
#include "bench.h"

namespace arithmetic {
namespace {

std::vector<float> Ramp(float first = 1.0f) {
  std::vector<float> values(kElems);
  for (size_t i = 0; i < values.size(); ++i) values[i] = first + static_cast<float>(i);
  return values;
}

float Tree(const float* values, size_t count) {
  return count == 1 ? values[0] : Tree(values, count / 2) + Tree(values + count / 2, count / 2);
}

const Register kBitMask("a bit mask leaves the other lanes alone", [] {
  const std::vector<float> x = Ramp();
  const uint64_t mask[2] = {0xf0f0f0f00000ffffull, 0};
  const Outcome outcome = RunBody(
      x, [&](Tensors& t) { Adds(t.d, t.a, 100.0f, mask, 3, UnaryRepeatParams(1, 1, 8, 8)); }, 2201,
      -5.0f);
  std::vector<float> want(3 * 64 + 8, -5.0f);
  for (size_t i = 0; i < 3 * 64; ++i) {
    if ((mask[0] >> (i % 64)) & 1) want[i] = x[i] + 100.0f;
  }
  return Compare(outcome, want);
});

const Register kStrides("block and repeat strides of every operand", [] {
  const std::vector<float> x = Ramp();
  const Outcome outcome = RunBody(
      x,
      [&](Tensors& t) {
        Adds(t.b, t.a, 1000.0f, static_cast<int32_t>(kElems));
        PipeBarrier<PIPE_V>();
        Sub(t.d, t.b, t.a, static_cast<uint64_t>(60), 5, BinaryRepeatParams(2, 1, 3, 16, 8, 30));
      },
      2201, 7.0f);
  std::vector<float> want(kElems, 7.0f);
  for (size_t r = 0; r < 5; ++r) {
    for (size_t lane = 0; lane < 60; ++lane) {
      const size_t block = lane / 8;
      const size_t in_block = lane % 8;
      want[(r * 16 + block * 2) * 8 + in_block] =
          x[(r * 8 + block) * 8 + in_block] + 1000.0f - x[(r * 30 + block * 3) * 8 + in_block];
    }
  }
  return Compare(outcome, want);
});

const Register kBroadcast("Brcb and a block stride of 0 multiply rows by scalars", [] {
  const std::vector<float> x = Ramp();
  const Outcome outcome = RunBody(x, [](Tensors& t) {
    Brcb(t.b, t.a, 2, BrcbRepeatParams(1, 8));  // 16 scalars, a block each
    PipeBarrier<PIPE_V>();
    Mul(t.d, t.a, t.b, static_cast<uint64_t>(64), 16, BinaryRepeatParams(1, 1, 0, 8, 8, 1));
  });
  std::vector<float> want(16 * 64);
  for (size_t i = 0; i < want.size(); ++i) want[i] = x[i] * x[i / 64];
  return Compare(outcome, want);
});

const Register kAccumulate("a destination repeat stride of 0 adds up rows", [] {
  const std::vector<float> x = RandomFloats(kElems, 3);
  const Outcome outcome = RunBody(x, [](Tensors& t) {
    Add(t.d, t.a, t.d, static_cast<uint64_t>(64), 20, BinaryRepeatParams(1, 1, 1, 0, 8, 0));
  });
  std::vector<float> want(64, 0.0f);
  for (size_t r = 0; r < 20; ++r) {
    for (size_t i = 0; i < 64; ++i) want[i] = x[r * 64 + i] + want[i];
  }
  return Compare(outcome, want);
});

const Register kCounter("counter mode counts elements over repeats", [] {
  const std::vector<float> x = Ramp();
  const Outcome outcome = RunBody(
      x,
      [](Tensors& t) {
        SetMaskCount();
        SetVectorMask<float>(0, 777);
        Muls<float, false>(t.d, t.a, 2.0f, MASK_PLACEHOLDER, 1, UnaryRepeatParams(1, 1, 8, 8));
        SetMaskNorm();
        ResetMask();
      },
      2201, -1.0f);
  std::vector<float> want(800, -1.0f);
  for (size_t i = 0; i < 777; ++i) want[i] = 2.0f * x[i];
  return Compare(outcome, want);
});

const Register kCastStride("a strided Cast from half moves half as many blocks", [] {
  const std::vector<float> x = Ramp();
  const Outcome outcome = RunBody(x, [](Tensors& t) {
    const LocalTensor<half> narrow = t.b.ReinterpretCast<half>();
    Cast(narrow, t.a, RoundMode::CAST_RINT, 512u);
    PipeBarrier<PIPE_V>();
    Cast(t.d, narrow, RoundMode::CAST_NONE, static_cast<uint64_t>(64), 4,
         UnaryRepeatParams(1, 1, 8, 8));  // every second 64 of them
  });
  std::vector<float> want(256);
  for (size_t i = 0; i < want.size(); ++i) want[i] = x[i / 64 * 128 + i % 64];
  return Compare(outcome, want);
});

const Register kWholeReduce("WholeReduceSum adds neighbours first", [] {
  const std::vector<float> x = RandomFloats(kElems, 4);
  const Outcome outcome = RunBody(x, [](Tensors& t) {
    WholeReduceSum(t.d, t.a, 64, 9, 3, 1, 8);
    PipeBarrier<PIPE_V>();
    WholeReduceSum(t.d[100], t.a, 37, 1, 1, 1, 8);
  });
  std::vector<float> want(101, 0.0f);
  for (size_t r = 0; r < 9; ++r) want[r * 3] = Tree(&x[r * 64], 64);
  std::vector<float> masked(x.begin(), x.begin() + 37);
  masked.resize(64, 0.0f);
  want[100] = Tree(masked.data(), 64);
  return Compare(outcome, want);
});

const Register kBlockReduce("BlockReduceSum gives eight sums a repeat", [] {
  const std::vector<float> x = RandomFloats(kElems, 5);
  const Outcome outcome = RunBody(x, [](Tensors& t) { BlockReduceSum(t.d, t.a, 6, 64, 2, 1, 8); });
  std::vector<float> want(6 * 16 - 8, 0.0f);
  for (size_t r = 0; r < 6; ++r) {
    for (size_t block = 0; block < 8; ++block)
      want[r * 16 + block] = Tree(&x[r * 64 + block * 8], 8);
  }
  return Compare(outcome, want);
});

std::vector<float> MaskedBlocks(int32_t arch) {
  return RunBody(
             RandomFloats(kElems, 6), [](Tensors& t) { BlockReduceSum(t.d, t.a, 1, 12, 1, 1, 8); },
             arch, 9.0f)
      .y;
}

const Register kMaskedBlocks("a block with no active lane: kept on 2201, zero on 3510", [] {
  const std::vector<float> old = MaskedBlocks(2201);
  const std::vector<float> next = MaskedBlocks(3510);
  const bool same = old[0] == next[0] && old[1] == next[1];
  return std::string(same && old[2] == 9.0f && next[2] == 0.0f && next[7] == 0.0f ? "" : "wrong");
});

const Register kPairReduce("PairReduceSum adds pairs", [] {
  const std::vector<float> x = RandomFloats(kElems, 8);
  const Outcome outcome = RunBody(x, [](Tensors& t) { PairReduceSum(t.d, t.a, 3, 64, 1, 1, 8); });
  std::vector<float> want(96);
  for (size_t i = 0; i < want.size(); ++i) want[i] = x[2 * i] + x[2 * i + 1];
  return Compare(outcome, want);
});

const Register kGather("Gather takes byte offsets", [] {
  const std::vector<float> x = Ramp();
  const Outcome outcome = RunBody(x, [](Tensors& t) {
    const LocalTensor<int32_t> numbers = t.b.ReinterpretCast<int32_t>();
    Cast(numbers, t.a, RoundMode::CAST_RINT, 128u);  // 1, 2, 3, ...
    PipeBarrier<PIPE_V>();
    Muls(numbers, numbers, 12, 128);  // every third float, from the fourth
    PipeBarrier<PIPE_V>();
    Gather(t.d, t.a, t.b.ReinterpretCast<uint32_t>(), 0, 100u);
  });
  std::vector<float> want(100);
  for (size_t i = 0; i < want.size(); ++i) want[i] = x[3 * (i + 1)];
  return Compare(outcome, want);
});

const Register kCopy("Copy moves masked blocks by its own strides", [] {
  const std::vector<float> x = Ramp();
  const Outcome outcome = RunBody(
      x,
      [](Tensors& t) {
        Copy(t.d, t.a, static_cast<uint64_t>(32), 3, CopyRepeatParams(2, 1, 16, 4));
      },
      2201, 3.0f);
  std::vector<float> want(kElems, 3.0f);
  for (size_t r = 0; r < 3; ++r) {
    for (size_t lane = 0; lane < 32; ++lane) {
      want[(r * 16 + lane / 8 * 2) * 8 + lane % 8] = x[(r * 4 + lane / 8) * 8 + lane % 8];
    }
  }
  return Compare(outcome, want);
});

const Register kFused("MulAddDst and Axpy round once", [] {
  // 1 + 2^-12 squared is 1 + 2^-11 + 2^-24: the last term is lost when the product is rounded by
  // itself.
  const float value = 1.0f + 0x1p-12f;
  const Outcome outcome = RunBody(
      std::vector<float>(64, value),
      [&](Tensors& t) {
        MulAddDst(t.d, t.a, t.a, 64);
        PipeBarrier<PIPE_V>();
        Axpy(t.d, t.a, 0.0f, 64);
      },
      2201, -1.0f);
  return Compare(outcome, std::vector<float>(64, 0x1p-11f + 0x1p-24f));
});

const Register kPadding("DataCopyPad pads rows, left and right", [] {
  const std::vector<float> x = Ramp();
  const Outcome outcome = RunBody(x, [](Tensors& t) {
    Order<HardEvent::V_MTE2>();
    DataCopyPad(t.d, t.x[1], DataCopyExtParams(3, 20, 8, 1, 0),
                DataCopyPadExtParams<float>(true, 1, 2, -9.0f));
    Order<HardEvent::MTE2_V>();
    Order<HardEvent::MTE2_MTE3>();
  });
  std::vector<float> want(3 * 16, 0.0f);
  for (size_t row = 0; row < 3; ++row) {
    for (size_t i = 0; i < 8; ++i) {
      want[row * 16 + i] = i < 1 || i > 5 ? -9.0f : x[1 + row * 7 + i - 1];
    }
  }
  return Compare(outcome, want);
});

const Register kPermutation("results do not depend on the schedule", []() -> std::string {
  const std::vector<float> x = RandomFloats(kElems, 11);
  auto run = [&](uint64_t seed) {
    executor::Options options;
    options.seed = seed;
    return RunBody(
        x,
        [](Tensors& t) {
          for (uint32_t at = 0; at < kElems; at += 256) {
            Muls(t.b[at], t.a[at], 3.0f, 256);
            PipeBarrier<PIPE_V>();
            Add(t.d[at], t.b[at], t.a[at], 256);
          }
        },
        2201, 0.0f, options);
  };
  const Outcome first = run(1);
  for (uint64_t seed = 2; seed < 40; ++seed) {
    const std::string difference = Compare(run(seed), first.y);
    if (!difference.empty()) return "seed " + std::to_string(seed) + " " + difference;
  }
  return "";
});

const Register kCounts("counts are those of the program", []() -> std::string {
  const Outcome outcome = RunBody(Ramp(), [](Tensors& t) {
    Adds(t.b, t.a, 1.0f, 1000);  // 16 repeats
    PipeBarrier<PIPE_V>();
    WholeReduceSum(t.d, t.b, 64, 15, 1, 1, 8);
    CrossCoreSetFlag<0, PIPE_V>(0);
    CrossCoreSetFlag<0, PIPE_V>(1);
    CrossCoreWaitFlag(0);
    CrossCoreWaitFlag(1);
  });
  const executor::CoreCounts& total = outcome.report.total;
  const auto repeats = [&](executor::Op op) { return total.repeats[static_cast<size_t>(op)]; };
  const bool right =
      total.gm_read_bytes == kElems * 4 && total.gm_write_bytes == kElems * 4 && total.loads == 1 &&
      total.stores == 1 && total.dma_sizes[14] == 2 && repeats(executor::Op::kAdds) == 16 &&
      repeats(executor::Op::kWholeReduceSum) == 15 && repeats(executor::Op::kDuplicate) == 3 * 64 &&
      total.v_barriers == 2 && total.set_flags == 2 && total.wait_flags == 2 &&
      total.sync_alls == 0 && total.cross_core_sets == 2 && total.cross_core_waits == 2;
  return right ? "" : "wrong";
});

}  // namespace
}  // namespace arithmetic
