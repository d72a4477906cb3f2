// The Python module group_norm_grad._executor: platforms, plans and runs on numpy arrays. 16-bit
// data comes and goes as uint16. Conversions only; what a run does is in run.cpp.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <cstring>

#include "run.h"

namespace py = pybind11;
using namespace py::literals;

namespace {

using group_norm_grad::DType;
using group_norm_grad::Plan;
using group_norm_grad::Platform;
using group_norm_grad::Problem;

DType ParseDType(const std::string& name) {
  for (DType dtype : {DType::kFloat32, DType::kFloat16, DType::kBFloat16, DType::kFloat64}) {
    if (name == group_norm_grad::Name(dtype)) return dtype;
  }
  throw py::value_error("Expected dtype float32, float16 or bfloat16, but got " + name);
}

void Require(const group_norm_grad::CheckResult& result) {
  if (!result) throw py::value_error(result.text);
}

Problem ParseProblem(int64_t N, int64_t C, int64_t S, int64_t G, const std::string& dtype,
                     const std::string& stat_dtype, const std::string& weight_dtype,
                     bool has_weight, const std::array<bool, 3>& output_mask) {
  Problem problem{N,
                  C,
                  S,
                  G,
                  ParseDType(dtype),
                  ParseDType(stat_dtype),
                  ParseDType(weight_dtype),
                  has_weight,
                  output_mask};
  Require(group_norm_grad::CheckAttributes(N, C, S, G));
  Require(group_norm_grad::CheckDTypes(problem.dtype, "mean and rstd", problem.stat_dtype));
  Require(group_norm_grad::CheckDTypes(problem.dtype, "weight", problem.weight_dtype));
  return problem;
}

// A platform of the table, or one like it with other numbers of cores or bytes of UB.
Platform ParsePlatform(const std::string& soc, std::optional<int32_t> vector_cores,
                       std::optional<int64_t> ub_bytes) {
  const Platform* known = group_norm_grad::FindPlatform(soc);
  if (known == nullptr) {
    std::string names;
    for (std::string_view name : group_norm_grad::PlatformNames()) {
      names += (names.empty() ? "" : ", ") + std::string(name);
    }
    throw py::value_error("Expected soc to be one of " + names + ", but got " + soc);
  }
  Platform platform = *known;
  platform.vector_cores = vector_cores.value_or(platform.vector_cores);
  platform.ub_bytes = ub_bytes.value_or(platform.ub_bytes);
  if (platform.vector_cores < 1) {
    throw py::value_error("Expected at least one vector core, but got " +
                          std::to_string(platform.vector_cores));
  }
  return platform;
}

py::dict PlatformDict(const std::string& soc) {
  const Platform platform = ParsePlatform(soc, std::nullopt, std::nullopt);
  return py::dict("soc"_a = platform.soc, "arch"_a = platform.arch,
                  "vector_cores"_a = platform.vector_cores, "ub_bytes"_a = platform.ub_bytes,
                  "clock_mhz"_a = platform.clock_mhz, "l2_bytes"_a = platform.l2_bytes,
                  "hbm_gb_per_s"_a = platform.hbm_gb_per_s, "l2_gb_per_s"_a = platform.l2_gb_per_s);
}

py::dict PlanDict(const Plan& plan) {
  return py::dict("schedule"_a = group_norm_grad::Name(plan.schedule), "blocks"_a = plan.blocks,
                  "whole_groups"_a = plan.tiling.whole_groups, "rounds"_a = plan.tiling.rounds,
                  "own_n"_a = plan.tiling.own_n, "workspace_bytes"_a = plan.workspace_bytes,
                  "tiling_bytes"_a = sizeof(plan.tiling));
}

py::dict CountsDict(const executor::CoreCounts& counts) {
  py::dict instructions;
  py::dict repeats;
  for (size_t i = 0; i < counts.instructions.size(); ++i) {
    const char* name = executor::Name(static_cast<executor::Op>(i));
    if (counts.instructions[i] != 0) instructions[name] = counts.instructions[i];
    if (counts.repeats[i] != 0) repeats[name] = counts.repeats[i];
  }
  py::dict sizes;
  for (size_t bin = 0; bin < counts.dma_sizes.size(); ++bin) {
    if (counts.dma_sizes[bin] != 0) sizes[py::int_(1ull << bin)] = counts.dma_sizes[bin];
  }
  return py::dict(
      "gm_read_bytes"_a = counts.gm_read_bytes, "gm_write_bytes"_a = counts.gm_write_bytes,
      "loads"_a = counts.loads, "stores"_a = counts.stores, "dma_sizes"_a = sizes,
      "vector_repeats"_a = counts.VectorRepeats(), "instructions"_a = instructions,
      "repeats"_a = repeats, "set_flags"_a = counts.set_flags, "wait_flags"_a = counts.wait_flags,
      "v_barriers"_a = counts.v_barriers, "other_barriers"_a = counts.other_barriers,
      "sync_alls"_a = counts.sync_alls, "cross_core_sets"_a = counts.cross_core_sets,
      "cross_core_waits"_a = counts.cross_core_waits,
      "ub_scalar_accesses"_a = counts.ub_scalar_accesses,
      "gm_scalar_accesses"_a = counts.gm_scalar_accesses, "register_sets"_a = counts.register_sets);
}

py::dict OfPipes(const double (&values)[executor::kPipes]) {
  py::dict pipes;
  for (size_t pipe = 0; pipe < executor::kPipes; ++pipe) {
    pipes[executor::Name(static_cast<executor::Pipe>(pipe))] = values[pipe];
  }
  return pipes;
}

py::object CostDict(const std::optional<executor::CostReport>& cost) {
  if (!cost) return py::none();
  py::list stretches;
  for (const executor::CostReport::Stretch& stretch : cost->stretches) {
    stretches.append(py::dict("hbm_us"_a = stretch.hbm_us, "l2_us"_a = stretch.l2_us,
                              "pipe_us"_a = OfPipes(stretch.pipe_us)));
  }
  return py::dict(
      "modelled"_a = true, "fast_us"_a = cost->total_us[0], "nominal_us"_a = cost->total_us[1],
      "slow_us"_a = cost->total_us[2], "launch_us"_a = cost->launch_us,
      "cores_us"_a = cost->cores_us, "floor_us"_a = cost->floor_us, "least_us"_a = cost->least_us,
      "peak_floor_us"_a = cost->peak_floor_us, "hbm_read_bytes"_a = cost->hbm_read_bytes,
      "hbm_write_bytes"_a = cost->hbm_write_bytes, "l2_bytes"_a = cost->l2_bytes,
      "pipe_share"_a = OfPipes(cost->share), "stretches"_a = stretches,
      "conflict_repeats"_a = cost->conflict_repeats, "bottleneck"_a = cost->bottleneck);
}

py::dict ReportDict(const executor::Report& report) {
  py::list findings;
  for (const executor::Finding& finding : report.findings) {
    findings.append(
        py::dict("check"_a = finding.check, "text"_a = finding.text, "times"_a = finding.times));
  }
  py::list cores;
  for (const executor::CoreCounts& core : report.cores) cores.append(CountsDict(core));
  return py::dict("findings"_a = findings, "clean"_a = report.clean(),
                  "completed"_a = report.completed, "phases"_a = report.phases,
                  "seconds"_a = report.seconds, "total"_a = CountsDict(report.total),
                  "cores"_a = cores, "cost"_a = CostDict(report.cost));
}

// A C-contiguous array whose element has the dtype's size: float32 as float32, 16-bit dtypes as
// uint16.
py::array CheckedArray(const char* name, const py::object& object, DType dtype, int64_t elems) {
  if (object.is_none()) throw py::value_error(std::string("Expected ") + name + ", but got None");
  const bool wide = dtype == DType::kFloat32;
  const bool fits = wide ? py::isinstance<py::array_t<float, py::array::c_style>>(object)
                         : py::isinstance<py::array_t<uint16_t, py::array::c_style>>(object);
  if (!fits || py::reinterpret_borrow<py::array>(object).size() != elems) {
    throw py::value_error(std::string("Expected ") + name + " to be a contiguous array of " +
                          std::to_string(elems) + (wide ? " float32" : " uint16") + ", but got " +
                          py::repr(object).cast<std::string>());
  }
  return py::reinterpret_borrow<py::array>(object);
}

py::array MakeOutput(DType dtype, int64_t elems) {
  const py::dtype type = dtype == DType::kFloat32 ? py::dtype("float32") : py::dtype("uint16");
  py::array array(type, std::vector<py::ssize_t>{elems});
  std::memset(array.mutable_data(), 0xff,
              static_cast<size_t>(array.nbytes()));  // NaN until written
  return array;
}

py::dict Run(const Problem& problem, const Platform& platform, const py::object& grad_out,
             const py::object& input, const py::object& mean, const py::object& rstd,
             const py::object& weight, const executor::RunOptions& options) {
  const int64_t numel = problem.N * problem.C * problem.S;
  const int64_t groups = problem.N * problem.G;
  std::vector<py::array> keep;
  auto const_buffer = [&](const char* name, const py::object& object, DType dtype, int64_t elems) {
    keep.push_back(CheckedArray(name, object, dtype, elems));
    return executor::ConstBuffer{keep.back().data(), static_cast<uint64_t>(keep.back().nbytes())};
  };
  py::object outputs[3] = {py::none(), py::none(), py::none()};
  auto output_buffer = [&](int index, DType dtype, int64_t elems) {
    if (!problem.output_mask[static_cast<size_t>(index)]) return executor::MutableBuffer{};
    py::array array = MakeOutput(dtype, elems);
    outputs[index] = array;
    return executor::MutableBuffer{array.mutable_data(), static_cast<uint64_t>(array.nbytes())};
  };
  executor::GroupNormGradBuffers buffers;
  buffers.grad_out = const_buffer("grad_out", grad_out, problem.dtype, numel);
  buffers.input = const_buffer("input", input, problem.dtype, numel);
  buffers.mean = const_buffer("mean", mean, problem.stat_dtype, groups);
  buffers.rstd = const_buffer("rstd", rstd, problem.stat_dtype, groups);
  if (problem.has_weight) {
    buffers.weight = const_buffer("weight", weight, problem.weight_dtype, problem.C);
  }
  buffers.grad_input = output_buffer(group_norm_grad::kGradInput, problem.dtype, numel);
  buffers.grad_weight =
      output_buffer(group_norm_grad::kGradWeight, problem.weight_dtype, problem.C);
  buffers.grad_bias = output_buffer(group_norm_grad::kGradBias, problem.weight_dtype, problem.C);
  const Plan plan = group_norm_grad::MakePlan(problem, platform);
  executor::Report report;
  {
    py::gil_scoped_release release;
    report = executor::RunGroupNormGrad(plan, platform, problem, buffers, options);
  }
  return py::dict("grad_input"_a = outputs[0], "grad_weight"_a = outputs[1],
                  "grad_bias"_a = outputs[2], "plan"_a = PlanDict(plan),
                  "report"_a = ReportDict(report));
}

}  // namespace

PYBIND11_MODULE(_executor, module) {
  module.doc() = "Runs the Ascend C kernel of group_norm_grad on the host, with checks and counts.";

  module.def("platforms", [] {
    std::vector<std::string> names;
    for (std::string_view name : group_norm_grad::PlatformNames()) names.emplace_back(name);
    return names;
  });
  module.def("platform", &PlatformDict, "soc"_a);

  module.def(
      "plan",
      [](int64_t N, int64_t C, int64_t S, int64_t G, const std::string& dtype,
         const std::string& stat_dtype, const std::string& weight_dtype, bool has_weight,
         const std::array<bool, 3>& output_mask, const std::string& soc,
         std::optional<int32_t> vector_cores, std::optional<int64_t> ub_bytes) {
        const Problem problem =
            ParseProblem(N, C, S, G, dtype, stat_dtype, weight_dtype, has_weight, output_mask);
        return PlanDict(
            group_norm_grad::MakePlan(problem, ParsePlatform(soc, vector_cores, ub_bytes)));
      },
      "N"_a, "C"_a, "S"_a, "G"_a, "dtype"_a, "stat_dtype"_a, "weight_dtype"_a,
      "has_weight"_a = true, "output_mask"_a = std::array<bool, 3>{true, true, true},
      "soc"_a = "Ascend910B1", "vector_cores"_a = py::none(), "ub_bytes"_a = py::none());

  module.def(
      "run",
      [](int64_t N, int64_t C, int64_t S, int64_t G, const std::string& dtype,
         const std::string& stat_dtype, const std::string& weight_dtype, const py::object& grad_out,
         const py::object& input, const py::object& mean, const py::object& rstd,
         const py::object& weight, const std::array<bool, 3>& output_mask, const std::string& soc,
         std::optional<int32_t> vector_cores, std::optional<int64_t> ub_bytes, uint64_t seed,
         bool checks, bool auto_sync, bool saturate, int32_t threads, bool cost,
         const std::string& trace) {
        const Problem problem = ParseProblem(N, C, S, G, dtype, stat_dtype, weight_dtype,
                                             !weight.is_none(), output_mask);
        executor::RunOptions options;
        options.launch.seed = seed;
        options.launch.auto_sync = auto_sync;
        options.launch.saturate = saturate;
        options.launch.threads = threads;
        options.checks = checks;
        options.cost = cost || !trace.empty();
        options.trace_path = trace;
        return Run(problem, ParsePlatform(soc, vector_cores, ub_bytes), grad_out, input, mean, rstd,
                   weight, options);
      },
      "N"_a, "C"_a, "S"_a, "G"_a, "dtype"_a, "stat_dtype"_a, "weight_dtype"_a, "grad_out"_a,
      "input"_a, "mean"_a, "rstd"_a, "weight"_a = py::none(),
      "output_mask"_a = std::array<bool, 3>{true, true, true}, "soc"_a = "Ascend910B1",
      "vector_cores"_a = py::none(), "ub_bytes"_a = py::none(), "seed"_a = 1, "checks"_a = true,
      "auto_sync"_a = false, "saturate"_a = false, "threads"_a = 0, "cost"_a = false,
      "trace"_a = "");
}
