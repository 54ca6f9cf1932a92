//! How an ambiguous address can be read.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::ops::Range;

use percent_encoding::percent_decode_str;

use crate::url::layout::{Layout, PathReading, Spelling};

/// One way to read an address that has several.
///
/// Holds places, and of the text only what no reading takes for a password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    user: Option<Range<usize>>,
    user_escaped: bool,
    password: Option<Range<usize>>,
    host: Range<usize>,
    path: Range<usize>,
    path_escaped: u8,
    text: String,
}

impl Reading {
    /// Where the user name is.
    #[must_use]
    pub fn user(&self) -> Option<Range<usize>> {
        self.user.clone()
    }

    /// Whether this reading takes the escapes of the user name off.
    #[must_use]
    pub const fn user_escaped(&self) -> bool {
        self.user_escaped
    }

    /// Where the password is.
    #[must_use]
    pub fn password(&self) -> Option<Range<usize>> {
        self.password.clone()
    }

    /// Where the host is.
    #[must_use]
    pub fn host(&self) -> Range<usize> {
        self.host.clone()
    }

    /// Where the path is.
    #[must_use]
    pub fn path(&self) -> Range<usize> {
        self.path.clone()
    }

    /// How often this reading takes the escapes of the ids in the path off: 0 to 2.
    #[must_use]
    pub const fn path_escaped(&self) -> u8 {
        self.path_escaped
    }

    /// Describes the readings of one text so that no description holds what another takes for a password.
    pub(crate) fn describe<'a>(text: &str, layouts: impl Iterator<Item = &'a Layout> + Clone) -> Vec<Self> {
        let secret_from = layouts
            .clone()
            .filter_map(|layout| Some(layout.password.as_ref()?.start))
            .min();
        let secret_from = secret_from.unwrap_or(text.len());
        layouts
            .map(|layout| Self::of(text, layout, secret_from))
            .collect()
    }

    fn of(text: &str, layout: &Layout, secret_from: usize) -> Self {
        let user_escaped = layout.user_spelling == Spelling::Escaped;
        let path_escaped = match layout.path_reading {
            PathReading::Node(times) => times,
            PathReading::Other => 0,
        };
        let mut described = String::new();
        if let Some(user) = &layout.user {
            let Range { start, end } = *user;
            described += &match text.get(user.clone()) {
                Some(raw) if end <= secret_from && user_escaped => {
                    format!("user name \"{}\"", percent_decode_str(raw).decode_utf8_lossy())
                }
                Some(raw) if end <= secret_from => format!("user name \"{raw}\""),
                _ => "a longer user name".into(),
            };
            described += &format!(" at bytes {start}..{end}, ");
        }
        described += &format!("host at bytes {}..{}", layout.host.start, layout.host.end);
        if let PathReading::Node(times) = layout.path_reading {
            described += match times {
                0 => ", ids of the path as written",
                1 => ", ids of the path decoded once",
                _ => ", ids of the path decoded twice",
            };
        }
        Self {
            user: layout.user.clone(),
            user_escaped,
            password: layout.password.clone(),
            host: layout.host.clone(),
            path: layout.path.clone(),
            path_escaped,
            text: described,
        }
    }
}

impl fmt::Display for Reading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
