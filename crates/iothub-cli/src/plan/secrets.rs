//! Secrets from files, the environment and standard input.

use std::fs::File;
use std::io::{self, Read};

use iothub_address::Secret;
use iothub_sas::SharedKey;
use zeroize::{Zeroize, Zeroizing};

use crate::args::Input;
use crate::args::sas::Key;
use crate::failure::Failure;
use crate::io::Io;

/// The text of a file or of standard input, without the newline at its end.
pub(crate) fn read(input: &Input, io: &mut Io) -> Result<Secret, Failure> {
    let bytes = read_bytes(input, io)?;
    let text =
        std::str::from_utf8(&bytes).map_err(|_| Failure::usage(format!("{input} is not UTF-8 text")))?;
    Ok(without_newline(text))
}

/// The bytes of a file or of standard input.
pub(crate) fn read_bytes(input: &Input, io: &mut Io) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let unreadable = |error: &io::Error| Failure::usage(format!("can't read {input}")).because(error);
    let mut reader: Box<dyn Read> = match input {
        Input::Stdin => io.take_stdin(),
        Input::File(path) => Box::new(File::open(path).map_err(|error| unreadable(&error))?),
    };
    // Room for all of it at once, so that no outgrown copy of a secret stays behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(LARGEST + 1));
    reader
        .by_ref()
        .take(LARGEST as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| unreadable(&error))?;
    if bytes.len() > LARGEST {
        return Err(Failure::usage(format!(
            "{input} has more than {LARGEST} bytes: this is another file than is meant"
        )));
    }
    Ok(bytes)
}

/// The one argument that is given, or standard input for `-` or none.
pub(crate) fn argument(mut given: Vec<Secret>, what: &str, io: &mut Io) -> Result<Secret, Failure> {
    if given.len() > 1 {
        return Err(Failure::usage(format!(
            "more than one {what} is given: put it in quotes if it holds a space"
        )));
    }
    match given.pop() {
        Some(text) if text.expose() != "-" => Ok(text),
        _ => read(&Input::Stdin, io),
    }
}

/// Whether [`argument`] would read standard input.
pub(crate) fn is_stdin(given: &[Secret]) -> bool {
    match given {
        [] => true,
        [one] => one.expose() == "-",
        _ => false,
    }
}

/// Standard input is read once: no two of these may mean it.
pub(crate) fn stdin_once(readers: &[(&str, bool)]) -> Result<(), Failure> {
    let mut readers = readers.iter().filter(|(_, reads)| *reads).map(|(name, _)| name);
    match (readers.next(), readers.next()) {
        (Some(one), Some(other)) => Err(Failure::usage(format!(
            "{one} and {other} both read standard input: give one of them a file"
        ))),
        _ => Ok(()),
    }
}

/// A key in base64, or none if no flag asks for one.
pub(crate) fn key(key: &Key, io: &mut Io) -> Result<Option<SharedKey>, Failure> {
    match (&key.key_env, &key.key_file) {
        (Some(variable), _) => key_from_environment(variable, io).map(Some),
        (None, Some(input)) => {
            let text = read(input, io)?;
            let key = SharedKey::from_base64(text.expose());
            key.map(Some)
                .map_err(|error| Failure::usage(format!("the key in {input}")).because(&error))
        }
        (None, None) => Ok(None),
    }
}

/// A key in base64 from a variable of the environment.
pub(crate) fn key_from_environment(variable: &str, io: &Io) -> Result<SharedKey, Failure> {
    let text = from_environment(variable, io)?
        .ok_or_else(|| Failure::usage(format!("the environment variable {variable} is not set")))?;
    SharedKey::from_base64(text.expose()).map_err(|error| {
        Failure::usage(format!("the key in the environment variable {variable}")).because(&error)
    })
}

/// A new key, as a hub makes one.
pub(crate) fn random_key() -> Result<SharedKey, Failure> {
    let mut bytes = Zeroizing::new([0; 32]);
    getrandom::fill(&mut *bytes).map_err(|error| Failure::unexpected("no randomness").because(&error))?;
    Ok(SharedKey::generate_from(*bytes))
}

/// A secret from a variable of the environment, if it is set to something.
pub(crate) fn from_environment(variable: &str, io: &Io) -> Result<Option<Secret>, Failure> {
    match io.variable(variable).map(std::ffi::OsString::into_string) {
        None => Ok(None),
        Some(Ok(mut text)) => {
            let secret = without_newline(&text);
            text.zeroize();
            Ok(Some(secret))
        }
        Some(Err(_)) => Err(Failure::usage(format!(
            "the environment variable {variable} is not UTF-8 text"
        ))),
    }
}

/// Files end in a newline that editors and `echo` put there; it is no part of the secret.
fn without_newline(text: &str) -> Secret {
    let text = text.strip_suffix('\n').unwrap_or(text);
    Secret::new(text.strip_suffix('\r').unwrap_or(text))
}

/// More than any address, connection string, token or key has.
const LARGEST: usize = 64 * 1024;
