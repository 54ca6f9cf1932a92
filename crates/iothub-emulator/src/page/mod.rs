//! A page for people who would rather look than read: who is there, what came last, and twins. It only reads, and it is for
//! this machine alone: it asks for no credentials, and so answers nobody whose address or whose name for the hub is not
//! a loopback one. To all others it is not there.

mod view;

use std::net::{IpAddr, SocketAddr};

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{
    ACCEPT, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HOST, HeaderName, HeaderValue,
    REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use hyper::{HeaderMap, Method, Request, Response, StatusCode};

pub(crate) use self::view::View;

/// The page of a hub. Clones are of the same.
#[derive(Clone, Debug)]
pub(crate) struct Page {
    view: View,
}

impl Page {
    pub(crate) const fn new(view: View) -> Self {
        Self { view }
    }

    /// `None` if the request is not for the page, or not from this machine.
    pub(crate) async fn answer<B>(
        &self,
        request: &Request<B>,
        peer: SocketAddr,
    ) -> Option<Response<Full<Bytes>>> {
        let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
        if !is_read || !peer.ip().to_canonical().is_loopback() || !names_this_machine(request.headers()) {
            return None;
        }
        Some(match request.uri().path() {
            "/" if asks_for_html(request.headers()) => page(HTML, INDEX.into()),
            "/page/style.css" => page("text/css; charset=utf-8", STYLE.into()),
            "/page/script.js" => page("text/javascript; charset=utf-8", SCRIPT.into()),
            "/page/view" => page(JSON, self.view.all().await?.to_string().into()),
            "/page/twin" => match self.view.twin(request.uri().query().unwrap_or_default()).await {
                Some(twin) => page(JSON, twin.to_string().into()),
                None => {
                    let mut gone = page(JSON, "null".into());
                    *gone.status_mut() = StatusCode::NOT_FOUND;
                    gone
                }
            },
            _ => return None,
        })
    }
}

/// Whether the client's name for the hub is one of loopback: a browser's page from elsewhere, whose name was made to lead here,
/// says its own.
fn names_this_machine(headers: &HeaderMap) -> bool {
    let Some(host) = headers.get(HOST).and_then(|host| host.to_str().ok()) else {
        return false;
    };
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split_once(']').map_or(rest, |(name, _)| name),
        None => host.split_once(':').map_or(host, |(name, _)| name),
    };
    let is_loopback = |ip: IpAddr| ip.is_loopback();
    name.eq_ignore_ascii_case("localhost") || name.parse().is_ok_and(is_loopback)
}

/// Programs that ask what the hub is take JSON, or say nothing of it.
fn asks_for_html(headers: &HeaderMap) -> bool {
    let accepted = headers.get(ACCEPT).and_then(|accepted| accepted.to_str().ok());
    accepted.is_some_and(|accepted| accepted.contains("text/html"))
}

fn page(content_type: &'static str, body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    let headers: [(HeaderName, &'static str); 6] = [
        (CONTENT_TYPE, content_type),
        // Nothing from elsewhere, and nothing that a device has written can become a script.
        (
            CONTENT_SECURITY_POLICY,
            "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'; \
             form-action 'none'; frame-ancestors 'none'",
        ),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (X_FRAME_OPTIONS, "DENY"),
        (REFERRER_POLICY, "no-referrer"),
        (CACHE_CONTROL, "no-store"),
    ];
    let headers = headers.map(|(name, value)| (name, HeaderValue::from_static(value)));
    response.headers_mut().extend(headers);
    response
}

const HTML: &str = "text/html; charset=utf-8";
const JSON: &str = "application/json; charset=utf-8";
const INDEX: &str = include_str!("index.html");
const STYLE: &str = include_str!("style.css");
const SCRIPT: &str = include_str!("script.js");

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Emulator;

    #[tokio::test]
    async fn another_machine_finds_no_page() {
        let hub = Emulator::builder()
            .amqps_port(0)
            .https_port(0)
            .start()
            .await
            .unwrap();
        let name = "any".parse().unwrap();
        let view = View::new(
            hub.handle().clone(),
            name,
            hub.journal(),
            hub.activity(),
            hub.traffic(),
        );
        let page = Page::new(view);
        let request = Request::get("/page/view")
            .header(HOST, "localhost")
            .body(())
            .unwrap();
        for (peer, is_shown) in [
            ("127.0.0.1:1", true),
            ("[::1]:1", true),
            ("[::ffff:127.0.0.1]:1", true),
            ("192.168.1.2:1", false),
            ("[::ffff:192.168.1.2]:1", false),
            ("[fe80::1]:1", false),
        ] {
            let answer = page.answer(&request, peer.parse().unwrap()).await;
            assert_eq!(answer.is_some(), is_shown, "{peer}");
        }
        // The hub goes on as long as anyone can ask it.
        drop(page);
        hub.stop().await;
    }
}
