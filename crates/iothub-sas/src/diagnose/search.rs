//! The search for what was signed, and with what.

use alloc::borrow::Cow;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;

use hmac::Mac;
use zeroize::Zeroizing;

use super::{Expected, Newline, Reason};
use crate::escape::{self, COMPONENT, DOTNET, JAVA, SLASH_SAFE, UNRESERVED};
use crate::{SasToken, SharedKey, Spelling, UnixTime};

/// The fewest faults that explain the signature; none if it fits.
pub(super) fn explain_signature(token: &SasToken, expected: &Expected<'_>) -> Vec<Reason> {
    let signature = token.signature();
    let keys = keys(expected);
    let resources = resources(token, expected.resource);
    let expiries = expiries(token);
    let line_ends = line_ends();
    for faults in 0..=MAX_FAULTS {
        for key in &keys {
            for resource in &resources {
                for expiry in &expiries {
                    for ends in &line_ends {
                        let all = [&key.faults, &resource.faults, &expiry.faults, &ends.faults];
                        if all.iter().map(|faults| faults.len()).sum::<usize>() != faults {
                            continue;
                        }
                        let [after_resource, after_expiry] = ends.tried;
                        let signed = [&*resource.tried, after_resource, &*expiry.tried, after_expiry];
                        if key.tried.mac(&signed).verify_slice(&signature).is_ok() {
                            return all.into_iter().flatten().cloned().collect();
                        }
                    }
                }
            }
        }
    }
    vec![Reason::WrongKey]
}

/// Faults tried together.
const MAX_FAULTS: usize = 3;

/// Something that may have been used for signing, and what would have been wrong then.
struct Hypothesis<T> {
    tried: T,
    faults: Vec<Reason>,
}

fn keys(expected: &Expected<'_>) -> Vec<Hypothesis<SharedKey>> {
    let mut hypotheses = Vec::new();
    let secondary = expected.secondary.map(|key| (key, Some(Reason::SecondaryKey)));
    for (key, which) in [(expected.primary, None)].into_iter().chain(secondary) {
        let text = key.to_base64();
        let decoded = str::from_utf8(key.bytes())
            .ok()
            .and_then(|text| SharedKey::from_base64(text).ok());
        let forms = [
            Some((key.bytes(), None)),
            Some((text.expose().as_bytes(), Some(Reason::KeyAsText))),
            decoded
                .as_ref()
                .map(|key| (key.bytes(), Some(Reason::KeyDecoded))),
        ];
        for (bytes, form) in forms.into_iter().flatten() {
            for end in ["", "\n", "\r\n"] {
                let newline = (!end.is_empty()).then_some(Reason::TrailingNewline { after: Newline::Key });
                let bytes = Zeroizing::new([bytes, end.as_bytes()].concat());
                let faults = [which.clone(), form.clone(), newline]
                    .into_iter()
                    .flatten()
                    .collect();
                hypotheses.push(Hypothesis {
                    tried: SharedKey::prepare(&bytes),
                    faults,
                });
            }
        }
    }
    hypotheses
}

fn resources<'a>(token: &'a SasToken, expected: Option<&str>) -> Vec<Hypothesis<Cow<'a, str>>> {
    let raw = token.raw_resource();
    // A signature ends with `=`, which every SDK escapes. Where it stands raw the whole token has been decoded.
    let decoded = token.raw_signature().contains('=');
    let mut hypotheses = vec![Hypothesis {
        tried: Cow::Borrowed(raw),
        faults: Vec::new(),
    }];
    let mut add = |signed: String, same: bool| {
        if hypotheses.iter().any(|known| known.tried == *signed) {
            return;
        }
        let decodes_to_raw = crate::resource::readings(&signed).any(|reading| reading == raw);
        let fault = match same {
            true if decoded && decodes_to_raw => Reason::DecodedTooOften {
                signed: signed.clone(),
            },
            true => Reason::OtherSpelling {
                signed: signed.clone(),
            },
            false => Reason::OtherResource {
                signed: signed.clone(),
            },
        };
        hypotheses.push(Hypothesis {
            tried: Cow::Owned(signed),
            faults: vec![fault],
        });
    };
    for reading in token.resource_readings() {
        spellings(&reading)
            .into_iter()
            .for_each(|signed| add(signed, true));
    }
    for signed in expected.into_iter().flat_map(spellings) {
        add(signed, false);
    }
    hypotheses
}

/// All the ways in which SDKs, samples and hand-written code spell one resource; some may be equal.
fn spellings(resource: &str) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    for spelling in Spelling::ALL {
        let mut out = String::new();
        spelling.write(resource, &mut out);
        all.push(out);
    }
    for kept in [&UNRESERVED, &DOTNET, &JAVA, &COMPONENT, &SLASH_SAFE] {
        let mut out = String::new();
        escape::write(resource, kept, &mut out);
        // Older .NET (`HttpUtility.UrlEncode`) writes escapes in lower case.
        all.push(lower_escapes(&out));
        // The Node SDK: all in upper case but this one.
        all.push(out.replace("%2A", "%2a"));
        all.push(out);
    }
    // The text that once was the documentation's advice: everything in lower case.
    let lower: Vec<String> = all.iter().map(|spelled| spelled.to_ascii_lowercase()).collect();
    all.extend(lower);
    all
}

fn lower_escapes(escaped: &str) -> String {
    let mut parts = escaped.split('%');
    let mut out = String::from(parts.next().unwrap_or_default());
    for part in parts {
        // What we escaped has two hex digits, in ASCII, after each `%`.
        let (digits, rest) = part.split_at_checked(2).unwrap_or((part, ""));
        out.push('%');
        out.push_str(&digits.to_ascii_lowercase());
        out.push_str(rest);
    }
    out
}

fn expiries(token: &SasToken) -> Vec<Hypothesis<Cow<'_, str>>> {
    let seconds = token.expires_at().as_secs();
    let other = |signed: u64| Hypothesis {
        tried: Cow::Owned(signed.to_string()),
        faults: vec![Reason::OtherExpiry {
            signed: UnixTime::from_secs(signed),
        }],
    };
    let as_written = Hypothesis {
        tried: Cow::Borrowed(token.raw_expiry()),
        faults: Vec::new(),
    };
    [
        Some(as_written),
        Some(other(seconds / 1000)),
        seconds.checked_mul(1000).map(other),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// What stands between resource and expiry, and after the expiry.
fn line_ends() -> Vec<Hypothesis<[&'static str; 2]>> {
    let fault = |after| vec![Reason::TrailingNewline { after }];
    vec![
        Hypothesis {
            tried: ["\n", ""],
            faults: Vec::new(),
        },
        Hypothesis {
            tried: ["\n", "\n"],
            faults: fault(Newline::Expiry),
        },
        Hypothesis {
            tried: ["\n", "\r\n"],
            faults: fault(Newline::Expiry),
        },
        Hypothesis {
            tried: ["\r\n", ""],
            faults: fault(Newline::Resource),
        },
        Hypothesis {
            tried: ["\n\n", ""],
            faults: fault(Newline::Resource),
        },
        Hypothesis {
            tried: ["\r\n\n", ""],
            faults: fault(Newline::Resource),
        },
    ]
}
