// aclnnInplaceCopy without any tensor library, for programs that use the C API alone: equal shapes
// and dtypes, any strides.
#include <cstring>

#include "loopback_acl.h"
#include "operator.h"

namespace {

int64_t ElementBytes(aclDataType dtype) {
  return dtype == ACL_FLOAT ? 4 : dtype == ACL_FLOAT16 || dtype == ACL_BF16 ? 2 : 0;
}

// Views of the first element, after checking that all elements that the strides reach are one
// allocation's.
char* FirstElement(const aclTensor& tensor) {
  int64_t lowest = tensor.offset, highest = tensor.offset;
  for (size_t i = 0; i < tensor.sizes.size(); ++i) {
    const int64_t reach = (tensor.sizes[i] - 1) * tensor.strides[i];
    (reach < 0 ? lowest : highest) += reach;
  }
  const int64_t bytes = ElementBytes(tensor.dtype);
  char* view =
      static_cast<char*>(LoopbackAclView(static_cast<char*>(tensor.data) + lowest * bytes,
                                         static_cast<uint64_t>((highest - lowest + 1) * bytes)));
  return view ? view + (tensor.offset - lowest) * bytes : nullptr;
}

void CopyDimension(char* to, const char* from, const aclTensor& dst, const aclTensor& src,
                   size_t dim, int64_t bytes) {
  if (dim == dst.sizes.size()) {
    std::memcpy(to, from, static_cast<size_t>(bytes));
    return;
  }
  for (int64_t i = 0; i < dst.sizes[dim]; ++i) {
    CopyDimension(to + i * dst.strides[dim] * bytes, from + i * src.strides[dim] * bytes, dst, src,
                  dim + 1, bytes);
  }
}

}  // namespace

extern "C" {

aclnnStatus aclnnInplaceCopyGetWorkspaceSize(aclTensor* dst, const aclTensor* src,
                                             uint64_t* workspace_bytes, aclOpExecutor** executor) {
  if (dst == nullptr || src == nullptr) return 161001;
  if (dst->sizes != src->sizes || dst->dtype != src->dtype || ElementBytes(dst->dtype) == 0)
    return 161002;
  return loopback_acl::Keep(
      [to = *dst, from = *src] {
        for (const int64_t size : to.sizes) {
          if (size == 0) return;
        }
        char* target = FirstElement(to);
        const char* source = FirstElement(from);
        if (target && source) CopyDimension(target, source, to, from, 0, ElementBytes(to.dtype));
      },
      workspace_bytes, executor);
}

aclnnStatus aclnnInplaceCopy(void* workspace, uint64_t workspace_bytes, aclOpExecutor* executor,
                             aclrtStream stream) {
  return loopback_acl::Launch(workspace, workspace_bytes, executor, stream);
}
}
