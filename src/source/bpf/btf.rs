//! Reads the kernel's own description of its types (BTF), as far as the programs need it.
//!
//! One pass over all types notes where each begins and which of the named ones it is; members are
//! looked for only in those. Layout: Documentation/bpf/btf.rst, include/uapi/linux/btf.h. It must
//! not know what the offsets are for.
//!
//! The traps: a member can sit in unnamed structs and unions inside the named one; the offset of a
//! member is in *bits*, with a bitfield's width in its upper byte in some structs and in its type
//! in others; and none of it is to be trusted: whatever the bytes are, the answer is an error or
//! `None`, never a panic or a loop without end.

use std::ops::Range;

/// `BTF_MAGIC`.
const MAGIC: u16 = 0xeb9f;
/// Types nest this deep at most; more is garbage that refers to itself.
const DEEPEST: usize = 16;
/// `struct btf_type`: name, info, size or type.
const TYPE: usize = 12;

// enum in include/uapi/linux/btf.h
const INT: u8 = 1;
const PTR: u8 = 2;
const ARRAY: u8 = 3;
const STRUCT: u8 = 4;
const UNION: u8 = 5;
const ENUM: u8 = 6;
const TYPEDEF: u8 = 8;
const VOLATILE: u8 = 9;
const CONST: u8 = 10;
const RESTRICT: u8 = 11;
const FUNC_PROTO: u8 = 13;
const VAR: u8 = 14;
const DATASEC: u8 = 15;
const FLOAT: u8 = 16;
const DECL_TAG: u8 = 17;
const TYPE_TAG: u8 = 18;
const ENUM64: u8 = 19;

/// Why a description can't be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BtfError {
    /// Too short, or another kind of file.
    #[error("it is no BTF (its magic number is missing)")]
    NoBtf,
    /// The other byte order.
    #[error("it is BTF of the other byte order, and this program reads its own machine's alone")]
    ByteOrder,
    /// A version that may have another layout.
    #[error("it is BTF of version {0}, and this program reads version 1")]
    Version(u8),
    /// Something points beyond the end.
    #[error("it is cut short or damaged at byte {0}")]
    Damaged(usize),
    /// A kind of type whose length we do not know: nothing behind it can be read.
    #[error("type {id} is of kind {kind}, which this program does not know")]
    Kind {
        /// The type.
        id: u32,
        /// Its kind.
        kind: u8,
    },
}

/// The names that are looked for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Names {
    /// Structs.
    pub structs: &'static [&'static str],
    /// Enumerations.
    pub enums: &'static [&'static str],
    /// Typedefs.
    pub typedefs: &'static [&'static str],
}

/// Where a member is, from the begin of the struct that was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// In bits.
    pub bit: u32,
    /// How long it is, in bytes, or its type when it is a bitfield.
    pub size: u32,
    /// The width of a bitfield in bits; `None` for all others.
    pub width: Option<u8>,
    id: u32,
}

impl Member {
    /// Where it begins in bytes; `None` for a bitfield.
    pub fn byte(&self) -> Option<u32> {
        (self.width.is_none() && self.bit.is_multiple_of(8)).then_some(self.bit / 8)
    }
}

/// A typedef of a function's prototype.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prototype {
    /// The number of the typedef.
    pub id: u32,
    /// How many parameters the function has.
    pub parameters: usize,
}

/// The description, read.
pub struct Btf {
    data: Vec<u8>,
    strings: Range<usize>,
    /// Where each type begins; type 0 is `void`.
    types: Vec<u32>,
    found: Vec<(u8, &'static str, u32)>,
}

/// The head of a type.
#[derive(Clone, Copy)]
struct Type {
    at: usize,
    info: u32,
    /// Its size, or the type that it refers to.
    size: u32,
}

impl Type {
    const fn kind(self) -> u8 {
        (self.info >> 24) as u8 & 0x1f
    }

    /// How many members, enumerators, parameters or sections follow.
    const fn count(self) -> usize {
        (self.info & 0xffff) as usize
    }

    /// Of a struct: offsets carry the width of bitfields.
    const fn has_widths(self) -> bool {
        self.info >> 31 == 1
    }

    /// How many bytes follow the head; `None` for an unknown kind.
    const fn tail(self) -> Option<usize> {
        Some(match self.kind() {
            INT | VAR | DECL_TAG => 4,
            ARRAY => 12,
            STRUCT | UNION | DATASEC | ENUM64 => 12 * self.count(),
            ENUM | FUNC_PROTO => 8 * self.count(),
            // 7 is FWD and 12 is FUNC.
            PTR | 7 | TYPEDEF | VOLATILE | CONST | RESTRICT | 12 | FLOAT | TYPE_TAG => 0,
            _ => return None,
        })
    }
}

impl Btf {
    /// Reads the description and finds the names in it.
    ///
    /// # Errors
    /// When the bytes are not what they should be.
    pub fn parse(data: Vec<u8>, names: Names) -> Result<Self, BtfError> {
        let (types, strings) = sections(&data)?;
        let mut btf = Self {
            data,
            strings,
            types: vec![0],
            found: Vec::new(),
        };
        btf.read_types(types, names)?;
        Ok(btf)
    }

    fn read_types(&mut self, section: Range<usize>, names: Names) -> Result<(), BtfError> {
        let mut at = section.start;
        // About 25 bytes a type.
        self.types.reserve(section.len() / 24);
        while at < section.end {
            let damaged = BtfError::Damaged(at);
            let head = self.head(at).ok_or(damaged)?;
            let id = self.types.len() as u32;
            let kind = head.kind();
            let tail = head.tail().ok_or(BtfError::Kind { id, kind })?;
            let wanted = match kind {
                STRUCT => names.structs,
                ENUM | ENUM64 => names.enums,
                TYPEDEF => names.typedefs,
                _ => &[],
            };
            if !wanted.is_empty()
                && let Some(name) = self.name_among(at, wanted)
            {
                self.found.push((kind, name, id));
            }
            self.types.push(u32::try_from(at).map_err(|_| damaged)?);
            at += TYPE + tail;
        }
        if at == section.end {
            Ok(())
        } else {
            Err(BtfError::Damaged(section.end))
        }
    }

    fn name_among(&self, at: usize, wanted: &[&'static str]) -> Option<&'static str> {
        let name = self.strings_from(word(&self.data, at)?)?;
        let first = name.first()?;
        wanted.iter().copied().find(|wanted| {
            let wanted = wanted.as_bytes();
            wanted.first() == Some(first)
                && name.starts_with(wanted)
                && name.get(wanted.len()) == Some(&0)
        })
    }

    fn strings_from(&self, offset: u32) -> Option<&[u8]> {
        let start = self.strings.start.checked_add(offset as usize)?;
        self.data.get(start..self.strings.end)
    }

    fn string(&self, offset: u32) -> Option<&str> {
        let rest = self.strings_from(offset)?;
        let end = rest.iter().position(|&byte| byte == 0)?;
        std::str::from_utf8(&rest[..end]).ok()
    }

    fn head(&self, at: usize) -> Option<Type> {
        Some(Type {
            at,
            info: word(&self.data, at.checked_add(4)?)?,
            size: word(&self.data, at.checked_add(8)?)?,
        })
    }

    fn type_of(&self, id: u32) -> Option<Type> {
        // 0 is void, which has no head.
        let at = *self.types.get(id as usize).filter(|_| id != 0)?;
        self.head(at as usize)
    }

    /// The word `index` words behind the head.
    fn tail_word(&self, head: Type, index: usize) -> Option<u32> {
        word(&self.data, head.at + TYPE + 4 * index)
    }

    /// The type behind typedefs and qualifiers.
    fn plain(&self, mut id: u32) -> Option<Type> {
        for _ in 0..DEEPEST {
            let head = self.type_of(id)?;
            match head.kind() {
                TYPEDEF | VOLATILE | CONST | RESTRICT | TYPE_TAG => id = head.size,
                _ => return Some(head),
            }
        }
        None
    }

    /// How many bytes a value of the type has.
    fn size_of(&self, id: u32, depth: usize) -> Option<u32> {
        let head = self.plain(id).filter(|_| depth < DEEPEST)?;
        match head.kind() {
            INT | STRUCT | UNION | ENUM | ENUM64 | FLOAT => Some(head.size),
            PTR => Some(size_of::<u64>() as u32),
            ARRAY => {
                let element = self.size_of(self.tail_word(head, 0)?, depth + 1)?;
                element.checked_mul(self.tail_word(head, 2)?)
            }
            _ => None,
        }
    }

    fn found(&self, kinds: &[u8], name: &str) -> impl Iterator<Item = u32> {
        self.found
            .iter()
            .filter(move |(kind, found, _)| kinds.contains(kind) && *found == name)
            .map(|&(.., id)| id)
    }

    /// Where a struct has a member. The path leads through structs that are held by value:
    /// `skc_net.net`. A name can be given to several structs; the first that has it counts.
    pub fn member(&self, structure: &str, path: &str) -> Option<Member> {
        self.found(&[STRUCT], structure)
            .find_map(|id| self.walk(id, path))
    }

    fn walk(&self, mut id: u32, path: &str) -> Option<Member> {
        let mut bit = 0u32;
        let mut last = None;
        for name in path.split('.') {
            let step = self.step(id, name, 0)?;
            bit = bit.checked_add(step.bit)?;
            id = step.id;
            last = Some(step);
        }
        Some(Member { bit, ..last? })
    }

    fn step(&self, id: u32, name: &str, depth: usize) -> Option<Member> {
        let head = self.plain(id).filter(|_| depth < DEEPEST)?;
        if !matches!(head.kind(), STRUCT | UNION) {
            return None;
        }
        (0..head.count()).find_map(|index| {
            let [title, id, offset] = [0, 1, 2].map(|part| self.tail_word(head, 3 * index + part));
            let (title, id, offset) = (self.string(title?)?, id?, offset?);
            let (bit, width) = match head.has_widths() {
                true => (offset & 0x00ff_ffff, (offset >> 24) as u8),
                false => (offset, 0),
            };
            if title.is_empty() {
                let inner = self.step(id, name, depth + 1)?;
                let bit = bit.checked_add(inner.bit)?;
                return Some(Member { bit, ..inner });
            }
            (title == name)
                .then(|| self.member_of(id, bit, width))
                .flatten()
        })
    }

    fn member_of(&self, id: u32, bit: u32, width: u8) -> Option<Member> {
        let size = self.size_of(id, 0)?;
        let (bit, width) = match width {
            0 => self.old_bitfield(id, bit)?,
            width => (bit, Some(width)),
        };
        Some(Member {
            bit,
            size,
            width,
            id,
        })
    }

    /// In structs without widths, a bitfield is a member whose integer has fewer bits than its
    /// bytes hold.
    fn old_bitfield(&self, id: u32, bit: u32) -> Option<(u32, Option<u8>)> {
        let head = self.plain(id)?;
        if head.kind() != INT {
            return Some((bit, None));
        }
        let encoding = self.tail_word(head, 0)?;
        let (bits, offset) = (encoding & 0xff, encoding >> 16 & 0xff);
        if bits == head.size.checked_mul(8)? && offset == 0 {
            return Some((bit, None));
        }
        Some((bit.checked_add(offset)?, Some(bits as u8)))
    }

    /// The names of an enumeration with their numbers; empty when there is none of that name.
    pub fn enumerators(&self, name: &str) -> impl Iterator<Item = (&str, u32)> {
        let head = self
            .found(&[ENUM, ENUM64], name)
            .next()
            .and_then(|id| self.type_of(id));
        let words = match head.map(Type::kind) {
            Some(ENUM64) => 3,
            _ => 2,
        };
        let count = head.map_or(0, Type::count);
        (0..count).filter_map(move |index| {
            let title = self.string(self.tail_word(head?, words * index)?)?;
            Some((title, self.tail_word(head?, words * index + 1)?))
        })
    }

    /// A typedef of a pointer to a function.
    pub fn prototype(&self, name: &str) -> Option<Prototype> {
        let id = self.found(&[TYPEDEF], name).next()?;
        let pointer = self.plain(id).filter(|head| head.kind() == PTR)?;
        let function = self
            .plain(pointer.size)
            .filter(|head| head.kind() == FUNC_PROTO)?;
        Some(Prototype {
            id,
            parameters: function.count(),
        })
    }
}

/// The sections of types and of strings: `struct btf_header`.
fn sections(data: &[u8]) -> Result<(Range<usize>, Range<usize>), BtfError> {
    let (&[a, b, version, _], rest) = data.split_first_chunk::<4>().ok_or(BtfError::NoBtf)?;
    match u16::from_ne_bytes([a, b]) {
        MAGIC => {}
        other if other.swap_bytes() == MAGIC => return Err(BtfError::ByteOrder),
        _ => return Err(BtfError::NoBtf),
    }
    if version != 1 {
        return Err(BtfError::Version(version));
    }
    let part = |index: usize| word(rest, 4 * index).map(|word| word as usize);
    let section = |offset: usize| {
        let start = part(0)?.checked_add(part(offset)?)?;
        let end = start.checked_add(part(offset + 1)?)?;
        (end <= data.len()).then_some(start..end)
    };
    let damaged = BtfError::Damaged(data.len());
    Ok((section(1).ok_or(damaged)?, section(3).ok_or(damaged)?))
}

fn word(data: &[u8], at: usize) -> Option<u32> {
    let bytes = data.get(at..)?.first_chunk()?;
    Some(u32::from_ne_bytes(*bytes))
}
