"""What a mutation of the real kernel is, and the problems that they run on. No mutation here."""

from dataclasses import dataclass

# Problems of each schedule: (dtype, N, C, S, G).
TILES = ("float32", 4, 64, 49, 8)
ONE_SAMPLE = ("float32", 1, 64, 49, 8)  # no core waits for another
OWNERS = ("float32", 8, 256, 784, 32)  # of a group of every n; the others' sums come to theirs
BIG_TILES = ("float32", 96, 96, 120, 8)
STREAMED = ("float32", 16, 32, 4096, 8)
SPARE = ("float32", 12, 64, 3136, 8)  # a slot takes the next group's first piece
SPLIT = ("float32", 1, 64, 4096, 2)
DEALT = ("float32", 7, 64, 4096, 8)  # 48 whole groups, and pieces of 8 others
DEALT_TO_FEW = ("float32", 49, 4, 5000, 1)
ROUNDS = ("float32", 1, 40, 32_026, 10)
UNEVEN = ("float32", 2, 24, 3000, 2)  # rows of 375 blocks, five a repeat
ROWS = ("float32", 4, 4096, 64, 4)
PARTS = ("bfloat16", 2, 48, 30_000, 2)  # of rows, the last one shorter
LONG_ROWS = ("bfloat16", 1, 24, 15_216, 4)  # longer than the copies, the last part shorter
NARROW_ROUNDS = ("bfloat16", 1, 60, 60_000, 6)
NARROW = ("bfloat16", 4, 64, 49, 8)
SHORT_ROWS = ("float32", 4, 64, 9, 8)
# Cores whose share ends in another group than it starts in.
CROSSING = ("float32", 3, 10_006, 2, 2)


@dataclass
class Mutation:
    name: str
    file: str
    old: str
    new: str
    problem: tuple[str, int, int, int, int]
    check: str
    text: str = ""  # in a finding of that check; "values": other results, and no finding

    def __str__(self) -> str:
        return self.name


def dropped(name: str, file: str, line: str, problem, check: str, text: str = "") -> Mutation:
    return Mutation(name, file, line, "", problem, check, text)
