//! The machines hilum is built for, and what each is called by whom.

/// One machine.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Target {
    /// rustc's name.
    pub(crate) triple: &'static str,
    /// `hilumc compile --target`, and the middle of a precompiled plugin's file name. Where wasmtime generates no native
    /// code it is the interpreter's.
    pub(crate) plugin: &'static str,
    /// The platform in an image index.
    pub(crate) platform: &'static str,
    /// `e_machine` in the ELF header. **Source:** elf(5).
    pub(crate) machine: u16,
    /// Whether the compiler inside hilumc runs there.
    pub(crate) compiles_plugins: bool,
}

/// All of them; the first is the default. riscv64 is not among them: wasmtime wants the names of its registers (`REG_PC`, `REG_S0`) from libc,
/// which has them for glibc only.
pub(crate) const TARGETS: &[Target] = &[
    Target {
        triple: "x86_64-unknown-linux-musl",
        plugin: "x86_64",
        platform: "linux/amd64",
        machine: 62,
        compiles_plugins: true,
    },
    Target {
        triple: "aarch64-unknown-linux-musl",
        plugin: "aarch64",
        platform: "linux/arm64",
        machine: 183,
        compiles_plugins: true,
    },
    Target {
        triple: "armv7-unknown-linux-musleabihf",
        plugin: "pulley32",
        platform: "linux/arm/v7",
        machine: 40,
        compiles_plugins: false,
    },
];

impl Target {
    /// Finds a target by its triple, its short name (`aarch64`) or its platform (`linux/arm64`).
    ///
    /// **Errors:** lists what there is.
    pub(crate) fn find(name: &str) -> Result<&'static Target, String> {
        TARGETS
            .iter()
            .find(|target| target.triple == name || target.short() == name || target.platform == name)
            .ok_or_else(|| {
                let known: Vec<String> =
                    TARGETS.iter().map(|target| format!("{} ({})", target.triple, target.platform)).collect();
                format!("cannot build for \"{name}\"; there are {}", known.join(", "))
            })
    }

    /// Finds several; the default if none is named.
    pub(crate) fn find_all(names: &[String]) -> Result<Vec<&'static Target>, String> {
        if names.is_empty() {
            return Ok(TARGETS.iter().take(1).collect());
        }
        names.iter().map(|name| Target::find(name)).collect()
    }

    /// The target whose binaries run on this machine.
    pub(crate) fn host() -> Result<&'static Target, String> {
        Target::find(std::env::consts::ARCH)
    }

    /// The triple up to its first dash.
    pub(crate) fn short(&self) -> &'static str {
        self.triple.split('-').next().unwrap_or(self.triple)
    }
}

#[cfg(test)]
mod tests {
    use super::Target;

    #[test]
    fn every_name_finds_it() -> Result<(), String> {
        for name in ["armv7-unknown-linux-musleabihf", "armv7", "linux/arm/v7"] {
            assert_eq!(Target::find(name)?.machine, 40);
        }
        Ok(())
    }

    #[test]
    fn an_unknown_one_lists_the_known() {
        let error = Target::find("sparc").err().unwrap_or_default();
        assert!(error.contains("\"sparc\"") && error.contains("linux/arm/v7"), "{error}");
    }
}
