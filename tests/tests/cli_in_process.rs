//! Goal: a command line can be run without a process, with streams and an environment of the caller's own.
//! Method: `iothub_cli::run` with buffers for streams; what the process does is tested beside the binary.
#![allow(clippy::unwrap_used, reason = "a test that fails here fails as it should")]

use std::io::{self, ErrorKind, Write};
use std::sync::{Arc, Mutex};

use iothub_cli::{Exit, Io, run_to_exit};

/// A stream that keeps what is written to it.
#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Vec<u8>>>);

impl Kept {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A stream that fails in one way.
struct Broken(ErrorKind);

impl Write for Broken {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(self.0.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Err(self.0.into())
    }
}

fn io(stdin: &'static [u8], stdout: impl Write + Send + 'static, stderr: &Kept) -> Io {
    Io {
        stdin: Box::new(stdin),
        stdout: Box::new(stdout),
        stderr: Box::new(stderr.clone()),
        stdin_is_terminal: false,
        stdout_is_terminal: false,
        stderr_is_terminal: false,
        manner: iothub_cli::Manner::default(),
        env: Box::new(|name| (name == "KEY").then(|| "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=".into())),
    }
}

fn args(line: &str) -> impl Iterator<Item = std::ffi::OsString> {
    line.split(' ').map(Into::into)
}

#[test]
fn a_command_reads_and_writes_the_callers_streams_and_environment() {
    let (stdout, stderr) = (Kept::default(), Kept::default());
    let line = "iothub sas sign --hub h-1 --device d --key-env KEY --expires-at 1700000000";
    assert_eq!(
        run_to_exit(args(line), &mut io(b"", stdout.clone(), &stderr)),
        Exit::Done
    );
    assert!(
        stdout
            .text()
            .starts_with("SharedAccessSignature sr=h-1.azure-devices.net"),
        "{}",
        stdout.text()
    );
    assert_eq!(stderr.text(), "");

    let (stdout, stderr) = (Kept::default(), Kept::default());
    let line = "iothub device send --local -o json -";
    assert_eq!(
        run_to_exit(args(line), &mut io(b"Hello World!", stdout.clone(), &stderr)),
        Exit::Done
    );
    assert!(
        stdout.text().trim_end().ends_with(r#""body":"Hello World!"}"#),
        "{}",
        stdout.text()
    );
    assert!(
        stderr.text().starts_with("address: amqps://"),
        "{}",
        stderr.text()
    );
}

#[test]
fn a_failure_is_one_line_and_its_exit_code() {
    let (stdout, stderr) = (Kept::default(), Kept::default());
    assert_eq!(
        run_to_exit(
            args("iothub device send x"),
            &mut io(b"", stdout.clone(), &stderr)
        ),
        Exit::Usage
    );
    assert_eq!((stdout.text().as_str(), stderr.text().lines().count()), ("", 1));
}

#[test]
fn a_reader_who_has_gone_is_no_failure_and_any_other_fault_of_the_stream_is() {
    let line = "iothub sas sign --hub h-1 --device d --key-env KEY";
    for (fault, exit) in [
        (ErrorKind::BrokenPipe, Exit::Done),
        (ErrorKind::StorageFull, Exit::Unexpected),
    ] {
        let stderr = Kept::default();
        assert_eq!(
            run_to_exit(args(line), &mut io(b"", Broken(fault), &stderr)),
            exit
        );
        assert_eq!(stderr.text().is_empty(), exit == Exit::Done);
    }
}
