//! Which events `--where` lets through: a filter in jq's language, asked about the JSON of each.
//!
//! A filter may take any time, or never end, so it has a thread of its own: whoever waits for its answer can turn away.

use std::sync::mpsc as blocking;
use std::thread;

use jaq_core::load::{self, Arena, File, Loader, parse};
use jaq_core::{Compiler, Ctx, Vars, compile, data};
use jaq_json::{Val, read};
use tokio::sync::mpsc;

use crate::failure::Failure;

/// A filter that runs until this is dropped.
pub(crate) struct Filter {
    questions: blocking::Sender<String>,
    answers: mpsc::UnboundedReceiver<Answer>,
}

/// What a filter says of an event.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Its first output is neither `false` nor `null`.
    Shown,
    /// It is, or there is none.
    LeftOut,
    /// It could not be applied, for this reason.
    Failed(String),
}

impl Filter {
    /// Compiles it.
    pub(crate) fn start(code: String) -> Result<Self, Failure> {
        if code.len() > LONGEST {
            let what = format!("--where is longer than {LONGEST} bytes");
            return Err(Failure::usage(what).hint("pipe the events into jq instead"));
        }
        let (compiled, is_compiled) = blocking::channel();
        let (questions, asked) = blocking::channel();
        let (answered, answers) = mpsc::unbounded_channel();
        let run = move || run(&code, &compiled, &asked, &answered);
        thread::Builder::new()
            .name("filter".to_owned())
            .stack_size(STACK)
            .spawn(run)
            .map_err(|error| Failure::unexpected("can't start a thread").because(&error))?;
        match is_compiled.recv() {
            Ok(Ok(())) => Ok(Self { questions, answers }),
            Ok(Err(why)) => Err(Failure::usage(format!("the filter of --where {why}"))
                .hint("it is in jq's language, such as '.body.temp > 20'")),
            Err(_) => Err(broken()),
        }
    }

    /// Asks about an event's JSON.
    ///
    /// Not to be asked again once the future was dropped: the answer would be another's.
    pub(crate) async fn ask(&mut self, event: String) -> Result<Answer, Failure> {
        self.questions.send(event).map_err(|_| broken())?;
        self.answers.recv().await.ok_or_else(broken)
    }
}

fn broken() -> Failure {
    Failure::unexpected("the filter of --where broke down")
}

/// Compiles, says how that went, and answers until nobody asks any more.
fn run(
    code: &str,
    compiled: &blocking::Sender<Result<(), String>>,
    questions: &blocking::Receiver<String>,
    answers: &mpsc::UnboundedSender<Answer>,
) {
    let definitions = jaq_core::defs().chain(jaq_std::defs()).chain(jaq_json::defs());
    let functions = jaq_core::funs().chain(jaq_std::funs()).chain(jaq_json::funs());
    let arena = Arena::default();
    let file = File { code, path: () };
    let filter = Loader::new(definitions)
        .load(&arena, file)
        .map_err(|errors| {
            errors
                .iter()
                .find_map(|(file, error)| unreadable(file.code, error))
        })
        .and_then(|modules| {
            let compiler = Compiler::default().with_funs(functions);
            compiler.compile(modules).map_err(|errors| {
                errors
                    .iter()
                    .find_map(|(_, errors)| errors.first().map(undefined))
            })
        });
    let filter = match filter {
        Ok(filter) => filter,
        Err(why) => {
            let _ = compiled.send(Err(why.unwrap_or_else(|| "can't be read".to_owned())));
            return;
        }
    };
    let _ = compiled.send(Ok(()));
    while let Ok(event) = questions.recv() {
        let answer = match read::parse_single(event.as_bytes()) {
            Err(error) => Answer::Failed(error.to_string()),
            Ok(event) => {
                let context = Ctx::<data::JustLut<Val>>::new(&filter.lut, Vars::new([]));
                match filter.id.run((context, event)).next() {
                    None | Some(Ok(Val::Null | Val::Bool(false))) => Answer::LeftOut,
                    Some(Ok(_)) => Answer::Shown,
                    // What is no error is an order to halt, which nobody has a use for here.
                    Some(Err(error)) => error.get_err().map_or(Answer::LeftOut, |error| {
                        Answer::Failed(shortened(error.to_string()))
                    }),
                }
            }
        };
        if answers.send(answer).is_err() {
            return;
        }
    }
}

fn unreadable(code: &str, error: &load::Error<&str>) -> Option<String> {
    let (what, found) = match error {
        load::Error::Io(errors) => return errors.first().map(|(_, why)| format!("can't be read: {why}")),
        load::Error::Lex(errors) => {
            let (expected, at) = errors.first()?;
            (format!("no {}", expected.as_str()), *at)
        }
        load::Error::Parse(errors) => match errors.first()? {
            (parse::Expect::Nothing, at) => ("more than a filter".to_owned(), *at),
            (expected, at) => (format!("no {}", expected.as_str()), *at),
        },
    };
    let place = match found.is_empty() {
        true => "its end".to_owned(),
        false => format!("byte {}, {:?}", load::span(code, found).start, start_of(found)),
    };
    Some(format!("is not jq: {what} at {place}"))
}

fn undefined((name, kind): &compile::Error<&str>) -> String {
    match kind {
        compile::Undefined::Filter(0) => format!("has no {name:?} to call"),
        compile::Undefined::Filter(arity) => format!("has no {name:?} to call with {arity} arguments"),
        kind => format!("knows no {} {name:?}", kind.as_str()),
    }
}

/// An error repeats the value, which may be a whole body.
fn shortened(mut why: String) -> String {
    if let Some((end, _)) = why.char_indices().nth(LONGEST_REASON) {
        why.truncate(end);
        why.push('…');
    }
    why
}

/// Enough of it to find the place.
fn start_of(text: &str) -> String {
    text.chars().take(20).collect()
}

/// It is read by recursion, so that its length and the stack bound each other.
const LONGEST: usize = 4 * 1024;
const LONGEST_REASON: usize = 200;
const STACK: usize = 256 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    const EVENT: &str = r#"{"device":"pump-1","partition":2,"properties":{"alarm":"yes"},"body":{"temp":21.5,"at":"2023-11-14T22:13:20Z"}}"#;

    async fn said(code: &str) -> Answer {
        let mut filter = Filter::start(code.to_owned()).unwrap();
        filter.ask(EVENT.to_owned()).await.unwrap()
    }

    /// As the manual of jq has it of `select` and `if`.
    #[tokio::test]
    async fn an_event_is_shown_when_the_first_output_is_neither_false_nor_null() {
        for shown in [
            ".body.temp > 20",
            ".properties.alarm",
            "0",
            "\"\"",
            "select(.partition == 2)",
            ".device | test(\"^pump-\")",
            ".body.at | fromdateiso8601 > 1700000000 - 1",
            ".body | has(\"temp\") and (.temp | floor) == 21",
            "true, false",
        ] {
            assert_eq!(said(shown).await, Answer::Shown, "{shown}");
        }
        for left_out in [
            "false",
            ".body.nothing",
            "empty",
            "select(.partition == 3)",
            "null, true",
            "halt",
        ] {
            assert_eq!(said(left_out).await, Answer::LeftOut, "{left_out}");
        }
        assert!(matches!(said(".device.temp").await, Answer::Failed(_)));
        let long = said("(\"x\" * 10000).temp").await;
        assert!(
            matches!(&long, Answer::Failed(why) if why.chars().count() == 201),
            "{long:?}"
        );
        assert!(matches!(said("error(\"no\")").await, Answer::Failed(why) if why.contains("no")));
    }

    #[tokio::test]
    async fn one_filter_answers_for_each_event_by_itself() {
        let mut filter = Filter::start(".n % 2 == 0".to_owned()).unwrap();
        for n in 0..100 {
            let answer = filter.ask(format!("{{\"n\":{n}}}")).await.unwrap();
            assert_eq!(answer == Answer::Shown, n % 2 == 0);
        }
        assert!(matches!(filter.ask("{".to_owned()).await, Ok(Answer::Failed(_))));
        assert_eq!(filter.ask("{\"n\":2}".to_owned()).await.unwrap(), Answer::Shown);
    }

    #[test]
    fn what_is_no_filter_is_refused_with_the_place() {
        let why = |code: &str| {
            Filter::start(code.to_owned())
                .map(|_| ())
                .unwrap_err()
                .to_string()
        };
        for (code, words) in [
            (".body.temp >", "is not jq: no term at its end"),
            (".body temp", "is not jq: more than a filter at byte 6, \"temp\""),
            (". + (.body", "is not jq: no closing parenthesis at its end"),
            ("if . then 1 2", "is not jq: no else or end at byte 12, \"2\""),
            ("frobnicate", "has no \"frobnicate\" to call"),
            ("test(1; 2; 3)", "has no \"test\" to call with 3 arguments"),
            ("$nothing", "knows no variable \"$nothing\""),
            ("import \"a\" as a; .", "can't be read"),
        ] {
            assert!(why(code).contains(words), "{code}: {}", why(code));
        }
        assert!(why(&".".repeat(LONGEST + 1)).contains("longer than 4096 bytes"));
        for open in [
            "(", "[", "{a:", "-", "if ", "def a: ", "\"\\(", "..|", ".a as [", "try ",
        ] {
            assert!(!why(&open.repeat(LONGEST / open.len())).is_empty(), "{open}");
        }
    }
}
