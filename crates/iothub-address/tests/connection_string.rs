//! Connection strings: each form, and each contradiction by the name of its key.

use iothub_address::{
    AddressError, ConnectionString, ConnectionStringKind, DeviceId, ErrorKind, EventHubName, HubHost,
    Identity, PolicyName, Secret,
};

const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

fn parse(text: &str) -> ConnectionString {
    ConnectionString::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn error(text: &str) -> AddressError {
    match ConnectionString::parse(text) {
        Ok(string) => panic!("{text} was read as {string}"),
        Err(error) => error,
    }
}

#[test]
fn each_form_is_read_and_printed_back() {
    for (text, kind) in [
        (format!("HostName=h.example;DeviceId=d;SharedAccessKey={KEY}"), ConnectionStringKind::Device),
        (format!("HostName=h.example:8883;DeviceId=d;ModuleId=m;SharedAccessKey={KEY};GatewayHostName=gw:1"), ConnectionStringKind::Module),
        ("HostName=h.example;DeviceId=a=b@c;x509=true".into(), ConnectionStringKind::Device),
        ("HostName=h.example;DeviceId=d;SharedAccessSignature=SharedAccessSignature sr=h.example&sig=x%3D&se=1".into(), ConnectionStringKind::Device),
        (format!("HostName=h.example;DeviceId=d;SharedAccessKeyName=device;SharedAccessKey={KEY}"), ConnectionStringKind::Device),
        (format!("HostName=h.example;SharedAccessKeyName=iothubowner;SharedAccessKey={KEY}"), ConnectionStringKind::Service),
        (format!("HostName=x.azure-devices-provisioning.net;SharedAccessKeyName=provisioningserviceowner;SharedAccessKey={KEY}"), ConnectionStringKind::Provisioning),
        (format!("Endpoint=sb://ns.servicebus.windows.net/;SharedAccessKeyName=iothubowner;SharedAccessKey={KEY};EntityPath=myhub"), ConnectionStringKind::EventHub),
        (format!("HostName=[::1]:5671;DeviceId=d;SharedAccessKey={KEY}"), ConnectionStringKind::Device),
    ] {
        let string = parse(&text);
        assert_eq!(string.expose(), text);
        assert_eq!(string.kind(), kind);
        assert!(!string.to_string().contains(KEY) && !format!("{string:?}").contains("sig="), "{string}");
    }
}

#[test]
fn order_and_empty_parts_do_not_matter() {
    let string = parse(&format!(
        ";SharedAccessKey={KEY};;DeviceId=d;HostName=h.example:443;"
    ));
    assert_eq!(
        string.expose(),
        format!("HostName=h.example:443;DeviceId=d;SharedAccessKey={KEY}")
    );
    assert_eq!(string.port(), Some(443));
    assert_eq!(string.key().unwrap().expose(), KEY);
    assert_eq!(
        parse("HostName=h;DeviceId=d;X509Cert=True").expose(),
        "HostName=h;DeviceId=d;x509=true"
    );
}

#[test]
fn contradictions_are_told_by_the_name_and_place_of_the_key() {
    let cases = [
        (
            "HostName=h;HostName=i;DeviceId=d;x509=true",
            ErrorKind::DuplicateKey("HostName"),
            11..19,
        ),
        (
            "HostName=h;DeviceId=d;x509=true;SharedAccessKey=k",
            ErrorKind::Contradiction("x509", "SharedAccessKey"),
            22..26,
        ),
        (
            "HostName=h;DeviceId=d;SharedAccessKey=k;SharedAccessSignature=s",
            ErrorKind::Contradiction("SharedAccessSignature", "SharedAccessKey"),
            40..61,
        ),
        (
            "HostName=h;DeviceId=d;x509=true;EntityPath=e",
            ErrorKind::Contradiction("EntityPath", "HostName"),
            32..42,
        ),
        (
            "Endpoint=sb://h/;HostName=h;x509=true",
            ErrorKind::Contradiction("Endpoint", "HostName"),
            0..8,
        ),
        (
            "Endpoint=sb://h/;DeviceId=d;x509=true",
            ErrorKind::Contradiction("DeviceId", "Endpoint"),
            17..25,
        ),
        (
            "Endpoint=sb://h/;ModuleId=d;x509=true",
            ErrorKind::Contradiction("ModuleId", "Endpoint"),
            17..25,
        ),
        ("HostName=h;DeviceId=d", ErrorKind::NoCredential, 21..21),
        (
            "HostName=h;DeviceId=d;x509=false",
            ErrorKind::Value("x509"),
            27..32,
        ),
        ("Endpoint=h;EntityPath=e", ErrorKind::Value("Endpoint"), 9..10),
        (
            "HostName=h;deviceid=d;x509=true",
            ErrorKind::MisspelledKey("DeviceId"),
            11..19,
        ),
        ("HostName=h;Device=d;x509=true", ErrorKind::UnknownKey, 11..17),
        ("HostName=h;DeviceId", ErrorKind::NoEqualsSign, 11..19),
        (
            "HostName=h;DeviceId=d;SharedAccessKey=",
            ErrorKind::Value("SharedAccessKey"),
            38..38,
        ),
        (
            "HostName=h;DeviceId=d;SharedAccessKey=k\n",
            ErrorKind::Value("SharedAccessKey"),
            38..40,
        ),
    ];
    for (text, kind, span) in cases {
        let error = error(text);
        assert_eq!((error.kind(), error.span()), (&kind, span), "{text}");
    }
    for (text, missing) in [
        ("DeviceId=d;x509=true", "HostName"),
        ("HostName=h;ModuleId=m;x509=true", "DeviceId"),
        ("HostName=h;x509=true", "DeviceId"),
        ("HostName=h;SharedAccessKey=k", "SharedAccessKeyName"),
        ("", "HostName"),
    ] {
        assert!(
            matches!(error(text).kind(), ErrorKind::MissingKey { key, .. } if *key == missing),
            "{text}"
        );
    }
}

#[test]
fn a_wrong_value_is_told_in_places_of_the_whole_string() {
    assert_eq!(error("HostName=h;DeviceId=a b;x509=true").span(), 21..22);
    assert_eq!(error("HostName=h:x;DeviceId=a;x509=true").span(), 11..12);
    assert_eq!(error("HostName=h:;DeviceId=a;x509=true").span(), 11..11);
}

#[test]
fn another_scheme_and_what_no_token_has_in_it_are_refused() {
    let endpoint = "Endpoint=tb://h/;SharedAccessKeyName=p;SharedAccessKey=k;EntityPath=e";
    assert_eq!(error(endpoint).kind(), &ErrorKind::Value("Endpoint"));
    for token in ["", "a\u{7f}b", "aéb"] {
        let text = format!("HostName=h;DeviceId=d;SharedAccessSignature={token}");
        assert_eq!(error(&text).kind(), &ErrorKind::Value("SharedAccessSignature"));
        assert_eq!(error(&text).span(), 44..text.len());
    }
}

#[test]
fn no_error_repeats_a_secret() {
    for text in [
        "HostName=h;DeviceId=d;SharedAccessKey=c4n4ry;c4n4ry=",
        "HostName=h;DeviceId=d;SharedAccessKey=c4n4ry x",
        "HostName=h;DeviceId=d;SharedAccessKey=c4n4ry;SharedAccessSignature=c4n4ry",
        "c4n4ry",
        "c4n4ry=x",
    ] {
        let error = error(text);
        assert!(
            !error.to_string().contains("c4n4ry") && !format!("{error:?}").contains("c4n4ry"),
            "{error:?}"
        );
    }
}

#[test]
fn building_says_what_parsing_says_and_refuses_a_semicolon_by_name() {
    let host = HubHost::parse("h.example").unwrap();
    let device = |id: &str| Identity::Device(DeviceId::parse(id).unwrap());
    let built = ConnectionString::builder(host.clone())
        .port(8443)
        .gateway(HubHost::parse("gw").unwrap(), None)
        .identity(device("d"))
        .key(Secret::new(KEY))
        .build()
        .unwrap();
    assert_eq!(
        built.expose(),
        format!("HostName=h.example:8443;DeviceId=d;SharedAccessKey={KEY};GatewayHostName=gw")
    );
    let built = ConnectionString::event_hub_builder(host.clone())
        .policy(PolicyName::parse("p").unwrap())
        .key(Secret::new(KEY))
        .entity_path(EventHubName::parse("e").unwrap())
        .build()
        .unwrap();
    assert_eq!(
        built.expose(),
        format!("Endpoint=sb://h.example/;SharedAccessKeyName=p;SharedAccessKey={KEY};EntityPath=e")
    );

    let error = ConnectionString::builder(host.clone())
        .identity(device("a;b"))
        .x509()
        .build()
        .unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Unwritable("DeviceId"));
    let error = ConnectionString::builder(host)
        .identity(device("d"))
        .build()
        .unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::NoCredential);
}
