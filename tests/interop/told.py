"""A peer that does what a case tells it: orders are answered in turn, what it sees meanwhile is kept until asked for."""

import time

from harness import ENDS_WITHIN_S, Failure, expect


class Told:
    def __init__(self, process, job):
        self.process = process
        self.seen = []
        self.process.tell(job)

    def do(self, do, **order):
        """Has it do something that must succeed."""
        answer = self.tried(do, **order)
        if answer["error"] is not None:
            raise Failure(f"{self.process.name} would not {do}: {answer['error']} {answer.get('description', '')}")
        return answer

    def tried(self, do, **order):
        self.process.tell({"do": do, **order})
        return self.answer(do)

    def saw(self, what, **which):
        """The next of this kind that it has seen, or sees."""
        ends = time.monotonic() + ENDS_WITHIN_S
        wanted = {"saw": what} | which
        looked_at = 0
        while True:
            for at, fact in enumerate(self.seen[looked_at:], looked_at):
                if wanted.items() <= fact.items():
                    return self.seen.pop(at)
            looked_at = len(self.seen)
            self._read(ends, f"{what} {which or ''}")

    def answer(self, do):
        ends = time.monotonic() + ENDS_WITHIN_S
        while (fact := self._read(ends, do)) is None:
            pass
        expect("what was answered", fact["did"], do)
        return fact

    def frames(self):
        """What the AMQP library wrote of the frames that came and went."""
        return self.process.stderr()

    def _read(self, ends, waiting_for):
        try:
            fact = self.process.json_line(max(0.1, ends - time.monotonic()))
        except Failure as failure:
            raise Failure(f"{failure}, waiting for {waiting_for}, with {self.seen[-3:]}") from None
        if "saw" in fact:
            self.seen.append(fact)
            return None
        return fact
