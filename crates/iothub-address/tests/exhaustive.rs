//! Every device id of one and two characters, through every text that an id can be in.

use iothub_address::{
    AmqpUrl, ConnectionString, DeviceId, ErrorKind, HubHost, HubName, Identity, Node, Secret, User,
};

const ALPHABET: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-:.+%_#*?!(),=@;$'";

fn ids() -> impl Iterator<Item = String> {
    let two = ALPHABET
        .chars()
        .flat_map(|a| ALPHABET.chars().map(move |b| format!("{a}{b}")));
    ALPHABET.chars().map(String::from).chain(two)
}

#[test]
fn there_are_6480_of_them() {
    assert_eq!(ids().count(), 80 + 80 * 80);
}

#[test]
fn each_is_read_back_from_a_url_canonical_and_raw() {
    let host = HubHost::parse("h.example").unwrap();
    let hub = HubName::parse("h").unwrap();
    for id in ids() {
        let identity = Identity::Device(DeviceId::parse(&id).unwrap());
        let node = Node::Events(identity.clone());
        let url = AmqpUrl::new(host.clone(), node.clone()).with_credentials(
            User::for_identity(identity.clone(), hub.clone()),
            Secret::new("t/o=k"),
        );
        let raw = format!("amqps://{id}@sas.h:t/o=k@h.example/devices/{id}/messages/events");
        for text in [url.expose(), raw] {
            let read = AmqpUrl::parse(&text).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(read.identity(), Some(&identity), "{text}");
            assert_eq!(read.node(), Some(&node), "{text}");
            assert_eq!(read.host(), &host, "{text}");
            assert_eq!(read.password().unwrap().expose(), "t/o=k", "{text}");
        }
    }
}

#[test]
fn each_is_read_back_from_a_node_and_a_user_name() {
    for id in ids() {
        let identity = Identity::Device(DeviceId::parse(&id).unwrap());
        let node = Node::Twin(identity.clone());
        assert_eq!(node.to_string().parse(), Ok(node.clone()));
        assert_eq!(
            Node::readings(&format!("amqps://h:5671/devices/{id}/twin"))[0],
            node
        );
        let user = User::for_identity(identity, HubName::parse("h").unwrap());
        assert_eq!(User::parse(&user.to_string()), Ok(user));
    }
}

#[test]
fn each_is_read_back_from_a_connection_string_or_refused_for_its_semicolon() {
    for id in ids() {
        let identity = Identity::Device(DeviceId::parse(&id).unwrap());
        let host = HubHost::parse("h.example").unwrap();
        let built = ConnectionString::builder(host)
            .identity(identity.clone())
            .key(Secret::new("a2V5=="))
            .build();
        if id.contains(';') {
            assert_eq!(
                *built.unwrap_err().kind(),
                ErrorKind::Unwritable("DeviceId"),
                "{id}"
            );
        } else {
            let text = built.unwrap().expose();
            assert_eq!(
                ConnectionString::parse(&text).unwrap().identity(),
                Some(&identity),
                "{text}"
            );
        }
    }
}
