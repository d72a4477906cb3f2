VERSION: str
TORCH_VERSION: str
INSTRUCTION_SETS: tuple[str, ...]
NPU_PARTS: tuple[str, ...]
