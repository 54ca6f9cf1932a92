//! To and from the `url` crate.

use url::Url;

use crate::error::{AddressError, ErrorKind};
use crate::url::AmqpUrl;

impl TryFrom<&Url> for AmqpUrl {
    type Error = AddressError;

    /// Reads what the other parser understood, which is not always what was meant: give a text to
    /// [`AmqpUrl::parse`] itself where there is one.
    ///
    /// # Errors
    /// As [`AmqpUrl::parse`]; places are bytes of the URL's own text.
    fn try_from(url: &Url) -> Result<Self, AddressError> {
        Self::parse(url.as_str())
    }
}

impl TryFrom<&AmqpUrl> for Url {
    type Error = AddressError;

    /// The canonical form, **with the password**, which `Url` prints.
    ///
    /// # Errors
    /// `DotSegment` for an id of `.` or `..`: `Url` cannot hold it.
    fn try_from(address: &AmqpUrl) -> Result<Self, AddressError> {
        let text = address.expose();
        let refused = || AddressError::new(ErrorKind::DotSegment, 0..0);
        let url = Self::parse(&text).map_err(|_| refused())?;
        // The path is the end of the text, escaped so that nothing but a dot segment changes it.
        if text.ends_with(url.path()) && address.path().split('/').count() == url.path().split('/').count() {
            Ok(url)
        } else {
            Err(refused())
        }
    }
}
