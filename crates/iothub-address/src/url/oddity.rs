//! What the tolerant reading takes and the canonical form does not have.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::ops::Range;

use crate::error::Part;
use crate::escape::is_unreserved;
use crate::host::PortText;
use crate::node::Form;
use crate::url::AmqpUrlRef;
use crate::url::layout::{PathReading, Spelling};
use crate::url::owned::{AmqpUrl, PasswordSpelling};

/// Something in an address that the canonical form does not have, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Oddity {
    kind: OddityKind,
    span: Range<usize>,
}

impl Oddity {
    /// What is odd. `Display` of it says what to write instead.
    #[must_use]
    pub const fn kind(&self) -> OddityKind {
        self.kind
    }

    /// Where, in bytes of the input: the first place of its kind in its part.
    #[must_use]
    pub fn span(&self) -> Range<usize> {
        self.span.clone()
    }
}

impl fmt::Display for Oddity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (bytes {}..{})", self.kind, self.span.start, self.span.end)
    }
}

/// The kinds of [`Oddity`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum OddityKind {
    /// The scheme is not in lower case.
    SchemeCase,
    /// A character that other parsers give a meaning is not escaped.
    Unescaped(Part),
    /// A `%` starts no escape.
    StrayPercent(Part),
    /// A character is escaped that needs no escape.
    NeedlessEscape(Part),
    /// An escape has lower-case digits.
    LowerCaseEscape(Part),
    /// The token is not escaped at all.
    UnescapedToken,
    /// The token's space is written `+`, as HTML forms do.
    PlusForSpace,
    /// There is a colon and no password behind it.
    EmptyPassword,
    /// The host is not in its canonical text.
    HostSpelling,
    /// There is a colon and no port behind it.
    EmptyPort,
    /// The port has zeros in front.
    PortSpelling,
    /// The ids of the path are escaped twice.
    EscapedTwice,
    /// A literal of the path is in another case, or escaped.
    PathSpelling,
    /// The path is not a node of the device or module of the user name.
    ForeignNode,
}

impl OddityKind {
    /// A word for programs.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::SchemeCase => "scheme-case",
            Self::Unescaped(_) => "unescaped",
            Self::StrayPercent(_) => "stray-percent",
            Self::NeedlessEscape(_) => "needless-escape",
            Self::LowerCaseEscape(_) => "lower-case-escape",
            Self::UnescapedToken => "unescaped-token",
            Self::PlusForSpace => "plus-for-space",
            Self::EmptyPassword => "empty-password",
            Self::HostSpelling => "host-spelling",
            Self::EmptyPort => "empty-port",
            Self::PortSpelling => "port-spelling",
            Self::EscapedTwice => "escaped-twice",
            Self::PathSpelling => "path-spelling",
            Self::ForeignNode => "foreign-node",
        }
    }
}

impl fmt::Display for OddityKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SchemeCase => f.write_str("the scheme is not in lower case"),
            Self::Unescaped(part) => write!(f, "a reserved character of the {part} is not escaped"),
            Self::StrayPercent(part) => {
                write!(f, "a '%' of the {part} starts no escape and is not written %25")
            }
            Self::NeedlessEscape(part) => write!(f, "a character of the {part} is escaped without need"),
            Self::LowerCaseEscape(part) => write!(f, "an escape of the {part} has lower-case digits"),
            Self::UnescapedToken => f.write_str("the token is not escaped"),
            Self::PlusForSpace => f.write_str("the token's space is written '+' and not %20"),
            Self::EmptyPassword => f.write_str("there is a ':' and no password behind it"),
            Self::HostSpelling => f.write_str("the host is not in its canonical form"),
            Self::EmptyPort => f.write_str("there is a ':' and no port behind it"),
            Self::PortSpelling => f.write_str("the port has zeros in front"),
            Self::EscapedTwice => f.write_str("the ids of the path are escaped twice"),
            Self::PathSpelling => f.write_str("a literal of the path is in another case, or escaped"),
            Self::ForeignNode => {
                f.write_str("the path is not one of the device or module that the user name stands for")
            }
        }
    }
}

/// All oddities of an address, from left to right. None if, and only if, the text is canonical and the path
/// is the user's own.
pub(crate) fn find(reference: &AmqpUrlRef<'_>, url: &AmqpUrl) -> Vec<Oddity> {
    let (text, layout) = (reference.text(), reference.layout());
    let mut oddities = Oddities {
        text,
        list: Vec::new(),
    };

    let scheme = 0..layout.scheme.as_str().len();
    oddities.add_if(
        text[scheme.clone()] != *layout.scheme.as_str(),
        OddityKind::SchemeCase,
        scheme,
    );

    if let Some(user) = &layout.user {
        let escapes = match layout.user_spelling {
            Spelling::Raw => Escapes::None,
            Spelling::Escaped => Escapes::Once,
        };
        oddities.spelling(Part::User, user.clone(), escapes, is_unreserved);
    }
    if let Some(password) = layout.password.clone() {
        match PasswordSpelling::of(&text[password.clone()]) {
            _ if password.is_empty() => oddities.add(OddityKind::EmptyPassword, password),
            PasswordSpelling::Raw => oddities.add(OddityKind::UnescapedToken, password),
            PasswordSpelling::Form(plus) => {
                let plus = password.start + plus;
                oddities.add(OddityKind::PlusForSpace, plus..plus + 1);
                oddities.spelling(
                    Part::Password,
                    plus + 1..password.end,
                    Escapes::Once,
                    is_unreserved,
                );
            }
            PasswordSpelling::Escaped => {
                oddities.spelling(Part::Password, password, Escapes::Once, is_unreserved);
            }
        }
    }

    let host = layout.host.clone();
    let is_canonical = alloc::format!("{}", url.host()) == text[host.clone()];
    oddities.add_if(!is_canonical, OddityKind::HostSpelling, host);
    match &layout.port {
        PortText::Absent => {}
        PortText::Empty => {
            let at = layout.host.end;
            oddities.add(OddityKind::EmptyPort, at..at + 1);
        }
        PortText::Number(_, span) => {
            let padded = span.len() > 1 && text[span.clone()].starts_with('0');
            oddities.add_if(padded, OddityKind::PortSpelling, span.clone());
        }
    }

    oddities.path(reference, url);
    if let (Some(identity), Some(node)) = (url.identity(), url.node())
        && node.identity() != Some(identity)
    {
        oddities.add(OddityKind::ForeignNode, layout.path.clone());
    }
    oddities.list
}

struct Oddities<'a> {
    text: &'a str,
    list: Vec<Oddity>,
}

/// Whether a part's escapes are escapes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Escapes {
    None,
    Once,
}

impl Oddities<'_> {
    fn add(&mut self, kind: OddityKind, span: Range<usize>) {
        if !self.list.iter().any(|oddity| oddity.kind == kind) {
            self.list.push(Oddity { kind, span });
        }
    }

    fn add_if(&mut self, holds: bool, kind: OddityKind, span: Range<usize>) {
        if holds {
            self.add(kind, span);
        }
    }

    /// What is odd in how a part is escaped, the first place of each kind.
    fn spelling(&mut self, part: Part, span: Range<usize>, escapes: Escapes, plain: fn(u8) -> bool) {
        let bytes = &self.text.as_bytes()[span.clone()];
        let mut at = 0;
        while let Some(&byte) = bytes.get(at) {
            let place = span.start + at;
            let escape = match (byte, escapes, bytes.get(at + 1..at + 3)) {
                (b'%', Escapes::Once, Some(digits @ [high, low])) => {
                    hex(*high).zip(hex(*low)).map(|(high, low)| (digits, high, low))
                }
                _ => None,
            };
            match escape {
                Some((digits, high, low)) => {
                    let lower = digits.iter().any(u8::is_ascii_lowercase);
                    self.add_if(lower, OddityKind::LowerCaseEscape(part), place..place + 3);
                    let needless = plain(high * 16 + low);
                    self.add_if(needless, OddityKind::NeedlessEscape(part), place..place + 3);
                    at += 3;
                }
                None => {
                    if byte == b'%' && escapes == Escapes::Once {
                        self.add(OddityKind::StrayPercent(part), place..place + 1);
                    } else if !plain(byte) {
                        self.add(OddityKind::Unescaped(part), place..place + 1);
                    }
                    at += 1;
                }
            }
        }
    }

    fn path(&mut self, reference: &AmqpUrlRef<'_>, url: &AmqpUrl) {
        let layout = reference.layout();
        let path = layout.path.clone();
        let before = self.list.len();
        match layout.path_reading {
            PathReading::Other => {
                self.spelling(Part::Path, path.clone(), Escapes::Once, |byte| {
                    is_unreserved(byte) || byte == b'/'
                });
            }
            PathReading::Node(times) => {
                self.add_if(times == 2, OddityKind::EscapedTwice, path.clone());
                let escapes = match times {
                    0 => Escapes::None,
                    _ => Escapes::Once,
                };
                for name in name_spans(self.text, &path) {
                    self.spelling(Part::Path, name, escapes, is_unreserved);
                }
            }
        }
        let mut canonical = String::new();
        // Writing into a `String` cannot fail.
        let _ = url.write_path(&mut canonical);
        if self.list.len() == before && canonical != self.text[path.clone()] {
            self.add(OddityKind::PathSpelling, path);
        }
    }
}

/// Where the names of a node's path are.
fn name_spans(text: &str, path: &Range<usize>) -> impl Iterator<Item = Range<usize>> {
    let shape = text
        .get(path.start + 1..path.end)
        .and_then(crate::node::Shape::of);
    let names = match shape.map(|shape| shape.form) {
        Some(Form::Identity { device, module, .. }) => [Some(device), module],
        Some(Form::HubEvents { group, .. }) => [Some(group), None],
        Some(Form::EventHub { name, group, .. }) => [Some(name), Some(group)],
        Some(Form::Registration { scope, id }) => [Some(scope), Some(id)],
        _ => [None, None],
    };
    let whole = text.as_ptr() as usize;
    names
        .map(|name| {
            let name = name?;
            let start = name.as_ptr() as usize - whole;
            Some(start..start + name.len())
        })
        .into_iter()
        .flatten()
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit)
        .to_digit(16)
        .and_then(|value| u8::try_from(value).ok())
}
