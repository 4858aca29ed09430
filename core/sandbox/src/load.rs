//! From a descriptor to a plugin that can be called: the bytes are read once, judged, and only then given to wasmtime.
//!
//! wasmtime checks version, target, CPU features and settings of precompiled code, but not its integrity: one flipped bit is native
//! code that does something else. So nothing is loaded whose digest the plan does not pin or that anybody but root could have written.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use hilum_wire::{LoadFailure, PluginInfo};
use sha2::{Digest, Sha256};

use crate::bindings::plugin::Description;
use crate::call;
use crate::code::{Code, KINDS, Origin, PLUGIN};
use crate::engine::{Target, VERSION};
use crate::grant::Grants;
use crate::host::{Host, INTERFACES, Kept};
use crate::reuse::Spares;
use crate::text::clean;
use crate::ticker::Lanes;
use crate::uplink::Uplink;

/// Largest precompiled file. **Units:** bytes. The largest seen, a JavaScript engine with its program, has 37 MB. Doubling it
/// doubles what a worker may hold for one plugin.
pub const MAX_FILE: usize = 64 * 1024 * 1024;

/// Read and hashed at a time, before others get a turn. **Units:** bytes.
const CHUNK: usize = 1024 * 1024;

/// What is asked to be loaded.
#[derive(Debug, Default)]
pub struct Order {
    /// The plugin's name in the plan.
    pub name: String,
    /// The digest that is pinned, 64 lower-case hexadecimal digits.
    pub sha256: Option<String>,
    /// Where in the file it is, if it is not the whole of it: offset and length.
    pub part: Option<(u64, u64)>,
    /// Cap of the linear memory of an instance. **Units:** bytes.
    pub memory: u64,
    /// Whether an instance that answered well serves further calls.
    pub reuse_instances: bool,
    /// What it may do.
    pub grants: hilum_wire::Grants,
    /// A descriptor for each of `grants.files`.
    pub files: Vec<OwnedFd>,
    /// What it kept before.
    pub state: BTreeMap<String, Vec<u8>>,
}

/// A plugin that can be called.
pub struct Plugin {
    pub(crate) name: String,
    pub(crate) code: Arc<Code>,
    pub(crate) memory: usize,
    pub(crate) grants: Arc<Grants>,
    pub(crate) kept: Arc<Kept>,
    pub(crate) lanes: Arc<Lanes>,
    /// Whether its last call used up a tick.
    pub(crate) slow: AtomicBool,
    /// Where the plan has instances reused: those that wait.
    pub(crate) spares: Option<Spares>,
}

impl Plugin {
    /// Code with what the plan gives it.
    ///
    /// **Errors:** [`LoadCause::Grant`].
    pub(crate) fn new(
        host: &Host,
        order: Order,
        code: Arc<Code>,
        uplink: Arc<dyn Uplink>,
    ) -> Result<Plugin, LoadCause> {
        let grants = Grants::new(order.grants, order.files).map_err(LoadCause::Grant)?;
        Ok(Plugin {
            name: order.name,
            code,
            memory: usize::try_from(order.memory).unwrap_or(usize::MAX),
            grants: Arc::new(grants),
            kept: Arc::new(Kept::new(uplink, order.state)),
            lanes: Arc::clone(&host.lanes),
            slow: AtomicBool::new(false),
            spares: order.reuse_instances.then(Spares::default),
        })
    }

    /// Names of the interfaces it imports.
    #[must_use]
    pub fn imports(&self) -> Vec<String> {
        self.code.imports()
    }

    /// Names of what it exports.
    #[must_use]
    pub fn exports(&self) -> Vec<String> {
        self.code.exports()
    }

    /// What it can be asked: `probe`, `callback` and so on.
    #[must_use]
    pub fn kinds(&self) -> Vec<&'static str> {
        self.code.kinds()
    }

    /// The TCP ports it may connect to; `None` is any.
    pub(crate) fn tcp_ports(&self) -> Option<Vec<u16>> {
        self.grants.connect.iter().filter_map(crate::grant::Endpoint::tcp_port).collect()
    }
}

impl fmt::Debug for Plugin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plugin").field("name", &self.name).field("memory", &self.memory).finish_non_exhaustive()
    }
}

/// Why a plugin cannot be used.
#[derive(Debug)]
pub struct LoadError {
    /// Its name in the plan.
    pub plugin: String,
    /// What is wrong.
    pub cause: LoadCause,
}

/// What is wrong with a plugin.
#[derive(Debug)]
pub enum LoadCause {
    /// The worker has given up what loading needs.
    Sealed,
    /// No descriptor came with the order.
    NoDescriptor,
    /// It is not a regular file.
    NotAFile,
    /// It could not be read.
    Io(io::Error),
    /// It is longer than [`MAX_FILE`].
    TooLarge {
        /// Its length in bytes.
        len: u64,
    },
    /// It is not the file the plan pinned.
    Digest {
        /// The pin.
        pinned: String,
        /// The digest of what is there.
        found: String,
    },
    /// It is not pinned, and others than root could have written it.
    Untrusted {
        /// Its owner.
        uid: u32,
        /// Its permission bits.
        mode: u32,
    },
    /// A grant cannot be understood.
    Grant(String),
    /// It is a component or module that was not compiled.
    NotCompiled,
    /// It is no precompiled component at all.
    NotAComponent,
    /// It was compiled for another kind of machine.
    Machine {
        /// For which.
        found: Target,
    },
    /// It is compiled for the interpreter, which does not start here.
    NoInterpreter(wasmtime::Error),
    /// It was compiled by or for something else than this hilum.
    Incompatible(wasmtime::Error),
    /// It imports what is not there.
    MissingImports(Vec<String>),
    /// An import is there, but not as it wants it.
    ImportMismatch(wasmtime::Error),
    /// It says what it is, but is of no kind that is called: what it exports.
    NoKind(Vec<String>),
    /// It does not say what it is.
    MissingExport(wasmtime::Error),
    /// It failed when asked what it is.
    Describe(call::Broken),
}

impl LoadCause {
    /// The kind, as [`LoadFailure`] lists them.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            LoadCause::NoDescriptor | LoadCause::NotAFile | LoadCause::Io(_) => "io",
            LoadCause::TooLarge { .. } => "too-large",
            LoadCause::Digest { .. } => "digest",
            LoadCause::Untrusted { .. } => "untrusted",
            LoadCause::NotCompiled
            | LoadCause::NotAComponent
            | LoadCause::Machine { .. }
            | LoadCause::NoInterpreter(_)
            | LoadCause::Incompatible(_)
            | LoadCause::NoKind(_)
            | LoadCause::MissingExport(_) => "incompatible",
            LoadCause::MissingImports(_) | LoadCause::ImportMismatch(_) => "import",
            LoadCause::Grant(_) => "grant",
            LoadCause::Sealed => "sealed",
            LoadCause::Describe(_) => "describe",
        }
    }
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot load plugin {}: {}", self.plugin, self.cause)
    }
}

impl fmt::Display for LoadCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let native = Target::native();
        match self {
            LoadCause::NoDescriptor => f.write_str("bug: no descriptor came with the order to load it"),
            LoadCause::NotAFile => f.write_str("its path is not a regular file; name a .cwasm file"),
            LoadCause::Io(error) => write!(f, "cannot read its file: {error}"),
            LoadCause::TooLarge { len } => {
                write!(f, "its file has {len} bytes, the limit is {MAX_FILE}; build it smaller")
            }
            LoadCause::Digest { pinned, found } => write!(
                f,
                "its file is not the one the plan pins: sha256 is {found}, pinned is {pinned}; restore the file, or pin the new digest \
                 if the change is meant"
            ),
            LoadCause::Untrusted { uid, mode } => write!(
                f,
                "its file belongs to uid {uid} with mode {mode:04o}, and the plan does not pin it; set sha256 in the plan, or make the \
                 file root's and writable by no one else (chown 0 and chmod go-w)"
            ),
            LoadCause::Grant(text) => write!(f, "a grant cannot be understood: {text}"),
            LoadCause::Sealed => f.write_str("bug: it came after the worker was sealed"),
            LoadCause::NotCompiled => write!(
                f,
                "its file is WebAssembly that is not compiled yet; run: hilumc compile --target {native} FILE.wasm"
            ),
            LoadCause::NotAComponent => write!(
                f,
                "its file is not a precompiled component; make one with: hilumc compile --target {native} FILE.wasm"
            ),
            LoadCause::Machine { found } => write!(
                f,
                "its file is compiled for {found}, this is {native}; run: hilumc compile --target {native} FILE.wasm"
            ),
            LoadCause::NoInterpreter(error) => {
                write!(f, "it is compiled for the interpreter, which cannot be started: {error:#}")
            }
            LoadCause::Incompatible(error) => write!(
                f,
                "its file does not fit this hilum (wasmtime {VERSION}): {}; compile it with the hilumc of this release: hilumc compile \
                 --target {native} FILE.wasm",
                error.root_cause()
            ),
            LoadCause::MissingImports(names) => {
                write!(
                    f,
                    "it imports {}, which this hilum does not have; there are {}",
                    names.join(", "),
                    INTERFACES.join(", ")
                )?;
                if cfg!(feature = "full") {
                    f.write_str(" and WASI 0.2")
                } else if names.iter().any(|name| name.starts_with("wasi:")) {
                    f.write_str("; WASI is in the full build, not in hilum-tiny")
                } else {
                    Ok(())
                }
            }
            LoadCause::ImportMismatch(error) => write!(
                f,
                "an import is not what this hilum has: {error:#}; build it against the WIT packages of this release"
            ),
            LoadCause::MissingExport(error) => {
                write!(
                    f,
                    "it does not export {PLUGIN} as this hilum knows it: {error:#}; build it for one of the worlds in wit/, such as \
                     hilum:probe/probe-plugin"
                )
            }
            LoadCause::NoKind(exports) => {
                let interfaces: Vec<&str> = KINDS.iter().map(|(_, interface)| *interface).collect();
                write!(
                    f,
                    "it exports {} and nothing that hilum calls; build it for a world that exports one of {}",
                    exports.join(", "),
                    interfaces.join(", ")
                )
            }
            LoadCause::Describe(broken) => write!(f, "it failed when asked what it is: {}", broken.message),
        }
    }
}

impl std::error::Error for LoadError {}
impl std::error::Error for LoadCause {}

impl From<&LoadError> for LoadFailure {
    fn from(error: &LoadError) -> LoadFailure {
        LoadFailure { kind: error.cause.kind().to_owned(), message: clean(&error.to_string(), 4096) }
    }
}

/// Loads the plugin in `file` and asks it what it is.
///
/// **Errors:** [`LoadError`].
pub async fn load(
    host: Arc<Host>,
    order: Order,
    file: Option<File>,
    uplink: Arc<dyn Uplink>,
) -> Result<(Arc<Plugin>, Description), LoadError> {
    let name = order.name.clone();
    let loaded = async {
        let file = file.ok_or(LoadCause::NoDescriptor)?;
        let (origin, bytes) = read_trusted(file, order.sha256.as_deref(), order.part).await?;
        let code = host.code(origin, || Code::new(&host, &bytes))?;
        drop(bytes);
        let plugin = Arc::new(Plugin::new(&host, order, code, uplink)?);
        let description = call::describe(&plugin).await.map_err(LoadCause::Describe)?;
        Ok((plugin, description))
    };
    loaded.await.map_err(|cause| LoadError { plugin: name, cause })
}

/// What PID 1 is told of a plugin.
#[must_use]
pub fn info(plugin: &Plugin, description: &Description) -> PluginInfo {
    PluginInfo {
        name: clean(&description.name, 128),
        version: clean(&description.version, 128),
        kinds: plugin.kinds().into_iter().map(str::to_owned).collect(),
    }
}

/// The bytes of `file`, if they are the pinned ones or nobody but root could have written them.
async fn read_trusted(
    file: File,
    pinned: Option<&str>,
    part: Option<(u64, u64)>,
) -> Result<(Origin, Vec<u8>), LoadCause> {
    let metadata = file.metadata().map_err(LoadCause::Io)?;
    if !metadata.is_file() {
        return Err(LoadCause::NotAFile);
    }
    let too_large = |len| LoadCause::TooLarge { len };
    // A part ends where it ends; a whole file is read to its end and not to the length seen before: it may have grown.
    let (first, end) = part.map_or((0, u64::MAX), |(offset, len)| (offset, offset.saturating_add(len)));
    let len = part.map_or(metadata.len(), |(_, len)| len);
    let expected = usize::try_from(len).map_err(|_| too_large(len))?;
    if expected > MAX_FILE {
        return Err(too_large(len));
    }
    if pinned.is_none() && (metadata.uid() != 0 || metadata.mode() & 0o022 != 0) {
        return Err(LoadCause::Untrusted { uid: metadata.uid(), mode: metadata.mode() & 0o7777 });
    }
    let mut hashed = pinned.map(|pinned| (pinned, Sha256::new()));
    let mut bytes = Vec::with_capacity(expected.saturating_add(1));
    // Positioned reads: the descriptor's offset is shared with whoever sent it.
    loop {
        let start = bytes.len();
        let offset = first.saturating_add(u64::try_from(start).unwrap_or(u64::MAX));
        let left = usize::try_from(end.saturating_sub(offset)).unwrap_or(usize::MAX);
        let wanted = CHUNK.min(expected.saturating_sub(start).saturating_add(1)).min(left);
        bytes.resize(start.saturating_add(wanted), 0);
        let chunk = bytes.get_mut(start..).unwrap_or_default();
        let count = match file.read_at(chunk, offset) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                bytes.truncate(start);
                continue;
            }
            result => result.map_err(LoadCause::Io)?,
        };
        bytes.truncate(start.saturating_add(count));
        if count == 0 {
            break;
        }
        if bytes.len() > MAX_FILE {
            return Err(too_large(u64::try_from(bytes.len()).unwrap_or(u64::MAX)));
        }
        if let Some((_, hash)) = &mut hashed {
            hash.update(bytes.get(start..).unwrap_or_default());
        }
        tokio::task::yield_now().await;
    }
    let Some((pinned, hash)) = hashed else {
        let changed = (metadata.ctime(), metadata.ctime_nsec());
        return Ok((Origin::File { device: metadata.dev(), inode: metadata.ino(), changed, part }, bytes));
    };
    let found = hex(&hash.finalize());
    if found != pinned {
        return Err(LoadCause::Digest { pinned: clean(pinned, 128), found });
    }
    Ok((Origin::Pinned(found), bytes))
}

/// The sha256 of `bytes` as a plan pins it.
#[must_use]
pub fn digest(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// `bytes` as lower-case hexadecimal digits.
fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .filter_map(|digit| char::from_digit(digit.into(), 16))
        .collect()
}
