//! Goal: a proxy's address is read as curl, Go and others read it, and shows nothing of its credentials.

use super::*;

fn authorization(text: &str) -> Option<String> {
    Proxy::parse(text)
        .unwrap()
        .authorization()
        .map(|secret| secret.expose().to_owned())
}

fn place(text: &str) -> String {
    let proxy = Proxy::parse(text).unwrap();
    format!("{}:{}", proxy.host(), proxy.port())
}

#[test]
fn a_proxy_has_a_host_and_a_port() {
    assert_eq!(place("http://proxy.example:3128"), "proxy.example:3128");
    assert_eq!(place("HTTP://proxy.example:3128/"), "proxy.example:3128");
    assert_eq!(place("proxy.example:3128"), "proxy.example:3128");
    assert_eq!(place("http://proxy.example"), "proxy.example:80");
    assert_eq!(place("http://10.0.0.1:8080"), "10.0.0.1:8080");
    assert_eq!(place("http://[::1]:8080"), "[::1]:8080");
    assert_eq!(place("http://[::1]"), "[::1]:80");
}

/// The pair of RFC 7617 §2, and what percent-decoding makes of one with reserved characters.
#[test]
fn credentials_are_decoded_once_and_sent_by_the_basic_scheme() {
    assert_eq!(authorization("http://proxy.example"), None);
    let basic = |text: &str| Some(format!("Basic {text}"));
    assert_eq!(
        authorization("http://Aladdin:open%20sesame@proxy.example"),
        basic("QWxhZGRpbjpvcGVuIHNlc2FtZQ==")
    );
    // printf '%s' 'corp\dev:p@ss:w/rd' | base64
    assert_eq!(
        authorization("http://corp%5Cdev:p@ss:w%2Frd@proxy.example"),
        basic("Y29ycFxkZXY6cEBzczp3L3Jk")
    );
    // printf '%s' 'dev:' | base64
    assert_eq!(authorization("http://dev@proxy.example"), basic("ZGV2Og=="));
    let given = Proxy::parse("proxy.example")
        .unwrap()
        .with_credentials("Aladdin", Secret::new("open sesame"))
        .unwrap();
    assert_eq!(
        given.authorization().unwrap().expose(),
        "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="
    );
}

#[test]
fn what_is_wrong_is_said_without_the_text() {
    let error = |text: &str| Proxy::parse(text).unwrap_err();
    assert_eq!(error("https://u:canary@proxy.example"), ProxyError::Scheme);
    assert_eq!(error("socks5://proxy.example"), ProxyError::Scheme);
    for text in [
        "proxy.example:0",
        "proxy.example:65536",
        "proxy.example:x",
        "[::1]x",
    ] {
        assert_eq!(error(text), ProxyError::Port, "{text}");
    }
    for text in ["", "http://", "u:canary@", "u:canary@a b", "u:canary@-"] {
        assert!(matches!(error(text), ProxyError::Host(_)), "{text}");
    }
    assert_eq!(error("u:%ff@proxy.example"), ProxyError::Encoding);
    assert_eq!(error("u%3Av:canary@proxy.example"), ProxyError::Colon);
    for text in [
        "https://u:canary@p",
        "u:canary@-",
        "u:canary@p:x",
        "u%3A:canary@p",
    ] {
        let (error, debug) = (error(text), format!("{:?}", error(text)));
        assert!(!format!("{error}{debug}").contains("canary"), "{error}");
    }
}

#[test]
fn nothing_shows_a_proxys_credentials() {
    let proxy = Proxy::parse("http://user-canary:canary@proxy.example:3128").unwrap();
    let proxies = Proxies::all(proxy.clone());
    assert_eq!(proxy.to_string(), "http://***@proxy.example:3128");
    for text in [format!("{proxy:?}"), format!("{proxies:?}")] {
        assert!(!text.contains("canary"), "{text}");
    }
}

fn environment(pairs: &[(&'static str, &'static str)]) -> impl Fn(&str) -> Option<OsString> {
    let pairs = pairs.to_vec();
    move |name| {
        let mut found = pairs.iter().filter(|(key, _)| *key == name);
        found.next().map(|(_, value)| (*value).into())
    }
}

fn via(pairs: &[(&'static str, &'static str)], host: &str) -> Option<String> {
    let proxies = Proxies::from_environment(environment(pairs)).unwrap();
    let host = HubHost::parse(host).unwrap();
    proxies.of(&host, 5671).map(ToString::to_string)
}

#[test]
fn the_environment_names_the_proxy_in_either_case() {
    let hub = "myhub.azure-devices.net";
    assert_eq!(via(&[], hub), None);
    assert_eq!(via(&[("HTTPS_PROXY", "")], hub), None);
    assert_eq!(via(&[("HTTP_PROXY", "other")], hub), None);
    let upper = ("HTTPS_PROXY", "upper");
    let lower = ("https_proxy", "lower");
    assert_eq!(via(&[lower], hub).unwrap(), "http://lower:80");
    assert_eq!(via(&[upper, lower], hub).unwrap(), "http://upper:80");
    let bad = Proxies::from_environment(environment(&[("https_proxy", "socks5://x")]));
    assert_eq!(bad.unwrap_err(), ProxyError::Scheme);
}

#[test]
fn a_proxy_of_a_kind_that_is_not_spoken_is_in_nobody_s_way_who_does_not_need_it() {
    let of = |no_proxy, host: &str| {
        let (place, set) = (
            HubHost::parse(host).unwrap(),
            [("HTTPS_PROXY", "socks5://x"), ("NO_PROXY", no_proxy)],
        );
        Proxies::of_environment(environment(&set), (&place, 5671)).map(|proxy| proxy.is_some())
    };
    assert_eq!(of("", "hub.example"), Err(ProxyError::Scheme));
    assert_eq!(of("hub.example", "hub.example"), Ok(false));
    assert_eq!(of("*", "hub.example"), Ok(false));
    assert_eq!(of("", "localhost"), Ok(false));
}

#[test]
fn this_machine_is_reached_without_the_proxy_of_the_environment_and_by_one_that_is_given() {
    for host in ["localhost", "127.0.0.1", "127.9.9.9", "::1", "hub.localhost"] {
        assert_eq!(via(&[("HTTPS_PROXY", "p")], host), None, "{host}");
    }
    let given = Proxies::all(Proxy::parse("p").unwrap());
    assert!(given.of(&HubHost::parse("localhost").unwrap(), 5671).is_some());
    let none = Proxies::none();
    assert!(none.of(&HubHost::parse("hub.example").unwrap(), 5671).is_none());
}

/// The forms that curl, Go's `httpproxy` and Python's `urllib` agree on.
#[test]
fn no_proxy_lists_names_addresses_and_networks() {
    let excepted = |list: &'static str, host: &str| {
        let environment = [("HTTPS_PROXY", "p"), ("NO_PROXY", list)];
        via(&environment, host).is_none()
    };
    for (list, host) in [
        ("*", "hub.example"),
        ("hub.example", "HUB.example"),
        ("example", "hub.example"),
        (".example", "hub.example"),
        ("*.example", "hub.example"),
        (".hub.example", "hub.example"),
        ("other, hub.example", "hub.example"),
        ("other hub.example", "hub.example"),
        ("hub.example:5671", "hub.example"),
        ("10.0.0.1", "10.0.0.1"),
        ("10.0.0.0/8", "10.200.1.1"),
        ("0.0.0.0/0", "192.0.2.1"),
        ("10.0.0.0/8:5671", "10.200.1.1"),
        ("2001:db8::1", "2001:db8::1"),
        ("[2001:db8::1]", "2001:db8::1"),
        ("[2001:db8::1]:5671", "2001:db8::1"),
        ("2001:db8::/32", "2001:db8:1::1"),
        ("?!,hub.example", "hub.example"),
    ] {
        assert!(excepted(list, host), "{list} for {host}");
    }
    for (list, host) in [
        ("hub.example", "myhub.example"),
        ("hub.example", "hub.example.org"),
        ("hub.example:443", "hub.example"),
        ("10.0.0.1", "10.0.0.2"),
        ("10.0.0.0/8", "11.0.0.1"),
        ("10.0.0.0/33", "10.0.0.1"),
        ("2001:db8::/32", "2001:db9::1"),
        ("10.0.0.0/8", "hub.example"),
        ("?", "hub.example"),
        (",", "hub.example"),
    ] {
        assert!(!excepted(list, host), "{list} for {host}");
    }
}
