//! `cargo xtask readme`.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::io::ErrorKind;
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

use crate::args::Args;
use crate::metadata::Workspace;
use crate::shell::{self, Failure};
use crate::test;

pub(crate) const HELP: &str = "\
run the commands of README.md

usage: cargo xtask readme

Fenced blocks whose language is `sh` run as they stand: in one bash session with `set -euo pipefail`, in their order,
from the root of the repository, with what cargo built as release first in PATH (so `iothub` is the command). Each
command is printed before it runs. Blocks of other languages (`console`, `text`, `rust`, `toml`) are for reading.

What takes a second terminal is a block of its own whose language line is `sh background`: it keeps running beside
the blocks after it, which start when it has printed its first line. It, and whatever a block started with `&`, is
stopped when the last block is done.

`cargo xtask test` in the README runs the tests; under `cargo xtask ci`, whose own step has run them, it says so and
does not run them again.";

/// From the first command to the last. A first build of the workspace, twice, is in it, on a busy machine too: this
/// ends a session that hangs, and does not judge one that is slow.
const DEADLINE: Duration = Duration::from_secs(60 * 60);
/// For the session to clean up past its deadline; its own patience with what it stops, in `PROLOGUE`, is shorter.
const GRACE: Duration = Duration::from_secs(20);

pub(crate) fn run(args: Args) -> Result<String, Failure> {
    args.finish()?;
    commands(false)
}

/// Runs the README's commands; `tests_passed` keeps its `cargo xtask test` from running them again.
pub(crate) fn commands(tests_passed: bool) -> Result<String, Failure> {
    let text = std::fs::read_to_string(shell::root().join("README.md"))
        .map_err(Failure::because("cannot read README.md"))?;
    let blocks = runnable(&text);
    if blocks.is_empty() {
        return Err(Failure::Failed(
            "README.md has no block of language `sh`".to_owned(),
        ));
    }
    // The hub that the README begins with is new, whatever a session before has left.
    if let Err(error) = std::fs::remove_dir_all(shell::root().join("target/hub"))
        && error.kind() != ErrorKind::NotFound
    {
        return Err(Failure::Failed(format!("cannot remove target/hub: {error}")));
    }
    let mut bash = bash(&session(&blocks));
    bash.env("PATH", path_with_release()?);
    if tests_passed {
        bash.env(test::ALREADY_PASSED, "1");
    }
    let mut child = bash.spawn().map_err(Failure::because("cannot run bash"))?;
    let status = within(&mut child, DEADLINE)?;
    if status.success() {
        return Ok(format!("{} blocks of commands ran", blocks.len()));
    }
    Err(Failure::Failed(format!(
        "the commands of README.md ended with {status}"
    )))
}

/// A fenced block to run, with the line of README.md on which its first command stands.
#[derive(Debug, PartialEq)]
pub(crate) struct Block {
    pub(crate) line: usize,
    pub(crate) place: Place,
    pub(crate) commands: String,
}

#[derive(Debug, PartialEq)]
pub(crate) enum Place {
    Foreground,
    Background,
}

/// A fenced block that shows a file, which its language line names: `js tests/interop/examples/device.js`.
#[derive(Debug, PartialEq)]
pub(crate) struct Copy {
    pub(crate) line: usize,
    pub(crate) path: String,
    pub(crate) text: String,
}

/// The blocks of language `sh`.
pub(crate) fn runnable(markdown: &str) -> Vec<Block> {
    let block = |fenced: Fenced| {
        let place = match fenced.language.as_str() {
            "sh" => Place::Foreground,
            "sh background" => Place::Background,
            _ => return None,
        };
        Some(Block {
            line: fenced.line,
            place,
            commands: fenced.text,
        })
    };
    fenced(markdown).into_iter().filter_map(block).collect()
}

/// The blocks whose language line ends in a path.
pub(crate) fn copies(markdown: &str) -> Vec<Copy> {
    let copy = |fenced: Fenced| {
        let (_, path) = fenced.language.rsplit_once(' ')?;
        path.contains('/').then(|| Copy {
            line: fenced.line,
            path: path.to_owned(),
            text: fenced.text,
        })
    };
    fenced(markdown).into_iter().filter_map(copy).collect()
}

/// A fenced block, with the line on which its text begins.
struct Fenced {
    line: usize,
    language: String,
    text: String,
}

/// Fences are read as CommonMark has them: three backticks or more, closed by as many.
fn fenced(markdown: &str) -> Vec<Fenced> {
    let mut blocks = Vec::new();
    let mut lines = (1..).zip(markdown.lines());
    while let Some((opened_at, opening)) = lines.next() {
        let opening = opening.trim();
        let language = opening.trim_start_matches('`');
        let ticks = opening.len() - language.len();
        if ticks < 3 {
            continue;
        }
        let closes = |line: &str| line.trim().len() >= ticks && line.trim().bytes().all(|byte| byte == b'`');
        let mut text = String::new();
        for (_, line) in lines.by_ref().take_while(|(_, line)| !closes(line)) {
            text.push_str(line);
            text.push('\n');
        }
        blocks.push(Fenced {
            line: opened_at + 1,
            language: language.trim().to_owned(),
            text,
        });
    }
    blocks
}

/// The bash program of the whole session.
fn session(blocks: &[Block]) -> String {
    let mut program = PROLOGUE.to_owned();
    for block in blocks {
        let Block {
            line,
            commands,
            place,
        } = block;
        match place {
            Place::Foreground => {
                let _ = write!(
                    program,
                    "echo '== README.md:{line}'\nset -x\n{commands}{{ set +x; }} 2>/dev/null\n"
                );
            }
            Place::Background => {
                let _ = write!(
                    program,
                    "echo '== README.md:{line}, beside the next blocks'\n\
                     background_{line}() {{\nset -x\n{commands}}}\nbeside background_{line}\n"
                );
            }
        }
    }
    program
}

/// `stop` ends all descendants of the shell, not only its jobs: what a `cargo run` or a function started must not
/// outlive the session either.
const PROLOGUE: &str = r#"
set -euo pipefail
scratch=$(mktemp -d)
stop() {
    local status=$? waited=0 living
    trap - EXIT
    set +x
    living=$(descendants $$)
    kill $living 2>/dev/null || true
    while kill -0 $living 2>/dev/null && [ $waited -lt 100 ]; do
        sleep 0.1
        waited=$((waited + 1))
    done
    kill -9 $living 2>/dev/null || true
    rm -rf "$scratch"
    exit $status
}
trap stop EXIT
trap 'exit 143' TERM
trap 'exit 130' INT
beside() {
    local job
    : > "$scratch/$1"
    "$1" > >(tee "$scratch/$1") &
    job=$!
    until [ -s "$scratch/$1" ]; do
        if ! kill -0 $job 2>/dev/null; then
            echo "it ended before it printed anything" >&2
            exit 1
        fi
        sleep 0.05
    done
}
"#;

/// Children before their parents, by the list that Linux keeps; elsewhere only the shell's own jobs.
const DESCENDANTS: &str = r#"
descendants() {
    local child
    if [ ! -d /proc/self ]; then
        jobs -p
        return
    fi
    for child in $(cat /proc/"$1"/task/*/children 2>/dev/null || true); do
        descendants "$child"
        echo "$child"
    done
}
"#;

fn bash(commands: &str) -> Command {
    let mut bash = shell::program("bash");
    bash.args(["-c", &format!("{DESCENDANTS}{commands}")]);
    bash
}

/// PATH with the folder first in which cargo leaves the release build of `iothub`.
fn path_with_release() -> Result<OsString, Failure> {
    let release = Workspace::load()?.target_directory.join("release");
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::join_paths(std::iter::once(release).chain(std::env::split_paths(&path)))
        .map_err(Failure::because("cannot put the target folder into PATH"))
}

/// Waits for the session. Past the deadline it is asked to end, and what it waits for is ended, so that it cleans up.
fn within(session: &mut Child, deadline: Duration) -> Result<ExitStatus, Failure> {
    let started = Instant::now();
    let mut asked = false;
    loop {
        match session.try_wait() {
            Err(error) => return Err(Failure::Failed(format!("cannot wait for bash: {error}"))),
            Ok(Some(_)) if asked => {
                return Err(Failure::Failed(format!(
                    "the commands did not end within {deadline:.0?}"
                )));
            }
            Ok(Some(status)) => return Ok(status),
            Ok(None) => {}
        }
        let elapsed = started.elapsed();
        if elapsed > deadline && !asked {
            // By a shell, since the standard library knows only the signal that leaves no time to clean up.
            let pid = session.id();
            let _ = bash(&format!("kill -TERM {pid}; kill $(descendants {pid})")).status();
            asked = true;
        } else if elapsed > deadline + GRACE {
            let _ = session.kill();
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[cfg(test)]
mod tests {
    use std::process::Stdio;

    use super::*;

    const MARKDOWN: &str = "\
# A title

```sh
echo one
```
```console
$ echo never
```
````sh
cat <<'END'
```
END
````
  ```sh background
  sleep 1000
  ```
```rust
```
";

    #[test]
    fn only_blocks_of_language_sh_are_runnable() {
        let blocks = runnable(MARKDOWN);
        let lines: Vec<_> = blocks.iter().map(|block| block.line).collect();
        assert_eq!(lines, [4, 10, 15]);
        assert_eq!(blocks[0].commands, "echo one\n");
        assert_eq!(
            blocks[1].commands, "cat <<'END'\n```\nEND\n",
            "a longer fence holds a shorter one"
        );
        assert_eq!(blocks[2].place, Place::Background);
    }

    #[test]
    fn a_block_that_names_a_file_shows_it() {
        let markdown = "```js a/b.js\nlet x;\n```\n```sh background\nx\n```\n```rust,no_run c/d.rs\n```\n";
        let copies = copies(markdown);
        let names: Vec<_> = copies
            .iter()
            .map(|copy| (copy.line, copy.path.as_str()))
            .collect();
        assert_eq!(names, [(2, "a/b.js"), (8, "c/d.rs")]);
        assert_eq!(copies[0].text, "let x;\n");
        assert_eq!(runnable(markdown).len(), 1);
    }

    /// Runs made-up blocks, and gives whether they succeeded and what they printed.
    fn ran(markdown: &str) -> (bool, String) {
        let output = bash(&session(&runnable(markdown))).output().unwrap();
        (
            output.status.success(),
            String::from_utf8_lossy(&output.stdout).into_owned(),
        )
    }

    #[test]
    fn a_command_that_fails_ends_the_session() {
        let (success, printed) = ran("```sh\nfalse\necho behind\n```\n");
        assert!(!success);
        assert!(!printed.contains("behind"));
    }

    #[test]
    fn later_blocks_see_what_earlier_ones_set() {
        let (success, printed) = ran("```sh\nname=hub\n```\n```sh\necho \"is $name\"\n```\n");
        assert!(success);
        assert!(printed.contains("is hub"));
    }

    #[test]
    fn what_runs_beside_is_ready_before_the_next_block_and_dead_at_the_end() {
        let beside = "```sh background\nsleep 0.2; echo ready $BASHPID\nsleep 1000\necho never\n```\n";
        let started = Instant::now();
        let (success, printed) = ran(&format!("{beside}```sh\nsleep 1001 & echo job $!\n```\n"));
        assert!(success, "{printed}");
        assert!(!printed.contains("never"));
        assert!(
            started.elapsed() < Duration::from_secs(9),
            "what is asked to end does not wait to be killed"
        );
        let at = |word| printed.find(word).unwrap();
        assert!(at("ready ") < at("job "), "{printed}");
        for word in ["ready ", "job "] {
            let pid = printed[at(word) + word.len()..].lines().next().unwrap();
            let alive = bash(&format!("kill -0 {pid}")).output().unwrap().status.success();
            assert!(!alive, "{word}{pid} outlived the session");
        }
    }

    #[test]
    fn a_session_that_hangs_is_ended_at_its_deadline_with_all_it_started() {
        let blocks = runnable("```sh\nsleep 1002 & echo $!\nsleep 1003 || true\n```\n");
        let mut quiet = bash(&session(&blocks));
        let mut child = quiet
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let started = Instant::now();
        assert!(within(&mut child, Duration::from_millis(500)).is_err());
        assert!(started.elapsed() < GRACE);
        let printed = std::io::read_to_string(child.stdout.take().unwrap()).unwrap();
        let pid = printed.lines().find(|line| line.parse::<u32>().is_ok()).unwrap();
        assert!(!bash(&format!("kill -0 {pid}")).output().unwrap().status.success());
    }
}
