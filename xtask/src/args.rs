//! The few shapes of arguments that tasks take: `--name VALUE`, `--name`, words, and what follows `--`.

use crate::shell::Failure;

pub(crate) struct Args {
    words: Vec<String>,
    trailing: Vec<String>,
}

impl Args {
    pub(crate) fn new(words: impl Iterator<Item = String>) -> Self {
        let mut words: Vec<String> = words.collect();
        let trailing = match words.iter().position(|word| word == "--") {
            Some(at) => words.split_off(at).split_off(1),
            None => Vec::new(),
        };
        Self { words, trailing }
    }

    pub(crate) fn asks_for_help(&self) -> bool {
        self.words.iter().any(|word| word == "-h" || word == "--help")
    }

    /// Takes `--name VALUE` or `--name=VALUE`, the first that is there.
    pub(crate) fn value(&mut self, name: &str) -> Result<Option<String>, Failure> {
        let with_value = format!("{name}=");
        let Some(at) = self
            .words
            .iter()
            .position(|word| word == name || word.starts_with(&with_value))
        else {
            return Ok(None);
        };
        let word = self.words.remove(at);
        if let Some(value) = word.strip_prefix(&with_value) {
            return Ok(Some(value.to_owned()));
        }
        if at == self.words.len() {
            return Err(Failure::Usage(format!("{name} needs a value")));
        }
        Ok(Some(self.words.remove(at)))
    }

    /// Takes `--name NUMBER`.
    pub(crate) fn number(&mut self, name: &str) -> Result<Option<u64>, Failure> {
        let Some(text) = self.value(name)? else {
            return Ok(None);
        };
        match text.parse() {
            Ok(number) => Ok(Some(number)),
            Err(_) => Err(Failure::Usage(format!("{name} takes a number, not `{text}`"))),
        }
    }

    /// Takes `--name`; true when it was there.
    pub(crate) fn flag(&mut self, name: &str) -> bool {
        let before = self.words.len();
        self.words.retain(|word| word != name);
        self.words.len() < before
    }

    /// What stands behind `--`, for the program that the task calls.
    pub(crate) fn trailing(&mut self) -> Vec<String> {
        std::mem::take(&mut self.trailing)
    }

    /// Takes what is neither a flag nor behind `--`.
    pub(crate) fn words(&mut self) -> Vec<String> {
        self.words.extract_if(.., |word| !word.starts_with('-')).collect()
    }

    /// To be called last: what nobody took is an error.
    pub(crate) fn finish(self) -> Result<(), Failure> {
        match self.words.first().or_else(|| self.trailing.first()) {
            None => Ok(()),
            Some(word) => Err(Failure::Usage(format!("unexpected argument `{word}`"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(line: &str) -> Args {
        Args::new(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn a_value_stands_behind_its_name_or_its_equals_sign() {
        let mut both = args("--cases 12 --only=x");
        assert_eq!(both.value("--cases").unwrap().as_deref(), Some("12"));
        assert_eq!(both.value("--only").unwrap().as_deref(), Some("x"));
        assert_eq!(both.value("--only").unwrap(), None);
        assert!(both.finish().is_ok());
        assert!(args("--cases").value("--cases").is_err());
    }

    #[test]
    fn words_are_what_is_no_flag() {
        let mut mixed = args("url --minutes 3 node -- more");
        assert_eq!(mixed.value("--minutes").unwrap().as_deref(), Some("3"));
        assert_eq!(mixed.words(), ["url", "node"]);
        assert!(args("--surprise").words().is_empty());
    }

    #[test]
    fn what_nobody_took_is_an_error() {
        assert!(args("surprise").finish().is_err());
        assert!(args("-- surprise").finish().is_err());
    }

    #[test]
    fn what_stands_behind_two_dashes_is_not_a_flag_of_ours() {
        let mut behind = args("--quick -- --quick --help");
        assert!(!behind.asks_for_help());
        assert!(behind.flag("--quick"));
        assert_eq!(behind.trailing(), ["--quick", "--help"]);
        assert!(behind.finish().is_ok());
    }
}
