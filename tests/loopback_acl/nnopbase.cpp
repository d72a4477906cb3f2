// libnnopbase of the loopback runtime: the descriptors that aclnn operators take. Holds no
// operator.
#include "nnopbase.h"

#include <algorithm>
#include <atomic>
#include <cstring>

namespace {

constexpr aclnnStatus kNull = 161001;

std::atomic<int64_t> live_descriptors{0};

size_t ScalarBytes(aclDataType dtype) {
  switch (dtype) {
    case ACL_DOUBLE:
    case ACL_INT64:
    case ACL_UINT64:
    case ACL_COMPLEX64:
      return 8;
    case ACL_FLOAT:
    case ACL_INT32:
    case ACL_UINT32:
      return 4;
    case ACL_FLOAT16:
    case ACL_BF16:
    case ACL_INT16:
    case ACL_UINT16:
      return 2;
    case ACL_COMPLEX128:
      return 16;
    default:
      return 1;
  }
}

template <typename T>
T* Made(T* descriptor) {
  live_descriptors.fetch_add(1);
  return descriptor;
}

template <typename T>
aclnnStatus Destroy(const T* descriptor) {
  if (descriptor == nullptr) return kNull;
  live_descriptors.fetch_sub(1);
  delete descriptor;
  return 0;
}

aclnnStatus Give(const std::vector<int64_t>& values, int64_t** out, uint64_t* count) {
  *out = new int64_t[values.size() + 1];  // the caller frees it with delete[]
  std::copy(values.begin(), values.end(), *out);
  *count = values.size();
  return 0;
}

}  // namespace

template <typename T>
const T* aclArray<T>::GetData() const {
  return value_.data();
}
template class aclArray<bool>;
template class aclArray<int64_t>;

extern "C" {

int64_t LoopbackAclLiveDescriptors(void) { return live_descriptors.load(); }

aclTensor* aclCreateTensor(const int64_t* sizes, uint64_t dims, aclDataType dtype,
                           const int64_t* strides, int64_t offset, aclFormat format,
                           const int64_t* storage_sizes, uint64_t storage_dims, void* data) {
  if ((sizes == nullptr && dims > 0) || (storage_sizes == nullptr && storage_dims > 0))
    return nullptr;
  auto* tensor = new aclTensor{{sizes, sizes + dims},
                               {},
                               {storage_sizes, storage_sizes + storage_dims},
                               offset,
                               dtype,
                               format,
                               data};
  if (strides != nullptr) {
    tensor->strides.assign(strides, strides + dims);
  } else {
    tensor->strides.assign(dims, 1);
    for (uint64_t i = dims; i-- > 1;) tensor->strides[i - 1] = tensor->strides[i] * sizes[i];
  }
  return Made(tensor);
}

aclnnStatus aclDestroyTensor(const aclTensor* tensor) { return Destroy(tensor); }

aclTensorList* aclCreateTensorList(const aclTensor* const* tensors, uint64_t size) {
  return Made(new aclTensorList{{tensors, tensors + size}});
}

// The list owns its tensors from its creation on.
aclnnStatus aclDestroyTensorList(const aclTensorList* list) {
  for (const aclTensor* tensor : list->tensors) aclDestroyTensor(tensor);
  return Destroy(list);
}

aclScalar* aclCreateScalar(void* value, aclDataType dtype) {
  auto* scalar = new aclScalar{dtype, {}};
  std::memcpy(scalar->value, value, ScalarBytes(dtype));
  return Made(scalar);
}

aclnnStatus aclDestroyScalar(const aclScalar* scalar) { return Destroy(scalar); }

aclBoolArray* aclCreateBoolArray(const bool* value, uint64_t size) {
  return Made(new aclBoolArray(value, size));
}
aclnnStatus aclDestroyBoolArray(const aclBoolArray* array) { return Destroy(array); }
aclIntArray* aclCreateIntArray(const int64_t* value, uint64_t size) {
  return Made(new aclIntArray(value, size));
}
aclnnStatus aclDestroyIntArray(const aclIntArray* array) { return Destroy(array); }

aclnnStatus aclGetViewShape(const aclTensor* tensor, int64_t** sizes, uint64_t* dims) {
  if (tensor == nullptr || sizes == nullptr || dims == nullptr) return kNull;
  return Give(tensor->sizes, sizes, dims);
}

aclnnStatus aclGetViewStrides(const aclTensor* tensor, int64_t** strides, uint64_t* dims) {
  if (tensor == nullptr || strides == nullptr || dims == nullptr) return kNull;
  return Give(tensor->strides, strides, dims);
}

aclnnStatus aclGetStorageShape(const aclTensor* tensor, int64_t** sizes, uint64_t* dims) {
  if (tensor == nullptr || sizes == nullptr || dims == nullptr) return kNull;
  return Give(tensor->storage_sizes, sizes, dims);
}

aclnnStatus aclGetViewOffset(const aclTensor* tensor, int64_t* offset) {
  if (tensor == nullptr || offset == nullptr) return kNull;
  *offset = tensor->offset;
  return 0;
}

aclnnStatus aclGetFormat(const aclTensor* tensor, aclFormat* format) {
  if (tensor == nullptr || format == nullptr) return kNull;
  *format = tensor->format;
  return 0;
}

aclnnStatus aclGetDataType(const aclTensor* tensor, aclDataType* dtype) {
  if (tensor == nullptr || dtype == nullptr) return kNull;
  *dtype = tensor->dtype;
  return 0;
}

aclnnStatus aclGetRawTensorAddr(const aclTensor* tensor, void** address) {
  if (tensor == nullptr || address == nullptr) return kNull;
  *address = tensor->data;
  return 0;
}

aclnnStatus aclGetBoolArraySize(const aclBoolArray* array, uint64_t* size) {
  if (array == nullptr || size == nullptr) return kNull;
  *size = array->Size();
  return 0;
}
}
