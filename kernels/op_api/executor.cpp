// The book of live executors, and the two calls of the aclnn base library that manage them:
// exported here under the same names, for our executors, and handed on to the base library for all
// others.
#include "executor.h"

#include <map>
#include <mutex>

#include "acl_calls.h"
#include "status.h"

namespace group_norm_grad::op_api {
namespace {

// What a handle points to. The base library tells executors by numbers that it reads in them; zeros
// for as far as it may read make it refuse one of ours instead of taking it for its own.
struct Handle {
  char zeros[4096] = {};
};

struct Entry {
  std::unique_ptr<Handle> handle;
  std::shared_ptr<const Work> work;
  bool repeatable = false;
};

struct Book {
  std::mutex mutex;
  std::map<const void*, Entry> entries;

  static Book& Get() {
    static Book* const book =
        new Book;  // never destroyed: queue threads may outlive static destruction
    return *book;
  }
};

// Runs change on the entry of the handle, under the lock; false when the handle is not ours.
template <typename Change>
bool WithEntry(const aclOpExecutor* handle, Change change) {
  Book& book = Book::Get();
  const std::lock_guard<std::mutex> lock(book.mutex);
  const auto found = book.entries.find(handle);
  if (found == book.entries.end()) return false;
  change(book, found);
  return true;
}

}  // namespace

aclOpExecutor* Publish(std::shared_ptr<const Work> work) {
  auto handle = std::make_unique<Handle>();
  auto* const address = reinterpret_cast<aclOpExecutor*>(handle.get());
  Book& book = Book::Get();
  const std::lock_guard<std::mutex> lock(book.mutex);
  book.entries[address] = Entry{std::move(handle), std::move(work), false};
  return address;
}

std::shared_ptr<const Work> Find(const aclOpExecutor* handle) {
  std::shared_ptr<const Work> work;
  WithEntry(handle, [&](Book&, auto entry) { work = entry->second.work; });
  return work;
}

bool Consume(const aclOpExecutor* handle) {
  return WithEntry(handle, [](Book& book, auto entry) {
    if (!entry->second.repeatable) book.entries.erase(entry);
  });
}

}  // namespace group_norm_grad::op_api

using namespace group_norm_grad::op_api;  // NOLINT: the calls below are this file's purpose

extern "C" {

__attribute__((visibility("default"))) aclnnStatus aclSetAclOpExecutorRepeatable(
    aclOpExecutor* executor) {
  if (executor == nullptr) return kInnerNullptr;
  if (WithEntry(executor, [](Book&, auto entry) { entry->second.repeatable = true; }))
    return kSuccess;
  return Calls().SetRepeatable ? Calls().SetRepeatable(executor) : kInner;
}

__attribute__((visibility("default"))) aclnnStatus aclDestroyAclOpExecutor(
    aclOpExecutor* executor) {
  if (executor == nullptr) return kInnerNullptr;
  if (WithEntry(executor, [](Book& book, auto entry) { book.entries.erase(entry); }))
    return kSuccess;
  return Calls().DestroyExecutor ? Calls().DestroyExecutor(executor) : kInner;
}
}
