//! What `iothub-address` does, without std. See the manifest for how to build this and what it shows.

#![no_std]

extern crate alloc;

use alloc::string::ToString;
use core::alloc::{GlobalAlloc, Layout};
use core::panic::PanicInfo;
use iothub_address::{AmqpUrl, AmqpUrlRef, ConnectionString, HubHost, Node, Resource, Secret};

/// Uses the public types, so that all of it is compiled and linked.
#[unsafe(no_mangle)]
pub extern "C" fn iothub_address_without_std(length: usize) -> usize {
    let text = "amqps://dev@sas.hub:token@hub.azure-devices.net/devices/dev/messages/events";
    let text = text.get(..length).unwrap_or(text);
    let Ok(url) = AmqpUrl::parse(text) else { return 0 };
    let explained = AmqpUrlRef::parse(text)
        .and_then(|url| url.explain())
        .map_or(0, |explained| explained.to_string().len());
    let string =
        ConnectionString::parse("HostName=h.net;DeviceId=d;SharedAccessKey=AAECAwQFBgcICQoLDA0ODw==");
    let readings = Node::readings("/devices/d%41/messages/events").len();
    let resource = HubHost::parse("h.net").map_or(0, |host| Resource::hub(&host).as_str().len());
    let secret = url.password().map_or(0, |secret: &Secret| secret.expose().len());
    url.expose().len()
        + explained
        + string.map_or(0, |string| string.expose().len())
        + readings
        + resource
        + secret
}

/// Has no memory: this is built and linked, never run.
struct NoMemory;

// SAFETY: a null pointer is the answer of an allocator that has nothing to give, and none was ever given to take back.
unsafe impl GlobalAlloc for NoMemory {
    unsafe fn alloc(&self, _: Layout) -> *mut u8 {
        core::ptr::null_mut()
    }

    unsafe fn dealloc(&self, _: *mut u8, _: Layout) {}
}

#[global_allocator]
static ALLOCATOR: NoMemory = NoMemory;

#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    loop {}
}
