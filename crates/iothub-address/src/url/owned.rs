//! The owned address.

use alloc::borrow::Cow;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt::{self, Write as _};
use core::str::FromStr;

use percent_encoding::{AsciiSet, percent_decode_str, utf8_percent_encode};
use zeroize::Zeroize;

use crate::error::{AddressError, ErrorKind, Part};
use crate::escape::{ESCAPED, has_stray_percent};
use crate::host::HubHost;
use crate::identity::Identity;
use crate::name::HubName;
use crate::node::{Node, Shape};
use crate::secret::{Length, REDACTED, Secret};
use crate::url::layout::{self, Layout, PathReading, Spelling};
use crate::url::{AmqpUrlRef, Scheme, oddity};
use crate::user::User;

/// The address of a node on a hub, with the credentials of SASL PLAIN:
/// `amqps://DEVICE@sas.HUB:TOKEN@HOST[:PORT]/devices/DEVICE/messages/events`.
///
/// Reading takes the user name raw or escaped, a token escaped once, as Python's `quote` leaves it (raw `/`)
/// or not at all, an empty port before the path, and the schemes in any case. Host and path are found from
/// the right, by what a hub's address must look like, so that an id may itself hold `@`, `:`, `#`, `?` or
/// `%`. What can be read in two ways is an error that names both.
///
/// Printing has one form, in which everything but unreserved characters is escaped: every URL parser reads
/// the same parts from it (but for a device id of `.` or `..`, which WHATWG parsers remove from a path).
/// `Display` and `Debug` redact the password, [`expose`](Self::expose) does not.
///
/// # Examples
/// ```
/// use iothub_address::{AmqpUrl, Identity, Node};
/// let url = AmqpUrl::parse("amqps://dev#1@sas.myhub:secret%2Ftoken@myhub.azure-devices.net/devices/dev#1/messages/events")?;
/// let identity = Identity::parse("dev#1")?;
/// assert_eq!(url.identity(), Some(&identity));
/// assert_eq!(url.node(), Some(&Node::Events(identity)));
/// assert_eq!(url.password().unwrap().expose(), "secret/token");
/// assert_eq!(
///     url.to_string(),
///     "amqps://dev%231%40sas.myhub:***@myhub.azure-devices.net/devices/dev%231/messages/events",
/// );
/// # Ok::<(), iothub_address::AddressError>(())
/// ```
#[derive(Clone)]
pub struct AmqpUrl {
    scheme: Scheme,
    user: Option<User>,
    password: Option<Secret>,
    host: HubHost,
    port: Option<u16>,
    path: Path,
}

#[derive(Clone, PartialEq, Eq)]
enum Path {
    Node(Node),
    /// Any other, or none: unescaped, with its leading slash if it has one.
    Other(String),
}

impl AmqpUrl {
    /// The `amqps` address of a node, without credentials and port.
    #[must_use]
    pub const fn new(host: HubHost, node: Node) -> Self {
        Self {
            scheme: Scheme::Amqps,
            user: None,
            password: None,
            host,
            port: None,
            path: Path::Node(node),
        }
    }

    /// The same with a user name and, as password, a whole SAS token. An empty token is none.
    #[must_use]
    pub fn with_credentials(mut self, user: User, token: Secret) -> Self {
        self.user = Some(user);
        self.password = (!token.is_empty()).then_some(token);
        self
    }

    /// The same with a user name alone.
    #[must_use]
    pub fn with_user(mut self, user: User) -> Self {
        self.user = Some(user);
        self.password = None;
        self
    }

    /// The same with a port, or without.
    #[must_use]
    pub fn with_port(mut self, port: impl Into<Option<u16>>) -> Self {
        self.port = port.into();
        self
    }

    /// The same with a scheme; the port stays.
    #[must_use]
    pub const fn with_scheme(mut self, scheme: Scheme) -> Self {
        self.scheme = scheme;
        self
    }

    /// Reads an address in any spelling that has one meaning.
    ///
    /// # Errors
    /// `Ambiguous` with the readings if there are several; `Scheme`, `NoHost` or `NoUser` if there is none;
    /// `Escape` if the escapes of the password or of a path that is no node's are broken.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        Self::from_layout(text, &layout::find(text)?)
    }

    /// Reads an address in its canonical form alone, with a path that is the user's own.
    ///
    /// # Errors
    /// As [`parse`](Self::parse), and `Odd` with the first thing that the canonical form does not have.
    pub fn parse_strict(text: &str) -> Result<Self, AddressError> {
        let reference = AmqpUrlRef::parse(text)?;
        let url = reference.to_url()?;
        match oddity::find(&reference, &url).first() {
            Some(oddity) => Err(AddressError::new(ErrorKind::Odd(oddity.kind()), oddity.span())),
            None => Ok(url),
        }
    }

    pub(crate) fn from_layout(text: &str, layout: &Layout) -> Result<Self, AddressError> {
        let user = match &layout.user {
            None => None,
            Some(span) => {
                let raw = &text[span.clone()];
                let user = match layout.user_spelling {
                    Spelling::Raw => User::parse(raw),
                    Spelling::Escaped => User::parse(&percent_decode_str(raw).decode_utf8_lossy()),
                };
                Some(user.map_err(|error| error.shifted(span.start))?)
            }
        };
        let password = match &layout.password {
            Some(span) if !span.is_empty() => {
                let broken = || AddressError::new(ErrorKind::Escape(Part::Password), span.clone());
                Some(read_password(&text[span.clone()]).ok_or_else(broken)?)
            }
            _ => None,
        };
        let path_text = &text[layout.path.clone()];
        let node = match layout.path_reading {
            PathReading::Node(times) => path_text
                .strip_prefix('/')
                .and_then(Shape::of)
                .map(|shape| shape.node(times))
                .transpose()?, // its names are legal, or the layout would have another reading
            PathReading::Other => None,
        };
        let path = match node {
            Some(node) => Path::Node(node),
            None => read_path(path_text).map_err(|kind| AddressError::new(kind, layout.path.clone()))?,
        };
        Ok(Self {
            scheme: layout.scheme,
            user,
            password,
            host: HubHost::parse(&text[layout.host.clone()])
                .map_err(|error| error.shifted(layout.host.start))?,
            port: layout.port.number(),
            path,
        })
    }

    /// The scheme.
    #[must_use]
    pub const fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// The user name of SASL PLAIN.
    #[must_use]
    pub const fn user(&self) -> Option<&User> {
        self.user.as_ref()
    }

    /// The device or module of the user name.
    #[must_use]
    pub fn identity(&self) -> Option<&Identity> {
        self.user.as_ref()?.identity()
    }

    /// The hub's name in the user name.
    #[must_use]
    pub fn hub(&self) -> Option<&HubName> {
        Some(self.user.as_ref()?.hub())
    }

    /// The password, a SAS token with its `SharedAccessSignature ` in front; never empty.
    #[must_use]
    pub const fn password(&self) -> Option<&Secret> {
        self.password.as_ref()
    }

    /// What is dialled.
    #[must_use]
    pub const fn host(&self) -> &HubHost {
        &self.host
    }

    /// The port, if one is named; else see [`Scheme::default_port`].
    #[must_use]
    pub const fn port(&self) -> Option<u16> {
        self.port
    }

    /// The node, if the path is a link address of a hub.
    #[must_use]
    pub const fn node(&self) -> Option<&Node> {
        match &self.path {
            Path::Node(node) => Some(node),
            Path::Other(_) => None,
        }
    }

    /// The path unescaped, with its leading slash; empty if there is none.
    #[must_use]
    pub fn path(&self) -> Cow<'_, str> {
        match &self.path {
            Path::Node(node) => {
                let path = node.to_string();
                Cow::Owned(if path.starts_with('/') {
                    path
                } else {
                    alloc::format!("/{path}")
                })
            }
            Path::Other(path) => Cow::Borrowed(path),
        }
    }

    /// The whole address in its canonical form, **with the password**. The text is the caller's to wipe.
    #[must_use]
    pub fn expose(&self) -> String {
        let mut length = Length::default();
        // Counting and writing into a `String` cannot fail.
        let _ = self.write(&mut length, Shown::Whole);
        // Room for all of it at once, so that no outgrown copy of the secret stays behind.
        let mut text = String::with_capacity(length.bytes());
        let _ = self.write(&mut text, Shown::Whole);
        text
    }

    fn write(&self, out: &mut dyn fmt::Write, shown: Shown) -> fmt::Result {
        write!(out, "{}://", self.scheme)?;
        if let Some(user) = &self.user {
            write!(Escaping { out, set: ESCAPED }, "{user}")?;
            if let Some(password) = &self.password {
                out.write_char(':')?;
                match shown {
                    Shown::Whole => Escaping { out, set: ESCAPED }.write_str(password.expose())?,
                    Shown::Redacted => out.write_str(REDACTED)?,
                }
            }
            out.write_char('@')?;
        }
        write!(out, "{}", self.host)?;
        if let Some(port) = self.port {
            write!(out, ":{port}")?;
        }
        self.write_path(out)
    }

    /// The path in its canonical form.
    pub(crate) fn write_path(&self, out: &mut dyn fmt::Write) -> fmt::Result {
        match &self.path {
            Path::Node(node) => {
                out.write_char('/')?;
                node.write_escaped(out)
            }
            Path::Other(path) => Escaping { out, set: PATH }.write_str(path),
        }
    }
}

impl fmt::Display for AmqpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f, Shown::Redacted)
    }
}

impl fmt::Debug for AmqpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AmqpUrl(\"{self}\")")
    }
}

impl FromStr for AmqpUrl {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        Self::parse(text)
    }
}

/// Whether a password is printed.
#[derive(Clone, Copy)]
enum Shown {
    Whole,
    Redacted,
}

/// How a password is written.
pub(crate) enum PasswordSpelling {
    /// A token that is not escaped.
    Raw,
    /// Escaped as HTML forms do: the token's one space is a `+`, which is at this byte.
    Form(usize),
    /// Escaped once; anything that is no token is taken so.
    Escaped,
}

impl PasswordSpelling {
    pub(crate) fn of(text: &str) -> Self {
        match text.split_at_checked(TOKEN_HEAD.len()) {
            // A raw '=' is the end of a field's name: the fields are not escaped, but their values are.
            Some((head, tail)) if head.eq_ignore_ascii_case(TOKEN_HEAD) => match tail.as_bytes().first() {
                Some(b' ') if tail.contains('=') => Self::Raw,
                // No token has a '+' there.
                Some(b'+') => Self::Form(head.len()),
                _ => Self::Escaped,
            },
            _ => Self::Escaped,
        }
    }
}

/// Takes a password's escapes off. `None` if what comes out is no text.
fn read_password(text: &str) -> Option<Secret> {
    // Room for all of it at once, so that no outgrown copy of the secret stays behind.
    let mut bytes = Vec::with_capacity(text.len());
    let rest = match PasswordSpelling::of(text) {
        PasswordSpelling::Raw => return Some(Secret::new(text)),
        PasswordSpelling::Form(plus) => {
            bytes.extend_from_slice(&text.as_bytes()[..plus]);
            bytes.push(b' ');
            &text[plus + 1..]
        }
        PasswordSpelling::Escaped => text,
    };
    bytes.extend(percent_decode_str(rest));
    match String::from_utf8(bytes) {
        Ok(text) => Some(Secret::new(text)),
        Err(error) => {
            error.into_bytes().zeroize();
            None
        }
    }
}

/// Takes the escapes of a path off that is no node's as it is written.
fn read_path(text: &str) -> Result<Path, ErrorKind> {
    if has_stray_percent(text) {
        return Err(ErrorKind::Escape(Part::Path));
    }
    let path = percent_decode_str(text)
        .decode_utf8()
        .map_err(|_| ErrorKind::Escape(Part::Path))?;
    // A literal of the path was escaped.
    if let Some(shape) = path.strip_prefix('/').and_then(Shape::of) {
        return shape
            .node(0)
            .map(Path::Node)
            .map_err(|error| error.kind().clone());
    }
    // Other parsers walk up at a dot segment, and so would read another path from what we print.
    if path.split('/').any(|segment| segment == "." || segment == "..") {
        return Err(ErrorKind::Malformed(Part::Path));
    }
    Ok(Path::Other(path.into_owned()))
}

/// Writes with percent escapes.
struct Escaping<'a> {
    out: &'a mut dyn fmt::Write,
    set: &'static AsciiSet,
}

impl fmt::Write for Escaping<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        utf8_percent_encode(text, self.set).try_for_each(|piece| self.out.write_str(piece))
    }
}

const TOKEN_HEAD: &str = "SharedAccessSignature";

/// What is escaped in a path that is no node's: its slashes stay.
const PATH: &AsciiSet = &ESCAPED.remove(b'/');
