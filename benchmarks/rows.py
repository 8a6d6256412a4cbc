"""A row of the performance table."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from .measure import Spread, Times, Work, profile

HEADING = f"{'row':<56} {'median':>8}  {'quartiles':<17} {'CPU':>7}  {'required':<9} {'':<5} ours / other"


@dataclass(frozen=True)
class Row:
    """One row.

    Attributes:
        name: what is measured, "a / b" for a ratio.
        required: the most that is allowed; None where it is printed alone.
        value: what came out, of the runs in pairs.
        unit: of the value; empty for a ratio.
        cpu: the ratio of CPU seconds, where the value is one of seconds.
        sides: the median of ours and of the other, with their unit.
        profile: of a row that falls short: where ours spends its time.
    """

    name: str
    required: float | None
    value: Spread
    unit: str = ""
    cpu: Spread | None = None
    sides: str = ""
    profile: tuple[str, ...] = ()

    def explained(self, work: Work) -> "Row":
        """With a profile of the work, if the row falls short."""
        return replace(self, profile=profile(work)) if self.short else self

    @classmethod
    def of_times(cls, name: str, required: float | None, ours: Times, other: Times) -> "Row":
        """Seconds of ours over seconds of the other."""
        sides = f"{Spread.of(ours.wall).median:.3f} / {Spread.of(other.wall).median:.3f} s"
        return cls(
            name, required, Spread.of_ratios(ours.wall, other.wall), "", Spread.of_ratios(ours.cpu, other.cpu), sides
        )

    @classmethod
    def of_bytes(cls, name: str, required: float | None, ours: Sequence[float], other: Sequence[float]) -> "Row":
        """Bytes of ours over bytes of the other."""
        sides = f"{Spread.of(ours).median * 1e-6:.0f} / {Spread.of(other).median * 1e-6:.0f} MB"
        return cls(name, required, Spread.of_ratios(ours, other), "", None, sides)

    @property
    def short(self) -> bool:
        """Whether more is needed than is allowed."""
        return self.required is not None and self.value.median > self.required

    def __str__(self) -> str:
        verdict = "" if self.required is None else "SHORT" if self.short else "ok"
        required = "" if self.required is None else f"<= {self.required:g}{self.unit and ' ' + self.unit}"
        quartiles = f"{self.value.low:.3f} .. {self.value.high:.3f}"
        cpu = f"{self.cpu.median:.3f}" if self.cpu else ""
        line = (
            f"{self.name:<56} {self.value.median:>8.3f}  {quartiles:<17} {cpu:>7}  {required:<9} {verdict:<5} "
            f"{self.sides}"
        ).rstrip()
        return "\n    ".join([line, *self.profile])
