"""Where the numbers of the last measurement lie."""

from demo.trained.folders import WEIGHTS

NUMBERS, TABLE = WEIGHTS / "results.json", WEIGHTS / "RESULTS.md"
