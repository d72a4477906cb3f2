"""A replacement of the CANN libraries that runs the real torch_npu, and C programs, with no NPU; for tests only."""
