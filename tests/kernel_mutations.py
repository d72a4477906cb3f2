"""The mutations of the real kernel, one line each, and the check that must catch it. No run here."""

from dataclasses import dataclass

# Problems of each schedule: (dtype, N, C, S, G).
TILES = ("float32", 4, 64, 49, 8)
ONE_SAMPLE = ("float32", 1, 64, 49, 8)  # no core waits for another
OWNERS = ("float32", 8, 256, 784, 32)  # of a group of every n; the others' sums come to theirs
BIG_TILES = ("float32", 96, 96, 120, 8)
STREAMED = ("float32", 16, 32, 4096, 8)
SPARE = ("float32", 12, 64, 3136, 8)  # a slot takes the next group's first piece
SPLIT = ("float32", 1, 64, 4096, 2)
DEALT = ("float32", 7, 64, 4096, 8)  # 48 whole groups, and pieces of 8 others
DEALT_TO_FEW = ("float32", 49, 4, 5000, 1)
ROUNDS = ("float32", 1, 40, 32_026, 10)
UNEVEN = ("float32", 2, 24, 3000, 2)  # rows of 375 blocks, five a repeat
ROWS = ("float32", 4, 4096, 64, 4)
PARTS = ("bfloat16", 2, 48, 30_000, 2)  # of rows, the last one shorter
LONG_ROWS = ("bfloat16", 1, 24, 15_216, 4)  # longer than the copies, the last part shorter
NARROW_ROUNDS = ("bfloat16", 1, 60, 60_000, 6)
NARROW = ("bfloat16", 4, 64, 49, 8)
SHORT_ROWS = ("float32", 4, 64, 9, 8)
# Cores whose share ends in another group than it starts in.
CROSSING = ("float32", 3, 10_006, 2, 2)


@dataclass
class Mutation:
    name: str
    file: str
    old: str
    new: str
    problem: tuple[str, int, int, int, int]
    check: str
    text: str = ""  # in a finding of that check; "values": other results, and no finding

    def __str__(self) -> str:
        return self.name


def dropped(name: str, file: str, line: str, problem, check: str, text: str = "") -> Mutation:
    return Mutation(name, file, line, "", problem, check, text)


MUTATIONS = (
    # race
    dropped(
        "load not waited for before compute",
        "ring.h",
        "AscendC::WaitFlag<AscendC::HardEvent::MTE2_V>(loaded_[slot]);",
        TILES,
        "race",
        "no MTE2_V flag",
    ),
    dropped(
        "half of a load not waited for",
        "ring.h",
        "AscendC::WaitFlag<AscendC::HardEvent::MTE2_V>(half_loaded_[static_cast<int32_t>(half)]);",
        SPARE,
        "race",
        "no MTE2_V flag",
    ),
    Mutation(
        "the other half not waited for",
        "piece_walk.h",
        "ring_.BeginCompute(slot);\n        const int32_t at",
        "const int32_t at",
        SPARE,
        "race",
        "no MTE2_V flag",
    ),
    dropped(
        "compute not waited for before the store",
        "ring.h",
        "AscendC::WaitFlag<AscendC::HardEvent::V_MTE3>(computed_[slot]);",
        STREAMED,
        "race",
        "no V_MTE3 flag",
    ),
    dropped(
        "store not waited for before the slot's next load",
        "ring.h",
        "AscendC::WaitFlag<AscendC::HardEvent::MTE3_MTE2>(stored_[slot]);",
        STREAMED,
        "race",
        "no MTE3_MTE2 flag",
    ),
    dropped(
        "vector reads not waited for before the slot's next load",
        "ring.h",
        "AscendC::WaitFlag<AscendC::HardEvent::V_MTE2>(read_[slot]);",
        ROWS,
        "race",
        "no V_MTE2 flag",
    ),
    dropped(
        "statistics not waited for",
        "ring.h",
        "AscendC::WaitFlag<AscendC::HardEvent::MTE2_V>(loaded_);",
        TILES,
        "race",
        "no MTE2_V flag",
    ),
    dropped(
        "sums not waited for before their store",
        "ring.h",
        "AscendC::WaitFlag<AscendC::HardEvent::V_MTE3>(to_store_);",
        STREAMED,
        "race",
        "no V_MTE3 flag",
    ),
    dropped(
        "no barrier between dependent vector instructions",
        "vector_ops.h",
        "AscendC::PipeBarrier<PIPE_V>();",
        TILES,
        "race",
        "no PipeBarrier<PIPE_V>",
    ),
    Mutation(
        "second stage without waiting for the other cores",
        "group_tiles.h",
        "context_.flags.Wait(kChannelSums);",
        "",
        BIG_TILES,
        "race",
        "between them",
    ),
    Mutation(
        "others' sums read by the owners before they wait",
        "group_tiles.h",
        "context_.flags.Wait(kChannelSums);\n      if (owns_) FinishOwn();",
        "if (owns_) FinishOwn();\n      context_.flags.Wait(kChannelSums);",
        OWNERS,
        "race",
        "between them",
    ),
    Mutation(
        "an owner's last input centred before it is there",
        "group_tiles.h",
        "    ring_.BeginHalf(Half::kOfGroup);\n    units_.CentreGroup(unit, input);\n    ring_.BeginCompute(slot);",
        "    units_.CentreGroup(unit, input);\n    ring_.BeginHalf(Half::kOfGroup);\n    ring_.BeginCompute(slot);",
        OWNERS,
        "race",
        "",
    ),
    Mutation(
        "half of an owner's last grad_input stored before it is computed",
        "group_tiles.h",
        "    ring_.BeginStoreHalf();\n",
        "",
        OWNERS,
        "race",
        "",
    ),
    Mutation(
        "sums a channel signalled before they are stored",
        "group_tiles.h",
        "if (!same_weight && !owns_) Flush(done);",
        "if (!same_weight) context_.flags.Signal(kChannelSums);\n"
        "      if (!same_weight && !owns_) Flush(done);",
        OWNERS,
        "race",
        "between them",
    ),
    Mutation(
        "sums of the others used before they have arrived",
        "group_tiles.h",
        "context_.courier.AfterLoad();\n    const LocalTensor<float> products",
        "const LocalTensor<float> products",
        OWNERS,
        "race",
        "no MTE2_V flag",
    ),
    dropped(
        "sums of dealt groups read without waiting for the other cores",
        "piece_walk.h",
        "context_.flags.Wait(kDealtSums);",
        SPLIT,
        "race",
        "between them",
    ),
    Mutation(
        "dealt sums signalled before they are stored",
        "piece_walk.h",
        "courier.BeforeStore();\n",
        "courier.BeforeStore(); context_.flags.Signal(kDealtSums);\n",
        DEALT,
        "race",
        "between them",
    ),
    Mutation(
        "dealt sums signalled with those of the whole groups",
        "piece_walk.h",
        "if (group == last && (dealt_first_ || dealt_count_ == 0))",
        "if (group == last)",
        DEALT,
        "race",
        "between them",
    ),
    Mutation(
        "sums a channel signalled before the last group's",
        "piece_walk.h",
        "if (group == last && (dealt",
        "if (group == groups.first && (dealt",
        STREAMED,
        "race",
        "between them",
    ),
    dropped(
        "sums of a round read without waiting for the other cores",
        "piece_rounds.h",
        "context_.flags.Wait(walk.round);",
        ROUNDS,
        "race",
        "between them",
    ),
    Mutation(
        "a round signalled before its sums are stored",
        "piece_rounds.h",
        "if (last) LeaveSums(walk);",
        "if (last) { context_.flags.Signal(walk.round); LeaveSums(walk); }",
        ROUNDS,
        "race",
        "between them",
    ),
    Mutation(
        "a round signalled by the load pipe",
        "core_flags.h",
        "CrossCoreSetFlag<kAllVectorCores, PIPE_MTE3>",
        "CrossCoreSetFlag<kAllVectorCores, PIPE_MTE2>",
        ROUNDS,
        "race",
        "between them",
    ),
    Mutation(
        "one flag for all rounds' waits",
        "core_flags.h",
        "CrossCoreWaitFlag<kAllVectorCores, PIPE_MTE2>(static_cast<uint16_t>(waited_))",
        "CrossCoreWaitFlag<kAllVectorCores, PIPE_MTE2>(0)",
        ROUNDS,
        "sync",
        "CrossCoreWaitFlag(0)",
    ),
    Mutation(
        "the last round never waited for",
        "core_flags.h",
        "waited_ <= flag",
        "waited_ < flag",
        ROUNDS,
        "sync",
        "is never waited for",
    ),
    Mutation(
        "a round that one core does not signal",
        "piece_rounds.h",
        "if (last) context_.flags.Signal(walk.round - 1);",
        "if (last && context_.core != 3) context_.flags.Signal(walk.round - 1);",
        ROUNDS,
        "sync",
        "the launch never returns",
    ),
    Mutation(
        "sums of a round added to those of the one before",
        "piece_rounds.h",
        "return walk.round * tiling_.round_share;",
        "return 0;",
        ROUNDS,
        "race",
        "no MTE3_V flag",
    ),
    dropped(
        "flag of the dealt sums not waited for by cores without any",
        "piece_walk.h",
        "context_.flags.Wait(last_flag_);",
        DEALT_TO_FEW,
        "sync",
        "is never waited for",
    ),
    Mutation(
        "pieces that were summed first taken for those still there",
        "piece_walk.h",
        " || (dealt_first_ && exchanged_);",
        ";",
        DEALT,
        "sync",
        "is never waited for",
    ),
    dropped(
        "second pass over the next group's first piece",
        "piece_walk.h",
        "if (slot == taken) slot = ring_.Step(slot, -direction_);",
        SPARE,
        "sync",
        "waits for ever",
    ),
    # sync
    Mutation(
        "flag set twice",
        "ring.h",
        "AscendC::SetFlag<AscendC::HardEvent::MTE2_V>(loaded_[slot]);",
        "for (int i = 0; i < 2; ++i) AscendC::SetFlag<AscendC::HardEvent::MTE2_V>(loaded_[slot]);",
        TILES,
        "sync",
        "doubles the one of",
    ),
    dropped(
        "flag left set at the end",
        "ring.h",
        "if (storing_) AscendC::WaitFlag<AscendC::HardEvent::MTE3_V>(stored_);",
        TILES,
        "sync",
        "is never waited for",
    ),
    dropped(
        "event ids of the ring kept",
        "ring.h",
        "pipe_->ReleaseEventID<AscendC::HardEvent::MTE2_V>(loaded_[i]);",
        TILES,
        "sync",
        "has no ReleaseEventID",
    ),
    dropped(
        "flag never set",
        "ring.h",
        "AscendC::SetFlag<AscendC::HardEvent::MTE2_V>(loaded_);",
        ONE_SAMPLE,
        "sync",
        "waits for ever",
    ),
    Mutation(
        "sums a channel not signalled by one core",
        "group_tiles.h",
        "if (!IsValid(cursor) && LeavesSums())",
        "if (!IsValid(cursor) && LeavesSums() && context_.core != 3)",
        BIG_TILES,
        "sync",
        "the launch never returns",
    ),
    Mutation(
        "atomic addition left on",
        "entry.h",
        "AscendC::TPipe pipe;",
        "AscendC::TPipe pipe; AscendC::SetAtomicAdd<float>();",
        TILES,
        "sync",
        "SetAtomicAdd",
    ),
    # bounds
    Mutation(
        "load longer than its rows",
        "transfer.h",
        "move.row_bytes = static_cast<uint32_t>(shape.cols * kSize);",
        "move.row_bytes = static_cast<uint32_t>((shape.cols + 8) * kSize);",
        TILES,
        "bounds",
        "DataCopy",
    ),
    Mutation(
        "store shifted by a row",
        "transfer.h",
        "AscendC::DataCopyPad(dst[offset + row * shape.stride]",
        "AscendC::DataCopyPad(dst[offset + (row + 1) * shape.stride]",
        TILES,
        "bounds",
        "outside the",
    ),
    Mutation(
        "more UB than the platform has",
        "ring.h",
        "pipe->InitBuffer(buffer_, bytes);",
        "pipe->InitBuffer(buffer_, bytes + 196608);",
        TILES,
        "bounds",
        "usable bytes",
    ),
    Mutation(
        "less UB than the plan gives",
        "ring.h",
        "pipe->InitBuffer(buffer_, bytes);",
        "pipe->InitBuffer(buffer_, bytes / 2);",
        TILES,
        "bounds",
        "outside its tensor",
    ),
    Mutation(
        "buffers shorter than what they hold",
        "ring.h",
        "buffer_.template GetWithOffset<T>(elems, at);",
        "buffer_.template GetWithOffset<T>(elems - elems / 8, at);",
        TILES,
        "bounds",
        "outside its tensor",
    ),
    # params
    Mutation(
        "buffers not rounded to blocks",
        "ring.h",
        "used_ += RoundUpTo<kBlockBytes>(elems * static_cast<int32_t>(sizeof(T)));",
        "used_ += elems * static_cast<int32_t>(sizeof(T)) + 4;",
        TILES,
        "params",
        "not aligned to 32 bytes",
    ),
    Mutation(
        "rows cut inside an element",
        "transfer.h",
        "move.row_bytes = static_cast<uint32_t>(shape.cols * kSize);",
        "move.row_bytes = static_cast<uint32_t>(shape.cols * kSize - 2);",
        TILES,
        "params",
        "not a multiple of its 4-byte elements",
    ),
    Mutation(
        "more repeats than 8 bits hold",
        "vector_ops.h",
        "static_cast<uint64_t>(mask), repeats, params);",
        "static_cast<uint64_t>(mask), repeats + 255, params);",
        TILES,
        "params",
        "which does not fit 0 to 255",
    ),
    Mutation(
        "stride longer than 8 bits hold",
        "vector_ops.h",
        "a_step * kBlockLanes, b_step * kBlockLanes);",
        "a_step * kBlockLanes, b_step * 256);",
        SHORT_ROWS,
        "params",
        "gets src1RepStride 512",
    ),
    Mutation(
        "data moved to and from VECCALC",
        "ring.h",
        "AscendC::TBuf<AscendC::TPosition::VECIN> buffer_;",
        "AscendC::TBuf<AscendC::TPosition::VECCALC> buffer_;",
        TILES,
        "params",
        "moves data to VECCALC",
    ),
    Mutation(
        "cast to bfloat16_t without a round mode",
        "arithmetic.h",
        "AscendC::RoundMode::CAST_RINT",
        "AscendC::RoundMode::CAST_NONE",
        NARROW,
        "params",
        "from float to bfloat16_t with CAST_NONE",
    ),
    Mutation(
        "steps of a tree of sums that touch",
        "row_sums.h",
        "constexpr int32_t kTreeSlack = kLanes;",
        "constexpr int32_t kTreeSlack = 0;",
        UNEVEN,
        "params",
        "writes in one repeat what src0 reads in a later one",
    ),
    # init
    Mutation(
        "undefined padding in the sums",
        "transfer.h",
        "pad.isPad = move.padding > 0;",
        "pad.isPad = false;",
        TILES,
        "init",
        "which nobody wrote",
    ),
    Mutation(
        "last row not stored",
        "transfer.h",
        "AscendC::DataCopyPad(dst[offset + row * shape.stride], src[row * shape.pitch], params);",
        "if (shape.rows > 1 || shape.cols > 64) "
        "AscendC::DataCopyPad(dst[offset + row * shape.stride], src[row * shape.pitch], params);",
        TILES,
        "init",
        "were never written",
    ),
    # values
    dropped(
        "sums of the visit before left in the buffer",
        "piece_sums.h",
        "if (!SumsByMask()) ClearVectors();",
        CROSSING,
        "values",
    ),
    dropped(
        "last block of a part's sums not cleared",
        "piece_trees.h",
        "if (rest > 0) AscendC::Duplicate(dst[full * sums], 0.0f, sums);",
        LONG_ROWS,
        "values",
    ),
    Mutation(
        "copies made beside the sums of the unit before",
        "piece_trees.h",
        "last);\n        Order();\n      } else",
        "last);\n      } else",
        LONG_ROWS,
        "race",
    ),
    Mutation(
        "parts added up beside their sums",
        "piece_trees.h",
        "Order();\n        AscendC::Add(tree",
        "AscendC::Add(tree",
        LONG_ROWS,
        "race",
    ),
    dropped(
        "copies made beside a second pass",
        "piece_trees.h",
        "Order();  // a second pass may still read its copies",
        NARROW_ROUNDS,
        "race",
    ),
    Mutation(
        "tree goes on beside the sums of its last part",
        "piece_trees.h",
        "if (rows_ == 0) return;\n    Order();",
        "if (rows_ == 0) return;",
        LONG_ROWS,
        "race",
    ),
    Mutation(
        "next load let in before the data is read",
        "piece_trees.h",
        "    WidenPairs(pairs, grad_out, full, rest);\n    release.Set();",
        "    release.Set();\n    WidenPairs(pairs, grad_out, full, rest);",
        PARTS,
        "race",
    ),
    Mutation(
        "input's copy scaled while it is made",
        "piece_sums.h",
        "ToFloat(input, input_data, count);\n      Order();",
        "ToFloat(input, input_data, count);",
        PARTS,
        "race",
    ),
    # cache
    Mutation(
        "workspace read by the scalar unit",
        "entry.h",
        "AscendC::PipeBarrier<PIPE_ALL>();",
        "AscendC::PipeBarrier<PIPE_ALL>(); (void)context.workspace.GetValue(0);",
        BIG_TILES,
        "cache",
        "no DataCacheCleanAndInvalid",
    ),
)
