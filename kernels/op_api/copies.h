// Contiguous stand-ins for tensors that are not: where they lie in the workspace, and the copies
// between the two on the device. The copies are CANN's own aclnnInplaceCopy, which takes any
// strides.
#pragma once

#include <cstdint>

#include "tensor_view.h"

namespace group_norm_grad::op_api {

// A tensor and its stand-in at an offset of the workspace.
struct StandIn {
  TensorView tensor;
  uint64_t offset_bytes;
};

// The workspace that a copy to or from a stand-in of the tensor needs for itself. Throws Error.
uint64_t CopyWorkspaceBytes(const TensorView& tensor, bool into_stand_in);

// Enqueue one copy. The first addresses are the stand-in's and the copy's own workspace. Throw
// Error.
void Gather(const TensorView& tensor, void* stand_in, void* workspace, uint64_t workspace_bytes,
            aclrtStream stream);
void Scatter(const TensorView& tensor, void* stand_in, void* workspace, uint64_t workspace_bytes,
             aclrtStream stream);

}  // namespace group_norm_grad::op_api
