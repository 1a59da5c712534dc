"""What the gate says, and why."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

PROMOTED, UNGATED, SUSPICIOUS, REJECTED = "PROMOTED", "UNGATED", "SUSPICIOUS", "REJECTED"
SEVERITY = (PROMOTED, UNGATED, SUSPICIOUS, REJECTED)  # the worst finding is the verdict


@dataclass(frozen=True)
class Finding:
    """What one check has found.

    Attributes:
        check: the setting of `gate` behind it.
        verdict: what it would come to if it were the only one.
        reason: one sentence with the figures.
    """

    check: str
    verdict: str
    reason: str


@dataclass(frozen=True)
class Verdict:
    """The verdict of a run.

    Attributes:
        verdict: PROMOTED, UNGATED (no published run to compare with), SUSPICIOUS or REJECTED.
        findings: of all checks, the worst first.
        publish: whether such a run is published, by the configuration.
        promoted_by: who published it all the same, when and why; None where nobody had to.
    """

    verdict: str
    findings: tuple[Finding, ...]
    publish: bool
    promoted_by: Mapping[str, str] | None = None

    @classmethod
    def of(cls, findings: Iterable[Finding], refused: Mapping[str, bool]) -> Self:
        """The worst of the findings decides.

        Args:
            refused: for each verdict whether the configuration refuses such a run.
        """
        found = sorted(findings, key=lambda finding: -SEVERITY.index(finding.verdict))
        worst = found[0].verdict if found else PROMOTED
        return cls(worst, tuple(found), not refused.get(worst, False))

    @property
    def reasons(self) -> tuple[str, ...]:
        """A sentence a check, the worst first."""
        return tuple(finding.reason for finding in self.findings)

    @property
    def blocking(self) -> tuple[str, ...]:
        """The sentences behind the verdict alone."""
        return tuple(finding.reason for finding in self.findings if finding.verdict == self.verdict)

    @property
    def against(self) -> tuple[str, ...]:
        """What speaks against publishing, or one sentence that nothing does."""
        return ("nothing speaks against it",) if self.verdict == PROMOTED else self.blocking

    def record(self) -> dict[str, Any]:
        """As it stands in the manifest."""
        record = {"verdict": self.verdict, "reasons": list(self.reasons), "publish": self.publish}
        findings = [asdict(finding) for finding in self.findings]
        return record | {"findings": findings} | ({"promoted_by": self.promoted_by} if self.promoted_by else {})

    @classmethod
    def read(cls, record: Mapping[str, Any]) -> Self:
        """From `record`."""
        findings = tuple(Finding(**finding) for finding in record["findings"])
        return cls(record["verdict"], findings, record["publish"], record.get("promoted_by"))
