//! How the hub lets in, or does not, who has a certificate in place of a key.

use super::tests::{NOW, PRIMARY, World, identity, sign, token};
use super::*;

#[test]
fn an_identity_that_has_no_key_is_not_let_in_by_one() {
    let mut world = World::new();
    let thumbprints = Thumbprints::new(Thumbprint::sha1(b"a certificate"), None);
    for (name, authentication) in [
        ("self-signed", thumbprints.into()),
        ("by-authority", Authentication::CertificateAuthority),
        ("by-nothing", Authentication::None),
    ] {
        let own = identity(name);
        world.hub.register(&own, authentication).unwrap();
        let user = format!("{name}@sas.myhub");
        let refused = world.plain(1, &user, &token(PRIMARY, name)).unwrap_err();
        assert_eq!(refused, AuthFailure::NotByKey(own), "{name}");
        // A policy that may act for devices speaks for it all the same.
        let resource = format!("myhub.azure-devices.net/devices/{name}");
        let of_policy = sign(PRIMARY, Some("device"), &resource, NOW + 60);
        world.plain(2, &user, &of_policy).unwrap();
    }
}
