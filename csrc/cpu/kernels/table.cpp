// The table of kernels of one instruction set: compiled once for each, with GROUP_NORM_GRAD_ISA
// naming it, CPU_CAPABILITY set for at::vec and the compiler's flags to match. Nothing that is
// called from elsewhere except Table() belongs here.
#include "table.h"

#include <c10/util/BFloat16.h>
#include <c10/util/Half.h>

#include "backward_channels_last.h"
#include "backward_flat.h"
#include "backward_rows.h"
#include "convert.h"
#include "forward_channels_last.h"
#include "forward_rows.h"
#include "sum_rows.h"

#define GROUP_NORM_GRAD_JOIN2(a, b) a##b
#define GROUP_NORM_GRAD_JOIN(a, b) GROUP_NORM_GRAD_JOIN2(a, b)
#define GROUP_NORM_GRAD_STR2(a) #a
#define GROUP_NORM_GRAD_STR(a) GROUP_NORM_GRAD_STR2(a)

namespace group_norm_grad::cpu {
namespace {

template <typename T>
constexpr DTypeKernels KernelsOf() {
  constexpr bool kPast = kHasNonTemporal;
  return {{{FusedRows<T, false>, SplitRowsSums<T>, SplitRowsFinish<T>, SplitRowsApply<T, false>},
           {FusedRows<T, kPast>, SplitRowsSums<T>, SplitRowsFinish<T>, SplitRowsApply<T, kPast>},
           {FusedFlat<T>, nullptr, nullptr, nullptr},
           {FusedChannelsLast<T>, SplitChannelsLastSums<T>, SplitChannelsLastFinish<T>,
            SplitChannelsLastApply<T>}},
          {{ForwardRows<T, false>, SplitForwardRowsSums<T>, SplitForwardRowsFinish<T>,
            SplitForwardRowsApply<T, false>},
           {ForwardRows<T, kPast>, SplitForwardRowsSums<T>, SplitForwardRowsFinish<T>,
            SplitForwardRowsApply<T, kPast>},
           {ForwardFlat<T>, nullptr, nullptr, nullptr},
           {ForwardChannelsLast<T>, SplitForwardChannelsLastSums<T>,
            SplitForwardChannelsLastFinish<T>, SplitForwardChannelsLastApply<T>}},
          SumPartialRows<AccOf<T>>,
          ToAcc<T>,
          FromAcc<T>,
          kInOrder<T> ? nullptr : CleanNans};
}

constexpr KernelTable kTable = {
    GROUP_NORM_GRAD_STR(GROUP_NORM_GRAD_ISA),
    sizeof(Vec<float>),
    kHasMaskedSteps,
    {KernelsOf<float>(), KernelsOf<at::Half>(), KernelsOf<at::BFloat16>(), KernelsOf<double>()}};

}  // namespace

#define GROUP_NORM_GRAD_NAMESPACE GROUP_NORM_GRAD_JOIN(isa_, GROUP_NORM_GRAD_ISA)
namespace GROUP_NORM_GRAD_NAMESPACE {
const KernelTable& Table() { return kTable; }
}  // namespace GROUP_NORM_GRAD_NAMESPACE

}  // namespace group_norm_grad::cpu
