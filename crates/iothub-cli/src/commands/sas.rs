//! `iothub sas sign`, `decode` and `verify`.

use iothub_address::Secret;
use iothub_sas::{Expected, Reason, SasToken, SharedKey, Signer, Spelling, UnixTime};
use serde::Serialize;

use crate::args::Format;
use crate::args::sas::{Decode, Sign, SpellingName, Verify};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::io::Io;
use crate::output::{human, json};
use crate::plan::{secrets, token};

/// Prints a new token, and nothing else.
pub(crate) fn sign(args: Sign, io: &mut Io) -> Result<Exit, Failure> {
    let key = secrets::key(&args.key, io)?.ok_or_else(|| Failure::usage("no key"))?;
    let host = match &args.hub {
        Some(hub) => token::host(args.host, hub)?,
        None => args
            .host
            .ok_or_else(|| Failure::usage("no --hub and no --host"))?,
    };
    let identity = token::identity(args.device, args.module);
    let resource = token::resource(&host, identity.as_ref());
    let end = token::end(&args.lifetime);
    let token = token::signer(key, args.policy.as_ref())
        .spelling(args.spelling.into())
        .sign(&resource, end);
    io.print(&match args.output {
        Format::Text => token.expose().to_owned(),
        Format::Json => json::line(&Signed {
            token: token.expose(),
            expires: end.as_secs(),
        }),
    })?;
    Ok(Exit::Done)
}

#[derive(Serialize)]
struct Signed<'a> {
    token: &'a str,
    expires: u64,
}

impl From<SpellingName> for Spelling {
    fn from(name: SpellingName) -> Self {
        match name {
            SpellingName::Escaped => Self::Escaped,
            SpellingName::Double => Self::Double,
            SpellingName::Raw => Self::Raw,
            SpellingName::SlashesRaw => Self::SlashesRaw,
        }
    }
}

/// Prints what a token says, but for its signature.
pub(crate) fn decode(args: Decode, io: &mut Io) -> Result<Exit, Failure> {
    let token = read_token(args.token, io)?;
    let now = token::now();
    let decoded = Decoded {
        resource: &token.resource(),
        spelling: spelling(&token),
        expires: token.expires_at().as_secs(),
        expires_in_s: i128::from(token.expires_at().as_secs()) - i128::from(now.as_secs()),
        policy: token.policy(),
    };
    io.print(&match args.output {
        Format::Json => json::line(&decoded),
        Format::Text => decoded.for_people(),
    })?;
    Ok(Exit::Done)
}

#[derive(Serialize)]
struct Decoded<'a> {
    resource: &'a str,
    spelling: Option<&'static str>,
    expires: u64,
    expires_in_s: i128,
    policy: Option<&'a str>,
}

impl Decoded<'_> {
    fn for_people(&self) -> String {
        let distance = match self.expires_in_s {
            left @ 0.. => format!("in {left} s"),
            past => format!("{} s ago", -past),
        };
        human::columns(&[
            ("opens", self.resource.to_owned()),
            (
                "spelling",
                self.spelling
                    .unwrap_or("none of escaped, double, raw, slashes-raw")
                    .to_owned(),
            ),
            ("ends", format!("{} ({distance})", human::time(self.expires))),
            (
                "signed by",
                match self.policy {
                    Some(policy) => format!("the key of policy {policy}"),
                    None => "a device's or module's own key".to_owned(),
                },
            ),
        ])
    }
}

/// The first spelling that writes a reading of the token's resource as the token has it, whatever the case of its
/// escapes; `None` for one that mixes them.
fn spelling(token: &SasToken) -> Option<&'static str> {
    let raw = token.raw_resource();
    let spellings = [
        (Spelling::Escaped, "escaped"),
        (Spelling::Double, "double"),
        (Spelling::SlashesRaw, "slashes-raw"),
        (Spelling::Raw, "raw"),
    ];
    let readings: Vec<_> = token.resource_readings().collect();
    let is_written = |(spelling, _): &(Spelling, &str)| {
        // Any key does: it is the resource that is looked at.
        let signer = Signer::new(SharedKey::generate_from([0; 32])).spelling(*spelling);
        readings.iter().any(|reading| {
            signer
                .sign(reading, UnixTime::EPOCH)
                .raw_resource()
                .eq_ignore_ascii_case(raw)
        })
    };
    spellings.into_iter().find(is_written).map(|(_, name)| name)
}

/// Prints whether a token holds, and why not.
pub(crate) fn verify(args: Verify, io: &mut Io) -> Result<Exit, Failure> {
    let key_from_stdin = args.key.key_file == Some(crate::args::Input::Stdin);
    secrets::stdin_once(&[
        ("the token", secrets::is_stdin(&args.token)),
        ("--key-file", key_from_stdin),
    ])?;
    let key = secrets::key(&args.key, io)?.ok_or_else(|| Failure::usage("no key"))?;
    let secondary = args.secondary_key_env.as_deref();
    let secondary = secondary
        .map(|variable| secrets::key_from_environment(variable, io))
        .transpose()?;
    let resource = match (&args.hub, args.host) {
        (None, None) => None,
        (Some(hub), host) => Some(token::host(host, hub)?),
        (None, host) => host,
    }
    .map(|host| token::resource(&host, token::identity(args.device, args.module).as_ref()));
    let token = read_token(args.token, io)?;
    let now = args.now.map_or_else(token::now, UnixTime::from_secs);

    let mut expected = Expected::new(&key).policy(args.policy.as_ref().map(|policy| policy.as_str()));
    if let Some(key) = &secondary {
        expected = expected.secondary(key);
    }
    if let Some(resource) = &resource {
        expected = expected.resource(resource.as_str());
    }
    let verdict = Verdict::of(&token.diagnose(&expected, now));
    io.print(&match args.output {
        Format::Json => json::line(&verdict),
        Format::Text => verdict.for_people(),
    })?;
    Ok(if verdict.valid {
        Exit::Done
    } else {
        Exit::Unauthorised
    })
}

fn read_token(given: Vec<Secret>, io: &mut Io) -> Result<SasToken, Failure> {
    let text = secrets::argument(given, "token", io)?;
    SasToken::parse(text.expose()).map_err(|error| Failure::usage("the token").because(&error))
}

#[derive(Serialize)]
struct Verdict {
    valid: bool,
    reasons: Vec<Explained>,
}

#[derive(Serialize)]
struct Explained {
    code: &'static str,
    text: String,
}

impl Verdict {
    fn of(reasons: &[Reason]) -> Self {
        let explained = |reason: &Reason| Explained {
            code: reason.code(),
            text: reason.to_string(),
        };
        Self {
            // A hub takes either key: that the second one signed is worth a word, but no fault.
            valid: reasons.iter().all(|reason| *reason == Reason::SecondaryKey),
            reasons: reasons.iter().map(explained).collect(),
        }
    }

    fn for_people(&self) -> String {
        let reasons = self
            .reasons
            .iter()
            .map(|reason| format!("{}: {}", reason.code, human::OneLine(&reason.text)));
        let lines: Vec<_> = self
            .valid
            .then(|| "valid".to_owned())
            .into_iter()
            .chain(reasons)
            .collect();
        lines.join("\n")
    }
}
