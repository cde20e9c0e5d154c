//! Recordings that were compressed: what unpacks them is said, and not guessed from their names.

use anyhow::bail;

use crate::source::replay::Input;

/// A compressed recording is unpacked by who knows how.
pub(super) fn refuse_compressed(inputs: &[Input], command: &str) -> anyhow::Result<()> {
    const KINDS: [(&[u8], &str); 3] = [
        (&[0x1f, 0x8b], "zcat"),
        (&[0x28, 0xb5, 0x2f, 0xfd], "zstdcat"),
        (&[0xfd, b'7', b'z', b'X', b'Z'], "xzcat"),
    ];
    for input in inputs {
        let mut begin = [0; 8];
        // What can't be read is said by who reads on.
        let length = input.bytes.read_at(&mut begin, 0).unwrap_or(0);
        let kind = KINDS
            .iter()
            .find(|(magic, _)| begin[..length].starts_with(magic));
        if let Some((_, unpack)) = kind {
            let name = input.name.display();
            bail!("{name}: it is compressed: write '{unpack} {name} | tcpwatch {command} -'");
        }
    }
    Ok(())
}
