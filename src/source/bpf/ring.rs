//! The ring that the programs write, the count of what found no room in it, and the table of their
//! marks, as shared memory.
//!
//! Protocol: kernel/bpf/ringbuf.c. A page with our position, a page with the kernel's, and the data
//! twice in a row, so that no record is ever cut in two. A record is behind a head of 8 bytes: its
//! length with two flags, busy and discarded.
//!
//! The traps: a record can be busy while later ones are done, for a CPU was interrupted in it, and
//! nothing behind it may be read before; and our position must not be told to the kernel before
//! the record has been copied out.

#![expect(unsafe_code, reason = "memory shared with the kernel")]

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::source::bpf::program::Marks;
use crate::source::bpf::record::Record;
use crate::source::bpf::sys;

/// `BPF_RINGBUF_BUSY_BIT`.
const BUSY: u32 = 1 << 31;
/// `BPF_RINGBUF_DISCARD_BIT`.
const DISCARDED: u32 = 1 << 30;
/// `BPF_RINGBUF_HDR_SZ`.
const HEAD: usize = 8;
/// Part of the ring after which our position is told, before all has been read. Not more often:
/// the kernel wakes us for every record that it puts where our position is.
const TELL: usize = 4;

/// How often a busy record is looked at again: some tens of microseconds.
const SPINS: usize = 1000;

/// Memory that is shared with the kernel, until it is dropped.
struct Mapping {
    start: NonNull<u8>,
    length: usize,
}

// SAFETY: it is plain memory, bound to no thread.
unsafe impl Send for Mapping {}

impl Mapping {
    fn new(fd: BorrowedFd<'_>, length: usize, at: usize, writable: bool) -> io::Result<Self> {
        let protection = libc::PROT_READ | if writable { libc::PROT_WRITE } else { 0 };
        let offset = libc::off_t::try_from(at).map_err(io::Error::other)?;
        // SAFETY: a new mapping at a place that the kernel chooses touches no memory of ours.
        let start = unsafe {
            libc::mmap(
                ptr::null_mut(),
                length,
                protection,
                libc::MAP_SHARED,
                fd.as_raw_fd(),
                offset,
            )
        };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = NonNull::new(start.cast()).ok_or_else(|| io::Error::other("mapped at 0"))?;
        Ok(Self { start, length })
    }

    /// The 64-bit word at the begin of the mapping or of a page in it.
    fn word(&self, at: usize) -> &AtomicU64 {
        debug_assert!(at.is_multiple_of(8) && at + 8 <= self.length);
        // SAFETY: inside the mapping, aligned to 8, and written by us and by the kernel only as a
        // whole word.
        unsafe { AtomicU64::from_ptr(self.start.as_ptr().add(at).cast()) }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: it was mapped with this length, and nothing borrows it any more.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.length) };
    }
}

fn page_size() -> io::Result<usize> {
    // SAFETY: it only asks for a number.
    let size = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    usize::try_from(size).map_err(io::Error::other)
}

/// How a read of the ring ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// All that was there before the call has been taken.
    Empty,
    /// As many as were asked for; there can be more.
    Enough,
    /// A record is not finished yet, and hides those behind it.
    Unfinished,
}

/// The reader's side of the ring.
pub struct Ring {
    fd: OwnedFd,
    /// Our position, which we alone write.
    ours: Mapping,
    /// The kernel's position, a page long, and behind it the data, twice.
    theirs: Mapping,
    size: usize,
    page: usize,
}

impl Ring {
    /// Makes a ring of so many bytes, a power of two and at least a page.
    pub fn new(size: usize) -> io::Result<Self> {
        let bytes = u32::try_from(size).map_err(io::Error::other)?;
        let fd = sys::ring(bytes)?;
        let page = page_size()?;
        Ok(Self {
            ours: Mapping::new(fd.as_fd(), page, 0, true)?,
            theirs: Mapping::new(fd.as_fd(), page + 2 * size, page, false)?,
            fd,
            size,
            page,
        })
    }

    /// For the program's instructions, and for poll().
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Takes out what was put in before the call, at most `most` records.
    pub fn read(&mut self, most: usize, mut take: impl FnMut(&Record)) -> End {
        let mut position = self.ours.word(0).load(Ordering::Relaxed);
        // Acquire: heads below this position are written.
        let goal = self.theirs.word(0).load(Ordering::Acquire);
        let mut told = position;
        let mut taken = 0;
        let end = loop {
            if position >= goal {
                break End::Empty;
            }
            if taken == most {
                break End::Enough;
            }
            let at = self.page + (position as usize & (self.size - 1));
            let Some(head) = self.finished_head(at) else {
                break End::Unfinished;
            };
            let length = (head & !DISCARDED) as usize;
            if head & DISCARDED == 0 && length == size_of::<Record>() {
                take(&self.record(at + HEAD));
            }
            taken += 1;
            position += (HEAD + length).next_multiple_of(8) as u64;
            if (position - told) as usize >= self.size / TELL {
                self.ours.word(0).store(position, Ordering::Release);
                told = position;
            }
        };
        // Sequentially consistent, since poll() looks at the kernel's position after this.
        self.ours.word(0).store(position, Ordering::SeqCst);
        end
    }

    /// A record is busy for less than a microsecond, unless its processor was interrupted.
    fn finished_head(&self, at: usize) -> Option<u32> {
        for _ in 0..SPINS {
            let head = self.head(at).load(Ordering::Acquire);
            if head & BUSY == 0 {
                return Some(head);
            }
            std::hint::spin_loop();
        }
        None
    }

    fn head(&self, at: usize) -> &AtomicU32 {
        // SAFETY: records begin at multiples of 8 below twice the size, so the head lies inside
        // the mapping; the kernel writes it as a whole word.
        unsafe { AtomicU32::from_ptr(self.theirs.start.as_ptr().add(at).cast()) }
    }

    fn record(&self, at: usize) -> Record {
        debug_assert!(at + size_of::<Record>() <= self.theirs.length);
        // SAFETY: a finished record of this length, at a multiple of 8, inside the mapping, since
        // the data is there twice; the kernel does not touch it until it is told our position;
        // every pattern of bits is a valid record.
        unsafe { self.theirs.start.as_ptr().add(at).cast::<Record>().read() }
    }
}

/// The table in which the first programs leave marks for the second ones.
pub struct MarkTable {
    fd: OwnedFd,
    value: Mapping,
    cpus: u32,
}

impl MarkTable {
    /// Makes one, empty, for so many processors: a power of two.
    pub fn new(cpus: u32) -> io::Result<Self> {
        let size = Marks::size(cpus);
        let fd = sys::array(
            u32::try_from(size).map_err(io::Error::other)?,
            "tcpwatch_marks",
        )?;
        let length = size.next_multiple_of(page_size()?);
        Ok(Self {
            value: Mapping::new(fd.as_fd(), length, 0, false)?,
            fd,
            cpus,
        })
    }

    /// For the programs' instructions.
    pub fn marks(&self) -> Marks {
        Marks {
            table: self.fd.as_raw_fd(),
            cpus: self.cpus,
        }
    }

    /// How many events the second programs have told, without a system call.
    pub fn rescued(&self) -> u64 {
        let words = Marks::rescued(self.cpus).map(|at| self.value.word(at));
        words.map(|word| word.load(Ordering::Relaxed)).sum()
    }
}

/// A number that the programs count up.
pub struct Counter {
    fd: OwnedFd,
    value: Mapping,
}

impl Counter {
    /// Makes one, at 0.
    pub fn new() -> io::Result<Self> {
        let fd = sys::array(size_of::<u64>() as u32, "tcpwatch_lost")?;
        let page = page_size()?;
        Ok(Self {
            value: Mapping::new(fd.as_fd(), page, 0, false)?,
            fd,
        })
    }

    /// For the program's instructions.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// What it stands at, without a system call.
    pub fn value(&self) -> u64 {
        self.value.word(0).load(Ordering::Relaxed)
    }
}
