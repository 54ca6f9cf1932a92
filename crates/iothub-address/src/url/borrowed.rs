//! The borrowed address.

use alloc::borrow::Cow;
use alloc::vec::Vec;
use core::fmt;
use core::ops::Range;

use percent_encoding::percent_decode_str;

use crate::error::AddressError;
use crate::escape::{Decoded, raw_offset};
use crate::secret::REDACTED;
use crate::url::Scheme;
use crate::url::explain::Explanation;
use crate::url::layout::{self, Layout, MAX_USER, PathReading, Spelling};
use crate::url::oddity::{self, Oddity};
use crate::url::owned::AmqpUrl;
use crate::user::{self, Who};

/// An address read in place: its parts are pieces of the input, and reading it allocates nothing.
///
/// Takes what [`AmqpUrl::parse`] takes, but leaves the escapes of the password and of a path that is no
/// node's unlooked at; [`to_url`](Self::to_url) takes them off. `Debug` redacts the password.
///
/// # Examples
/// ```
/// use iothub_address::AmqpUrlRef;
/// let url = AmqpUrlRef::parse("amqps://dev%231%40sas.myhub:token@localhost:443/devices/dev%231/twin")?;
/// assert_eq!((url.host(), url.port()), ("localhost", Some(443)));
/// let device = url.device().unwrap();
/// assert_eq!((device.as_written(), device.decoded().as_ref()), ("dev%231", "dev#1"));
/// # Ok::<(), iothub_address::AddressError>(())
/// ```
#[derive(Clone)]
pub struct AmqpUrlRef<'a> {
    text: &'a str,
    layout: Layout,
}

impl<'a> AmqpUrlRef<'a> {
    /// Reads an address in any spelling that has one meaning.
    ///
    /// # Errors
    /// As [`AmqpUrl::parse`], but for `Escape`. Only an error allocates, and only `Ambiguous`.
    pub fn parse(text: &'a str) -> Result<Self, AddressError> {
        Ok(Self {
            text,
            layout: layout::find(text)?,
        })
    }

    /// The owned address.
    ///
    /// # Errors
    /// `Escape` if the escapes of the password, or of a path that is no node's, are broken or no UTF-8;
    /// `Malformed` if such a path has dot segments.
    pub fn to_url(&self) -> Result<AmqpUrl, AddressError> {
        AmqpUrl::from_layout(self.text, &self.layout)
    }

    /// The scheme.
    #[must_use]
    pub const fn scheme(&self) -> Scheme {
        self.layout.scheme
    }

    /// The user name of SASL PLAIN.
    #[must_use]
    pub fn user(&self) -> Option<Piece<'a>> {
        self.user_piece(self.layout.user.clone()?)
    }

    /// The device of the user name.
    #[must_use]
    pub fn device(&self) -> Option<Piece<'a>> {
        match self.user_parts()?.who {
            WhoParts::Identity { device, .. } => self.user_piece(device),
            WhoParts::Policy(_) => None,
        }
    }

    /// The module of the user name.
    #[must_use]
    pub fn module(&self) -> Option<Piece<'a>> {
        match self.user_parts()?.who {
            WhoParts::Identity { module, .. } => self.user_piece(module?),
            WhoParts::Policy(_) => None,
        }
    }

    /// The policy of the user name.
    #[must_use]
    pub fn policy(&self) -> Option<Piece<'a>> {
        match self.user_parts()?.who {
            WhoParts::Policy(policy) => self.user_piece(policy),
            WhoParts::Identity { .. } => None,
        }
    }

    /// The hub's name in the user name.
    #[must_use]
    pub fn hub(&self) -> Option<Piece<'a>> {
        self.user_piece(self.user_parts()?.hub)
    }

    /// The password **as it is written**, in whatever spelling; `None` without one, or with an empty one.
    #[must_use]
    pub fn expose_password(&self) -> Option<&'a str> {
        let span = self.layout.password.clone().filter(|span| !span.is_empty())?;
        self.text.get(span)
    }

    /// What is dialled; an IPv6 address is in brackets.
    #[must_use]
    pub fn host(&self) -> &'a str {
        &self.text[self.layout.host.clone()]
    }

    /// The port, if one is named.
    #[must_use]
    pub const fn port(&self) -> Option<u16> {
        self.layout.port.number()
    }

    /// The path with its leading slash; empty if there is none. Decoded, it is that of [`AmqpUrl::path`],
    /// but for the case of literals.
    #[must_use]
    pub fn path(&self) -> Piece<'a> {
        let escaped = match self.layout.path_reading {
            PathReading::Node(times) => times,
            PathReading::Other => 1,
        };
        let span = self.layout.path.clone();
        Piece {
            text: &self.text[span.clone()],
            span,
            escaped,
        }
    }

    /// What the text has that the canonical form does not have, from left to right; the first of each kind
    /// in each part. Empty if, and only if, [`AmqpUrl::parse_strict`] takes the text.
    ///
    /// # Errors
    /// As [`to_url`](Self::to_url).
    pub fn oddities(&self) -> Result<Vec<Oddity>, AddressError> {
        Ok(oddity::find(self, &self.to_url()?))
    }

    /// What the address says, for people, and what other parsers would make of it.
    ///
    /// # Errors
    /// As [`to_url`](Self::to_url).
    pub fn explain(&self) -> Result<Explanation, AddressError> {
        Ok(Explanation::of(self, &self.to_url()?))
    }

    pub(crate) const fn layout(&self) -> &Layout {
        &self.layout
    }

    pub(crate) const fn text(&self) -> &'a str {
        self.text
    }

    fn user_piece(&self, span: Range<usize>) -> Option<Piece<'a>> {
        let escaped = match self.layout.user_spelling {
            Spelling::Raw => 0,
            Spelling::Escaped => 1,
        };
        Some(Piece {
            text: self.text.get(span.clone())?,
            span,
            escaped,
        })
    }

    /// The user name taken apart, as places in the text.
    pub(crate) fn user_parts(&self) -> Option<UserParts> {
        let span = self.layout.user.clone()?;
        let raw = self.text.get(span.clone())?;
        let decoded = match self.layout.user_spelling {
            Spelling::Raw => Decoded::<MAX_USER>::verbatim(raw)?,
            Spelling::Escaped => Decoded::of(raw)?,
        };
        let text = decoded.as_str()?;
        let shape = user::Shape::of(text).ok()?;
        let place = |from: usize, to: usize| match self.layout.user_spelling {
            Spelling::Raw => span.start + from..span.start + to,
            Spelling::Escaped => span.start + raw_offset(raw, from)..span.start + raw_offset(raw, to),
        };
        let hub = place(text.len() - shape.hub.len(), text.len());
        let who = match shape.who {
            Who::Policy(policy) => WhoParts::Policy(place(0, policy.len())),
            Who::Device(device) => WhoParts::Identity {
                device: place(0, device.len()),
                module: None,
            },
            Who::Module(device, module) => {
                let start = device.len() + "/modules/".len();
                let module = Some(place(start, start + module.len()));
                WhoParts::Identity {
                    device: place(0, device.len()),
                    module,
                }
            }
        };
        Some(UserParts { who, hub })
    }
}

impl fmt::Debug for AmqpUrlRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AmqpUrlRef(\"")?;
        match self.layout.password.clone().filter(|span| !span.is_empty()) {
            Some(span) => write!(
                f,
                "{}{REDACTED}{}",
                &self.text[..span.start],
                &self.text[span.end..]
            )?,
            None => f.write_str(self.text)?,
        }
        f.write_str("\")")
    }
}

/// A piece of an address that is no secret: as it is written, and what it means.
///
/// `Display` gives what it means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece<'a> {
    text: &'a str,
    span: Range<usize>,
    escaped: u8,
}

impl<'a> Piece<'a> {
    /// The piece of the input.
    #[must_use]
    pub const fn as_written(&self) -> &'a str {
        self.text
    }

    /// Where it is, in bytes of the input.
    #[must_use]
    pub fn span(&self) -> Range<usize> {
        self.span.clone()
    }

    /// What it means: its escapes taken off as often as they were put on. Escapes that are no UTF-8 become
    /// U+FFFD; those of a user name always are.
    #[must_use]
    pub fn decoded(&self) -> Cow<'a, str> {
        let mut text = Cow::Borrowed(self.text);
        for _ in 0..self.escaped {
            let once = match &text {
                Cow::Borrowed(text) => percent_decode_str(text).decode_utf8_lossy(),
                Cow::Owned(text) => Cow::Owned(percent_decode_str(text).decode_utf8_lossy().into_owned()),
            };
            text = once;
        }
        text
    }
}

impl fmt::Display for Piece<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.decoded())
    }
}

/// The places of the parts of a user name.
pub(crate) struct UserParts {
    pub(crate) who: WhoParts,
    pub(crate) hub: Range<usize>,
}

pub(crate) enum WhoParts {
    Identity {
        device: Range<usize>,
        module: Option<Range<usize>>,
    },
    Policy(Range<usize>),
}
