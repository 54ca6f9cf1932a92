//! What a token's `sr` may mean.

use alloc::borrow::Cow;

use crate::escape;

/// The distinct readings of a raw `sr`, the likeliest first: decoded once, decoded twice, as it stands.
///
/// All three are needed, and only a registry knows which one is right: most SDKs escape once, the C# SDK escapes ids
/// twice, and the C SDK does not escape at all.
pub(crate) fn readings(raw: &str) -> impl Iterator<Item = Cow<'_, str>> {
    let once = escape::decode(raw).filter(|once| once != raw);
    let twice = once
        .as_deref()
        .and_then(|once| Some(Cow::Owned(escape::decode(once)?.into_owned())))
        .filter(|twice| once.as_ref() != Some(twice));
    [once, twice, Some(Cow::Borrowed(raw))].into_iter().flatten()
}

/// Whether `scope` is a prefix of `resource`, in whole segments: the host compares case-insensitively, the rest
/// exactly; a scheme, a trailing slash and a port that only one of them names are ignored.
pub(crate) fn covers(scope: &str, resource: &str) -> bool {
    let (scope, resource) = (Parts::of(scope), Parts::of(resource));
    scope.host_is(&resource) && is_prefix(scope.path, resource.path)
}

struct Parts<'a> {
    host: &'a str,
    port: Option<&'a str>,
    /// Empty, or `/` and the rest without a trailing slash.
    path: &'a str,
}

impl<'a> Parts<'a> {
    fn of(resource: &'a str) -> Self {
        let rest = match resource.split_once("://") {
            Some((scheme, rest)) if !scheme.contains('/') => rest,
            _ => resource,
        };
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let (host, port) = match authority.rsplit_once(':') {
            // Not the colons inside an IPv6 address: it stands in brackets.
            Some((host, port)) if !port.contains(']') => (host, Some(port)),
            _ => (authority, None),
        };
        Self {
            host,
            port,
            path: path.strip_suffix('/').unwrap_or(path),
        }
    }

    fn host_is(&self, other: &Self) -> bool {
        let same_port = match (self.port, other.port) {
            (Some(port), Some(other)) => port == other,
            _ => true,
        };
        !self.host.is_empty() && self.host.eq_ignore_ascii_case(other.host) && same_port
    }
}

fn is_prefix(scope: &str, path: &str) -> bool {
    path.strip_prefix(scope)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}
