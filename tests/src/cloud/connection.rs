//! A connection to the hub, and its links.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use tokio::io::AsyncWriteExt;
use tokio::net::tcp::OwnedWriteHalf;

use crate::frames::{NULL, TRUE, fields, frame_on, number, performative, string, symbol, text, uint};
use crate::sections::{entries, int, map, sections};

pub(super) struct Link {
    pub(super) channel: u16,
    pub(super) handle: u32,
    pub(super) address: String,
    pub(super) client_receives: bool,
    pub(super) credit: u32,
    pub(super) sent: u32,
}

pub(super) struct Connection {
    pub(super) write: OwnedWriteHalf,
    pub(super) links: Vec<Link>,
    /// Sessions that the hub has ended, whose answers are awaited.
    pub(super) ended: BTreeSet<u16>,
    pub(super) next_delivery: BTreeMap<u16, u32>,
}

impl Connection {
    pub(super) fn new(write: OwnedWriteHalf) -> Self {
        Self {
            write,
            links: Vec::new(),
            ended: BTreeSet::new(),
            next_delivery: BTreeMap::new(),
        }
    }

    pub(super) async fn say(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.write.write_all(bytes).await
    }

    pub(super) fn link(&mut self, channel: u16, handle: u32) -> Option<&mut Link> {
        self.links
            .iter_mut()
            .find(|link| (link.channel, link.handle) == (channel, handle))
    }

    pub(super) async fn attach(
        &mut self,
        channel: u16,
        list: &[&[u8]],
        credits: &BTreeMap<String, u32>,
        largest: &BTreeMap<String, u32>,
    ) -> io::Result<(String, bool)> {
        let field = |at: usize| list.get(at).copied().unwrap_or(NULL);
        let (name, handle) = (field(0).to_vec(), number_of(field(1)));
        let (address, client_receives) = address_of(list);
        let role: &[u8] = if client_receives { &[0x42] } else { TRUE };
        let count: &[u8] = if client_receives { &[0x43] } else { NULL };
        // It says what this side takes.
        let limit = of_address(largest, &address).filter(|_| !client_receives);
        let limit = limit.map_or_else(|| NULL.to_vec(), ulong);
        let reply = [
            &name[..],
            &uint(handle),
            role,
            field(3),
            field(4),
            field(5),
            field(6),
            NULL,
            NULL,
            count,
            &limit,
        ];
        self.say(&frame_on(channel, &performative(0x12, &reply))).await?;
        if !client_receives {
            let flow = [
                &uint(0)[..],
                &uint(5000),
                &uint(0),
                &uint(5000),
                &uint(handle),
                &uint(0),
                &uint(of_address(credits, &address).unwrap_or(100_000)),
            ];
            self.say(&frame_on(channel, &performative(0x13, &flow))).await?;
        }
        self.links.push(Link {
            channel,
            handle,
            address: address.clone(),
            client_receives,
            credit: 0,
            sent: 0,
        });
        Ok((address, client_receives))
    }

    pub(super) async fn detach(&mut self, channel: u16, handle: u32, condition: &str) -> io::Result<()> {
        let error = performative(0x1d, &[&symbol(condition), &string("as the test wants")]);
        let body = performative(0x16, &[&uint(handle), TRUE, &error]);
        self.say(&frame_on(channel, &body)).await
    }

    /// Ends a session, and with it its links.
    pub(super) async fn end(&mut self, channel: u16, condition: &str) -> io::Result<()> {
        self.links.retain(|link| link.channel != channel);
        self.ended.insert(channel);
        let error = performative(0x1d, &[&symbol(condition), &string("as the test wants")]);
        let error: &[&[u8]] = if condition.is_empty() { &[] } else { &[&error] };
        self.say(&frame_on(channel, &performative(0x17, error))).await
    }

    /// Sends on the link of this place, with a tag of 16 bytes as a hub's are.
    pub(super) async fn transfer(&mut self, at: usize, sections: &[u8], settled: bool) -> io::Result<()> {
        let link = &mut self.links[at];
        link.sent += 1;
        let (channel, handle) = (link.channel, link.handle);
        let delivery = self.next_delivery.entry(channel).or_default();
        let mut tag = vec![0xa0, 16];
        tag.extend([0xab; 12]);
        tag.extend(delivery.to_be_bytes());
        let settled: &[u8] = if settled { TRUE } else { &[0x42] };
        let head = performative(0x14, &[&uint(handle), &uint(*delivery), &tag, NULL, settled]);
        *delivery += 1;
        self.say(&frame_on(channel, &[&head[..], sections].concat()))
            .await
    }

    /// Answers a token, and gives its audience.
    pub(super) async fn answer_token(
        &mut self,
        channel: u16,
        request: &[u8],
        statuses: &BTreeMap<String, Option<i32>>,
    ) -> io::Result<String> {
        let request = sections(request);
        let (properties, _) = fields(&request[&0x73]);
        let id = properties.first().copied().unwrap_or(NULL);
        let audience = text(&entries(&request[&0x74])["name"]);
        let status = statuses
            .iter()
            .find(|(end, _)| audience.ends_with(end.as_str()))
            .map_or(Some(200), |(_, status)| *status);
        let at = self
            .links
            .iter()
            .position(|link| link.channel == channel && link.client_receives && link.address == "$cbs");
        if let (Some(status), Some(at)) = (status, at) {
            let mut answer = performative(0x73, &[NULL, NULL, NULL, NULL, NULL, id]);
            answer.extend([0x00, 0x53, 0x74]);
            answer.extend(map(&[
                string("status-code"),
                int(status),
                string("status-description"),
                string("as asked"),
            ]));
            answer.extend([0x00, 0x53, 0x77, 0x40]);
            self.transfer(at, &answer, true).await?;
        }
        Ok(audience)
    }
}

/// The hub's address in an attach, and whether the client receives.
pub(super) fn address_of(list: &[&[u8]]) -> (String, bool) {
    let field = |at: usize| list.get(at).copied().unwrap_or(NULL);
    let client_receives = field(2) == TRUE;
    let terminus = field(if client_receives { 5 } else { 6 });
    let (inner, _) = fields(terminus.get(3..).unwrap_or_default());
    (text(inner.first().copied().unwrap_or(NULL)), client_receives)
}

/// What was said of addresses with this end.
fn of_address(said: &BTreeMap<String, u32>, address: &str) -> Option<u32> {
    let found = said.iter().find(|(end, _)| address.ends_with(end.as_str()));
    found.map(|(_, number)| *number)
}

fn ulong(value: u32) -> Vec<u8> {
    [&[0x80][..], &u64::from(value).to_be_bytes()].concat()
}

pub(super) fn number_of(value: &[u8]) -> u32 {
    if value == [0x43] { 0 } else { number(value) }
}
