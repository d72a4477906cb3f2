// Base of our autograd graph nodes, whose backward is a function of the gradients, the saved
// tensors and the geometry alone: their life cycle, and how compiled autograd traces them. No
// formulas.
#pragma once

#include <torch/csrc/autograd/function.h>
#include <torch/csrc/autograd/saved_variable.h>
#include <torch/csrc/dynamo/compiled_autograd.h>

#include <algorithm>
#include <array>
#include <mutex>
#include <string>
#include <vector>

#include "csrc/ops.h"

namespace group_norm_grad {

using torch::autograd::SavedVariable;
using torch::autograd::variable_list;

// The sizes that the operators take beside their tensors.
struct Geometry {
  c10::SymInt N, C, HxW;
  int64_t group = 0;
};

// Derived has kOutputs, the index from which on the saved tensors are outputs of the node's own
// operator, and
//   static variable_list vjp(const Geometry&, const variable_list& grads,
//                            const std::array<Tensor, kSaved>&, const std::array<bool, kEdges>&)
// which returns kEdges gradients, those that the last argument asks for.
template <typename Derived, size_t kSaved, size_t kEdges>
struct FunctionalNode : public torch::autograd::TraceableFunction {
  using SavedTensors = std::array<Tensor, kSaved>;
  using Wanted = std::array<bool, kEdges>;

  Geometry geometry;
  std::array<SavedVariable, kSaved> saved;

  variable_list apply(variable_list&& grads) override {
    const std::lock_guard<std::mutex> lock(mutex_);
    return vjp_or_nothing(geometry, grads, unpack_saved(), wanted());
  }

  void release_variables() override {
    const std::lock_guard<std::mutex> lock(mutex_);
    for (SavedVariable& variable : saved) variable.reset_data();
  }

  void compiled_args(torch::dynamo::autograd::CompiledNodeArgs& args) const override {
    args.collect(geometry.N);
    args.collect(geometry.C);
    args.collect(geometry.HxW);
    args.collect(geometry.group);
    for (size_t i = 0; i < kSaved; ++i) args.collect(saved[i], is_output(i));
    for (const bool edge_wanted : wanted()) args.collect(edge_wanted);
  }

  // Writes the call of vjp into compiled autograd's graph, with stand-ins for what varies.
  variable_list apply_with_saved(const variable_list& grads,
                                 torch::dynamo::autograd::SwapSavedVariables& swap) override {
    using torch::dynamo::autograd::IValuePacker;
    const auto for_each_lifted = [&](const auto& visit) {
      visit(geometry.N);
      visit(geometry.C);
      visit(geometry.HxW);
      for (SavedVariable& variable : saved) visit(variable);
    };
    for_each_lifted([&](auto& lifted) { swap.before(lifted); });
    torch::dynamo::autograd::PackedArgs packed;
    packed.pack(geometry.N);
    packed.pack(geometry.C);
    packed.pack(geometry.HxW);
    packed.pack(geometry.group);
    for (const Tensor& tensor : unpack_saved()) packed.pack(tensor);
    packed.pack(wanted());
    const auto metadata =
        IValuePacker<std::vector<std::optional<torch::autograd::InputMetadata>>>::pack(
            torch::dynamo::autograd::get_input_metadata(next_edges()));
    const auto& compiler = torch::dynamo::autograd::getPyCompilerInterface();
    static std::once_flag bound;
    std::call_once(bound, [&] {
      compiler->bind_function(swap.get_py_compiler(), name(), vjp_of_packed, packed_types());
    });
    const std::string function = name();
    variable_list out = compiler->call_function(swap.get_py_compiler(), "apply_functional",
                                                function, grads, packed.vec(), metadata);
    for_each_lifted([&](auto& lifted) { swap.after(lifted); });
    return out;
  }

 private:
  static bool is_output(size_t i) { return i >= Derived::kOutputs; }

  SavedTensors unpack_saved() {
    SavedTensors tensors;
    for (size_t i = 0; i < kSaved; ++i) {
      tensors[i] = is_output(i) ? saved[i].unpack(getptr()) : saved[i].unpack();
    }
    return tensors;
  }

  Wanted wanted() const {
    Wanted mask;
    for (size_t i = 0; i < kEdges; ++i) mask[i] = task_should_compute_output(i);
    return mask;
  }

  static variable_list vjp_or_nothing(const Geometry& geometry, const variable_list& grads,
                                      const SavedTensors& tensors, const Wanted& wanted) {
    const bool any =
        std::any_of(grads.begin(), grads.end(), [](const Tensor& grad) { return grad.defined(); });
    return any ? Derived::vjp(geometry, grads, tensors, wanted) : variable_list(kEdges);
  }

  static variable_list vjp_of_packed(const variable_list& grads,
                                     const std::vector<c10::IValue>& values) {
    torch::dynamo::autograd::PackedArgs packed(values);
    // One statement each: the order of unpacking is the order of the values.
    Geometry geometry;
    geometry.N = packed.unpack<c10::SymInt>();
    geometry.C = packed.unpack<c10::SymInt>();
    geometry.HxW = packed.unpack<c10::SymInt>();
    geometry.group = packed.unpack<int64_t>();
    SavedTensors tensors;
    for (Tensor& tensor : tensors) tensor = packed.unpack<Tensor>();
    const Wanted wanted = packed.unpack<Wanted>();
    return vjp_or_nothing(geometry, grads, tensors, wanted);
  }

  static std::vector<at::TypePtr> packed_types() {
    using torch::dynamo::autograd::IValuePacker;
    const at::TypePtr size = IValuePacker<c10::SymInt>::packed_type();
    std::vector<at::TypePtr> types = {size, size, size, IValuePacker<int64_t>::packed_type()};
    types.insert(types.end(), kSaved, IValuePacker<Tensor>::packed_type());
    types.push_back(IValuePacker<Wanted>::packed_type());
    return types;
  }
};

}  // namespace group_norm_grad
