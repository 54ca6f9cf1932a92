//! A client that writes its frames by hand, byte by byte as AMQP 1.0 parts 1 and 2 lay them out, so that it can say
//! what no engine would.

use futures_util::FutureExt;
use iothub_emulator::Emulator;
use serde_amqp::Value;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::common::{DEVICE, device_token, tls};

pub(crate) const AMQP: &[u8; 8] = b"AMQP\x00\x01\x00\x00";
pub(crate) const SASL: &[u8; 8] = b"AMQP\x03\x01\x00\x00";

pub(crate) struct Raw {
    stream: Box<dyn Stream>,
}

/// What bytes go over.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// A frame that came: a performative's code and fields, and the payload behind it.
#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) code: u64,
    pub(crate) fields: Vec<Value>,
    /// How many fields stood in the list, nulls at its end too.
    pub(crate) count: usize,
    pub(crate) payload: Vec<u8>,
}

impl Frame {
    pub(crate) fn field(&self, place: usize) -> &Value {
        self.fields.get(place).unwrap_or(&Value::Null)
    }

    /// The condition and description of the `error` at `place`.
    pub(crate) fn error(&self, place: usize) -> (String, String) {
        let Value::Described(error) = self.field(place) else {
            panic!("no error in {self:?}")
        };
        let Value::List(fields) = &error.value else {
            panic!("no error in {self:?}")
        };
        match &fields[..] {
            [Value::Symbol(condition), Value::String(text), ..] => (condition.to_string(), text.clone()),
            [Value::Symbol(condition), ..] => (condition.to_string(), String::new()),
            _ => panic!("no error in {self:?}"),
        }
    }
}

impl Raw {
    /// A connection on which nothing was said.
    pub(crate) fn on(stream: impl Stream + 'static) -> Self {
        Self {
            stream: Box::new(stream),
        }
    }

    /// A TLS connection on which nothing was said.
    pub(crate) async fn silent(hub: &Emulator) -> Self {
        Self::on(tls(hub).await)
    }

    /// Goes on to `open` and `begin` without SASL, as the Node and C# SDKs come.
    pub(crate) async fn start(&mut self) {
        self.exchange_open().await;
        self.begin(0).await;
    }

    /// After SASL PLAIN with code 0.
    pub(crate) async fn admitted(hub: &Emulator) -> Self {
        let mut raw = Self::silent(hub).await;
        let outcome = raw
            .plain(&format!("{DEVICE}@sas.tcontehub"), &device_token())
            .await;
        assert_eq!(outcome, 0);
        raw
    }

    /// After `open` and `begin` without SASL, as the Node and C# SDKs come.
    pub(crate) async fn bare(hub: &Emulator) -> Self {
        let mut raw = Self::silent(hub).await;
        raw.start().await;
        raw
    }

    /// After `open`.
    pub(crate) async fn open(hub: &Emulator) -> Self {
        let mut raw = Self::admitted(hub).await;
        raw.exchange_open().await;
        raw
    }

    /// After `begin` on channel 0.
    pub(crate) async fn begun(hub: &Emulator) -> Self {
        let mut raw = Self::open(hub).await;
        raw.begin(0).await;
        raw
    }

    /// After the attach of a sender with handle 0, and after its credit.
    pub(crate) async fn attached(hub: &Emulator) -> Self {
        let mut raw = Self::begun(hub).await;
        raw.attach(0, "telemetry", &format!("/devices/{DEVICE}/messages/events"))
            .await;
        raw.expect(ATTACH).await;
        raw.expect(FLOW).await;
        raw
    }

    /// SASL PLAIN; gives the outcome's code.
    pub(crate) async fn plain(&mut self, user: &str, token: &str) -> u8 {
        let response = [b"\0", user.as_bytes(), b"\0", token.as_bytes()].concat();
        self.sasl("PLAIN", binary(&response)).await
    }

    /// The beginning of SASL: the mechanisms that the hub offers.
    pub(crate) async fn mechanisms(&mut self) -> Vec<String> {
        self.send(SASL).await;
        assert_eq!(self.header().await, *SASL);
        let mechanisms = self.sasl_frame().await;
        assert_eq!(mechanisms.code, 0x40);
        let Value::Array(offered) = mechanisms.field(0) else {
            panic!("no array in {mechanisms:?}")
        };
        let text = |value: &Value| match value {
            Value::Symbol(symbol) => symbol.to_string(),
            other => panic!("no symbol: {other:?}"),
        };
        offered.iter().map(text).collect()
    }

    /// SASL with this mechanism and initial response; gives the outcome's code.
    pub(crate) async fn sasl(&mut self, mechanism: &str, response: Vec<u8>) -> u8 {
        self.mechanisms().await;
        self.send(&sasl_frame(0x41, &[symbol(mechanism), response, null()]))
            .await;
        let outcome = self.sasl_frame().await;
        assert_eq!(outcome.code, 0x44);
        let Value::Ubyte(code) = outcome.field(0) else {
            panic!("no code in {outcome:?}")
        };
        *code
    }

    pub(crate) async fn exchange_open(&mut self) -> Frame {
        self.send(AMQP).await;
        assert_eq!(self.header().await, *AMQP);
        self.send(&frame(0, OPEN, &[string("raw"), string("localhost")], b""))
            .await;
        self.expect(OPEN).await
    }

    pub(crate) async fn begin(&mut self, channel: u16) -> Frame {
        self.send(&begin(channel)).await;
        self.expect_past_flows(BEGIN).await
    }

    /// Sends an attach as the sender.
    pub(crate) async fn attach(&mut self, handle: u32, name: &str, address: &str) {
        self.send(&attach(0, handle, name, address)).await;
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
        self.stream.flush().await.unwrap();
    }

    /// Sends what the hub may cut off in the middle.
    pub(crate) async fn send_anyway(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes).await;
        let _ = self.stream.flush().await;
    }

    /// Sends, or says that the hub takes no more; within a minute.
    #[allow(dead_code, reason = "for the tests of bounds")]
    pub(crate) async fn try_send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        // Only so that a test that fails ends.
        let sent = tokio::time::timeout(std::time::Duration::from_secs(60), self.stream.write_all(bytes));
        sent.await.map_err(|_| std::io::ErrorKind::TimedOut)??;
        self.stream.flush().await
    }

    /// Takes what has come, whatever it is.
    #[allow(dead_code, reason = "for the tests of bounds")]
    pub(crate) async fn take(&mut self) {
        let mut bytes = [0; 4096];
        while let Some(Ok(1..)) = self.stream.read(&mut bytes).now_or_never() {}
    }

    /// Ends our side of the stream.
    pub(crate) async fn finish(&mut self) {
        let _ = self.stream.shutdown().await;
    }

    pub(crate) async fn header(&mut self) -> [u8; 8] {
        let mut header = [0; 8];
        self.stream.read_exact(&mut header).await.unwrap();
        header
    }

    /// The next frame that is no heartbeat, or `None` at the end of the stream.
    pub(crate) async fn frame(&mut self) -> Option<Frame> {
        // Only so that a test that fails ends.
        let frame = tokio::time::timeout(std::time::Duration::from_secs(20), self.frame_of_type(0));
        frame.await.expect("the hub says nothing")
    }

    pub(crate) async fn sasl_frame(&mut self) -> Frame {
        self.frame_of_type(1).await.expect("the hub ended the connection")
    }

    async fn frame_of_type(&mut self, kind: u8) -> Option<Frame> {
        loop {
            let mut header = [0; 8];
            if self.stream.read_exact(&mut header).await.is_err() {
                return None;
            }
            let size = u32::from_be_bytes([header[0], header[1], header[2], header[3]]) as usize;
            assert_eq!((header[4], header[5]), (2, kind), "not a frame of type {kind}");
            let mut body = vec![0; size - 8];
            self.stream.read_exact(&mut body).await.ok()?;
            if body.is_empty() {
                continue;
            }
            let end = iothub_frame::walk::check_value(&body, 0).unwrap();
            let payload = body.split_off(end);
            let Value::Described(described) = serde_amqp::from_slice(&body).unwrap() else {
                panic!("not described: {body:02x?}")
            };
            let serde_amqp::descriptor::Descriptor::Code(code) = described.descriptor else {
                panic!("no code: {body:02x?}")
            };
            let Value::List(fields) = described.value else {
                panic!("no list: {body:02x?}")
            };
            let count = match body[3] {
                0x45 => 0,
                0xc0 => usize::from(body[5]),
                _ => u32::from_be_bytes([body[8], body[9], body[10], body[11]]) as usize,
            };
            return Some(Frame {
                code,
                fields,
                count,
                payload,
            });
        }
    }

    /// The next frame as it stands on the wire, from its size on, that is no heartbeat.
    pub(crate) async fn wire_frame(&mut self) -> Vec<u8> {
        let frame = async {
            loop {
                let mut frame = vec![0; 8];
                self.stream.read_exact(&mut frame).await.unwrap();
                let size = u32::from_be_bytes([frame[0], frame[1], frame[2], frame[3]]) as usize;
                frame.resize(size, 0);
                self.stream.read_exact(&mut frame[8..]).await.unwrap();
                if size > 8 {
                    return frame;
                }
            }
        };
        // Only so that a test that fails ends.
        let frame = tokio::time::timeout(std::time::Duration::from_secs(20), frame);
        frame.await.expect("the hub says nothing")
    }

    pub(crate) async fn expect(&mut self, code: u8) -> Frame {
        let frame = self.frame().await.expect("the hub ended the connection");
        assert_eq!(frame.code, u64::from(code), "{frame:?}");
        frame
    }

    /// As [`expect`](Self::expect), past any flows: when they come is the hub's business.
    pub(crate) async fn expect_past_flows(&mut self, code: u8) -> Frame {
        loop {
            let frame = self.frame().await.expect("the hub ended the connection");
            if frame.code != u64::from(FLOW) {
                assert_eq!(frame.code, u64::from(code), "{frame:?}");
                return frame;
            }
        }
    }

    /// The answer to an attach that is refused: the attach, credit perhaps, then the detach. Gives its condition and
    /// description.
    pub(crate) async fn refusal(&mut self) -> (String, String) {
        let attach = self.expect(ATTACH).await;
        loop {
            let next = self.frame().await.unwrap();
            if next.code == u64::from(DETACH) {
                assert_eq!(next.field(0), attach.field(1), "the handle");
                assert_eq!(next.field(1), &Value::Bool(true), "closed");
                return next.error(2);
            }
            assert_eq!(next.code, u64::from(FLOW), "{next:?}");
        }
    }

    /// Reads to the end of the stream, and says how it ends.
    pub(crate) async fn end(&mut self) -> std::io::Result<()> {
        let mut rest = Vec::new();
        // Only so that a test that fails ends.
        let end = tokio::time::timeout(
            std::time::Duration::from_secs(20),
            self.stream.read_to_end(&mut rest),
        );
        end.await.expect("the hub does not end the connection").map(drop)
    }

    /// Whether nothing comes, though there is time for it.
    pub(crate) async fn is_silent(&mut self) -> bool {
        let wait = std::time::Duration::from_millis(200);
        tokio::time::timeout(wait, self.stream.read_u8()).await.is_err()
    }

    /// Reads to the end of the stream, however it ends.
    pub(crate) async fn drain(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        // Only so that a test that fails ends.
        let end = tokio::time::timeout(
            std::time::Duration::from_secs(20),
            self.stream.read_to_end(&mut rest),
        );
        let _ = end.await.expect("the hub does not end the connection");
        rest
    }
}

pub(crate) const OPEN: u8 = 0x10;
pub(crate) const BEGIN: u8 = 0x11;
pub(crate) const ATTACH: u8 = 0x12;
pub(crate) const FLOW: u8 = 0x13;
pub(crate) const TRANSFER: u8 = 0x14;
pub(crate) const DISPOSITION: u8 = 0x15;
pub(crate) const DETACH: u8 = 0x16;
pub(crate) const END: u8 = 0x17;
pub(crate) const CLOSE: u8 = 0x18;

pub(crate) fn frame(channel: u16, code: u8, fields: &[Vec<u8>], payload: &[u8]) -> Vec<u8> {
    let body = [described(code, &list(fields)), payload.to_vec()].concat();
    raw_frame(0, channel, &body)
}

pub(crate) fn sasl_frame(code: u8, fields: &[Vec<u8>]) -> Vec<u8> {
    raw_frame(1, 0, &described(code, &list(fields)))
}

pub(crate) fn raw_frame(kind: u8, channel: u16, body: &[u8]) -> Vec<u8> {
    let size = u32::try_from(body.len() + 8).unwrap();
    [&size.to_be_bytes()[..], &[2, kind], &channel.to_be_bytes(), body].concat()
}

pub(crate) fn begin(channel: u16) -> Vec<u8> {
    frame(channel, BEGIN, &[null(), uint(0), uint(5000), uint(5000)], b"")
}

pub(crate) fn attach(channel: u16, handle: u32, name: &str, address: &str) -> Vec<u8> {
    frame(
        channel,
        ATTACH,
        &attach_fields(handle, name, false, "source", address),
        b"",
    )
}

/// Role false is the sender's.
pub(crate) fn attach_fields(handle: u32, name: &str, role: bool, source: &str, target: &str) -> Vec<Vec<u8>> {
    vec![
        string(name),
        uint(handle),
        boolean(role),
        null(),
        null(),
        described(0x28, &list(&[string(source)])),
        described(0x29, &list(&[string(target)])),
        null(),
        null(),
        uint(0),
    ]
}

/// A transfer on channel 0 and handle 0.
pub(crate) fn transfer(id: u32, settled: bool, more: bool, payload: &[u8]) -> Vec<u8> {
    transfer_format(id, 0, settled, more, payload)
}

pub(crate) fn transfer_format(id: u32, format: u32, settled: bool, more: bool, payload: &[u8]) -> Vec<u8> {
    let tag = binary(&id.to_be_bytes());
    let fields = [
        uint(0),
        uint(id),
        tag,
        uint(format),
        boolean(settled),
        boolean(more),
    ];
    frame(0, TRANSFER, &fields, payload)
}

/// A message section.
pub(crate) fn section(code: u8, value: &[u8]) -> Vec<u8> {
    described(code, value)
}

pub(crate) fn data(bytes: &[u8]) -> Vec<u8> {
    section(0x75, &binary(bytes))
}

pub(crate) fn described(code: u8, value: &[u8]) -> Vec<u8> {
    [&[0x00, 0x53, code], value].concat()
}

pub(crate) fn list(items: &[Vec<u8>]) -> Vec<u8> {
    compound(0xd0, items)
}

pub(crate) fn map(pairs: &[(Vec<u8>, Vec<u8>)]) -> Vec<u8> {
    let items: Vec<_> = pairs
        .iter()
        .flat_map(|(key, value)| [key.clone(), value.clone()])
        .collect();
    compound(0xd1, &items)
}

fn compound(code: u8, items: &[Vec<u8>]) -> Vec<u8> {
    let body = items.concat();
    let size = u32::try_from(body.len() + 4).unwrap();
    let count = u32::try_from(items.len()).unwrap();
    [&[code][..], &size.to_be_bytes(), &count.to_be_bytes(), &body].concat()
}

pub(crate) fn null() -> Vec<u8> {
    vec![0x40]
}

pub(crate) fn boolean(value: bool) -> Vec<u8> {
    vec![if value { 0x41 } else { 0x42 }]
}

pub(crate) fn ulong(value: u64) -> Vec<u8> {
    [&[0x80][..], &value.to_be_bytes()].concat()
}

pub(crate) fn uuid(bytes: &[u8; 16]) -> Vec<u8> {
    [&[0x98][..], bytes].concat()
}

pub(crate) fn uint(value: u32) -> Vec<u8> {
    [&[0x70][..], &value.to_be_bytes()].concat()
}

pub(crate) fn string(text: &str) -> Vec<u8> {
    variable(0xb1, text.as_bytes())
}

pub(crate) fn symbol(text: &str) -> Vec<u8> {
    variable(0xb3, text.as_bytes())
}

pub(crate) fn binary(bytes: &[u8]) -> Vec<u8> {
    variable(0xb0, bytes)
}

fn variable(code: u8, bytes: &[u8]) -> Vec<u8> {
    [
        &[code][..],
        &u32::try_from(bytes.len()).unwrap().to_be_bytes(),
        bytes,
    ]
    .concat()
}
