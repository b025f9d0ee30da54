//! The plugins that a pipeline names: each file is read, compiled and described once.

use std::{
    cell::RefCell,
    collections::HashMap,
    env, fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use wasmill_core::descriptor::{Descriptor, DescriptorError};

use crate::wasm::{Compiler, Engine, EngineOptions, Plugin, PluginError};

/// The arguments with which this program, started again, is the compiler: see
/// `wasm::compile_child`.
pub const COMPILE_COMMAND: &str = "compile-component";

/// Why a plugin cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PluginStoreError {
    /// The file cannot be read.
    #[error("`{}` cannot be read; build the plugin, or correct the path", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The component was refused.
    #[error("`{}` is refused", path.display())]
    Refused {
        /// The file.
        path: PathBuf,
        /// Why.
        source: PluginError,
    },
    /// What it says about itself is wrong.
    #[error("`{}` is refused", path.display())]
    Descriptor {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: DescriptorError,
    },
}

/// A plugin that is ready to be instantiated.
#[derive(Clone)]
pub struct Loaded {
    /// The code.
    pub plugin: Plugin,
    /// What it says about itself.
    pub descriptor: Arc<Descriptor>,
}

/// Loads plugins relative to a folder.
pub struct PluginStore {
    engine: Engine,
    folder: PathBuf,
    loaded: RefCell<HashMap<String, Loaded>>,
}

impl PluginStore {
    /// A store for the plugins of a document in `folder`.
    pub fn new(engine: Engine, folder: &Path) -> Self {
        Self {
            engine,
            folder: folder.into(),
            loaded: RefCell::default(),
        }
    }

    /// The plugin of a reference: the path of a file, relative to the folder.
    ///
    /// # Errors
    /// If the file cannot be read, or is no plugin.
    pub fn load(&self, reference: &str) -> Result<Loaded, PluginStoreError> {
        if let Some(loaded) = self.loaded.borrow().get(reference) {
            return Ok(loaded.clone());
        }
        let loaded = load(&self.engine, &self.folder.join(reference))?;
        let mut all = self.loaded.borrow_mut();
        all.insert(reference.into(), loaded.clone());
        Ok(loaded)
    }
}

/// Reads, compiles and describes a plugin's file.
///
/// # Errors
/// If the file cannot be read, or is no plugin.
pub fn load(engine: &Engine, path: &Path) -> Result<Loaded, PluginStoreError> {
    let bytes = fs::read(path).map_err(|source| PluginStoreError::Read {
        path: path.into(),
        source,
    })?;
    let plugin = engine
        .load(&bytes)
        .map_err(|source| PluginStoreError::Refused {
            path: path.into(),
            source,
        })?;
    let descriptor =
        Descriptor::parse(plugin.descriptor()).map_err(|source| PluginStoreError::Descriptor {
            path: path.into(),
            source,
        })?;
    let mut states = descriptor.states.iter();
    if let Some(state) = states.find(|state| !state.migrations.is_empty())
        && !plugin.migrates()
    {
        let reason = format!(
            "state `{}` says that it `migrates-from` another type, and the component does not \
             export `wasmill:operator/migrate@0.1.0`: in Rust, write \
             `wasmill_sdk::export!(Operator, migrate)`",
            state.name
        );
        return Err(PluginStoreError::Refused {
            path: path.into(),
            source: PluginError::Contract { reason },
        });
    }
    Ok(Loaded {
        plugin,
        descriptor: Arc::new(descriptor),
    })
}

/// The engine of a command: code is cached in the user's folder, the compiler is a child of this
/// program.
///
/// # Errors
/// If this machine cannot run compiled guests.
pub fn engine() -> Result<Engine, PluginError> {
    let compiler = match env::current_exe() {
        Ok(program) => Compiler::Child(program, vec![COMPILE_COMMAND.into()]),
        Err(_) => Compiler::InProcess,
    };
    Engine::new(EngineOptions {
        cache: cache_folder(),
        compiler,
    })
}

/// `$XDG_CACHE_HOME/wasmill/code`, or the same under `~/.cache`; none where there is no home.
fn cache_folder() -> Option<PathBuf> {
    let folder = |name| {
        env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    let caches =
        folder("XDG_CACHE_HOME").or_else(|| folder("HOME").map(|home| home.join(".cache")));
    caches.map(|caches| caches.join("wasmill/code"))
}
