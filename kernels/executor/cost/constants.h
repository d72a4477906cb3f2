// Every number of the time model, with its range and where it comes from. Times it gives are
// modelled, never measured. "ADK" is the public repository mirror-cann/asc-devkit at 82b89a15, "BP"
// its examples/01_simd_cpp_api/05_best_practices.
#pragma once

#include <cstdint>

namespace executor {

enum class Corner : uint8_t { kFast, kNominal, kSlow };

struct Constant {
  double fast;
  double nominal;
  double slow;
  const char* source;

  double At(Corner corner) const {
    return corner == Corner::kFast ? fast : corner == Corner::kSlow ? slow : nominal;
  }
};

// Rates in bytes per ns (GB/s of 1e9), times in ns, cycles of the vector core where the name says
// so.
struct CostConstants {
  Constant hbm_efficiency;   // of the platform's HBM rate that a stream of large transfers reaches
  Constant core_hbm_rate;    // HBM to UB of one core alone
  Constant core_l2_rate;     // L2 to UB of one core alone
  Constant core_write_rate;  // UB to GM of one core alone
  Constant dma_issue_ns;     // from one DMA instruction to the next, when nothing else limits
  Constant dma_row_ns;       // of each block of a strided DMA
  Constant dma_latency_ns;   // from the end of a transfer to its flag
  Constant vector_start_cycles;  // of an elementwise instruction, before its repeats
  Constant reduction_start_cycles;
  Constant v_barrier_cycles;
  Constant scalar_call_ns;    // one call issued by the scalar unit
  Constant scalar_access_ns;  // GetValue or SetValue in UB
  Constant scalar_gm_ns;      // GetValue in GM
  // From the last core's arrival at a SyncAll, its pipes drained, or from its CrossCoreSetFlag,
  // until every core goes on: SyncAll is such a set and wait (ADK
  // dav_c220/kernel_operator_sync_impl.h).
  Constant sync_all_ns;
  Constant launch_ns;  // task duration less the time on the cores
  Constant start_ns;   // TPipe and its buffers
  // Cycles of one repeat.
  double multiply_add_cycles;        // MulAddDst
  double fused_multiply_add_cycles;  // FusedMulAdd that reads two operands, dst among them
  double third_read_cycles;          // and one that reads three
  double divide_cycles;              // Div, Sqrt, Exp and the like
  double whole_reduce_cycles;        // WholeReduceSum
  double block_reduce_cycles;        // BlockReduceSum, PairReduceSum
  uint32_t burst_bytes;  // of GM: what an unaligned row of at least this size is rounded up to
};

inline constexpr uint32_t kSectorBytes = 128;  // the smallest DMA burst (ADK, NPU架构版本2201.md)

inline constexpr CostConstants kCost2201 = {
    .hbm_efficiency = {1.0, 0.828, 0.80,
                       "BP data_copy: 302 MB in 202.7 us of MTE2 time, against 1.8 TB/s"},
    .core_hbm_rate = {60.0, 43.2, 40.0, "BP add_high_performance case 1: 8 KiB in 190 ns"},
    .core_l2_rate = {124.0, 118.0, 100.0,
                     "C81 platform_config: 64 B a cycle; BP data_copy: 906 MB of hits in 152 us"},
    .core_write_rate = {118.0, 51.4, 45.0, "BP add_high_performance case 1: 8 KiB in 159.5 ns"},
    .dma_issue_ns = {9.0, 11.2, 14.0, "BP data_copy: 49152 DMAs of 128 B a core in 548 us"},
    .dma_row_ns = {0.0, 2.0, 4.5, "BP data_copy: at most 287 ns for 64 rows of 128 B"},
    .dma_latency_ns = {0.0, 40.0, 150.0,
                       "BP add_high_performance cases 1 to 3: what their loops leave"},
    .vector_start_cycles = {12.0, 24.0, 30.0,
                            "BP bank_conflict_ub: 88 cycles for an Add of 64 repeats"},
    .reduction_start_cycles =
        {40.0, 70.0, 100.0,
         "ADK 选择低延迟指令-优化归约操作性能.md: 84 to 139 ns a reduction of 256 in 2 or 3 steps"},
    .v_barrier_cycles = {0.0, 8.0, 30.0, "not published"},
    .scalar_call_ns = {1.5, 3.0, 5.0,
                       "BP add_high_performance cases 1 and 2: 14 to 24 ns for 8 calls"},
    .scalar_access_ns = {4.0, 5.0, 10.0,
                         "BP add_high_performance case 0: 18 ns for three accesses"},
    .scalar_gm_ns = {100.0, 300.0, 800.0, "not published"},
    .sync_all_ns = {500.0, 1500.0, 5000.0, "not published"},
    .launch_ns =
        {2500.0, 6500.0, 20000.0,
         "BP add_high_performance: 2.5 to 9.4 us; ADK 分析性能数据.md: 20 us for an empty kernel"},
    .start_ns = {200.0, 500.0, 1000.0, "ADK 静态Tensor编程.md: some hundred ns"},
    // ADK docs/zh/api/附录/Vector指令理论性能汇总.md, tables 6, 8 and 11: elements a cycle. The
    // third read: FusedMulAdd.md, two reads and a write at most in a cycle.
    .multiply_add_cycles = 2.0,
    .fused_multiply_add_cycles = 1.0,
    .third_read_cycles = 2.0,
    .divide_cycles = 2.0,
    .whole_reduce_cycles = 7.0,
    .block_reduce_cycles = 1.0,
    .burst_bytes = 512,
};

inline constexpr CostConstants kCost3510 = {
    .hbm_efficiency = {1.05, 1.0, 0.95,
                       "BP data_copy: 302 MB in 185.7 us of MTE2 time, against 1.6 TB/s"},
    .core_hbm_rate = {50.0, 35.0, 30.0, "BP add_high_performance: 0.035 TB/s of one core"},
    .core_l2_rate = {128.0, 100.0, 80.0, "BP data_copy: 906 MB of hits in 166 us"},
    .core_write_rate = {128.0, 40.0, 30.0, "scaled from 2201"},
    .dma_issue_ns = {20.0, 23.9, 28.0, "BP data_copy: 36864 DMAs of 128 B a core in 881 us"},
    .dma_row_ns = {0.0, 1.0, 4.0, "BP data_copy: 64 rows of 128 B near the bandwidth"},
    .dma_latency_ns = {0.0, 40.0, 150.0, "as 2201"},
    .vector_start_cycles = {12.0, 40.0, 100.0,
                            "not published; the Memory API is emulated by VF calls"},
    .reduction_start_cycles = {20.0, 60.0, 120.0, "not published"},
    .v_barrier_cycles = {0.0, 0.0, 8.0, "V is ordered by hardware"},
    .scalar_call_ns = {1.5, 3.0, 5.0, "as 2201"},
    .scalar_access_ns = {4.0, 5.0, 10.0, "BP add_high_performance case 0"},
    .scalar_gm_ns = {100.0, 300.0, 800.0, "not published"},
    .sync_all_ns = {500.0, 1500.0, 5000.0, "not published"},
    .launch_ns = {1000.0, 2000.0, 10000.0, "BP add_high_performance, data_copy: 1 to 3 us"},
    .start_ns = {200.0, 500.0, 1000.0, "as 2201"},
    // Three reads from registers.
    .multiply_add_cycles = 1.0,
    .fused_multiply_add_cycles = 1.0,
    .third_read_cycles = 1.0,
    .divide_cycles = 4.0,  // BP gelu_eltwise_high_performance: 64 B a cycle
    // Not published.
    .whole_reduce_cycles = 2.0,
    .block_reduce_cycles = 2.0,
    .burst_bytes = 128,
};

}  // namespace executor
