//! Every text that is cut off anywhere is an error, or is itself something that prints back the same.

use iothub_address::{AmqpUrl, ConnectionString, Node, User};

const URLS: [&str; 5] = [
    "amqps://dev%231%40sas.myhub:SharedAccessSignature%20sr%3Dmyhub.azure-devices.net%252Fdevices%252Fdev%252523%26sig%3Dx%252Fy%26se%3D1@myhub.azure-devices.net:5671/devices/dev%231/messages/events",
    "amqps://d%2Fmodules%2Fm%40sas.hub:t@[2001:db8::1]:443/devices/d/modules/m/messages/devicebound",
    "amqp://iothubowner%40sas.root.localhost:t@127.0.0.1:5672/messages/serviceBound/filenotifications",
    "amqps://p%40sas.root.hub:t@h/messages/events/ConsumerGroups/%24Default/Partitions/12",
    "amqps://h.example/x/%C3%A9/y",
];

#[test]
fn a_cut_canonical_url_is_an_error_or_prints_back_to_the_byte() {
    for whole in URLS {
        assert_eq!(AmqpUrl::parse(whole).unwrap().expose(), whole);
        for text in prefixes(whole) {
            if let Ok(url) = AmqpUrl::parse(text) {
                assert_eq!(url.expose(), text);
            }
        }
    }
}

#[test]
fn a_cut_raw_url_is_an_error_or_the_same_as_what_it_prints() {
    for whole in [
        "amqps://a#b@c:1@sas.myhub:SharedAccessSignature sr=h%2Fdevices&sig=a/b+c=&se=1@myhub.azure-devices.net:/devices/a#b@c:1/messages/events",
        "amqps://dev@sas.hub:to/k@host/devices/dev/messages/events",
    ] {
        for text in prefixes(whole) {
            if let Ok(url) = AmqpUrl::parse(text) {
                let again = AmqpUrl::parse(&url.expose()).unwrap();
                assert_eq!(
                    (again.expose(), again.user(), again.path()),
                    (url.expose(), url.user(), url.path())
                );
            }
        }
    }
}

#[test]
fn a_cut_connection_string_is_an_error_or_prints_back_to_the_byte() {
    for whole in [
        "HostName=h.example:8883;DeviceId=d;ModuleId=m;SharedAccessKey=AAECAwQFBgcICQoLDA0ODw==;GatewayHostName=gw:1",
        "HostName=h;DeviceId=d;SharedAccessSignature=SharedAccessSignature sr=h&sig=x%3D&se=1",
        "Endpoint=sb://ns.servicebus.windows.net/;SharedAccessKeyName=p;SharedAccessKey=a2V5;EntityPath=e",
    ] {
        assert_eq!(ConnectionString::parse(whole).unwrap().expose(), whole);
        for text in prefixes(whole) {
            if let Ok(string) = ConnectionString::parse(text) {
                // Empty parts are passed over: only a last `;` may be gone.
                assert_eq!(string.expose(), text.trim_end_matches(';'));
            }
        }
    }
}

#[test]
fn a_cut_node_or_user_name_is_an_error_or_prints_back_to_the_byte() {
    for whole in [
        "/devices/d#1/modules/m/messages/events",
        "/messages/events/ConsumerGroups/$Default/Partitions/12",
        "0ne00000000/registrations/reg-1",
    ] {
        for text in prefixes(whole) {
            if let Ok(node) = text.parse::<Node>() {
                assert_eq!(node.to_string(), text);
            }
        }
    }
    for text in prefixes("d/modules/m@sas.hub").chain(prefixes("iothubowner@sas.root.myhub")) {
        if let Ok(user) = User::parse(text) {
            assert_eq!(user.to_string(), text);
        }
    }
}

/// All but the whole.
fn prefixes(whole: &str) -> impl Iterator<Item = &str> {
    (0..whole.len()).filter_map(|end| whole.get(..end))
}
