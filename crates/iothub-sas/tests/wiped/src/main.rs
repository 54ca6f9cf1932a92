//! Uses all that holds a secret, and exits with 1 if a freed block of memory still held one. See the manifest.

use std::alloc::{GlobalAlloc, Layout, System};
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};

use iothub_sas::{Expected, SasToken, SharedKey, Signer, Spelling, UnixTime, derive_device_key};

/// A key, and all the secrets that come of it in this program, as they stand in memory (from a part of each that holds
/// no character that would be escaped).
const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
const SECRETS: [&[u8]; 4] = [
    &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15],
    b"AAECAwQFBgcICQoL",
    // The signature of vector 1 in base64, and the group key's `device-0001`.
    b"iaX3KwzLLNFHgaFZyCbsGjxtd1Y",
    b"OycyYByY1ii3rpTZvjHN0Jpe7PEs3qYqTaN5QaJZg2I",
];

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
        for secret in SECRETS {
            let held = bytes.windows(secret.len()).any(|window| window == secret);
            FOUND.fetch_add(usize::from(held), Ordering::Relaxed);
        }
        unsafe { System.dealloc(block, layout) }
    }

    // `realloc` is left to its default: allocate, copy, free what was there. So a secret that grows is found.
}

#[global_allocator]
static ALLOCATOR: Looking = Looking;

fn main() -> ExitCode {
    drop(String::from(KEY));
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

fn use_secrets() {
    let key = SharedKey::from_base64(KEY).expect("a valid key");
    let text = key.to_base64();
    let generated = SharedKey::generate_from(std::array::from_fn(|index| index as u8));
    let from_text = SharedKey::from_text(text.expose()).expect("a valid text");
    let derived = derive_device_key(&key, "device-0001");
    assert_eq!(derived.to_base64().expose().len(), KEY.len());

    let signer = Signer::new(key.clone()).policy("p").spelling(Spelling::Escaped);
    let expires = UnixTime::from_secs(1_700_000_000);
    let token = signer.sign("myhub.azure-devices.net/devices/device1", expires);
    let parsed = SasToken::parse(token.expose()).expect("a valid token");
    assert!(parsed.clone().verify(&generated, Some("p"), expires).is_ok());
    let expected = Expected::new(&from_text).secondary(&derived);
    assert!(!parsed.diagnose(&expected, expires).is_empty());
    // A resource that takes far more room than was reserved for it.
    let long = format!("myhub.azure-devices.net/devices/{}", "@".repeat(500));
    assert!(signer.sign(long, expires).policy().is_some());
    assert_eq!(format!("{token:?}").matches("redacted").count(), 1);
}
