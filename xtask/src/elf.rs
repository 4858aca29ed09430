//! Just enough of the ELF format to prove that a binary is static and at a fixed address. It trusts no offset it reads.

/// What matters about an executable.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Executable {
    /// `e_machine`.
    pub(crate) machine: u16,
    /// Whether it needs a loader, or relocations of its own, before it can start: an interpreter, a dynamic section, or a
    /// file of the position-independent kind.
    pub(crate) relocated: bool,
}

const FIXED_ADDRESS: u16 = 2; // ET_EXEC
const DYNAMIC: u32 = 2; // PT_DYNAMIC
const INTERPRETER: u32 = 3; // PT_INTERP

/// Reads the headers of a little-endian executable. **Source:** elf(5).
///
/// **Errors:** say what about the file is not as it should be.
pub(crate) fn inspect(file: &[u8]) -> Result<Executable, String> {
    if file.get(..4) != Some(b"\x7fELF") {
        return Err(String::from("not an ELF file"));
    }
    if file.get(5) != Some(&1) {
        return Err(String::from("not little-endian"));
    }
    // Where the program headers start, how long each is and how many there are.
    let (start, size, count) = match file.get(4) {
        Some(1) => (u64::from(word(file, 28)?), half(file, 42)?, half(file, 44)?),
        Some(2) => (double(file, 32)?, half(file, 54)?, half(file, 56)?),
        _ => return Err(String::from("neither 32 nor 64 bits")),
    };
    let kind = half(file, 16)?;
    let mut relocated = kind != FIXED_ADDRESS;
    for index in 0..u64::from(count) {
        let at = start.checked_add(index * u64::from(size)).and_then(|at| usize::try_from(at).ok());
        let segment = word(file, at.ok_or_else(truncated)?)?;
        relocated |= segment == DYNAMIC || segment == INTERPRETER;
    }
    Ok(Executable { machine: half(file, 18)?, relocated })
}

fn truncated() -> String {
    String::from("ends inside its headers")
}

fn bytes<const N: usize>(file: &[u8], at: usize) -> Result<[u8; N], String> {
    file.get(at..).and_then(|rest| rest.first_chunk::<N>()).copied().ok_or_else(truncated)
}

fn half(file: &[u8], at: usize) -> Result<u16, String> {
    bytes(file, at).map(u16::from_le_bytes)
}

fn word(file: &[u8], at: usize) -> Result<u32, String> {
    bytes(file, at).map(u32::from_le_bytes)
}

fn double(file: &[u8], at: usize) -> Result<u64, String> {
    bytes(file, at).map(u64::from_le_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_of_this_machine_is_relocated() -> Result<(), String> {
        let own = std::fs::read("/proc/self/exe").map_err(|error| error.to_string())?;
        assert!(inspect(&own)?.relocated);
        for end in 0..64 {
            let cut = own.get(..end).unwrap_or_default();
            assert!(inspect(cut).is_err(), "{end}");
        }
        Ok(())
    }

    #[test]
    fn a_fixed_static_program_is_not() {
        let mut file = vec![0; 64 + 2 * 56];
        let mut set = |at: usize, value: &[u8]| {
            if let Some(place) = file.get_mut(at..at + value.len()) {
                place.copy_from_slice(value);
            }
        };
        set(0, b"\x7fELF\x02\x01\x01");
        set(16, &2u16.to_le_bytes());
        set(18, &183u16.to_le_bytes());
        set(32, &64u64.to_le_bytes());
        set(54, &56u16.to_le_bytes());
        set(56, &2u16.to_le_bytes());
        set(64, &1u32.to_le_bytes());
        set(120, &7u32.to_le_bytes());
        assert_eq!(inspect(&file), Ok(Executable { machine: 183, relocated: false }));
        if let Some(place) = file.get_mut(120) {
            *place = 3;
        }
        assert_eq!(inspect(&file), Ok(Executable { machine: 183, relocated: true }));
    }

    #[test]
    fn other_files_are_refused() {
        assert_eq!(inspect(b""), Err(String::from("not an ELF file")));
        assert_eq!(inspect(b"#!/bin/sh\n"), Err(String::from("not an ELF file")));
        let far = [b"\x7fELF\x02\x01".as_slice(), &[255; 80]].concat();
        assert!(inspect(&far).is_err());
    }
}
