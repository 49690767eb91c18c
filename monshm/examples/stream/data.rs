//! Where the bytes come from: a generator or a file, block by block; and sums as text.
//!
//! Nothing here is timed: see the head of `main.rs`.

use crate::Failure;
use crate::arguments::Input;
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::Read;

/// The bytes to stream.
#[derive(Debug)]
pub(crate) enum Data {
    Generated { left: u64, state: u64 },
    File { file: File, name: String },
}

impl Data {
    /// Opens the input; tells its length in bytes where that is known before the end.
    pub(crate) fn open(input: &Input) -> Result<(Self, Option<u64>), Failure> {
        match input {
            Input::Generated(bytes) => {
                Ok((Self::Generated { left: *bytes, state: 0x9E37_79B9_7F4A_7C15 }, Some(*bytes)))
            }
            Input::File(path) => {
                let name = path.display().to_string();
                let refuse = |error| format!("{name}: {error}");
                let file = File::open(path).map_err(refuse)?;
                let metadata = file.metadata().map_err(refuse)?;
                if metadata.is_dir() {
                    return Err(format!("{name}: is a directory; name a file").into());
                }
                let length = metadata.is_file().then_some(metadata.len());
                Ok((Self::File { file, name }, length))
            }
        }
    }

    /// Fills `block` from its beginning; answers how much, which is less than all of it at the end alone.
    pub(crate) fn next_block(&mut self, block: &mut [u8]) -> Result<usize, Failure> {
        match self {
            Self::Generated { left, state } => {
                let length = usize::try_from(*left).unwrap_or(usize::MAX).min(block.len());
                generate(state, &mut block[..length]);
                *left -= length as u64;
                Ok(length)
            }
            Self::File { file, name } => {
                let mut length = 0;
                while length < block.len() {
                    match file.read(&mut block[length..]) {
                        Ok(0) => break,
                        Ok(count) => length += count,
                        Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                        Err(error) => return Err(format!("{name}: {error}").into()),
                    }
                }
                Ok(length)
            }
        }
    }
}

/// xorshift64 (Marsaglia 2003): no byte stands still, and no page equals another.
fn generate(state: &mut u64, block: &mut [u8]) {
    for word in block.chunks_mut(8) {
        *state ^= *state << 13;
        *state ^= *state >> 7;
        *state ^= *state << 17;
        word.copy_from_slice(&state.to_le_bytes()[..word.len()]);
    }
}

/// The sum of all that was hashed, in hexadecimal.
pub(crate) fn hexadecimal(hash: Sha256) -> String {
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}
