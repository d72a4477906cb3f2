// The descriptors of the aclnn base library as the loopback runtime keeps them, for its own
// operators. The product sees them only through the C calls and aclArray<bool>::GetData.
#pragma once

#include <cstdint>
#include <vector>

#include "aclnnop/group_norm_grad_acl_meta.h"

struct aclTensor {
  std::vector<int64_t> sizes;
  std::vector<int64_t> strides;
  std::vector<int64_t> storage_sizes;
  int64_t offset;  // in elements from data
  aclDataType dtype;
  aclFormat format;
  void* data;
};

struct aclTensorList {
  std::vector<const aclTensor*> tensors;
};

struct aclScalar {
  aclDataType dtype;
  char value[16];
};

// The name and the method are the real library's: there is no C call that reads the values of an
// array.
template <typename T>
class aclArray {
 public:
  aclArray(const T* value, uint64_t size) : value_(value, value + size) {}
  virtual ~aclArray() = default;
  const T* GetData() const;
  uint64_t Size() const { return value_.size(); }

 private:
  struct Buffer {  // vector<bool> has no data()
    Buffer(const T* begin, const T* end)
        : size_(static_cast<uint64_t>(end - begin)), data_(new T[size_ + 1]) {
      for (uint64_t i = 0; i < size_; ++i) data_[i] = begin[i];
    }
    ~Buffer() { delete[] data_; }
    Buffer(const Buffer&) = delete;
    Buffer& operator=(const Buffer&) = delete;
    const T* data() const { return data_; }
    uint64_t size() const { return size_; }
    uint64_t size_;
    T* data_;
  };
  Buffer value_;
};

struct aclBoolArray : aclArray<bool> {
  using aclArray<bool>::aclArray;
};

struct aclIntArray : aclArray<int64_t> {
  using aclArray<int64_t>::aclArray;
};
