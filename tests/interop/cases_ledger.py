"""The ledger itself: an entry that has outlived its gap fails the run."""

import ledger
from cases import case
from harness import expect


@case
def ledger_entries_fail_when_they_are_no_longer_true(world):
    text = '[[gap]]\nid = "g"\ncase = "a"\nfails_with = "instead of"\nreason = "so it is"\n'
    file = world.folder("ledger") / "ledger.toml"

    def read(text, cases=("a",)):
        file.write_text(text)
        try:
            return ledger.read(file, cases)
        except ledger.LedgerError:
            return "refused"

    gap = read(text)["a"]
    verdicts = [gap.judged(trouble)[0] for trouble in ("it was 1 instead of 2", None, "it never came")]
    expect("a gap, a closed one, and another fault", verdicts, ["gap", "failed", "failed"])
    expect("an entry without a case", read(text, cases=("b",)), "refused")
    expect("an entry that is there twice", read(text + text), "refused")
    expect("an entry without a reason", read(text.replace("so it is", "")), "refused")
