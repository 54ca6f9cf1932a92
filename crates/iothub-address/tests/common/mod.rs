//! Every legal address, and those that parsers trip over more often than by chance.
#![allow(dead_code, unreachable_pub, reason = "each test takes what it needs")]
#![allow(clippy::unwrap_used, reason = "what is generated is legal")]

use iothub_address::{
    AmqpUrl, DeviceId, HubHost, HubName, Identity, ModuleId, Node, PolicyName, Scheme, Secret, User,
};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use proptest::prelude::*;

pub fn id() -> impl Strategy<Value = String> {
    // Short ids of the characters that parsers trip over, beside all others.
    prop_oneof![
        4 => "[A-Za-z0-9:.+%_#*?!(),=@;$'-]{1,128}",
        4 => "[a%:@#?/.sh245F]{1,12}".prop_map(|text| text.replace('/', "x")),
        1 => "[a-z]{0,4}@sas[.][a-z:@]{1,8}",
        1 => Just(String::from("a%252541")),
    ]
}

pub fn identity() -> impl Strategy<Value = Identity> {
    (id(), proptest::option::of(id())).prop_map(|(device, module)| {
        let device = DeviceId::parse(&device).unwrap();
        match module {
            Some(module) => Identity::Module(device, ModuleId::parse(&module).unwrap()),
            None => Identity::Device(device),
        }
    })
}

pub fn hub() -> impl Strategy<Value = HubName> {
    "[A-Za-z0-9][A-Za-z0-9-]{0,20}".prop_map(|text| HubName::parse(&text).unwrap())
}

pub fn user() -> impl Strategy<Value = User> {
    prop_oneof![
        3 => (identity(), hub()).prop_map(|(identity, hub)| User::for_identity(identity, hub)),
        1 => ("[A-Za-z0-9_.@-]{1,30}", hub())
            .prop_map(|(policy, hub)| User::for_policy(PolicyName::parse(&policy).unwrap(), hub)),
    ]
}

pub fn host() -> impl Strategy<Value = HubHost> {
    prop_oneof![
        3 => "[a-z]([a-z0-9-]{0,8}[a-z0-9])?([.][a-z]{1,8}){0,3}",
        1 => any::<std::net::Ipv4Addr>().prop_map(|address| address.to_string()),
        1 => any::<std::net::Ipv6Addr>().prop_map(|address| address.to_string()),
    ]
    .prop_map(|text| HubHost::parse(&text).unwrap())
}

pub fn node_of(identity: Identity, lane: u8) -> Node {
    match lane % 4 {
        0 => Node::Events(identity),
        1 => Node::Commands(identity),
        2 => Node::Methods(identity),
        _ => Node::Twin(identity),
    }
}

pub fn node() -> impl Strategy<Value = Node> {
    prop_oneof![
        4 => (identity(), any::<u8>()).prop_map(|(identity, lane)| node_of(identity, lane)),
        1 => Just(Node::ServiceCommands),
        1 => Just(Node::Feedback),
        1 => Just(Node::FileNotifications),
        1 => Just(Node::HubEventsManagement),
        1 => Just(Node::Cbs),
        1 => Just(Node::Management),
        1 => ("[A-Za-z0-9._$-]{1,20}", any::<u32>())
            .prop_map(|(group, partition)| Node::HubEvents { group: group.parse().unwrap(), partition }),
        1 => ("[A-Za-z0-9._-]{1,20}", "[A-Za-z0-9._$-]{1,20}", any::<u32>()).prop_map(
            |(name, group, partition)| Node::EventHub {
                name: name.parse().unwrap(),
                group: group.parse().unwrap(),
                partition,
            },
        ),
        1 => ("0[a-z0-9]{4,20}", "[A-Za-z0-9._:-]{1,128}")
            .prop_map(|(scope, id)| Node::Registration(scope.parse().unwrap(), id.parse().unwrap())),
    ]
}

/// Tokens as they are, and passwords of any kind.
pub fn token() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => "[a-zA-Z0-9+/]{43}=".prop_map(|signature| {
            let signature = utf8_percent_encode(&signature, NON_ALPHANUMERIC).to_string();
            format!("SharedAccessSignature sr=h.example%2Fdevices%2Fd&sig={signature}&se=1700000000")
        }),
        2 => ".{1,40}",
        1 => "[@:/%#?a4F1+ =]{1,12}",
        1 => "SharedAccessSignature[ +=%]{0,3}[a-z=+ %]{0,10}",
    ]
}

#[derive(Debug)]
pub struct Parts {
    pub scheme: Scheme,
    pub user: User,
    pub token: Option<String>,
    pub host: HubHost,
    pub port: Option<u16>,
    pub node: Node,
}

pub fn parts() -> impl Strategy<Value = Parts> {
    let scheme = prop_oneof![Just(Scheme::Amqps), Just(Scheme::Amqp)];
    (
        scheme,
        user(),
        proptest::option::of(token()),
        host(),
        proptest::option::of(any::<u16>()),
        node(),
        0..4_u8,
    )
        .prop_map(|(scheme, user, token, host, port, node, own)| {
            // Mostly the user's own nodes, as in life.
            let node = match user.identity() {
                Some(identity) if own > 0 => node_of(identity.clone(), own),
                _ => node,
            };
            Parts {
                scheme,
                user,
                token,
                host,
                port,
                node,
            }
        })
}

impl Parts {
    pub fn url(&self) -> AmqpUrl {
        let url = AmqpUrl::new(self.host.clone(), self.node.clone())
            .with_port(self.port)
            .with_scheme(self.scheme);
        match &self.token {
            Some(token) => url.with_credentials(self.user.clone(), Secret::new(token.clone())),
            None => url.with_user(self.user.clone()),
        }
    }
}
