//! Signing and verifying against the floor: the bare HMAC-SHA256 of the same bytes with the same prepared key.
//!
//! `cargo bench -p iothub-sas` prints one line of ratios at its end, each the median over rounds in which the two were
//! run in turn, so that a machine that changes its speed changes both.

#![allow(clippy::print_stdout, reason = "a benchmark reports there")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::Criterion;
use hmac::{Hmac, KeyInit, Mac};
use iothub_sas::{SasToken, SharedKey, Signer, Spelling, UnixTime};
use sha2::Sha256;

const KEY: [u8; 32] = [7; 32];
const RESOURCE: &str = "tcontehub.azure-devices.net/devices/myFirstDevice";
const SIGNED: &str = "tcontehub.azure-devices.net%2Fdevices%2FmyFirstDevice\n1700000000";
const EXPIRES: UnixTime = UnixTime::from_secs(1_700_000_000);

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let prepared = Hmac::<Sha256>::new_from_slice(&KEY).expect("HMAC takes keys of any length");
    let bare = || prepared.clone().chain_update(black_box(SIGNED)).finalize();
    let key = SharedKey::generate_from(KEY);
    let signer = Signer::new(key.clone());
    let sign = || signer.sign(black_box(RESOURCE), black_box(EXPIRES));
    let token = sign();
    let verify = || black_box(&token).verify(&key, None, EXPIRES);
    let text = token.expose();
    let parse = || SasToken::parse(black_box(text));

    criterion.bench_function("bare HMAC-SHA256", |bencher| bencher.iter(bare));
    criterion.bench_function("sign", |bencher| bencher.iter(sign));
    for spelling in [Spelling::Double, Spelling::SlashesRaw, Spelling::Raw] {
        let signer = signer.clone().spelling(spelling);
        let name = format!("sign {spelling:?}");
        criterion.bench_function(&name, |bencher| {
            bencher.iter(|| signer.sign(black_box(RESOURCE), black_box(EXPIRES)))
        });
    }
    criterion.bench_function("verify", |bencher| bencher.iter(verify));
    criterion.bench_function("parse", |bencher| bencher.iter(parse));
    criterion.final_summary();

    let ratios = [
        ("sign", ratio(sign, bare)),
        ("verify", ratio(verify, bare)),
        ("parse", ratio(parse, bare)),
    ];
    let ratios = ratios
        .map(|(name, ratio)| format!("{name} {ratio:.2}"))
        .join(", ");
    println!("times the bare HMAC-SHA256 of the same bytes: {ratios}");
}

/// The median of how much longer `ours` takes than `floor`.
fn ratio<A, B>(ours: impl Fn() -> A, floor: impl Fn() -> B) -> f64 {
    let mut ratios: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let floor = time(&floor).as_secs_f64();
            time(&ours).as_secs_f64() / floor
        })
        .collect();
    ratios.sort_by(f64::total_cmp);
    ratios[ROUNDS / 2]
}

fn time<T>(run: impl Fn() -> T) -> Duration {
    let start = Instant::now();
    for _ in 0..RUNS {
        black_box(run());
    }
    start.elapsed()
}

const ROUNDS: usize = 301;
const RUNS: usize = 1000;
