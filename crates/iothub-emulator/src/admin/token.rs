//! The token of a hub's administration.

use std::fmt::Write as _;

use hyper::HeaderMap;
use hyper::header::AUTHORIZATION;
use iothub_address::Secret;
use subtle::ConstantTimeEq;

use crate::random::{self, NoRandomness};

/// Who shows it may administrate the hub. It is made anew at each start.
#[derive(Clone, Debug)]
pub(crate) struct AdminToken(Secret);

impl AdminToken {
    pub(crate) fn generate() -> Result<Self, NoRandomness> {
        let bytes = random::bytes::<32>()?;
        let mut text = String::with_capacity(2 * bytes.len());
        for byte in bytes {
            let _ = write!(text, "{byte:02x}");
        }
        Ok(Self(Secret::new(text)))
    }

    pub(crate) const fn secret(&self) -> &Secret {
        &self.0
    }

    /// Whether a request's headers show it, as RFC 6750 §2.1 has it. How long that takes does not tell how much of a wrong
    /// one is right.
    pub(super) fn is_shown_in(&self, headers: &HeaderMap) -> bool {
        let Some(shown) = headers.get(AUTHORIZATION).map(|value| value.as_bytes()) else {
            return false;
        };
        let Some((scheme, shown)) = shown.split_at_checked(SCHEME.len()) else {
            return false;
        };
        scheme.eq_ignore_ascii_case(SCHEME) && shown.ct_eq(self.0.expose().as_bytes()).into()
    }
}

const SCHEME: &[u8] = b"Bearer ";

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(token: &AdminToken, header: &str) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, header.parse().unwrap());
        token.is_shown_in(&headers)
    }

    #[test]
    fn only_the_whole_token_is_taken() {
        let token = AdminToken::generate().unwrap();
        let text = token.secret().expose();
        assert_eq!(text.len(), 64);
        assert!(shown(&token, &format!("Bearer {text}")));
        assert!(shown(&token, &format!("bearer {text}")));
        for header in [
            "Bearer",
            "Bearer ",
            text,
            &format!("Basic {text}"),
            &format!("Bearer {text}0"),
            &format!("Bearer {}", &text[..63]),
            &format!("Bearer {}", text.replace(|c: char| c.is_ascii_digit(), "x")),
        ] {
            assert!(!shown(&token, header), "{header}");
        }
        assert!(!token.is_shown_in(&HeaderMap::new()));
    }

    #[test]
    fn each_hub_has_its_own_and_none_can_be_printed() {
        let [one, other] = [(); 2].map(|()| AdminToken::generate().unwrap());
        assert_ne!(one.secret().expose(), other.secret().expose());
        assert!(!format!("{one:?}").contains(&one.secret().expose()[..8]));
    }
}
