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

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: Names = Names {
        structs: &["outer", "bits"],
        enums: &["colour"],
        typedefs: &["call"],
    };

    /// Writes a description type by type.
    #[derive(Default)]
    struct Writer {
        types: Vec<u8>,
        strings: Vec<u8>,
        count: u32,
    }

    impl Writer {
        fn new() -> Self {
            Self {
                strings: vec![0],
                ..Self::default()
            }
        }

        fn string(&mut self, text: &str) -> u32 {
            if text.is_empty() {
                return 0;
            }
            let at = self.strings.len() as u32;
            self.strings.extend(text.bytes().chain([0]));
            at
        }

        fn word(&mut self, word: u32) {
            self.types.extend(word.to_ne_bytes());
        }

        /// The number of the new type; `tail` are the words behind its head.
        fn add(&mut self, kind: u8, name: &str, count: u32, size: u32, tail: &[u32]) -> u32 {
            let name = self.string(name);
            self.word(name);
            self.word(u32::from(kind) << 24 | count);
            self.word(size);
            for &word in tail {
                self.word(word);
            }
            self.count += 1;
            self.count
        }

        fn int(&mut self, size: u32, bits: u32) -> u32 {
            self.add(INT, "int", 0, size, &[bits])
        }

        fn members(&mut self, members: &[(&str, u32, u32)]) -> Vec<u32> {
            members
                .iter()
                .flat_map(|&(name, id, offset)| [self.string(name), id, offset])
                .collect()
        }

        fn composite(&mut self, kind: u8, name: &str, members: &[(&str, u32, u32)]) -> u32 {
            let tail = self.members(members);
            self.add(kind, name, members.len() as u32, 64, &tail)
        }

        fn finish(self) -> Vec<u8> {
            let mut bytes = MAGIC.to_ne_bytes().to_vec();
            bytes.extend([1, 0]);
            let (types, strings) = (self.types.len() as u32, self.strings.len() as u32);
            for word in [24, 0, types, types, strings] {
                bytes.extend(u32::to_ne_bytes(word));
            }
            bytes.extend(self.types);
            bytes.extend(self.strings);
            bytes
        }
    }

    /// `outer` has a member in an unnamed union in an unnamed struct, and one by value behind a
    /// typedef.
    fn sample() -> Vec<u8> {
        let mut writer = Writer::new();
        let int = writer.int(4, 32);
        let byte = writer.int(1, 8);
        let pointer = writer.add(PTR, "", 0, int, &[]);
        let array = writer.add(ARRAY, "", 0, 0, &[byte, int, 16]);
        let union = writer.composite(UNION, "", &[("deep", int, 0), ("bytes", array, 0)]);
        let inner = writer.composite(STRUCT, "", &[("", union, 32)]);
        let value = writer.composite(STRUCT, "", &[("counter", int, 64)]);
        let value = writer.add(TYPEDEF, "value_t", 0, value, &[]);
        writer.composite(
            STRUCT,
            "outer",
            &[
                ("first", int, 0),
                ("", inner, 64),
                ("value", value, 256),
                ("pointer", pointer, 512),
            ],
        );
        let flags = writer.members(&[("a", int, 3 << 24), ("b", int, 1 << 24 | 3)]);
        writer.add(STRUCT, "bits", 1 << 31 | 2, 4, &flags);
        let red = writer.string("RED");
        let blue = writer.string("BLUE");
        writer.add(ENUM, "colour", 2, 4, &[red, 1, blue, 7]);
        let call = writer.add(FUNC_PROTO, "", 3, 0, &[0, int, 0, int, 0, int]);
        let call = writer.add(PTR, "", 0, call, &[]);
        writer.add(TYPEDEF, "call", 0, call, &[]);
        writer.finish()
    }

    fn place(btf: &Btf, structure: &str, path: &str) -> Option<(u32, u32)> {
        let member = btf.member(structure, path)?;
        Some((member.byte()?, member.size))
    }

    #[test]
    fn members_are_found_however_deep_they_lie() {
        let btf = Btf::parse(sample(), NAMES).unwrap();
        assert_eq!(place(&btf, "outer", "first"), Some((0, 4)));
        assert_eq!(place(&btf, "outer", "deep"), Some((12, 4)));
        assert_eq!(place(&btf, "outer", "bytes"), Some((12, 16)));
        assert_eq!(place(&btf, "outer", "value.counter"), Some((40, 4)));
        assert_eq!(place(&btf, "outer", "pointer"), Some((64, 8)));
        assert_eq!(place(&btf, "outer", "pointer.first"), None);
        assert_eq!(place(&btf, "outer", "nothing"), None);
        assert_eq!(place(&btf, "another", "first"), None);
    }

    #[test]
    fn bitfields_say_their_bits() {
        let btf = Btf::parse(sample(), NAMES).unwrap();
        let b = btf.member("bits", "b").unwrap();
        assert_eq!((b.bit, b.width, b.byte()), (3, Some(1), None));
        // As older compilers wrote them: the integer itself is narrow.
        let mut writer = Writer::new();
        let narrow = writer.int(4, 2);
        writer.composite(STRUCT, "bits", &[("old", narrow, 9)]);
        let btf = Btf::parse(writer.finish(), NAMES).unwrap();
        let old = btf.member("bits", "old").unwrap();
        assert_eq!((old.bit, old.width), (9, Some(2)));
    }

    #[test]
    fn enumerators_and_prototypes_are_read() {
        let btf = Btf::parse(sample(), NAMES).unwrap();
        let colours: Vec<_> = btf.enumerators("colour").collect();
        assert_eq!(colours, [("RED", 1), ("BLUE", 7)]);
        assert_eq!(btf.enumerators("shape").count(), 0);
        assert_eq!(btf.prototype("call").unwrap().parameters, 3);
        assert_eq!(btf.prototype("value_t"), None);
    }

    #[test]
    fn types_that_contain_themselves_end() {
        let mut writer = Writer::new();
        writer.composite(STRUCT, "outer", &[("", 1, 0), ("round", 2, 0)]);
        writer.add(TYPEDEF, "", 0, 2, &[]);
        let btf = Btf::parse(writer.finish(), NAMES).unwrap();
        assert_eq!(btf.member("outer", "round"), None);
        assert_eq!(btf.member("outer", "nothing"), None);
    }

    fn refusal(bytes: &[u8]) -> BtfError {
        Btf::parse(bytes.to_vec(), NAMES).err().unwrap()
    }

    #[test]
    fn what_can_not_be_read_has_a_name() {
        let good = sample();
        assert_eq!(refusal(b"ab"), BtfError::NoBtf);
        assert_eq!(refusal(b"\x7fELF and more"), BtfError::NoBtf);
        let mut other = good.clone();
        other.swap(0, 1);
        assert_eq!(refusal(&other), BtfError::ByteOrder);
        let mut newer = good.clone();
        newer[2] = 2;
        assert_eq!(refusal(&newer), BtfError::Version(2));
        let mut unknown = good.clone();
        unknown[24 + 7] = 31;
        assert_eq!(refusal(&unknown), BtfError::Kind { id: 1, kind: 31 });
    }

    /// Asks for everything; whatever comes, it must come.
    fn ask(bytes: Vec<u8>) {
        let Ok(btf) = Btf::parse(bytes, NAMES) else {
            return;
        };
        for path in ["first", "deep", "value.counter", "pointer", "b", "nothing"] {
            for structure in ["outer", "bits"] {
                let _ = btf.member(structure, path);
            }
        }
        let _ = btf.enumerators("colour").count();
        let _ = btf.prototype("call");
    }

    #[test]
    fn garbage_is_no_reason_to_panic() {
        let good = sample();
        for length in 0..good.len() {
            ask(good[..length].to_vec());
        }
        for at in 0..good.len() {
            for value in [0, 1, 0x7f, 0x80, 0xff, good[at] ^ 1, good[at] ^ 4] {
                let mut bad = good.clone();
                bad[at] = value;
                ask(bad);
            }
        }
    }
}
