//! A plugin that was loaded: checked, compiled, described.

use std::{
    collections::hash_map::DefaultHasher,
    fmt::Write as _,
    hash::{Hash, Hasher},
    io::{Read, Write},
    process::{Command, Stdio},
    sync::Arc,
};

use sha2::{Digest, Sha256};
use wasmtime::component::{Component, ComponentExportIndex, InstancePre, Linker};

use super::{
    bindings::{AGGREGATE, MIGRATE, OPERATOR, RECORD_OPERATOR},
    call::block_on,
    capability,
    engine::{Compiler, Engine, precompile},
    error::{CallError, PluginError},
    guest::GuestState,
    instance::{self, Instance, InstanceOptions, World},
    migration::{self, Migrator},
    prepass, record, wasi,
};

/// The longest descriptor.
const DESCRIPTOR_BYTES_MAX: usize = 256 << 10;

/// A loaded plugin. Cheap to clone.
#[derive(Clone)]
pub struct Plugin(Arc<Loaded>);

struct Loaded {
    engine: Engine,
    pre: InstancePre<GuestState>,
    exports: Exports,
    digest: String,
    descriptor: String,
    draws: bool,
    draws_by_key: bool,
}

/// Where a component keeps what an operator exports.
pub(super) struct Exports {
    pub(super) world: World,
    /// Of a record operator: its columns and states, once it has described itself.
    pub(super) records: Option<Arc<record::Shape>>,
    pub(super) describe: ComponentExportIndex,
    pub(super) open: ComponentExportIndex,
    /// Of an aggregate what adds rows.
    pub(super) process: ComponentExportIndex,
    /// Of an aggregate what merges and what gives results.
    pub(super) folds: Option<[ComponentExportIndex; 2]>,
    /// If it migrates state.
    pub(super) migrate: Option<ComponentExportIndex>,
}

impl Plugin {
    /// The descriptor's JSON document, as the plugin gave it.
    pub fn descriptor(&self) -> &str {
        &self.0.descriptor
    }

    /// SHA-256 of the component, in lower-case hexadecimal.
    pub fn digest(&self) -> &str {
        &self.0.digest
    }

    /// The world that the plugin exports.
    pub fn world(&self) -> World {
        self.0.exports.world
    }

    /// Whether it may draw random numbers, of ours or of its language's library.
    pub fn draws(&self) -> bool {
        self.0.draws
    }

    /// Whether it may ask for the seed of a key: its language's library cannot.
    pub fn draws_by_key(&self) -> bool {
        self.0.draws_by_key
    }

    /// Whether it exports what migrates state.
    pub fn migrates(&self) -> bool {
        self.0.exports.migrate.is_some()
    }

    /// An instance that migrates state and does nothing else.
    ///
    /// # Errors
    /// If it exports no such thing, or its own start fails or exceeds its limits.
    pub async fn migrator(&self, options: &InstanceOptions) -> Result<Migrator, CallError> {
        let loaded = &self.0;
        migration::instantiate(&loaded.engine, &loaded.pre, &loaded.exports, options).await
    }

    /// A new instance, not yet opened.
    ///
    /// # Errors
    /// If the guest's own start fails or exceeds its limits.
    pub async fn instantiate(&self, options: &InstanceOptions) -> Result<Instance, CallError> {
        let loaded = &self.0;
        instance::instantiate(&loaded.engine, &loaded.pre, &loaded.exports, options).await
    }
}

pub(super) fn load(engine: &Engine, bytes: &[u8]) -> Result<Plugin, PluginError> {
    prepass::check(bytes)?;
    let digest = hex(&Sha256::digest(bytes));
    let component = compile(engine, bytes, &digest)?;
    let mut exports = exports(&component)?;
    let pre = link(engine, &component)?;
    let described = instance::describe(engine, &pre, &exports);
    let descriptor = block_on(described).map_err(|error| PluginError::Describe(Box::new(error)))?;
    if descriptor.len() > DESCRIPTOR_BYTES_MAX {
        return Err(PluginError::DescriptorTooLong {
            bytes: descriptor.len(),
            bytes_max: DESCRIPTOR_BYTES_MAX,
        });
    }
    if exports.world == World::Record {
        let shape = record::shape(&descriptor);
        let shape = shape.map_err(|reason| PluginError::Contract { reason })?;
        exports.records = Some(Arc::new(shape));
    }
    Ok(Plugin(Arc::new(Loaded {
        engine: engine.clone(),
        draws: imports(engine, &component, &[OWN_RANDOM, "wasi:random/"]),
        draws_by_key: imports(engine, &component, &[OWN_RANDOM]),
        pre,
        exports,
        digest,
        descriptor,
    })))
}

fn compile(engine: &Engine, bytes: &[u8], digest: &str) -> Result<Component, PluginError> {
    let mut hasher = DefaultHasher::new();
    engine
        .wasmtime()
        .precompile_compatibility_hash()
        .hash(&mut hasher);
    let name = format!("{digest}-{:016x}.code", hasher.finish());
    let cached = engine.cache().and_then(|cache| cache.read(&name));
    if let Some(component) = cached.and_then(|code| deserialize(engine, &code).ok()) {
        return Ok(component);
    }
    let code = match engine.compiler() {
        Compiler::InProcess => precompile(engine.wasmtime(), bytes)?,
        Compiler::Child(program, arguments) => {
            let mut command = Command::new(program);
            compile_in_child(command.args(arguments), bytes)?
        }
    };
    if let Some(cache) = engine.cache() {
        cache.write(&name, &code);
    }
    deserialize(engine, &code)
}

/// Loads code that this process compiled, had compiled by its own child, or wrote to its own cache.
#[expect(unsafe_code, reason = "compiled code can only be believed")]
fn deserialize(engine: &Engine, code: &[u8]) -> Result<Component, PluginError> {
    // SAFETY: the bytes come from our compiler, over a pipe from our own child or out of a file
    // whose authentication
    // code was just checked over these very bytes; wasmtime itself checks version and
    // configuration.
    unsafe { Component::deserialize(engine.wasmtime(), code) }.map_err(|error| {
        PluginError::Compile {
            reason: format!("{error:#}"),
        }
    })
}

/// Compiles in a process that may be killed by its limits.
fn compile_in_child(command: &mut Command, bytes: &[u8]) -> Result<Vec<u8>, PluginError> {
    let failed = |reason: String| PluginError::Compile { reason };
    let mut child = command
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| failed(format!("the compiler does not start: {error}")))?;
    // The child reads all of its input before it writes: no pipe can fill while the other one
    // waits.
    if let Some(mut stdin) = child.stdin.take() {
        // A child that died early tells why by its status.
        let _ = stdin.write_all(bytes);
    }
    let mut code = Vec::new();
    if let Some(stdout) = child.stdout.as_mut() {
        stdout
            .read_to_end(&mut code)
            .map_err(|error| failed(format!("the compiler's answer broke off: {error}")))?;
    }
    let ended = child
        .wait_with_output()
        .map_err(|error| failed(error.to_string()))?;
    if ended.status.success() {
        return Ok(code);
    }
    let said = String::from_utf8_lossy(&ended.stderr);
    Err(failed(format!(
        "the compiler ended with {}: {}",
        ended.status,
        super::log::escape(said.trim())
    )))
}

fn exports(component: &Component) -> Result<Exports, PluginError> {
    let worlds = [
        (World::Batch, OPERATOR),
        (World::Record, RECORD_OPERATOR),
        (World::Aggregate, AGGREGATE),
    ];
    let found = worlds.into_iter().find_map(|(world, name)| {
        let interface = component.get_export_index(None, name)?;
        Some((world, name, interface))
    });
    let Some((world, name, interface)) = found else {
        return Err(PluginError::WrongWorld {
            found: "something else".into(),
        });
    };
    let function_of = |(name, interface): (&str, &ComponentExportIndex), function: &str| {
        component
            .get_export_index(Some(interface), function)
            .ok_or_else(|| PluginError::Contract {
                reason: format!("`{name}` has no function `{function}`"),
            })
    };
    let function = |function: &str| function_of((name, &interface), function);
    let migrate = component.get_export_index(None, MIGRATE);
    let migrate = migrate.map(|interface| function_of((MIGRATE, &interface), "migrate-values"));
    Ok(Exports {
        world,
        records: None,
        describe: function("describe")?,
        open: function("open")?,
        process: match world {
            World::Aggregate => function("add")?,
            World::Batch | World::Record => function("process")?,
        },
        folds: match world {
            World::Aggregate => Some([function("merge")?, function("results")?]),
            World::Batch | World::Record => None,
        },
        migrate: migrate.transpose()?,
    })
}

/// Our interface of random numbers, of whatever version.
const OWN_RANDOM: &str = "wasmill:operator/random@";

/// Whether a component imports an interface whose name begins so.
fn imports(engine: &Engine, component: &Component, beginnings: &[&str]) -> bool {
    let component = component.component_type();
    let mut imports = component.imports(engine.wasmtime());
    imports.any(|(name, _)| beginnings.iter().any(|begin| name.starts_with(begin)))
}

fn link(engine: &Engine, component: &Component) -> Result<InstancePre<GuestState>, PluginError> {
    let mut linker = Linker::new(engine.wasmtime());
    let differs = |error: wasmtime::Error| PluginError::Contract {
        reason: format!("{error:#}"),
    };
    capability::add(&mut linker).map_err(differs)?;
    wasi::add(&mut linker, engine.wasmtime(), component).map_err(differs)?;
    linker.instantiate_pre(component).map_err(differs)
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}
