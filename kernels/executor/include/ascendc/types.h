// Qualifiers, scalar types, enumerations and parameter structs of Ascend C, under CANN's names and
// with its defaults. Only what a vector kernel for 2201 and 3510 needs; nothing here executes.
#pragma once

#include <cstdint>
#include <type_traits>

#include "../../core/instr.h"

#define __global__
#define __aicore__
#define __gm__
#define __ubuf__
#define __vector__
#define __inout_pipe__(pipe)
#define GM_ADDR __gm__ uint8_t*

// In a kernel's body: tells the executor whether the launch has the cross-core scheduler that
// SyncAll needs.
#define KERNEL_TASK_TYPE_DEFAULT(type) ::executor::DeclareKernelType(type)

enum KernelMetaType : int {
  KERNEL_TYPE_AIV_ONLY,
  KERNEL_TYPE_MIX_AIV_1_0,
};

enum pipe_t { PIPE_S, PIPE_V, PIPE_MTE2, PIPE_MTE3, PIPE_ALL };

enum event_t : int32_t {
  EVENT_ID0,
  EVENT_ID1,
  EVENT_ID2,
  EVENT_ID3,
  EVENT_ID4,
  EVENT_ID5,
  EVENT_ID6,
  EVENT_ID7
};

namespace executor {

void DeclareKernelType(KernelMetaType type);

// An integer parameter of CANN's width that remembers what was passed before it was cut to that
// width.
template <class T>
class Field {
 public:
  template <class I, class = std::enable_if_t<std::is_integral_v<I>>>
  constexpr Field(I value)  // NOLINT: implicit, as the plain integer it stands for
      : value_(static_cast<T>(value)), passed_(static_cast<int64_t>(value)) {}
  constexpr operator T() const {
    return value_;
  }  // NOLINT: implicit, as the plain integer it stands for
  constexpr int64_t passed() const { return passed_; }
  constexpr bool WasCut() const { return static_cast<int64_t>(value_) != passed_; }

 private:
  T value_;
  int64_t passed_;
};

}  // namespace executor

class half {
 public:
  half() = default;
  half(float value)
      : bits_(executor::FloatToHalfRint(value)) {}  // NOLINT: implicit as on the device
  operator float() const {
    return executor::HalfToFloat(bits_);
  }  // NOLINT: implicit as on the device

 private:
  uint16_t bits_;
};

// On the device bfloat16_t has no arithmetic; values come and go through ToBfloat16 and ToFloat.
class bfloat16_t {
 public:
  bfloat16_t() = default;
  constexpr bfloat16_t(int zero) : bits_(0) {
    static_cast<void>(zero);
  }  // NOLINT: `T value = 0` of the params
  static bfloat16_t FromBits(uint16_t bits) {
    bfloat16_t value;
    value.bits_ = bits;
    return value;
  }
  uint16_t bits() const { return bits_; }

 private:
  uint16_t bits_;
};

namespace AscendC {

using TEventID = int8_t;
using TTagType = int32_t;
using executor::Field;

constexpr int32_t ONE_BLK_SIZE = 32;
constexpr int32_t DEFAULT_BLK_NUM = 8;
constexpr int32_t DEFAULT_BLK_STRIDE = 1;
constexpr uint8_t DEFAULT_REPEAT_STRIDE = 8;
constexpr uint8_t DEFAULT_DATA_COPY_NBURST = 1;
constexpr uint8_t DEFAULT_DATA_COPY_STRIDE = 0;
constexpr uint64_t MASK_PLACEHOLDER = 0;
constexpr uint64_t MASK_PLACEHOLDER_LIST[2] = {0, 0};

inline bfloat16_t ToBfloat16(const float& value) {
  return bfloat16_t::FromBits(executor::FloatToBf16Rint(value));
}
inline float ToFloat(const bfloat16_t& value) { return executor::Bf16ToFloat(value.bits()); }

template <class T, class U>
using IsSameType = std::is_same<T, U>;

enum class TPosition : uint8_t {
  GM,
  A1,
  A2,
  B1,
  B2,
  C1,
  C2,
  CO1,
  CO2,
  VECIN,
  VECOUT,
  VECCALC,
  LCM = VECCALC,
  MAX,
};
using QuePosition = TPosition;

enum class HardEvent : uint8_t {
  MTE2_V,
  V_MTE2,
  MTE3_V,
  V_MTE3,
  V_V,
  MTE3_MTE2,
  MTE2_MTE3,
  S_V,
  V_S,
  S_MTE2,
  MTE2_S,
  S_MTE3,
  MTE3_S,
  MAX,
};

enum class RoundMode : uint8_t {
  CAST_NONE = 0,
  CAST_RINT,
  CAST_FLOOR,
  CAST_CEIL,
  CAST_ROUND,
  CAST_TRUNC,
  CAST_ODD,
};

enum class MaskMode : uint8_t { NORMAL = 0, COUNTER };

enum class CacheMode {
  CACHE_MODE_DISABLE = 0,
  CACHE_MODE_NORMAL = 1,
  CACHE_MODE_LAST = 2,
  CACHE_MODE_PERSISTENT = 4
};
enum class CacheRwMode { READ = 1, WRITE = 2, RW = 3 };
enum class CacheLine : uint64_t { SINGLE_CACHE_LINE = 0, ENTIRE_DATA_CACHE };
enum class DcciDst : uint64_t { CACHELINE_ALL = 0, CACHELINE_UB, CACHELINE_OUT, CACHELINE_ATOMIC };

struct DataCopyParams {
  DataCopyParams() = default;
  DataCopyParams(Field<uint16_t> count, Field<uint16_t> len, Field<uint16_t> src_stride,
                 Field<uint16_t> dst_stride)
      : blockCount(count), blockLen(len), srcStride(src_stride), dstStride(dst_stride) {}
  Field<uint16_t> blockCount = DEFAULT_DATA_COPY_NBURST;
  Field<uint16_t> blockLen = 0;
  Field<uint16_t> srcStride = DEFAULT_DATA_COPY_STRIDE;
  Field<uint16_t> dstStride = DEFAULT_DATA_COPY_STRIDE;
};

struct DataCopyPadParams {
  DataCopyPadParams() = default;
  DataCopyPadParams(bool is_pad, Field<uint8_t> left, Field<uint8_t> right, uint64_t value)
      : isPad(is_pad), leftPadding(left), rightPadding(right), paddingValue(value) {}
  bool isPad = false;
  Field<uint8_t> leftPadding = 0;
  Field<uint8_t> rightPadding = 0;
  uint64_t paddingValue = 0;
};

struct DataCopyExtParams {
  DataCopyExtParams() = default;
  DataCopyExtParams(Field<uint16_t> count, uint32_t len, uint32_t src_stride, uint32_t dst_stride,
                    uint32_t reserved)
      : blockCount(count),
        blockLen(len),
        srcStride(src_stride),
        dstStride(dst_stride),
        rsv(reserved) {}
  Field<uint16_t> blockCount = DEFAULT_DATA_COPY_NBURST;
  uint32_t blockLen = 0;
  uint32_t srcStride = DEFAULT_DATA_COPY_STRIDE;
  uint32_t dstStride = DEFAULT_DATA_COPY_STRIDE;
  uint32_t rsv = 0;
};

template <typename T>
struct DataCopyPadExtParams {
  DataCopyPadExtParams() = default;
  DataCopyPadExtParams(bool is_pad, Field<uint8_t> left, Field<uint8_t> right, T value)
      : isPad(is_pad), leftPadding(left), rightPadding(right), paddingValue(value) {}
  bool isPad = false;
  Field<uint8_t> leftPadding = 0;
  Field<uint8_t> rightPadding = 0;
  T paddingValue = 0;
};

struct CopyRepeatParams {
  CopyRepeatParams() = default;
  CopyRepeatParams(Field<uint16_t> dst_stride, Field<uint16_t> src_stride,
                   Field<uint16_t> dst_repeat_size, Field<uint16_t> src_repeat_size)
      : dstStride(dst_stride),
        srcStride(src_stride),
        dstRepeatSize(dst_repeat_size),
        srcRepeatSize(src_repeat_size) {}
  Field<uint16_t> dstStride = DEFAULT_DATA_COPY_STRIDE;
  Field<uint16_t> srcStride = DEFAULT_DATA_COPY_STRIDE;
  Field<uint16_t> dstRepeatSize = DEFAULT_REPEAT_STRIDE;
  Field<uint16_t> srcRepeatSize = DEFAULT_REPEAT_STRIDE;
};

struct BinaryRepeatParams {
  BinaryRepeatParams() = default;
  BinaryRepeatParams(Field<uint8_t> dst_blk, Field<uint8_t> src0_blk, Field<uint8_t> src1_blk,
                     Field<uint8_t> dst_rep, Field<uint8_t> src0_rep, Field<uint8_t> src1_rep)
      : dstBlkStride(dst_blk),
        src0BlkStride(src0_blk),
        src1BlkStride(src1_blk),
        dstRepStride(dst_rep),
        src0RepStride(src0_rep),
        src1RepStride(src1_rep) {}
  uint32_t blockNumber = DEFAULT_BLK_NUM;
  Field<uint8_t> dstBlkStride = DEFAULT_BLK_STRIDE;
  Field<uint8_t> src0BlkStride = DEFAULT_BLK_STRIDE;
  Field<uint8_t> src1BlkStride = DEFAULT_BLK_STRIDE;
  Field<uint8_t> dstRepStride = DEFAULT_REPEAT_STRIDE;
  Field<uint8_t> src0RepStride = DEFAULT_REPEAT_STRIDE;
  Field<uint8_t> src1RepStride = DEFAULT_REPEAT_STRIDE;
};

struct UnaryRepeatParams {
  UnaryRepeatParams() = default;
  UnaryRepeatParams(Field<uint16_t> dst_blk, Field<uint16_t> src_blk, Field<uint8_t> dst_rep,
                    Field<uint8_t> src_rep)
      : dstBlkStride(dst_blk),
        srcBlkStride(src_blk),
        dstRepStride(dst_rep),
        srcRepStride(src_rep) {}
  uint32_t blockNumber = DEFAULT_BLK_NUM;
  Field<uint16_t> dstBlkStride = DEFAULT_BLK_STRIDE;
  Field<uint16_t> srcBlkStride = DEFAULT_BLK_STRIDE;
  Field<uint8_t> dstRepStride = DEFAULT_REPEAT_STRIDE;
  Field<uint8_t> srcRepStride = DEFAULT_REPEAT_STRIDE;
};

struct BrcbRepeatParams {
  BrcbRepeatParams() = default;
  BrcbRepeatParams(Field<uint16_t> dst_blk, Field<uint16_t> dst_rep)
      : dstRepStride(dst_rep), dstBlkStride(dst_blk) {}
  uint32_t blockNumber = DEFAULT_BLK_NUM;
  Field<uint16_t> dstRepStride = DEFAULT_REPEAT_STRIDE;
  Field<uint16_t> dstBlkStride = DEFAULT_BLK_STRIDE;
};

}  // namespace AscendC
