//! How lines are put into bytes: a busy host has two hundred thousand of them a second.
//!
//! Addresses and names of processes are written without a `String` of their own. The trap: JSON
//! escapes C0 controls and leaves DEL, C1 and bidirectional ones as they are, on which a terminal
//! would act. So all that is written goes through [`append`] or [`inert`].

use std::fmt::{self, Write};
use std::net::{IpAddr, Ipv4Addr};

use serde::{Serialize, Serializer};

use crate::model::Endpoint;
use crate::model::event::Comm;
use crate::view::plain::acts;

/// Appends `value` on a line of its own; nothing when it can't be written.
pub(super) fn append(out: &mut Vec<u8>, value: &impl Serialize) -> serde_json::Result<()> {
    let start = out.len();
    if let Err(error) = serde_json::to_writer(&mut *out, value) {
        out.truncate(start);
        return Err(error);
    }
    make_inert(out, start);
    out.push(b'\n');
    Ok(())
}

/// Puts what a terminal would act on, from `start` on, into JSON's own escapes.
fn make_inert(out: &mut Vec<u8>, start: usize) {
    if is_harmless(&out[start..]) {
        return;
    }
    let tail = out.split_off(start);
    out.extend_from_slice(escaped(&String::from_utf8_lossy(&tail)).as_bytes());
}

/// Only DEL, and what is not ASCII, can be something to act on. In blocks, so that the compiler
/// looks at many bytes at once.
fn is_harmless(bytes: &[u8]) -> bool {
    bytes
        .chunks(64)
        .all(|block| block.iter().fold(true, |good, &byte| good & (byte < 0x7f)))
}

/// A document without anything that a terminal would act on.
pub(in crate::view) fn inert(json: String) -> String {
    if is_harmless(json.as_bytes()) {
        return json;
    }
    escaped(&json)
}

fn escaped(json: &str) -> String {
    let mut units = [0; 2];
    let mut text = String::with_capacity(json.len() + 16);
    for c in json.chars() {
        // Line breaks are those of a document, between its fields.
        if acts(c) && c != '\n' {
            for unit in c.encode_utf16(&mut units) {
                // Writing to a String cannot fail.
                let _ = write!(text, "\\u{unit:04x}");
            }
        } else {
            text.push(c);
        }
    }
    text
}

/// An address as the output spells it: `127.0.0.1:80`, `[::1]:80`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Address(pub(super) Endpoint);

impl Serialize for Address {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut text = ShortText::default();
        match self.0.addr() {
            IpAddr::V4(addr) => text.push_v4(addr, self.0.port()),
            // The longest, a scoped link-local address, has 58 bytes.
            IpAddr::V6(_) => write!(text, "{}", self.0).map_err(serde::ser::Error::custom)?,
        }
        serializer.serialize_str(text.as_str())
    }
}

/// The name of a thread, as text.
#[derive(Debug, Clone, Copy)]
pub(super) struct Name(pub(super) Comm);

impl Serialize for Name {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let bytes = self.0.0.as_slice();
        let end = bytes.iter().position(|&byte| byte == 0);
        match str::from_utf8(&bytes[..end.unwrap_or(bytes.len())]) {
            Ok(name) => serializer.serialize_str(name),
            Err(_) => serializer.serialize_str(&self.0.text()),
        }
    }
}

/// Text on the stack.
struct ShortText {
    bytes: [u8; 64],
    length: usize,
}

impl Default for ShortText {
    fn default() -> Self {
        Self {
            bytes: [0; 64],
            length: 0,
        }
    }
}

impl ShortText {
    fn as_str(&self) -> &str {
        // Only whole strings and digits were put in.
        str::from_utf8(&self.bytes[..self.length]).unwrap_or_default()
    }

    fn push_v4(&mut self, addr: Ipv4Addr, port: u16) {
        for (octet, sign) in addr.octets().into_iter().zip(*b"...:") {
            self.push_number(octet.into());
            self.push(sign);
        }
        self.push_number(port);
    }

    fn push_number(&mut self, number: u16) {
        for power in [10_000, 1000, 100, 10] {
            if number >= power {
                self.push(digit(number / power));
            }
        }
        self.push(digit(number));
    }

    fn push(&mut self, byte: u8) {
        if let Some(place) = self.bytes.get_mut(self.length) {
            *place = byte;
            self.length += 1;
        }
    }
}

/// The last digit of a number.
const fn digit(number: u16) -> u8 {
    b'0' + (number % 10) as u8
}

impl Write for ShortText {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let end = self.length + text.len();
        let place = self.bytes.get_mut(self.length..end).ok_or(fmt::Error)?;
        place.copy_from_slice(text.as_bytes());
        self.length = end;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(value: &impl Serialize) -> String {
        let mut out = b"before\n".to_vec();
        append(&mut out, value).unwrap();
        let text = String::from_utf8(out).unwrap();
        text.strip_prefix("before\n").unwrap().to_owned()
    }

    #[test]
    fn addresses_are_spelled_as_everywhere_else() {
        for (addr, port, interface) in [
            ("0.0.0.0", 0, 0),
            ("127.0.0.1", 9, 0),
            ("10.200.30.4", 80, 0),
            ("255.255.255.255", 65_535, 0),
            ("192.168.1.100", 10_000, 0),
            ("::1", 443, 0),
            ("2001:db8::ffff:7", 8080, 0),
            ("fe80:0:0:0:1234:5678:9abc:def0", 65_535, u32::MAX),
        ] {
            let endpoint = Endpoint::on_interface(addr.parse().unwrap(), port, interface);
            assert_eq!(written(&Address(endpoint)), format!("\"{endpoint}\"\n"));
        }
    }

    #[test]
    fn what_a_terminal_would_act_on_is_escaped() {
        assert_eq!(written(&"grüße"), "\"grüße\"\n");
        assert_eq!(written(&"\u{7f}"), "\"\\u007f\"\n");
        assert_eq!(
            written(&"a\u{1b}[2J\u{9b}\u{202e}\u{e0001}"),
            "\"a\\u001b[2J\\u009b\\u202e\\udb40\\udc01\"\n"
        );
        let long = format!("{}\u{7f}", "x".repeat(200));
        assert!(written(&long).ends_with("x\\u007f\"\n"));
    }

    #[test]
    fn a_name_ends_at_its_zero() {
        let mut name = [0; 16];
        name[..4].copy_from_slice(b"a\xffb\n");
        assert_eq!(written(&Name(Comm(name))), "\"a\u{fffd}b\\n\"\n");
        assert_eq!(written(&Name(Comm([b'x'; 16]))).len(), 16 + 3);
    }
}
