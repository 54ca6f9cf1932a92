//! An iterative walk of encoded AMQP values: soundness without decoding.
//!
//! The walk follows lengths and counts only. It keeps its place on a fixed stack, so a peer's nesting costs it
//! nothing, and it steps over variable-width bodies without reading them, so a large payload is as cheap as a small
//! one.

use crate::Violation;

/// How deep values may nest; every described value, list, map and array is one level.
///
/// A decoder that recurses needs a bound: measured, one that has none overflows a 2 MiB stack at some thousand
/// levels, which a single frame of a few kilobytes can hold. No performative and no message of IoT Hub needs ten.
pub const MAX_DEPTH: usize = 32;

/// Checks the one value that begins at `start`, and returns where it ends.
///
/// # Errors
/// The first [`Violation`] met.
pub fn check_value(bytes: &[u8], start: usize) -> Result<usize, Violation> {
    measure_value(bytes, start).map(|extent| extent.end)
}

/// Checks the one value that begins at `start`, and returns where it ends and how much it holds.
///
/// # Errors
/// The first [`Violation`] met.
pub fn measure_value(bytes: &[u8], start: usize) -> Result<Extent, Violation> {
    let mut walk = Walk {
        bytes,
        at: start,
        values: 0,
        open: [Open::NONE; MAX_DEPTH],
        depth: 0,
    };
    walk.value(bytes.len())?;
    while let Some(top) = walk.top() {
        walk.step(top)?;
    }
    Ok(Extent {
        end: walk.at,
        values: walk.values,
    })
}

/// What a value takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Extent {
    /// Where it ends.
    pub end: usize,
    /// How many values it is: itself, and each that it holds at any depth. A decoder makes something of each, however
    /// few bytes it has: a null of a list is one byte here, and some ten times that in memory.
    pub values: usize,
}

/// Checks a whole encoded message: a run of described sections to the end of `bytes` (§3.2).
///
/// # Errors
/// The first [`Violation`] met. An empty message passes: whether it may be empty is not a matter of framing.
pub fn check_message(bytes: &[u8]) -> Result<(), Violation> {
    let mut at = 0;
    while let Some(&constructor) = bytes.get(at) {
        if constructor != DESCRIBED {
            return Err(Violation::NotDescribed(constructor));
        }
        at = check_value(bytes, at)?;
    }
    Ok(())
}

/// The walk's place in one compound that is not finished.
#[derive(Clone, Copy)]
struct Open {
    /// Where the compound must end, or for a described value where it may end at the latest.
    end: usize,
    /// Items still to come.
    left: u32,
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    /// A list or map: every item brings its constructor, the items fill it exactly.
    Items,
    /// A descriptor, then a value; it has no length of its own.
    Described,
    /// An array whose element constructor is still to be read, behind `left` descriptors; the elements' count is
    /// kept below it on the stack.
    ArrayConstructor,
    /// An array's elements, which share this constructor.
    Elements(u8),
}

impl Open {
    const NONE: Self = Self {
        end: 0,
        left: 0,
        kind: Kind::Items,
    };
}

struct Walk<'a> {
    bytes: &'a [u8],
    at: usize,
    values: usize,
    open: [Open; MAX_DEPTH],
    depth: usize,
}

impl Walk<'_> {
    fn top(&self) -> Option<Open> {
        self.depth.checked_sub(1).map(|top| self.open[top])
    }

    /// Takes one item of the innermost compound, or closes it.
    fn step(&mut self, top: Open) -> Result<(), Violation> {
        if top.left == 0 {
            if top.kind != Kind::Described && self.at != top.end {
                return Err(Violation::Length);
            }
            self.depth -= 1;
            return Ok(());
        }
        match top.kind {
            Kind::ArrayConstructor => self.array_constructor(top),
            Kind::Items | Kind::Described => {
                self.open[self.depth - 1].left -= 1;
                self.value(top.end)
            }
            Kind::Elements(constructor) => {
                self.open[self.depth - 1].left -= 1;
                self.body(constructor, top.end)
            }
        }
    }

    /// A constructor and what follows it.
    fn value(&mut self, end: usize) -> Result<(), Violation> {
        let constructor = self.byte(end)?;
        if constructor == DESCRIBED {
            return self.push(Open {
                end,
                left: 2,
                kind: Kind::Described,
            });
        }
        self.body(constructor, end)
    }

    /// What follows a constructor other than "described": §1.2, the encoding categories by their high nibble.
    fn body(&mut self, constructor: u8, end: usize) -> Result<(), Violation> {
        self.values += 1;
        match constructor >> 4 {
            0x4 => Ok(()),
            0x5 => self.skip(1, end),
            0x6 => self.skip(2, end),
            0x7 => self.skip(4, end),
            0x8 => self.skip(8, end),
            0x9 => self.skip(16, end),
            0xa => {
                let length = usize::from(self.byte(end)?);
                self.skip(length, end)
            }
            0xb => {
                let length = self.word(end)? as usize;
                self.skip(length, end)
            }
            0xc | 0xe => {
                let size = usize::from(self.byte(end)?);
                let inner = self.inside(size, end)?;
                let count = u32::from(self.byte(inner)?);
                self.compound(constructor, inner, count)
            }
            0xd | 0xf => {
                let size = self.word(end)? as usize;
                let inner = self.inside(size, end)?;
                let count = self.word(inner)?;
                self.compound(constructor, inner, count)
            }
            _ => Err(Violation::Constructor(constructor)),
        }
    }

    fn compound(&mut self, constructor: u8, end: usize, count: u32) -> Result<(), Violation> {
        // Bounds the array of a thousand million nulls too: its elements take no bytes at all.
        if count as usize > end - self.at {
            return Err(Violation::Count(count));
        }
        let is_array = constructor >> 4 >= 0xe;
        if !is_array {
            return self.push(Open {
                end,
                left: count,
                kind: Kind::Items,
            });
        }
        if count == 0 && self.at == end {
            // Some encoders leave the element constructor out when there is no element.
            return Ok(());
        }
        self.push(Open {
            end,
            left: count,
            kind: Kind::Elements(DESCRIBED),
        })?;
        self.push(Open {
            end,
            left: 1,
            kind: Kind::ArrayConstructor,
        })
    }

    /// Reads the constructor that an array's elements share, stepping over the descriptors before it.
    fn array_constructor(&mut self, top: Open) -> Result<(), Violation> {
        let constructor = self.byte(top.end)?;
        if constructor == DESCRIBED {
            return self.value(top.end);
        }
        self.depth -= 1;
        let elements = &mut self.open[self.depth - 1];
        elements.kind = Kind::Elements(constructor);
        if constructor >> 4 == 0x4 {
            // No bytes to step over, however many.
            self.values += elements.left as usize;
            elements.left = 0;
        }
        Ok(())
    }

    fn push(&mut self, open: Open) -> Result<(), Violation> {
        *self.open.get_mut(self.depth).ok_or(Violation::Depth)? = open;
        self.depth += 1;
        Ok(())
    }

    fn byte(&mut self, end: usize) -> Result<u8, Violation> {
        let at = self.at;
        self.skip(1, end)?;
        Ok(self.bytes[at])
    }

    fn word(&mut self, end: usize) -> Result<u32, Violation> {
        let at = self.at;
        self.skip(4, end)?;
        Ok(u32::from_be_bytes([
            self.bytes[at],
            self.bytes[at + 1],
            self.bytes[at + 2],
            self.bytes[at + 3],
        ]))
    }

    fn skip(&mut self, length: usize, end: usize) -> Result<(), Violation> {
        self.at = self.inside(length, end)?;
        Ok(())
    }

    /// Where something of `length` bytes ends, if that is inside its parent.
    fn inside(&self, length: usize, end: usize) -> Result<usize, Violation> {
        self.at
            .checked_add(length)
            .filter(|&inner| inner <= end)
            .ok_or(Violation::Length)
    }
}

/// The constructor of a described value (§1.2).
pub(crate) const DESCRIBED: u8 = 0x00;
