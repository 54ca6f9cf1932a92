//! Where the parts of an address are: every way to read it is tried, from the right, and one must remain.

use core::ops::Range;

use crate::error::{AddressError, ErrorKind};
use crate::escape::{Decoded, has_escape};
use crate::host::{Authority, PortText};
use crate::name::{DeviceId, HubName, ModuleId, is_id_byte, is_label_byte};
use crate::node::{Form, Names, Shape};
use crate::url::Scheme;
use crate::url::reading::Reading;
use crate::user::{self, User, Who};

/// One way to read an address: the places of its parts, and how their escapes are taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    pub(crate) scheme: Scheme,
    pub(crate) user: Option<Range<usize>>,
    pub(crate) user_spelling: Spelling,
    /// `None` without a colon; an empty range for an empty password.
    pub(crate) password: Option<Range<usize>>,
    pub(crate) host: Range<usize>,
    pub(crate) port: PortText,
    /// With its leading slash; empty at the end if there is none.
    pub(crate) path: Range<usize>,
    pub(crate) path_reading: PathReading,
}

/// How a user name is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Spelling {
    /// As it goes over the wire.
    Raw,
    /// Percent-escaped once, wholly or in part.
    Escaped,
}

/// What a path is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PathReading {
    /// A node, after its names' escapes are taken off so many times.
    Node(u8),
    /// No link address of a hub.
    Other,
}

/// Finds the one way to read an address.
pub(crate) fn find(text: &str) -> Result<Layout, AddressError> {
    let (scheme, start) = scheme_of(text)?;
    // Without an early exit the compiler looks at many bytes at once.
    if text
        .bytes()
        .fold(false, |found, byte| found | byte.is_ascii_control())
    {
        let at = text
            .bytes()
            .position(|byte| byte.is_ascii_control())
            .unwrap_or_default();
        return Err(AddressError::new(ErrorKind::ControlCharacter, at..at + 1));
    }
    let mut search = Search {
        text,
        scheme,
        start,
        splits: Splits::of(text, start),
        found: Found::default(),
    };
    search.run();
    search.finish()
}

fn scheme_of(text: &str) -> Result<(Scheme, usize), AddressError> {
    for scheme in [Scheme::Amqps, Scheme::Amqp] {
        let name = scheme.as_str();
        if text
            .get(..name.len())
            .is_some_and(|head| head.eq_ignore_ascii_case(name))
            && text.get(name.len()..).is_some_and(|rest| rest.starts_with("://"))
        {
            return Ok((scheme, name.len() + "://".len()));
        }
    }
    let end = text.find("://").unwrap_or(0);
    Err(AddressError::new(ErrorKind::Scheme, 0..end))
}

/// The search for all readings. Hosts are tried from the right, since a path and an id may hold `@` too; for
/// each, every end of the user name to its left.
struct Search<'a> {
    text: &'a str,
    scheme: Scheme,
    /// Where the scheme ends.
    start: usize,
    splits: Splits,
    found: Found,
}

impl Search<'_> {
    fn run(&mut self) {
        let text = self.text;
        let mut end = text.len();
        // A host holds no `@`: it ends at the first slash before the next one.
        let path_start = |start: usize, end: usize| match text[start..end].find('/') {
            Some(slash) => Some(start + slash),
            None => (end == text.len()).then_some(end),
        };
        while let Some(at) = text[self.start..end].rfind('@').map(|at| self.start + at) {
            if let Some(path_start) = path_start(at, end) {
                self.try_host(at + 1, path_start, Some(at));
            }
            end = at;
        }
        if let Some(path_start) = path_start(self.start, end) {
            self.try_host(self.start, path_start, None);
        }
    }

    /// Tries `HOST[:PORT]` between two places; `user_end` is the `@` to its left, if there is one.
    fn try_host(&mut self, host_start: usize, path_start: usize, user_end: Option<usize>) {
        let Ok(authority) = Authority::of(&self.text[host_start..path_start]) else {
            return;
        };
        // The post's prose has an empty port before the path. At the very end it is a cut-off port.
        if authority.port == PortText::Empty && path_start == self.text.len() {
            return;
        }
        self.found.hosts = true;
        let shifted = |range: Range<usize>| range.start + host_start..range.end + host_start;
        let candidate = Layout {
            scheme: self.scheme,
            user: None,
            user_spelling: Spelling::Raw,
            password: None,
            host: shifted(authority.host),
            port: match authority.port {
                PortText::Number(number, span) => PortText::Number(number, shifted(span)),
                port => port,
            },
            path: path_start..self.text.len(),
            path_reading: PathReading::Other,
        };
        match user_end {
            None => self.try_path(candidate),
            Some(user_end) => self.try_users(&candidate, user_end),
        }
    }

    fn try_users(&mut self, candidate: &Layout, user_end: usize) {
        self.found.user_end = self.found.user_end.or(Some(user_end));
        for place in 0..MAX_SPLITS {
            let split = self.splits.list.get(place).copied().flatten();
            if let Some(split) = split.filter(|split| split.end < user_end) {
                let password = Some(split.end + 1..user_end);
                self.try_spellings(candidate, split.end, split.spellings, password);
            }
        }
        let mut spellings = Spellings::of(&self.text[self.start..user_end]);
        if self.is_canonical(user_end) {
            spellings.escaped = false;
        }
        self.try_spellings(candidate, user_end, spellings, None);
    }

    /// Whether the one colon before `user_end` ends an escaped user name. Whoever escapes a user name escapes its
    /// colons, so the rest is the password, even one that ends like a user name.
    fn is_canonical(&self, user_end: usize) -> bool {
        let mut colons = self.text[self.start..user_end].match_indices(':');
        let (Some((colon, _)), None) = (colons.next(), colons.next()) else {
            return false;
        };
        let ends_here = |split: &Split| split.spellings.escaped && split.end == self.start + colon;
        self.splits.list.iter().flatten().any(ends_here)
    }

    fn try_spellings(
        &mut self,
        candidate: &Layout,
        user_end: usize,
        spellings: Spellings,
        password: Option<Range<usize>>,
    ) {
        for (legal, spelling) in [
            (spellings.raw, Spelling::Raw),
            (spellings.escaped, Spelling::Escaped),
        ] {
            if legal {
                let mut layout = candidate.clone();
                layout.user = Some(self.start..user_end);
                layout.user_spelling = spelling;
                layout.password.clone_from(&password);
                self.try_path(layout);
            }
        }
    }

    /// The last choice: how often the names of the path were escaped.
    fn try_path(&mut self, layout: Layout) {
        let path = &self.text[layout.path.clone()];
        let shape = path.strip_prefix('/').and_then(Shape::of);
        let Some(shape) = shape else {
            return self.found.add(Class::Other, layout);
        };
        // The plain case first: no escape, and no need to know whose node it is.
        let is_plain = !path.contains('%');
        if is_plain && matches!(shape.form, Form::Identity { .. }) {
            return self.add_node(Class::Identity, layout, shape.is_legal().then_some(0));
        }
        let decoded_user;
        let user = match (&layout.user, layout.user_spelling) {
            (None, _) => None,
            (Some(user), Spelling::Raw) => Some(&self.text[user.clone()]),
            (Some(user), Spelling::Escaped) => {
                decoded_user = Decoded::<MAX_USER>::of(&self.text[user.clone()]);
                decoded_user.as_ref().and_then(Decoded::as_str)
            }
        };
        let who = user
            .and_then(|user| user::Shape::of(user).ok())
            .map(|shape| shape.who);
        let class = match (&shape.form, &who) {
            (Form::Identity { .. }, _) => Class::Identity,
            // Nothing but its own nodes is open to a device or module.
            (_, Some(Who::Device(_) | Who::Module(..))) => Class::Other,
            _ => Class::Service,
        };
        if is_plain {
            self.add_node(class, layout, shape.is_legal().then_some(0));
        } else if layout.user.is_none() || layout.user_spelling == Spelling::Escaped {
            // A URL whose user name is escaped is one whose path is; so the standard has it. But no name can
            // be meant by escapes of what is in no name.
            let times = [1, 0].into_iter().find(|times| shape.names(*times).is_some());
            self.add_node(class, layout, times);
        } else {
            self.try_raw_path(class, layout, &shape, who.as_ref());
        }
    }

    fn add_node(&mut self, class: Class, mut layout: Layout, times: Option<u8>) {
        match times {
            Some(times) => {
                layout.path_reading = PathReading::Node(times);
                self.found.add(class, layout);
            }
            None => self.found.misnamed = Some(layout.path),
        }
    }

    /// The path of an address whose user name is raw may be raw, or escaped once or twice.
    fn try_raw_path(&mut self, class: Class, mut layout: Layout, shape: &Shape<'_>, who: Option<&Who<'_>>) {
        let names = [shape.names(0), shape.names(1), shape.names(2)];
        let is_own = |names: &Option<Names>| {
            names
                .as_ref()
                .zip(who)
                .is_some_and(|(names, who)| names.are_of(who))
        };
        if let Some((times, _)) = (0..).zip(&names).find(|(_, names)| is_own(names)) {
            layout.path_reading = PathReading::Node(times);
            return self.found.add(class, layout);
        }
        // Nothing tells how it was written: all its readings count, each once.
        let [raw, once, twice] = &names;
        let different = [
            (0, raw.is_some()),
            (1, once.is_some() && once != raw),
            (2, twice.is_some() && twice != once),
        ];
        let mut readings = different.into_iter().filter(|(_, differs)| *differs).peekable();
        if readings.peek().is_none() {
            self.found.misnamed = Some(layout.path);
            return;
        }
        for (times, _) in readings {
            layout.path_reading = PathReading::Node(times);
            self.found.add(class, layout.clone());
        }
    }

    fn finish(self) -> Result<Layout, AddressError> {
        let (text, start) = (self.text, self.start);
        let mut found = self.found;
        if found.count > 1 {
            let readings = Reading::describe(text, found.readings.iter().flatten());
            return Err(AddressError::new(
                ErrorKind::Ambiguous { readings },
                start..text.len(),
            ));
        }
        if let Some(layout) = found.readings.first_mut().and_then(Option::take) {
            return Ok(layout);
        }
        Err(match found {
            Found { hosts: false, .. } => AddressError::new(ErrorKind::NoHost, text.len()..text.len()),
            Found {
                misnamed: Some(path), ..
            } => misnamed_node(text, path),
            Found {
                user_end: Some(user_end),
                ..
            } => no_user(text, start, user_end),
            _ => AddressError::new(ErrorKind::NoUser, start..start),
        })
    }
}

/// Why a path that has the form of a node is none.
fn misnamed_node(text: &str, path: Range<usize>) -> AddressError {
    let shape = text.get(path.start + 1..path.end).and_then(Shape::of);
    match shape.and_then(|shape| shape.node(1).err()) {
        Some(error) => error.shifted(path.start + 1),
        None => AddressError::new(ErrorKind::UnknownNode, path),
    }
}

/// Why what stands before a host is no user name: told of the text before the first colon, which is no part
/// of a password in any reading.
fn no_user(text: &str, start: usize, user_end: usize) -> AddressError {
    let end = text[start..user_end].find(':').map_or(user_end, |at| start + at);
    let user = &text[start..end];
    match User::check(user) {
        Err(error) if *error.kind() == ErrorKind::FullHostName => error.shifted(start),
        _ => AddressError::new(ErrorKind::NoUser, start..end),
    }
}

/// The readings found so far: those of the best class.
#[derive(Default)]
struct Found {
    class: Option<Class>,
    readings: [Option<Layout>; MAX_READINGS],
    count: usize,
    /// Whether anything looked like a host.
    hosts: bool,
    /// The `@` before the rightmost thing that did.
    user_end: Option<usize>,
    /// A path that has the form of a node and names that no node has.
    misnamed: Option<Range<usize>>,
}

/// How much a path looks like one of a hub. A better one wins: a SAS token does not end in
/// `@HOST/devices/…`, so that a longer path that is a hub's own is the path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Class {
    Identity,
    Service,
    Other,
}

impl Found {
    fn add(&mut self, class: Class, layout: Layout) {
        match self.class {
            Some(best) if best < class => return,
            Some(best) if best == class => {}
            _ => {
                self.class = Some(class);
                self.count = 0;
                self.readings = Default::default();
            }
        }
        if let Some(place) = self.readings.get_mut(self.count) {
            *place = Some(layout);
        }
        self.count += 1;
    }
}

/// The places where a user name may end and a password begin.
#[derive(Default)]
struct Splits {
    list: [Option<Split>; MAX_SPLITS],
}

#[derive(Clone, Copy, Debug)]
struct Split {
    /// The colon.
    end: usize,
    spellings: Spellings,
}

impl Splits {
    fn of(text: &str, start: usize) -> Self {
        let mut splits = Self::default();
        let mut places = splits.list.iter_mut();
        let bytes = text.as_bytes();
        let mut from = start;
        while let Some(end) = text[from..].find(':').map(|at| from + at) {
            from = end + 1;
            // A hub's name ends in one of these, escaped or not: this spares most colons of an id. Before the first
            // byte there is the scheme's slash.
            if !is_label_byte(bytes[end - 1]) {
                continue;
            }
            let spellings = Spellings::of(&text[start..end]);
            if spellings.raw || spellings.escaped {
                // More than there is room for are ambiguous anyway.
                let Some(place) = places.next() else { break };
                *place = Some(Split { end, spellings });
            }
        }
        splits
    }
}

/// In which spellings a text is a user name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Spellings {
    raw: bool,
    escaped: bool,
}

impl Spellings {
    fn of(text: &str) -> Self {
        let none = Self {
            raw: false,
            escaped: false,
        };
        if text.len() > MAX_ESCAPED_USER {
            return none;
        }
        // The `@` before a hub's name has no colon behind it: most of what holds a password ends here.
        let tail = text.rfind(':').map_or(text, |at| &text[at..]);
        if !tail.contains('@') && !tail.contains("%40") {
            return none;
        }
        let escaped = has_escape(text)
            && Decoded::<MAX_USER>::of_legal(text, is_user_byte)
                .as_ref()
                .and_then(Decoded::as_str)
                .is_some_and(|user| User::check(user).is_ok());
        Self {
            raw: User::check(text).is_ok(),
            escaped,
        }
    }
}

/// What may be in a user name; a policy's alphabet is part of an id's.
const fn is_user_byte(byte: u8) -> bool {
    is_id_byte(byte) || byte == b'/'
}

/// The longest user name, a module's: two ids, and a hub's name with the literals between them. A policy's is shorter.
pub(crate) const MAX_USER: usize =
    DeviceId::MAX_LEN + "/modules/".len() + ModuleId::MAX_LEN + "@sas.".len() + HubName::MAX_LEN;
const MAX_ESCAPED_USER: usize = 3 * MAX_USER;
const MAX_READINGS: usize = 4;
const MAX_SPLITS: usize = 4;
