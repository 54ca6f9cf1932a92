//! Running the binary, and hubs for it to talk to.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use iothub_address::{AmqpUrl, DeviceId, HubHost, HubName, Identity, Node, Scheme, Secret, User};
use iothub_emulator::{Emulator, Keys};
use iothub_sas::{SasToken, SharedKey, Signer, UnixTime};
use serde_json::Value;
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// Long enough for a machine under load, short enough to tell a hang.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The key of bytes 00..1f.
pub(crate) const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

/// A command line to run, in an environment that has nothing of ours.
pub(crate) struct Cli {
    command: Command,
    stdin: Vec<u8>,
    /// Where standard output goes, if not to the test.
    stdout: Option<std::fs::File>,
    scratch: TempDir,
}

/// What a process left behind.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) took: Duration,
}

pub(crate) fn iothub<'a>(args: impl IntoIterator<Item = &'a str>) -> Cli {
    let mut command = Command::new(env!("CARGO_BIN_EXE_iothub"));
    command.args(args);
    alone(command)
}

/// A line that is typed into bash, where `iothub` is this program.
#[cfg(unix)]
pub(crate) fn shell(line: &str) -> Cli {
    let program = Path::new(env!("CARGO_BIN_EXE_iothub"));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::iter::once(program.parent().unwrap().to_owned());
    let path = std::env::join_paths(folders.chain(std::env::split_paths(&path))).unwrap();
    let mut command = Command::new("bash");
    command
        .args(["--norc", "--noprofile", "-c", line])
        .env("PATH", path);
    alone(command)
}

fn alone(mut command: Command) -> Cli {
    let scratch = tempfile::tempdir().unwrap();
    for variable in [
        "IOTHUB_DEVICE_CONNECTION_STRING",
        "IOTHUB_SERVICE_CONNECTION_STRING",
        "IOTHUB_EVENTS_CONNECTION_STRING",
        "IOTHUB_CONTEXT",
        "IOTHUB_CA_FILE",
        "IOTHUB_HTTPS_PORT",
        "NO_COLOR",
        "HTTPS_PROXY",
        "https_proxy",
        "NO_PROXY",
        "no_proxy",
    ] {
        command.env_remove(variable);
    }
    command.env("XDG_RUNTIME_DIR", scratch.path());
    command.env("XDG_CONFIG_HOME", scratch.path());
    Cli {
        command,
        stdin: Vec::new(),
        stdout: None,
        scratch,
    }
}

/// `iothub emulator run` on free ports, with JSON on stdout.
pub(crate) fn emulator_run<'a>(more: impl IntoIterator<Item = &'a str>) -> Cli {
    let ports = [
        "emulator",
        "run",
        "--amqps-port",
        "0",
        "--https-port",
        "0",
        "-o",
        "json",
    ];
    iothub(ports.into_iter().chain(more))
}

/// Stops a hub as a service manager does.
#[cfg(unix)]
pub(crate) fn stop(hub: Running) -> Ran {
    hub.signal("TERM");
    hub.end().expect_code(0)
}

impl Cli {
    pub(crate) fn arg(mut self, arg: impl AsRef<std::ffi::OsStr>) -> Self {
        self.command.arg(arg);
        self
    }

    pub(crate) fn args<'a>(mut self, args: impl IntoIterator<Item = &'a str>) -> Self {
        self.command.args(args);
        self
    }

    /// Another program in its place, in the same environment.
    #[cfg(target_os = "linux")]
    pub(crate) fn program(mut self, program: &str, args: &[&str]) -> Self {
        let mut other = Command::new(program);
        other.args(args);
        keep_environment(&self.command, &mut other);
        self.command = other;
        self
    }

    /// No file may grow over so many bytes, until [`Running::lift_limit_of_files`].
    #[cfg(target_os = "linux")]
    pub(crate) fn files_of_at_most(mut self, bytes: u64) -> Self {
        let mut limited = Command::new("sh");
        // Of its own the signal ends a process that comes to the limit.
        limited
            .args(["-c", "trap '' XFSZ; exec prlimit --fsize=\"$0\": -- \"$@\""])
            .arg(bytes.to_string())
            .arg(self.command.get_program())
            .args(self.command.get_args());
        keep_environment(&self.command, &mut limited);
        self.command = limited;
        self
    }

    pub(crate) fn env(mut self, name: &str, value: impl AsRef<std::ffi::OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Where it is when it starts.
    #[cfg(unix)]
    pub(crate) fn directory(mut self, path: impl AsRef<Path>) -> Self {
        self.command.current_dir(path);
        self
    }

    pub(crate) fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = bytes.into();
        self
    }

    pub(crate) fn stdout_to(mut self, path: &str) -> Self {
        self.stdout = Some(std::fs::OpenOptions::new().write(true).open(path).unwrap());
        self
    }

    /// A flag, and a file with this text for its value.
    pub(crate) fn file(self, flag: &str, text: impl AsRef<[u8]>) -> Self {
        let path = self.scratch.path().join(flag.trim_start_matches('-'));
        std::fs::write(&path, text).unwrap();
        self.arg(flag).arg(path)
    }

    /// Runs to the end.
    pub(crate) fn run(mut self) -> Ran {
        let begun = Instant::now();
        let mut child = self.spawn_child();
        let mut stdin = child.stdin.take().unwrap();
        let input = std::mem::take(&mut self.stdin);
        // It may end without reading it.
        let writer = std::thread::spawn(move || {
            let _ = stdin.write_all(&input);
        });
        let stdout = child.stdout.take().map(read_all);
        let stderr = child.stderr.take().map(read_all);
        let status = wait(&mut child);
        let took = begun.elapsed();
        writer.join().unwrap();
        let text = |reader: Option<JoinHandle<Vec<u8>>>| {
            reader
                .map(|reader| String::from_utf8(reader.join().unwrap()).unwrap())
                .unwrap_or_default()
        };
        Ran {
            code: status,
            stdout: text(stdout),
            stderr: text(stderr),
            took,
        }
    }

    /// Starts it, and leaves it running.
    pub(crate) fn start(mut self) -> Running {
        let mut child = self.spawn_child();
        let stdin = child.stdin.take();
        let stdout = child.stdout.take().unwrap();
        let stderr = read_all(child.stderr.take().unwrap());
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines() {
                let Ok(line) = line else { break };
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        Running {
            child,
            stdin,
            lines,
            stderr: Some(stderr),
            scratch: self.scratch,
        }
    }

    /// Starts it with the reading of its standard output left to the test.
    pub(crate) fn start_unread(mut self) -> (Running, std::process::ChildStdout) {
        let mut child = self.spawn_child();
        let stdin = child.stdin.take();
        let stdout = child.stdout.take().unwrap();
        let stderr = read_all(child.stderr.take().unwrap());
        let (_, lines) = mpsc::channel();
        (
            Running {
                child,
                stdin,
                lines,
                stderr: Some(stderr),
                scratch: self.scratch,
            },
            stdout,
        )
    }

    fn spawn_child(&mut self) -> Child {
        let stdout = self.stdout.take().map_or_else(Stdio::piped, Stdio::from);
        self.command
            .stdin(Stdio::piped())
            .stdout(stdout)
            .stderr(Stdio::piped());
        self.command.spawn().unwrap()
    }
}

/// A process that runs.
pub(crate) struct Running {
    child: Child,
    pub(crate) stdin: Option<ChildStdin>,
    lines: Receiver<String>,
    stderr: Option<JoinHandle<Vec<u8>>>,
    scratch: TempDir,
}

impl Running {
    /// The next line of its standard output.
    pub(crate) fn line(&mut self) -> String {
        self.line_within(PATIENCE)
    }

    fn line_within(&mut self, limit: Duration) -> String {
        self.lines.recv_timeout(limit).expect("a line comes in time")
    }

    /// Its next line, as JSON.
    pub(crate) fn json(&mut self) -> Value {
        serde_json::from_str(&self.line()).unwrap()
    }

    /// Whether it has not ended.
    pub(crate) fn runs(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// The same, where it may take long.
    #[cfg(target_os = "linux")]
    pub(crate) fn json_within(&mut self, limit: Duration) -> Value {
        serde_json::from_str(&self.line_within(limit)).unwrap()
    }

    /// Its folder for the state of running hubs.
    pub(crate) fn runtime_dir(&self) -> &Path {
        self.scratch.path()
    }

    /// The most memory that it has had, in KiB.
    #[cfg(target_os = "linux")]
    pub(crate) fn peak_memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmHWM:"))
            .unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// Its files may grow again.
    #[cfg(target_os = "linux")]
    pub(crate) fn lift_limit_of_files(&self) {
        let pid = self.child.id().to_string();
        let lifted = Command::new("prlimit")
            .args(["--fsize=unlimited:", "--pid", &pid])
            .status();
        assert!(lifted.unwrap().success());
    }

    /// Sends it a signal by name.
    #[cfg(unix)]
    pub(crate) fn signal(&self, name: &str) {
        assert!(kill(name, self.child.id()));
    }

    /// Waits for its end, and gives what it wrote since the last line that was read.
    pub(crate) fn end(self) -> Ran {
        self.end_keeping_scratch().0
    }

    /// As [`Running::end`], and its scratch folder is still there.
    pub(crate) fn end_keeping_scratch(mut self) -> (Ran, Self) {
        let begun = Instant::now();
        drop(self.stdin.take());
        let code = wait(&mut self.child);
        let took = begun.elapsed();
        let stdout: String = self.lines.iter().map(|line| line + "\n").collect();
        let stderr = String::from_utf8(self.stderr.take().unwrap().join().unwrap()).unwrap();
        (
            Ran {
                code,
                stdout,
                stderr,
                took,
            },
            self,
        )
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // A test that fails leaves nothing running; one that has ended it finds it gone.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Ran {
    /// Each line of standard output, as JSON.
    pub(crate) fn json(&self) -> Vec<Value> {
        self.stdout
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    /// Its one line of JSON.
    pub(crate) fn object(&self) -> Value {
        assert_eq!(self.stdout.lines().count(), 1, "{self:?}");
        self.json().remove(0)
    }

    #[track_caller]
    pub(crate) fn expect_code(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self:?}");
        self
    }

    /// It failed with this code, and said why on exactly one line that holds these words; where the output is JSON, in an
    /// object whose message and hint do.
    #[track_caller]
    pub(crate) fn expect_error(self, code: i32, words: &[&str]) -> Self {
        let ran = self.expect_code(code);
        let lines: Vec<_> = ran.stderr.lines().collect();
        assert_eq!(lines.len(), 1, "{ran:?}");
        let text = match lines[0].strip_prefix("error: ") {
            Some(text) => text.to_owned(),
            None => {
                let line: Value = serde_json::from_str(lines[0]).unwrap_or_else(|_| panic!("{ran:?}"));
                let part = |name: &str| line["error"][name].as_str().unwrap_or_default();
                format!("{}: {}", part("message"), part("hint"))
            }
        };
        for word in words {
            assert!(text.contains(word), "no {word:?} in {ran:?}");
        }
        ran
    }
}

#[cfg(target_os = "linux")]
fn keep_environment(of: &Command, command: &mut Command) {
    for (name, value) in of.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
}

fn read_all(mut from: impl Read + Send + 'static) -> JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = from.read_to_end(&mut bytes);
        bytes
    })
}

/// Sends a signal by name; false when there is no such process. By the shell's own `kill`, since the program of that
/// name is not on every machine: a new Debian has none.
fn kill(signal: &str, pid: u32) -> bool {
    let kill = format!("kill -s {signal} {pid}");
    Command::new("sh").args(["-c", &kill]).status().unwrap().success()
}

/// The exit code, `None` for a signal. A process that hangs is killed and fails the test.
fn wait(child: &mut Child) -> Option<i32> {
    let pid = child.id();
    let (done, watched) = mpsc::channel::<()>();
    let watchdog = std::thread::spawn(move || {
        if watched.recv_timeout(PATIENCE) == Err(mpsc::RecvTimeoutError::Timeout) {
            kill("KILL", pid);
        }
    });
    let code = child.wait().unwrap().code();
    drop(done);
    watchdog.join().unwrap();
    code
}

/// The emulator in the test's own process, with device `dev` and its key [`KEY`].
pub(crate) struct Hub {
    pub(crate) emulator: Emulator,
    /// What it runs on.
    _runtime: Runtime,
    scratch: TempDir,
}

impl Hub {
    pub(crate) fn start() -> Self {
        Self::with_key(key())
    }

    pub(crate) fn with_key(key: SharedKey) -> Self {
        let runtime = Runtime::new().unwrap();
        let keys = Keys::new(key, SharedKey::from_bytes(&[9; 32]).unwrap());
        let builder = Emulator::builder()
            .hub(HubName::parse("myhub").unwrap())
            .device(device(), keys);
        let emulator = runtime
            .block_on(builder.https_port(None).amqp_port(0).start())
            .unwrap();
        let scratch = tempfile::tempdir().unwrap();
        std::fs::write(scratch.path().join("ca.pem"), emulator.root_certificate_pem()).unwrap();
        Self {
            emulator,
            _runtime: runtime,
            scratch,
        }
    }

    pub(crate) fn ca(&self) -> PathBuf {
        self.scratch.path().join("ca.pem")
    }

    pub(crate) fn connection_string(&self) -> String {
        self.connection_string_of("dev", KEY)
    }

    pub(crate) fn connection_string_of(&self, device: &str, key: &str) -> String {
        let port = self.emulator.amqps_address().port();
        format!("HostName=localhost:{port};DeviceId={device};SharedAccessKey={key}")
    }

    /// `device send` to it, by its connection string in the environment.
    pub(crate) fn send<'a>(&self, args: impl IntoIterator<Item = &'a str>) -> Cli {
        iothub(["device", "send"].into_iter().chain(args))
            .env("IOTHUB_DEVICE_CONNECTION_STRING", self.connection_string())
            .env("IOTHUB_CA_FILE", self.ca())
    }

    pub(crate) fn received(&self) -> usize {
        self.emulator.journal().snapshot().len()
    }
}

pub(crate) fn key() -> SharedKey {
    SharedKey::from_base64(KEY).unwrap()
}

fn device() -> DeviceId {
    DeviceId::parse("dev").unwrap()
}

/// The double-"@" address of a device of hub `myhub` at this place, with a token that ends then.
pub(crate) fn url(scheme: Scheme, host: &str, port: u16, device: &str, expires: UnixTime) -> String {
    let token = Signer::new(key()).sign(format!("myhub.azure-devices.net/devices/{device}"), expires);
    url_with(scheme, host, port, device, &token)
}

pub(crate) fn url_with(scheme: Scheme, host: &str, port: u16, device: &str, token: &SasToken) -> String {
    let identity = Identity::Device(DeviceId::parse(device).unwrap());
    let user = User::for_identity(identity.clone(), HubName::parse("myhub").unwrap());
    AmqpUrl::new(HubHost::parse(host).unwrap(), Node::Events(identity))
        .with_scheme(scheme)
        .with_port(port)
        .with_credentials(user, Secret::new(token.expose()))
        .expose()
}

/// A time that no test lives to see.
pub(crate) const FAR: UnixTime = UnixTime::from_secs(4_000_000_000);
