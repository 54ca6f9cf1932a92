//! Counted: reading in place allocates nothing, and an address takes one allocation to print.

use allocation_counter::measure;
use iothub_address::{AmqpUrl, AmqpUrlRef, HubHost, Identity, Node, Secret, User};

const RAW: &str = "amqps://myFirstDevice@sas.tcontehub:SharedAccessSignature%20sr%3Dtcontehub.azure-devices.net%252fdevices%252fmyFirstDevice%26sig%3DHd5oMqIIKvme67oOlFoqtc7QX1pRgAhtzWM6ArZcP4Y%253D%26se%3D1463330495@tcontehub.azure-devices.net/devices/myFirstDevice/messages/events";

#[test]
fn reading_in_place_allocates_nothing_for_any_spelling() {
    let canonical = AmqpUrl::parse(RAW).unwrap().expose();
    for text in [
        RAW,
        canonical.as_str(),
        "amqps://a#b@c:1%zz@sas.hub:to/k@host:/devices/a%23b@c:1%25zz/twin",
        "amqps://a%23b%2Fmodules%2Fm%40sas.hub:t@[::1]:443/devices/a%23b/modules/m/messages/events",
        "amqps://p@sas.root.hub:t@host/messages/events/ConsumerGroups/%24Default/Partitions/1",
        "amqps://host/x",
    ] {
        let info = measure(|| {
            let url = AmqpUrlRef::parse(text).unwrap();
            assert!(url.host().len() + url.path().as_written().len() < text.len());
            let _ = (
                url.device(),
                url.module(),
                url.policy(),
                url.hub(),
                url.expose_password(),
            );
        });
        assert_eq!(info.count_total, 0, "{text}");
    }
}

#[test]
fn building_and_printing_an_address_allocates_once() {
    let host = HubHost::parse("hub.example").unwrap();
    let identity = Identity::parse("a#b").unwrap();
    let user = User::for_identity(identity.clone(), host.hub_name().unwrap());
    let token = Secret::new("SharedAccessSignature sr=hub.example&sig=a/b&se=1");
    let mut text = String::new();
    let info = measure(|| {
        text = AmqpUrl::new(host, Node::Events(identity))
            .with_credentials(user, token)
            .with_port(443)
            .expose();
    });
    assert_eq!((info.count_total, text.capacity()), (1, text.len()));
}
