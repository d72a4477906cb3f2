// Swaps the kernel of aten::native_group_norm_backward for ours, process-wide, and back.
// Thread-safe.
#pragma once

namespace group_norm_grad {

void enable_override();   // idempotent
void disable_override();  // idempotent; a scope that is still open keeps the override
void enter_override();    // opens a scope; scopes nest and may overlap between threads
void leave_override();    // closes one
bool override_active();

}  // namespace group_norm_grad
