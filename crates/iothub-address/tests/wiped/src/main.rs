//! Uses all that holds a secret, and exits with 1 if a freed block of memory still held one. See the manifest.

use std::alloc::{GlobalAlloc, Layout, System};
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};

use iothub_address::{
    AmqpUrl, AmqpUrlRef, ConnectionString, HubHost, Identity, Node, Secret, User,
};

/// Of every secret in this program, in every spelling of it: no character in it is ever escaped.
const SECRET: &str = "c4n4ry-in-the-mine";

static FOUND: AtomicUsize = AtomicUsize::new(0);

struct Looking;

// SAFETY: every call goes to the system's allocator as it came. A block is read only between the caller's last use of
// it and its release; bytes that were never written count as whatever they are.
unsafe impl GlobalAlloc for Looking {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // Zeroed, so that no secret is found twice and every byte may be read.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        let bytes = unsafe { std::slice::from_raw_parts(block, layout.size()) };
        let held = bytes
            .windows(SECRET.len())
            .any(|window| window == SECRET.as_bytes());
        FOUND.fetch_add(usize::from(held), Ordering::Relaxed);
        unsafe { System.dealloc(block, layout) }
    }

    // `realloc` is left to its default: allocate, copy, free what was there. So a secret that grows is found.
}

#[global_allocator]
static ALLOCATOR: Looking = Looking;

fn main() -> ExitCode {
    drop(String::from(SECRET));
    if FOUND.swap(0, Ordering::Relaxed) != 1 {
        eprintln!("the allocator does not find a secret that is left behind");
        return ExitCode::FAILURE;
    }
    use_secrets();
    match FOUND.load(Ordering::Relaxed) {
        0 => ExitCode::SUCCESS,
        found => {
            eprintln!("{found} secrets left behind in freed memory");
            ExitCode::FAILURE
        }
    }
}

/// The inputs are texts of the program, not of the heap. What `expose` gives is the caller's to wipe: here by a
/// [`Secret`] around it.
fn use_secrets() {
    let owned = Secret::from(String::from(SECRET));
    assert_eq!(owned.clone().expose(), SECRET);

    for text in [
        "amqps://d@sas.h:c4n4ry-in-the-mine@h/devices/d/twin",
        "amqps://d@sas.h:SharedAccessSignature sr=c4n4ry-in-the-mine@h/devices/d/twin",
        "amqps://d@sas.h:SharedAccessSignature+sr%3Dc4n4ry-in-the-mine@h/devices/d/twin",
        "amqps://d%40sas.h:%2F%2F%2F%2F%2F%2Fc4n4ry-in-the-mine%2F@h/devices/d/twin",
    ] {
        let url = AmqpUrl::parse(text).expect("an address");
        assert!(Secret::from(url.expose()).expose().contains(SECRET));
        let explanation = AmqpUrlRef::parse(text).expect("an address").explain();
        assert!(!format!("{url} {url:?} {explanation:?}").contains(SECRET));
    }
    // Escapes that are no text: what was decoded by then is wiped too.
    assert!(AmqpUrl::parse("amqps://d@sas.h:c4n4ry-in-the-mine%FF@h/devices/d/twin").is_err());
    let device = Identity::parse("d").expect("a device");
    let host = HubHost::parse("h").expect("a host");
    let user = User::for_identity(device.clone(), host.hub_name().expect("a hub"));
    let url = AmqpUrl::new(host.clone(), Node::Twin(device.clone()));
    let url = url
        .with_credentials(user.clone(), Secret::new(SECRET))
        .with_user(user);
    assert!(url.password().is_none());

    for text in [
        "HostName=h;DeviceId=d;SharedAccessKey=c4n4ry-in-the-mine",
        "HostName=h;DeviceId=d;SharedAccessSignature=c4n4ry-in-the-mine",
    ] {
        let string = ConnectionString::parse(text).expect("a connection string");
        assert_eq!(Secret::from(string.expose()).expose(), text);
        assert!(!format!("{string} {string:?}").contains(SECRET));
    }
    let contradictory = ConnectionString::builder(host)
        .identity(device)
        .key(Secret::new(SECRET))
        .signature(Secret::new(SECRET));
    assert!(contradictory.build().is_err());
}
