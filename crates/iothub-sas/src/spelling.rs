//! The ways to write a resource into a token.

use alloc::string::String;

use crate::escape::{self, DOTNET, JAVA, RAW, UNRESERVED};

/// How `sr` is escaped in a token, and with it whether the escapes of `sig` are in upper or lower case.
///
/// Since `sr` is signed exactly as it stands in the token, each spelling of one resource has its own signature. The
/// hub takes all of these for ids of letters and digits. For the other legal characters they differ; here for the id
/// `a+b!c`:
///
/// | | `sr` | escapes of `sig` | as written by |
/// |---|---|---|---|
/// | [`Escaped`](Self::Escaped) | `HUB%2Fdevices%2Fa%2Bb%21c` | `%2F` | Python's `quote_plus` |
/// | [`Double`](Self::Double) | `HUB%2Fdevices%2Fa%252Bb!c` | `%2F` | Azure's SDK for C# |
/// | [`SlashesRaw`](Self::SlashesRaw) | `HUB/devices/a%2Bb%21c` | `%2F` | Azure's SDK for Java |
/// | [`Raw`](Self::Raw) | `HUB/devices/a+b!c` | `%2f` | Azure's SDK for C |
///
/// The fields stand in the order `sr`, `sig`, `skn`, `se`; it has no meaning.
///
/// The default is `Escaped`: everything but unreserved characters is escaped, once, so that a reader who decodes
/// once, as a URL's query is decoded, has the id, whatever legal characters it holds. `Raw` cannot be told from an
/// escaped form if the id itself holds something like `%41`; `Double` needs a reader who decodes twice.
///
/// No legal resource holds white space, control characters, `&` or anything but ASCII. If one does they are escaped
/// in every spelling, since a token cannot hold them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub enum Spelling {
    /// Escaped once, all but unreserved characters.
    #[default]
    Escaped,
    /// Escaped twice behind the host.
    Double,
    /// Each segment behind the host escaped once, the slashes between them raw.
    SlashesRaw,
    /// As it is.
    Raw,
}

impl Spelling {
    /// All of them.
    pub const ALL: &'static [Self] = &[Self::Escaped, Self::Double, Self::SlashesRaw, Self::Raw];

    /// A word for programs and command lines that stays the same: `escaped`, `double`, `slashes-raw` or `raw`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Escaped => "escaped",
            Self::Double => "double",
            Self::SlashesRaw => "slashes-raw",
            Self::Raw => "raw",
        }
    }

    /// The spelling in which `raw` is written: of those that write it so, the one whose resource holds the fewest
    /// escapes itself, since few ids do.
    pub(crate) fn of(raw: &str) -> Option<Self> {
        let once = escape::decode(raw);
        let twice = once
            .as_deref()
            .and_then(escape::decode)
            .filter(|twice| once.as_ref() != Some(twice));
        // Without an escape or a slash it cannot be told that nothing is escaped.
        let unescaped = Some(raw).filter(|raw| raw.contains('/') || !raw.contains('%'));
        [
            (Self::Double, twice.as_deref()),
            (Self::Escaped, once.as_deref()),
            (Self::Double, once.as_deref()),
            (Self::SlashesRaw, once.as_deref().filter(|once| *once != raw)),
            (Self::Raw, unescaped),
        ]
        .into_iter()
        .find(|(spelling, resource)| {
            resource.is_some_and(|resource| {
                let mut spelled = String::with_capacity(raw.len());
                spelling.write(resource, &mut spelled);
                spelled == raw
            })
        })
        .map(|(spelling, _)| spelling)
    }

    /// Appends `resource` to `out` as this spelling writes it.
    pub(crate) fn write(self, resource: &str, out: &mut String) {
        match self {
            Self::Escaped => escape::write(resource, &UNRESERVED, out),
            Self::Double => {
                let mut once = String::with_capacity(3 * resource.len());
                escape::write_segments(resource, &DOTNET, &mut once);
                escape::write(&once, &DOTNET, out);
            }
            Self::SlashesRaw => escape::write_segments(resource, &JAVA, out),
            Self::Raw => escape::write(resource, &RAW, out),
        }
    }
}
