//! Conversions to and from the `url` crate.
#![cfg(feature = "url")]

use iothub_address::{AmqpUrl, ErrorKind, Secret};
use url::Url;

#[test]
fn an_address_goes_to_a_url_and_back() {
    for text in [
        "amqps://a#b@sas.hub:to/k@host:443/devices/a#b/messages/events",
        "amqps://host",
        "amqps://p@sas.root.hub:t@[::ffff:1.2.3.4]/messages/devicebound",
    ] {
        let address = AmqpUrl::parse(text).unwrap();
        let url = Url::try_from(&address).unwrap();
        let back = AmqpUrl::try_from(&url).unwrap();
        assert_eq!(back.expose(), address.expose());
        assert_eq!(
            back.password().map(Secret::expose),
            address.password().map(Secret::expose)
        );
    }
}

#[test]
fn an_id_that_a_url_cannot_hold_is_refused() {
    for id in [".", ".."] {
        let address = AmqpUrl::parse(&format!("amqps://{id}@sas.hub:t@host/devices/{id}/twin")).unwrap();
        assert_eq!(
            *Url::try_from(&address).unwrap_err().kind(),
            ErrorKind::DotSegment
        );
    }
    let address = AmqpUrl::parse("amqps://...@sas.hub:t@host/devices/.../twin").unwrap();
    assert!(Url::try_from(&address).is_ok());
}
