// Checks the CPU plan on random problems: every group is covered once, the scratch suffices, what
// adds up does not depend on the threads. Prints one line a violation. No kernel and no tensor
// here.
#include <cstdio>
#include <cstdlib>
#include <random>

#include "csrc/cpu/plan.h"

using namespace group_norm_grad;       // NOLINT
using namespace group_norm_grad::cpu;  // NOLINT

namespace {

int violations = 0;

void Expect(bool holds, const char* what, const Problem& p, bool channels_last, const Plan& plan) {
  if (holds) return;
  ++violations;
  std::printf("%s: N=%lld C=%lld S=%lld G=%lld channels_last=%d %s\n", what,
              static_cast<long long>(p.N), static_cast<long long>(p.C), static_cast<long long>(p.S),
              static_cast<long long>(p.G), channels_last, ToString(plan).c_str());
}

void ExpectCovered(const Problem& p, bool channels_last, const Plan& plan) {
  Expect(plan.groups >= 1 && plan.samples >= 1, "a task has something to do", p, channels_last,
         plan);
  Expect(plan.group_blocks * plan.groups >= p.G && (plan.group_blocks - 1) * plan.groups < p.G,
         "blocks cover the groups once", p, channels_last, plan);
  Expect(plan.sample_blocks * plan.samples >= p.N && (plan.sample_blocks - 1) * plan.samples < p.N,
         "blocks cover the samples once", p, channels_last, plan);
  Expect(plan.tasks == plan.sample_blocks * plan.group_blocks, "tasks are the blocks", p,
         channels_last, plan);
}

}  // namespace

int main() {
  std::mt19937 random(7);
  const auto pick = [&](int64_t low, int64_t high) {
    return std::uniform_int_distribution<int64_t>(low, high)(random);
  };
  int split = 0, flat = 0, rows = 0, channels = 0;
  for (int i = 0; i < 20000; ++i) {
    Problem p;
    p.N = pick(0, 3) == 0 ? pick(65, 9000) : pick(1, 64);
    p.G = pick(1, 64);
    p.C = p.G * pick(1, 100);
    p.S = pick(0, 2) == 0 ? pick(1, 20) : pick(1, 100000);
    p.dtype = static_cast<DType>(pick(0, 3));
    const bool channels_last = pick(0, 1) == 1;
    Machine machine;
    machine.pair_elems = 4 << pick(0, 3);
    machine.masked_steps = machine.pair_elems == 32;
    machine.threads = pick(1, 64);
    Machine alone = machine;
    alone.threads = 1;
    const Plan plan = MakeBackwardPlan(p, channels_last, machine);
    const Plan one = MakeBackwardPlan(p, channels_last, alone);
    ExpectCovered(p, channels_last, plan);
    Expect(plan.chunks == one.chunks && plan.samples == one.samples &&
               plan.sample_blocks == one.sample_blocks,
           "threads do not change what is summed together", p, channels_last, plan);
    Expect(IsChannelsLast(plan.schedule) == channels_last, "the layout decides", p, channels_last,
           plan);
    Expect(!IsSplit(one.schedule), "one thread has nothing to split", p, channels_last, one);
    const int64_t chunk =
        channels_last ? kChannelsLastChunkRows : RowChunkElems(machine.pair_elems);
    Expect(plan.schedule == Schedule::kFusedFlat ||
               (plan.chunks * chunk >= p.S && (plan.chunks - 1) * chunk < p.S),
           "chunks cover the row once", p, channels_last, plan);
    Expect(plan.schedule == Schedule::kFusedFlat || channels_last ||
               plan.chunks * 2 * 128 * machine.pair_elems >= p.S,
           "no lane adds more than 128 elements of a row", p, channels_last, plan);
    Expect(ScratchElems(plan, p, machine.pair_elems) >= 2 * p.D(), "scratch holds a group", p,
           channels_last, plan);
    ExpectCovered(p, channels_last, MakeForwardPlan(p, channels_last, machine));
    split += IsSplit(plan.schedule);
    flat += plan.schedule == Schedule::kFusedFlat;
    rows += plan.schedule == Schedule::kFusedRows;
    channels += plan.schedule == Schedule::kFusedChannelsLast;
  }
  if (split == 0 || flat == 0 || rows == 0 || channels == 0) {
    std::printf("a schedule was never chosen: split=%d flat=%d rows=%d channels_last=%d\n", split,
                flat, rows, channels);
    ++violations;
  }
  std::printf("%d violations\n", violations);
  return violations == 0 ? 0 : 1;
}
