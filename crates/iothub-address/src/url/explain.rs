//! What an address says, for people, and what other parsers would make of it.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;
use core::ops::Range;

use crate::error::Part;
use crate::escape::has_escape;
use crate::url::borrowed::WhoParts;
use crate::url::layout::{Layout, PathReading, Spelling};
use crate::url::oddity::{self, Oddity};
use crate::url::others::{self, Parts};
use crate::url::owned::{AmqpUrl, PasswordSpelling};
use crate::url::{AmqpUrlRef, Parser};

/// An address explained: its parts with their places and meanings, its oddities, and where other parsers
/// read something else. Holds nothing of the password but its place and length.
///
/// `Display` is for people, one line a fact.
///
/// # Examples
/// ```
/// use iothub_address::{AmqpUrlRef, Parser};
/// let url = AmqpUrlRef::parse("amqps://dev#1@sas.hub:tok@host/devices/dev#1/twin")?;
/// let explanation = url.explain()?;
/// let whatwg = explanation.others().iter().find(|other| other.parser() == Parser::Whatwg).unwrap();
/// assert!(!whatwg.agrees());
/// assert!(whatwg.to_string().contains("host name \"dev\""));
/// # Ok::<(), iothub_address::AddressError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    parts: Vec<ExplainedPart>,
    oddities: Vec<Oddity>,
    others: Vec<OtherReading>,
}

impl Explanation {
    /// The parts that are there, from left to right; the parts of the user name follow it.
    #[must_use]
    pub fn parts(&self) -> &[ExplainedPart] {
        &self.parts
    }

    /// As [`AmqpUrlRef::oddities`].
    #[must_use]
    pub fn oddities(&self) -> &[Oddity] {
        &self.oddities
    }

    /// What other parsers make of it, one each.
    #[must_use]
    pub fn others(&self) -> &[OtherReading] {
        &self.others
    }

    pub(crate) fn of(reference: &AmqpUrlRef<'_>, url: &AmqpUrl) -> Self {
        Self {
            parts: explain_parts(reference, url),
            oddities: oddity::find(reference, url),
            others: Parser::ALL
                .into_iter()
                .map(|parser| OtherReading::of(parser, reference))
                .collect(),
        }
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for part in &self.parts {
            writeln!(f, "{part}")?;
        }
        for oddity in &self.oddities {
            writeln!(f, "odd: {oddity}")?;
        }
        for other in &self.others {
            writeln!(f, "{other}")?;
        }
        Ok(())
    }
}

/// A part of an address, and what it means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExplainedPart {
    part: Part,
    span: Range<usize>,
    meaning: String,
}

impl ExplainedPart {
    /// Which part.
    #[must_use]
    pub const fn part(&self) -> Part {
        self.part
    }

    /// Where, in bytes of the input.
    #[must_use]
    pub fn span(&self) -> Range<usize> {
        self.span.clone()
    }

    /// What it means, unescaped; of a password, how long it is.
    #[must_use]
    pub fn meaning(&self) -> &str {
        &self.meaning
    }
}

impl fmt::Display for ExplainedPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Range { start, end } = self.span;
        write!(f, "{} (bytes {start}..{end}): {}", self.part, self.meaning)
    }
}

fn explain_parts(reference: &AmqpUrlRef<'_>, url: &AmqpUrl) -> Vec<ExplainedPart> {
    let layout = reference.layout();
    let mut parts = Vec::new();
    let mut add =
        |part, span: Range<usize>, meaning: String| parts.push(ExplainedPart { part, span, meaning });

    let tls = format!(
        "{}, port {} unless another is named",
        url.scheme(),
        url.scheme().default_port()
    );
    add(Part::Scheme, 0..layout.scheme.as_str().len(), tls);
    if let (Some(user), Some(places), Some(span)) = (url.user(), reference.user_parts(), layout.user.clone())
    {
        add(Part::User, span, user.to_string());
        match (places.who, user.identity(), user.policy()) {
            (WhoParts::Identity { device, module }, Some(identity), _) => {
                add(Part::DeviceId, device, identity.device().to_string());
                if let (Some(span), Some(module)) = (module, identity.module()) {
                    add(Part::ModuleId, span, module.to_string());
                }
            }
            (WhoParts::Policy(span), _, Some(policy)) => add(Part::PolicyName, span, policy.to_string()),
            _ => {}
        }
        add(Part::HubName, places.hub, user.hub().to_string());
    }
    if let (Some(password), Some(span)) = (url.password(), layout.password.clone()) {
        let length = password.expose().len();
        let kind = match password.expose().starts_with("SharedAccessSignature ") {
            true => "a SAS token",
            false => "no SAS token, so that no hub takes it",
        };
        add(Part::Password, span, format!("{length} bytes, {kind}"));
    }
    add(Part::Host, layout.host.clone(), url.host().as_str().into());
    if let crate::host::PortText::Number(number, span) = &layout.port {
        add(Part::Port, span.clone(), number.to_string());
    }
    let path = match url.node() {
        Some(node) => format!("{node}, {}", node.purpose()),
        None => format!("{}, no link address of a hub", url.path()),
    };
    add(Part::Path, layout.path.clone(), path);
    parts
}

/// What another parser makes of an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OtherReading {
    parser: Parser,
    differences: Vec<Difference>,
}

/// Where another parser differs from us.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Difference {
    /// It refuses the address, for this reason.
    Rejects(&'static str),
    /// It takes another text for a part: where that is, if it finds any, and the text, if it is not of the
    /// password.
    Part(Part, Option<Range<usize>>, Option<String>),
    /// It takes off escapes that are none, or not all that are.
    Escapes(Part),
    /// It walks `.` and `..` in the path, escaped or not.
    DotSegments,
}

impl OtherReading {
    /// The parser.
    #[must_use]
    pub const fn parser(&self) -> Parser {
        self.parser
    }

    /// Whether it reads the same parts.
    #[must_use]
    pub fn agrees(&self) -> bool {
        self.differences.is_empty()
    }

    /// Where it differs.
    #[must_use]
    pub fn differences(&self) -> &[Difference] {
        &self.differences
    }

    fn of(parser: Parser, reference: &AmqpUrlRef<'_>) -> Self {
        let (text, layout) = (reference.text(), reference.layout());
        let theirs = match others::read(parser, text) {
            Ok(parts) => parts,
            Err(reason) => {
                return Self {
                    parser,
                    differences: Vec::from([Difference::Rejects(reason)]),
                };
            }
        };
        let mut differences = Vec::new();
        let own = own_parts(layout);
        let secret = layout.password.clone().unwrap_or_default();
        for (part, own, theirs) in [
            (Part::User, own.user, theirs.user),
            (Part::Password, own.password, theirs.password),
            (Part::Host, own.host, theirs.host),
            (Part::Port, own.port, theirs.port),
            (Part::Path, own.path, theirs.path.clone()),
        ] {
            if own != theirs {
                let is_shown = |span: &Range<usize>| {
                    part != Part::Password && (span.end <= secret.start || span.start >= secret.end)
                };
                let shown = theirs
                    .clone()
                    .filter(is_shown)
                    .and_then(|span| text.get(span))
                    .map(String::from);
                differences.push(Difference::Part(part, theirs, shown));
            }
        }
        let raw = |span: &Option<Range<usize>>| {
            span.clone()
                .and_then(|span| text.get(span))
                .is_some_and(has_escape)
        };
        if layout.user_spelling == Spelling::Raw && raw(&layout.user) {
            differences.push(Difference::Escapes(Part::User));
        }
        let password = layout
            .password
            .clone()
            .and_then(|span| text.get(span))
            .map(PasswordSpelling::of);
        if matches!(password, Some(PasswordSpelling::Form(_)))
            || (matches!(password, Some(PasswordSpelling::Raw)) && raw(&layout.password))
        {
            differences.push(Difference::Escapes(Part::Password));
        }
        if matches!(layout.path_reading, PathReading::Node(0 | 2)) && raw(&Some(layout.path.clone())) {
            differences.push(Difference::Escapes(Part::Path));
        }
        let their_path = theirs.path.and_then(|span| text.get(span)).unwrap_or_default();
        if parser == Parser::Whatwg && their_path.split('/').any(is_dot_segment) {
            differences.push(Difference::DotSegments);
        }
        Self { parser, differences }
    }
}

/// The WHATWG standard takes an escaped dot for a dot.
fn is_dot_segment(segment: &str) -> bool {
    matches!(
        segment.to_ascii_lowercase().replace("%2e", ".").as_str(),
        "." | ".."
    )
}

/// Our own reading; an empty part is none.
fn own_parts(layout: &Layout) -> Parts {
    let filled = |span: Range<usize>| (!span.is_empty()).then_some(span);
    Parts {
        user: layout.user.clone(),
        password: layout.password.clone().and_then(filled),
        host: Some(layout.host.clone()),
        port: match &layout.port {
            crate::host::PortText::Number(_, span) => Some(span.clone()),
            _ => None,
        },
        path: filled(layout.path.clone()),
    }
}

impl fmt::Display for OtherReading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.parser)?;
        if self.agrees() {
            return f.write_str("reads the same");
        }
        for (i, difference) in self.differences.iter().enumerate() {
            if i > 0 {
                f.write_str(", ")?;
            }
            match difference {
                Difference::Rejects(reason) => write!(f, "refuses it: {reason}")?,
                Difference::Part(part, None, _) => write!(f, "no {part}")?,
                Difference::Part(part, Some(_), Some(text)) => write!(f, "{part} {text:?}")?,
                Difference::Part(part, Some(span), None) => {
                    write!(f, "{part} of bytes {}..{}", span.start, span.end)?;
                }
                Difference::Escapes(part) => write!(f, "escapes of the {part} taken otherwise")?,
                Difference::DotSegments => f.write_str("'.' and '..' in the path walked")?,
            }
        }
        Ok(())
    }
}
