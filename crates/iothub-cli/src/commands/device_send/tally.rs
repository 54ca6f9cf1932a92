//! How many messages came to what, and what that means for the whole command.

use std::collections::BTreeMap;

use crate::exit::Exit;
use crate::failure::Failure;

/// Counts of outcomes.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    accepted: u64,
    others: BTreeMap<&'static str, u64>,
    /// The exit code that each of the others stands for; `None` once they differ.
    reason: Option<Option<Exit>>,
    /// What was said of the first of the others.
    first: Option<Failure>,
}

impl Tally {
    pub(crate) fn accepted(&mut self) {
        self.accepted += 1;
    }

    /// Counts a message that was not accepted: the outcome's word, and why.
    pub(crate) fn failed(&mut self, outcome: &'static str, failure: Failure) {
        let exit = failure.exit();
        *self.others.entry(outcome).or_default() += 1;
        self.reason = match self.reason {
            None => Some(Some(exit)),
            Some(Some(same)) if same == exit => Some(Some(exit)),
            Some(_) => Some(None),
        };
        self.first.get_or_insert(failure);
    }

    /// Fails unless every message was accepted. A single message fails with its own reason, and so do several that
    /// all failed for the same one; all else is partial.
    pub(crate) fn verdict(self) -> Result<(), Failure> {
        let Some(first) = self.first else { return Ok(()) };
        let failed: u64 = self.others.values().sum();
        let exit = match self.reason {
            Some(Some(exit)) if self.accepted == 0 => exit,
            _ => Exit::Partial,
        };
        if failed == 1 && self.accepted == 0 {
            return Err(first);
        }
        let counts: Vec<_> = self
            .others
            .iter()
            .map(|(outcome, count)| format!("{count} {outcome}"))
            .collect();
        let total = self.accepted + failed;
        let what = format!(
            "{failed} of {total} messages not accepted ({})",
            counts.join(", ")
        );
        Err(Failure::new(exit, what).and(format!("the first was {first}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(accepted: usize, failed: &[(&'static str, Exit)]) -> Option<(Exit, String)> {
        let mut tally = Tally::default();
        (0..accepted).for_each(|_| tally.accepted());
        for (outcome, exit) in failed {
            tally.failed(outcome, Failure::new(*exit, "message 1: why"));
        }
        tally
            .verdict()
            .err()
            .map(|failure| (failure.exit(), failure.to_string()))
    }

    #[test]
    fn all_accepted_is_no_failure() {
        assert_eq!(verdict(0, &[]), None);
        assert_eq!(verdict(3, &[]), None);
    }

    #[test]
    fn a_single_message_fails_with_its_own_reason() {
        let (exit, line) = verdict(0, &[("rejected", Exit::Throttled)]).unwrap();
        assert_eq!((exit, line.as_str()), (Exit::Throttled, "message 1: why"));
    }

    #[test]
    fn several_that_failed_for_the_same_reason_fail_with_it() {
        let (exit, line) =
            verdict(0, &[("rejected", Exit::Rejected), ("too-large", Exit::Rejected)]).unwrap();
        assert_eq!(exit, Exit::Rejected);
        assert!(
            line.starts_with("2 of 2 messages not accepted (1 rejected, 1 too-large)"),
            "{line}"
        );
    }

    #[test]
    fn all_else_is_partial_with_counts() {
        let (exit, line) = verdict(2, &[("rejected", Exit::Rejected)]).unwrap();
        assert_eq!(exit, Exit::Partial);
        assert!(
            line.starts_with("1 of 3 messages not accepted (1 rejected)"),
            "{line}"
        );
        let (exit, _) = verdict(0, &[("rejected", Exit::Rejected), ("unknown", Exit::TimedOut)]).unwrap();
        assert_eq!(exit, Exit::Partial);
        let three = [
            ("a", Exit::Rejected),
            ("b", Exit::TimedOut),
            ("a", Exit::Rejected),
        ];
        assert_eq!(verdict(0, &three).unwrap().0, Exit::Partial);
    }
}
