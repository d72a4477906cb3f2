// Writes the modelled timeline as Chrome trace events, which Perfetto opens: a process a core, a
// thread a pipe.
#include <cstdio>
#include <memory>
#include <stdexcept>

#include "cost_model.h"

namespace executor {

void WriteTrace(const std::string& path, const std::vector<Slice>& slices) {
  const std::unique_ptr<FILE, int (*)(FILE*)> file(std::fopen(path.c_str(), "w"), &std::fclose);
  if (file == nullptr) throw std::runtime_error("cannot write the trace to " + path);
  std::fputs(
      "{\"displayTimeUnit\":\"ns\",\"otherData\":{\"times\":\"modelled\"},\"traceEvents\":[\n",
      file.get());
  int32_t cores = 0;
  for (const Slice& slice : slices) cores = std::max(cores, slice.core + 1);
  for (int32_t core = 0; core < cores; ++core) {
    std::fprintf(
        file.get(),
        "{\"ph\":\"M\",\"pid\":%d,\"name\":\"process_name\",\"args\":{\"name\":\"core %d\"}},\n",
        core, core);
    for (int pipe = 0; pipe < kPipes; ++pipe) {
      std::fprintf(file.get(),
                   "{\"ph\":\"M\",\"pid\":%d,\"tid\":%d,\"name\":\"thread_name\","
                   "\"args\":{\"name\":\"%s\"}},\n",
                   core, pipe, Name(static_cast<Pipe>(pipe)));
    }
  }
  for (size_t i = 0; i < slices.size(); ++i) {
    const Slice& slice = slices[i];
    std::fprintf(
        file.get(),
        "{\"ph\":\"X\",\"pid\":%d,\"tid\":%d,\"name\":\"%s\",\"ts\":%.4f,\"dur\":%.4f}%s\n",
        slice.core, static_cast<int>(slice.pipe), Name(slice.op), slice.start_ns / 1000,
        (slice.end_ns - slice.start_ns) / 1000, i + 1 < slices.size() ? "," : "");
  }
  std::fputs("]}\n", file.get());
}

}  // namespace executor
