//! A reader of AMQP's encodings, written from part 1 of the standard for these tests alone: it shares nothing with the
//! hub's own, nor with the engine's. It keeps the type of everything, which is half of what the table is about.

use std::fmt;

/// A value and its type, by the name that part 1 of the standard has for it.
#[derive(Clone, PartialEq)]
pub(crate) struct Item {
    pub(crate) kind: &'static str,
    pub(crate) content: Content,
}

#[derive(Clone, PartialEq)]
pub(crate) enum Content {
    Nothing,
    Number(i128),
    Bytes(Vec<u8>),
    /// Of a list or an array.
    Items(Vec<Item>),
    Pairs(Vec<(Item, Item)>),
    /// The descriptor and what it describes.
    Described(Box<(Item, Item)>),
}

impl Item {
    pub(crate) const NULL: Self = Self {
        kind: "null",
        content: Content::Nothing,
    };

    pub(crate) fn text(&self) -> Option<&str> {
        match &self.content {
            Content::Bytes(bytes) => std::str::from_utf8(bytes).ok(),
            _ => None,
        }
    }

    pub(crate) fn items(&self) -> &[Self] {
        match &self.content {
            Content::Items(items) => items,
            _ => panic!("no list: {self:?}"),
        }
    }

    /// The descriptor's number, and what it describes.
    pub(crate) fn described(&self) -> (u64, &Self) {
        let Content::Described(parts) = &self.content else {
            panic!("not described: {self:?}")
        };
        let Content::Number(code) = parts.0.content else {
            panic!("no number describes {self:?}")
        };
        (u64::try_from(code).unwrap(), &parts.1)
    }
}

/// Numbers in digits, text in letters, other bytes in hexadecimal, compounds in brackets.
impl fmt::Debug for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.content {
            Content::Nothing => f.write_str("null"),
            Content::Number(number) if self.kind == "boolean" => write!(f, "{}", *number != 0),
            Content::Number(number) => write!(f, "{number}"),
            Content::Bytes(bytes) => match self.text() {
                Some(text) if matches!(self.kind, "string" | "symbol") => f.write_str(text),
                _ => bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}")),
            },
            Content::Items(items) => f.debug_list().entries(items).finish(),
            Content::Pairs(pairs) => f
                .debug_map()
                .entries(pairs.iter().map(|pair| (&pair.0, &pair.1)))
                .finish(),
            Content::Described(parts) => write!(f, "@{:?}{:?}", parts.0, parts.1),
        }
    }
}

/// All values that stand in `bytes` one behind the other.
pub(crate) fn all(bytes: &[u8]) -> Vec<Item> {
    let mut reader = Reader(bytes);
    let mut items = Vec::new();
    while !reader.0.is_empty() {
        items.push(reader.item());
    }
    items
}

/// The first value, and what stands behind it.
pub(crate) fn first(bytes: &[u8]) -> (Item, &[u8]) {
    let mut reader = Reader(bytes);
    let item = reader.item();
    (item, reader.0)
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(count);
        self.0 = rest;
        taken
    }

    fn number(&mut self, width: usize) -> u128 {
        let bytes = self.take(width);
        bytes
            .iter()
            .fold(0, |number, byte| number << 8 | u128::from(*byte))
    }

    fn size(&mut self, width: usize) -> usize {
        usize::try_from(self.number(width)).unwrap()
    }

    fn item(&mut self) -> Item {
        let constructor = self.take(1)[0];
        if constructor == 0 {
            let descriptor = self.item();
            let value = self.item();
            return Item {
                kind: "described",
                content: Content::Described(Box::new((descriptor, value))),
            };
        }
        self.value(constructor)
    }

    /// §1.6: what a constructor stands for.
    fn value(&mut self, constructor: u8) -> Item {
        use Content::{Bytes, Items, Nothing, Number};
        let unsigned = |number: u128| Number(i128::try_from(number).unwrap());
        let (kind, content) = match constructor {
            0x40 => ("null", Nothing),
            0x41 => ("boolean", Number(1)),
            0x42 => ("boolean", Number(0)),
            0x56 => ("boolean", unsigned(self.number(1))),
            0x50 => ("ubyte", unsigned(self.number(1))),
            0x60 => ("ushort", unsigned(self.number(2))),
            0x43 => ("uint", Number(0)),
            0x52 => ("uint", unsigned(self.number(1))),
            0x70 => ("uint", unsigned(self.number(4))),
            0x44 => ("ulong", Number(0)),
            0x53 => ("ulong", unsigned(self.number(1))),
            0x80 => ("ulong", unsigned(self.number(8))),
            0x51 => ("byte", self.signed(1)),
            0x61 => ("short", self.signed(2)),
            0x54 => ("int", self.signed(1)),
            0x71 => ("int", self.signed(4)),
            0x55 => ("long", self.signed(1)),
            0x81 => ("long", self.signed(8)),
            0x83 => ("timestamp", self.signed(8)),
            0x98 => ("uuid", Bytes(self.take(16).to_vec())),
            0xa0 | 0xb0 => ("binary", self.variable(constructor)),
            0xa1 | 0xb1 => ("string", self.variable(constructor)),
            0xa3 | 0xb3 => ("symbol", self.variable(constructor)),
            0x45 => ("list", Items(Vec::new())),
            0xc0 | 0xd0 => ("list", Items(self.compound(constructor))),
            0xc1 | 0xd1 => {
                let mut items = self.compound(constructor).into_iter();
                let mut pairs = Vec::new();
                while let Some(key) = items.next() {
                    pairs.push((key, items.next().expect("a map has pairs")));
                }
                ("map", Content::Pairs(pairs))
            }
            0xe0 | 0xf0 => ("array", Items(self.array(constructor))),
            other => panic!("no constructor: {other:#04x}"),
        };
        Item { kind, content }
    }

    fn signed(&mut self, width: usize) -> Content {
        let number = i128::try_from(self.number(width)).unwrap();
        let bits = u32::try_from(8 * width).unwrap();
        let negative = number >> (bits - 1) == 1;
        Content::Number(if negative { number - (1 << bits) } else { number })
    }

    /// The width of a size, and of a count, by the constructor's upper half.
    const fn width(constructor: u8) -> usize {
        match constructor >> 4 {
            0xa | 0xc | 0xe => 1,
            _ => 4,
        }
    }

    fn variable(&mut self, constructor: u8) -> Content {
        let size = self.size(Self::width(constructor));
        Content::Bytes(self.take(size).to_vec())
    }

    fn body(&mut self, constructor: u8) -> (usize, Self) {
        let width = Self::width(constructor);
        let size = self.size(width);
        let mut body = Self(self.take(size));
        (body.size(width), body)
    }

    fn compound(&mut self, constructor: u8) -> Vec<Item> {
        let (count, mut body) = self.body(constructor);
        let items = (0..count).map(|_| body.item()).collect();
        assert!(body.0.is_empty(), "the size says more than the count");
        items
    }

    fn array(&mut self, constructor: u8) -> Vec<Item> {
        let (count, mut body) = self.body(constructor);
        let element = body.take(1)[0];
        let items = (0..count).map(|_| body.value(element)).collect();
        assert!(body.0.is_empty(), "the size says more than the count");
        items
    }
}

/// Examples of part 1 of the standard, and of the widths that it gives.
#[test]
fn the_reader_reads_what_the_standard_shows() {
    let cases: [(&[u8], &str, &str); 12] = [
        (&[0x40], "null", "null"),
        (&[0x56, 0x01], "boolean", "true"),
        (&[0x42], "boolean", "false"),
        (&[0x43], "uint", "0"),
        (&[0x70, 0x10, 0, 0, 0], "uint", "268435456"),
        (&[0x54, 0xff], "int", "-1"),
        (&[0x71, 0x80, 0, 0, 0], "int", "-2147483648"),
        (&[0x53, 0x24], "ulong", "36"),
        (&[0xa1, 0x02, b'h', b'i'], "string", "hi"),
        (&[0xb3, 0, 0, 0, 1, b's'], "symbol", "s"),
        (&[0xc0, 0x03, 0x02, 0x40, 0x41], "list", "[null, true]"),
        (&[0xe0, 0x04, 0x02, 0x50, 0x01, 0x02], "array", "[1, 2]"),
    ];
    for (bytes, kind, text) in cases {
        let (item, rest) = first(bytes);
        assert_eq!((item.kind, format!("{item:?}").as_str()), (kind, text));
        assert!(rest.is_empty());
    }
    let (described, _) = first(&[0x00, 0x53, 0x24, 0x45]);
    assert_eq!(described.described().0, 0x24);
    assert_eq!(described.described().1.items(), []);
}
