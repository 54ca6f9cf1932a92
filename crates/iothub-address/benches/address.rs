//! How long reading and printing the double-"@" URL takes, beside the `url` crate on the escaped form.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use iothub_address::{AmqpUrl, AmqpUrlRef, ConnectionString, HubHost, Identity, Node, Secret, User};
use url::Url;

/// The address of the 2016 post, as `urllib.quote` leaves its token.
const RAW: &str = "amqps://myFirstDevice@sas.tcontehub:SharedAccessSignature%20sr%3Dtcontehub.azure-devices.net%252fdevices%252fmyFirstDevice%26sig%3DHd5oMqIIKvme67oOlFoqtc7QX1pRgAhtzWM6ArZcP4Y%253D%26se%3D1463330495@tcontehub.azure-devices.net/devices/myFirstDevice/messages/events";
/// The key is made up: the bytes 00 to 1f.
const CONNECTION_STRING: &str = "HostName=tcontehub.azure-devices.net;DeviceId=myFirstDevice;SharedAccessKey=AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

fn url(c: &mut Criterion) {
    let url = AmqpUrl::parse(RAW).expect("the post's address");
    let escaped = url.expose();
    let mut group = c.benchmark_group("read");
    group.bench_function("url::Url, escaped", |b| {
        b.iter(|| Url::parse(black_box(&escaped)))
    });
    group.bench_function("AmqpUrlRef, raw", |b| {
        b.iter(|| AmqpUrlRef::parse(black_box(RAW)))
    });
    group.bench_function("AmqpUrlRef, escaped", |b| {
        b.iter(|| AmqpUrlRef::parse(black_box(&escaped)))
    });
    group.bench_function("AmqpUrl, raw", |b| b.iter(|| AmqpUrl::parse(black_box(RAW))));
    group.bench_function("ConnectionString", |b| {
        b.iter(|| ConnectionString::parse(black_box(CONNECTION_STRING)))
    });
    group.bench_function("Node", |b| {
        b.iter(|| black_box("/devices/myFirstDevice/messages/events").parse::<Node>())
    });
    group.finish();

    let host = HubHost::parse("tcontehub.azure-devices.net").expect("a host");
    let identity = Identity::parse("myFirstDevice").expect("an id");
    let hub = host.hub_name().expect("a name");
    let token = "SharedAccessSignature sr=tcontehub.azure-devices.net%2Fdevices%2FmyFirstDevice&sig=Hd5oMqIIKvme67oOlFoqtc7QX1pRgAhtzWM6ArZcP4Y%3D&se=1463330495";
    let mut group = c.benchmark_group("print");
    group.bench_function("AmqpUrl", |b| b.iter(|| black_box(&url).expose()));
    group.bench_function("AmqpUrl from parts", |b| {
        b.iter(|| {
            AmqpUrl::new(host.clone(), Node::Events(identity.clone()))
                .with_credentials(
                    User::for_identity(identity.clone(), hub.clone()),
                    Secret::new(token),
                )
                .expose()
        });
    });
    group.finish();
}

criterion_group!(benches, url);
criterion_main!(benches);
