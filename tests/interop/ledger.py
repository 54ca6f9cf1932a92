"""The known gaps, `tests/ledger.toml`: each names a case that must fail, and why it does.

A gap whose case passes has closed, and its entry must go; a gap whose case fails by something else is another fault;
an entry whose case does not exist is stale. Each of them fails the run.
"""

import tomllib
from dataclasses import dataclass, fields


@dataclass(frozen=True)
class Gap:
    id: str
    case: str
    fails_with: str
    reason: str

    def judged(self, trouble):
        """The verdict on what the case said, `None` for nothing, and the line to print."""
        if trouble is None:
            return "failed", f"FAIL {self.case} has passed: the gap {self.id} is closed, so take it out of the ledger"
        if self.fails_with not in trouble:
            return "failed", f"FAIL {self.case} {trouble}: not the gap {self.id}, which fails with {self.fails_with!r}"
        return "gap", f"gap {self.case} {self.id}: {self.reason}"


class LedgerError(Exception):
    pass


def read(path, cases):
    """The gaps by the names of their cases."""
    with open(path, "rb") as file:
        entries = tomllib.load(file).get("gap", [])
    wanted = {field.name for field in fields(Gap)}
    gaps = {}
    for entry in entries:
        if entry.keys() != wanted or not all(isinstance(value, str) and value for value in entry.values()):
            raise LedgerError(f"{path}: {entry} has not exactly the texts {sorted(wanted)}")
        gap = Gap(**entry)
        if gap.case not in cases:
            raise LedgerError(f"{path}: the gap {gap.id} names the case {gap.case}, which does not exist")
        if gap.case in gaps or any(gap.id == known.id for known in gaps.values()):
            raise LedgerError(f"{path}: the gap {gap.id} or its case is there twice")
        gaps[gap.case] = gap
    return gaps
