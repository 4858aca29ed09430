//! The one engine configuration that hilum and `hilumc` share. wasmtime refuses code that was compiled under another one, so every
//! change here invalidates every precompiled plugin: change [`CONFIG_ID`] with it, and do it rarely.
//!
//! Stacks and memories are mapped for each call. wasmtime's pooling allocator, which uses them again, takes a fifth off the processor time of an
//! empty call. It was measured and left out: it takes a third of a millisecond at the start of every worker for 64 calls at once and half of one
//! for 256, has 70 KB of code, and gives plugins a fixed number of calls, memories and tables to take from each other.

use std::fmt;
use std::str::FromStr;

use wasmtime::{Config, ModuleVersionStrategy};

/// The wasmtime that compiles and runs plugins, exactly. wasmtime itself compares only the major version; a fix in its code generator
/// must invalidate files too, so the whole number is part of [`VERSION`].
pub const WASMTIME: &str = "48.0.8";

/// Number of the settings in [`config`] that shape code.
pub const CONFIG_ID: &str = "2";

/// What a precompiled file carries and the loader compares.
pub const VERSION: &str = "48.0.8+2";

/// Address space set aside for each linear memory. **Units:** bytes. Guests within it never move their memory; those that outgrow it
/// do. The default of 4 GiB fails under any address-space limit; 0 un-shares the initial image and costs a megabyte a call.
const MEMORY_RESERVATION: u64 = 16 * 1024 * 1024;

/// Unmapped space after each linear memory. **Units:** bytes. Large enough for the offsets compilers commonly emit, so that those
/// need no bounds check of their own.
const MEMORY_GUARD: u64 = 64 * 1024;

/// Stack a guest may use. **Units:** bytes. Recursion deeper than this is a stack overflow of the call, not of the worker.
const WASM_STACK: usize = 512 * 1024;

/// Stack a call runs on, guest and host functions together; mapped, not touched, until used. **Units:** bytes. What is left above
/// [`WASM_STACK`] is for host functions.
const CALL_STACK: usize = 1024 * 1024;

/// What code is compiled for.
///
/// 64-bit RISC-V is not among them: without the vector extension, which its baseline lacks, the code generator of this wasmtime gives up
/// on a copy of 16 constant bytes, and so on nearly every guest. Those machines run [`Target::Pulley64`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Target {
    /// 64-bit x86 with nothing but its baseline (SSE2).
    X86_64,
    /// 64-bit ARM, baseline.
    Aarch64,
    /// The pulley interpreter on 32-bit machines.
    Pulley32,
    /// The pulley interpreter on 64-bit machines.
    Pulley64,
}

/// Not the name of a [`Target`].
#[derive(Debug)]
pub struct UnknownTarget(String);

impl Target {
    /// All of them.
    pub const ALL: [Target; 4] = [Target::X86_64, Target::Aarch64, Target::Pulley32, Target::Pulley64];

    /// Name on command lines and in file names.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Target::X86_64 => "x86_64",
            Target::Aarch64 => "aarch64",
            Target::Pulley32 => "pulley32",
            Target::Pulley64 => "pulley64",
        }
    }

    /// What the compiler is told. Always given, because without it code is made for the very CPU of the machine that compiles.
    #[must_use]
    pub const fn triple(self) -> &'static str {
        match self {
            Target::X86_64 => "x86_64-unknown-linux-musl",
            Target::Aarch64 => "aarch64-unknown-linux-musl",
            Target::Pulley32 => "pulley32",
            Target::Pulley64 => "pulley64",
        }
    }

    /// What this machine runs fastest.
    #[must_use]
    pub const fn native() -> Target {
        if cfg!(target_arch = "x86_64") {
            Target::X86_64
        } else if cfg!(target_arch = "aarch64") {
            Target::Aarch64
        } else {
            Target::pulley()
        }
    }

    /// The interpreter's code for this machine.
    #[must_use]
    pub const fn pulley() -> Target {
        if cfg!(target_pointer_width = "64") { Target::Pulley64 } else { Target::Pulley32 }
    }

    /// Which target a precompiled file is for, as its header says; `None` if it is not one.
    ///
    /// **Source:** elf(5); wasmtime marks pulley code in `e_flags`.
    #[must_use]
    pub fn of(file: &[u8]) -> Option<Target> {
        const PULLEY32: u32 = 1 << 2;
        const PULLEY64: u32 = 1 << 3;
        if !file.starts_with(b"\x7fELF\x02\x01") {
            return None;
        }
        let machine = u16::from_le_bytes(file.get(18..20)?.try_into().ok()?);
        let flags = u32::from_le_bytes(file.get(48..52)?.try_into().ok()?);
        match machine {
            _ if flags & PULLEY32 != 0 => Some(Target::Pulley32),
            _ if flags & PULLEY64 != 0 => Some(Target::Pulley64),
            62 => Some(Target::X86_64),
            183 => Some(Target::Aarch64),
            _ => None,
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Target {
    type Err = UnknownTarget;

    fn from_str(name: &str) -> Result<Target, UnknownTarget> {
        Target::ALL
            .into_iter()
            .find(|target| target.name() == name || target.triple() == name)
            .ok_or_else(|| UnknownTarget(name.to_owned()))
    }
}

impl fmt::Display for UnknownTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no target {:?}; there are", self.0)?;
        for target in Target::ALL {
            write!(f, " {target}")?;
        }
        if self.0.starts_with("riscv64") {
            write!(f, "; riscv64 machines run pulley64")?;
        }
        Ok(())
    }
}

impl std::error::Error for UnknownTarget {}

/// The configuration, for compiling for `target` or, with `None`, for running what was compiled for this machine.
///
/// **Errors:** none that depend on input; wasmtime's own if it does not know the target.
pub fn config(target: Option<Target>) -> wasmtime::Result<Config> {
    let mut config = Config::new();
    config
        .epoch_interruption(true)
        .consume_fuel(false)
        .memory_reservation(MEMORY_RESERVATION)
        .memory_reservation_for_growth(MEMORY_RESERVATION)
        .memory_guard_size(MEMORY_GUARD)
        .guard_before_linear_memory(false)
        .memory_init_cow(true)
        .generate_address_map(false)
        // A tenth of the file, which is all copied into memory; traps name functions by the component's own name section.
        .debug_symbols(false)
        .native_unwind_info(false)
        .concurrency_support(false)
        .wasm_memory64(false)
        .max_wasm_stack(WASM_STACK)
        .async_stack_size(CALL_STACK);
    config.module_version(ModuleVersionStrategy::Custom(VERSION.to_owned()))?;
    if let Some(target) = target {
        config.target(target.triple())?;
    }
    Ok(config)
}

#[cfg(test)]
mod tests {
    use super::{CONFIG_ID, Target, VERSION, WASMTIME};

    #[test]
    fn version_is_the_pinned_wasmtime_and_the_config_id() {
        assert_eq!(VERSION, format!("{WASMTIME}+{CONFIG_ID}"));
        let workspace = include_str!("../../../Cargo.toml");
        assert!(
            workspace.contains(&format!("wasmtime = {{ version = \"={WASMTIME}\"")),
            "Cargo.toml pins another wasmtime"
        );
    }

    #[test]
    fn targets_are_read_from_headers_and_names() {
        for target in Target::ALL {
            assert_eq!(target.name().parse::<Target>().ok(), Some(target));
            assert_eq!(target.triple().parse::<Target>().ok(), Some(target));
        }
        assert!("riscv64".parse::<Target>().is_err_and(|e| e.to_string().contains("run pulley64")));
        assert!("x86".parse::<Target>().is_err_and(|e| e.to_string().contains("pulley64")));
        assert_eq!(Target::of(b"\x7fELF\x02\x01"), None);
        assert_eq!(Target::of(b""), None);
        let mut header = [0; 64];
        header[..6].copy_from_slice(b"\x7fELF\x02\x01");
        header[18] = 183;
        assert_eq!(Target::of(&header), Some(Target::Aarch64));
        header[48] = 1 << 3;
        assert_eq!(Target::of(&header), Some(Target::Pulley64));
    }
}
