"""What this build is; written by setup.py."""

VERSION = "0.1.0"
TORCH_VERSION = "2.13.0+cpu"
INSTRUCTION_SETS = ('default', 'avx2', 'avx512')
NPU_PARTS = ()
