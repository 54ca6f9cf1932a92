//! Percent-encoding as the SDKs do it.

use alloc::borrow::Cow;
use alloc::string::String;

use percent_encoding::{AsciiSet, CONTROLS, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

/// All but the unreserved characters of RFC 3986, as Python's `quote_plus` (but for the space).
pub(crate) const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// As `WebUtility.UrlEncode` of .NET (but for the space).
pub(crate) const DOTNET: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'!')
    .remove(b'*')
    .remove(b'(')
    .remove(b')');

/// As `java.net.URLEncoder` (but for the space).
pub(crate) const JAVA: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'.')
    .remove(b'-')
    .remove(b'*')
    .remove(b'_');

/// As `encodeURIComponent` of JavaScript.
pub(crate) const COMPONENT: &AsciiSet = &UNRESERVED
    .remove(b'!')
    .remove(b'*')
    .remove(b'\'')
    .remove(b'(')
    .remove(b')');

/// As Python's `quote`: the unreserved characters and the slash stay.
pub(crate) const SLASH_SAFE: &AsciiSet = &UNRESERVED.remove(b'/');

/// Only what a field of a token cannot hold.
pub(crate) const RAW: &AsciiSet = &CONTROLS.add(b' ').add(b'&');

/// Appends `text` with the characters of `set`, and all but ASCII, escaped in upper case.
pub(crate) fn write(text: &str, set: &'static AsciiSet, out: &mut String) {
    out.extend(utf8_percent_encode(text, set));
}

/// As [`write`] for each segment of a path, slashes and the first segment (the host) left as they are.
pub(crate) fn write_segments(path: &str, set: &'static AsciiSet, out: &mut String) {
    let host_ends = path.find('/').unwrap_or(path.len());
    let (host, rest) = path.split_at(host_ends);
    write(host, RAW, out);
    for segment in rest.split('/').skip(1) {
        out.push('/');
        write(segment, set, out);
    }
}

/// `text` with its escapes decoded once, a `+` left alone and a `%` that begins no escape too; `None` if the result
/// is not UTF-8.
pub(crate) fn decode(text: &str) -> Option<Cow<'_, str>> {
    percent_decode_str(text).decode_utf8().ok()
}
