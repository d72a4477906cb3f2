// What every __global__ entry point does: choose the schedule, and add up what the cores left in
// the workspace. No arithmetic.
#pragma once

#include "finish.h"
#include "group_tiles.h"
#include "piece_rounds.h"
#include "piece_walk.h"

namespace group_norm_grad {

template <class T>
__aicore__ inline void RunFirstStage(Context<T>& context) {
  switch (context.tiling.schedule) {
    case Schedule::kGroupTiles: {
      GroupTiles<T> schedule(context);
      schedule.Process();
      break;
    }
    case Schedule::kStreamedGroup:
    case Schedule::kSplitGroup: {
      if (context.tiling.rounds > 1) {
        PieceRounds<T> schedule(context);
        schedule.Process();
        break;
      }
      PieceWalk<T> schedule(context);
      schedule.Process();
      break;
    }
    default:
      break;
  }
}

template <class T>
__aicore__ inline void Run(const Arguments& args, const GroupNormGradTiling& tiling) {
  AscendC::TPipe pipe;
  Context<T> context(args, tiling, &pipe);
  const bool zeros = tiling.schedule == Schedule::kZeroFill;
  if (!zeros) RunFirstStage(context);
  if (!zeros && !context.HasSecondStage()) return;
  if (!zeros) {
    context.arena.Reset();
    AscendC::PipeBarrier<PIPE_ALL>();
  }
  Finish<T> finish(context);
  finish.Process();
}

}  // namespace group_norm_grad

// Cores that wait for each other must start together: kernels of two streams that each hold some of
// the cores would wait for each other's for ever. Older compilers have no word for it.
#ifdef __schedmode__
#define GROUP_NORM_GRAD_BATCH_MODE __schedmode__(1)
#else
#define GROUP_NORM_GRAD_BATCH_MODE
#endif

// One kernel a data type, because the C launch functions of CANN 8 take one kernel a file.
#define GROUP_NORM_GRAD_KERNEL(NAME, TYPE)                                                    \
  extern "C" GROUP_NORM_GRAD_BATCH_MODE __global__ __aicore__ void NAME(                      \
      GM_ADDR grad_out, GM_ADDR input, GM_ADDR mean, GM_ADDR rstd, GM_ADDR weight,            \
      GM_ADDR grad_input, GM_ADDR grad_weight, GM_ADDR grad_bias, GM_ADDR workspace,          \
      group_norm_grad::GroupNormGradTiling tiling) {                                          \
    KERNEL_TASK_TYPE_DEFAULT(KERNEL_TYPE_MIX_AIV_1_0);                                        \
    group_norm_grad::Run<TYPE>(                                                               \
        {grad_out, input, mean, rstd, weight, grad_input, grad_weight, grad_bias, workspace}, \
        tiling);                                                                              \
  }
