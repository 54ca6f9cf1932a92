//! Everything that `iothub-sas` does, without std. See the manifest for how to build this and what it shows.

#![no_std]

extern crate alloc;

use core::alloc::{GlobalAlloc, Layout};
use core::panic::PanicInfo;
use core::time::Duration;

use iothub_sas::{Expected, Renewal, SasToken, SharedKey, Signer, Spelling, UnixTime, derive_device_key};

/// Uses each public type, so that all of it is compiled and linked.
#[unsafe(no_mangle)]
pub extern "C" fn iothub_sas_without_std(now: u64) -> u64 {
    let now = UnixTime::from_secs(now);
    let key = derive_device_key(&SharedKey::generate_from([7; 32]), "device-0001");
    let expires = now + Duration::from_secs(3600);
    let token = Signer::new(key.clone())
        .spelling(Spelling::Double)
        .policy("p")
        .sign("h/devices/d", expires);
    let expected = Expected::new(&key).policy(Some("p")).resource("h/devices/d");
    match SasToken::parse(token.expose()) {
        Ok(token) if token.verify(&key, Some("p"), now).is_ok() => {
            Renewal::seeded(1).pick(now, expires).as_secs()
        }
        Ok(token) => token.diagnose(&expected, now).len() as u64,
        Err(_) => 0,
    }
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
