//! The one engine of a process: compiler, code cache and ticker.

use std::{io::Read, path::PathBuf, sync::Arc};

use wasmtime::Config;

use super::{
    cache::Cache,
    error::PluginError,
    plugin::{self, Plugin},
    prepass,
    ticker::{Running, Ticker},
};

/// Stack of a guest. The fiber has more: the difference is the host's, and an overflow there
/// would end the process.
pub(super) const STACK_BYTES_MAX: usize = 512 << 10;
const FIBER_STACK_BYTES: usize = 1 << 20;

/// How the engine compiles and where it keeps the code.
#[derive(Debug, Clone, Default)]
pub struct EngineOptions {
    /// Folder of compiled code; none compiles anew each time. It is made with mode 0700.
    pub cache: Option<PathBuf>,
    /// Where the compiler runs.
    pub compiler: Compiler,
}

/// Where the compiler runs. Compilation is a risk: a component can be a bomb.
#[derive(Debug, Clone, Default)]
pub enum Compiler {
    /// In this process: for tests.
    #[default]
    InProcess,
    /// In a child process with limits on memory and CPU time: the program and its arguments,
    /// which lead to
    /// [`compile_child`].
    Child(PathBuf, Vec<String>),
}

/// Loads plugins. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Engine(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    engine: wasmtime::Engine,
    ticker: Ticker,
    cache: Option<Cache>,
    compiler: Compiler,
}

impl Engine {
    /// Starts the engine and its ticker.
    ///
    /// # Errors
    /// If this machine cannot run compiled guests.
    pub fn new(options: EngineOptions) -> Result<Self, PluginError> {
        let engine = wasmtime::Engine::new(&config()).map_err(|error| PluginError::Compile {
            reason: format!("this machine does not suit the compiler: {error:#}"),
        })?;
        Ok(Self(Arc::new(Shared {
            ticker: Ticker::start(&engine),
            engine,
            cache: options.cache.map(Cache::new),
            compiler: options.compiler,
        })))
    }

    /// Checks, compiles and describes a component.
    ///
    /// # Errors
    /// If the component is refused, or fails to describe itself.
    pub fn load(&self, bytes: &[u8]) -> Result<Plugin, PluginError> {
        plugin::load(self, bytes)
    }

    pub(super) fn wasmtime(&self) -> &wasmtime::Engine {
        &self.0.engine
    }

    pub(super) fn cache(&self) -> Option<&Cache> {
        self.0.cache.as_ref()
    }

    pub(super) fn compiler(&self) -> &Compiler {
        &self.0.compiler
    }

    /// Announces a call to the ticker.
    pub(super) fn running(&self) -> Running<'_> {
        self.0.ticker.running()
    }
}

/// The one configuration: compiled code is only good under the one that compiled it.
fn config() -> Config {
    let mut config = Config::new();
    config
        .epoch_interruption(true)
        // More than doubles the cost of a call, and no guest of ours is async.
        .concurrency_support(false)
        .max_wasm_stack(STACK_BYTES_MAX)
        .async_stack_size(FIBER_STACK_BYTES)
        // The same vectors on every machine.
        .relaxed_simd_deterministic(true)
        .wasm_memory64(false)
        // Guests' own words explain a trap; a list of stripped frames does not.
        .wasm_backtrace_max_frames(None)
        .native_unwind_info(false);
    config
}

/// Limits of the compiler's process.
const CHILD_MEMORY_BYTES_MAX: u64 = 8 << 30;
const CHILD_CPU_SECONDS_MAX: u64 = 120;

/// The compiler's process: reads a component from stdin, gives the compiled code.
///
/// # Errors
/// If the limits cannot be set or the component does not compile.
pub fn compile_child(mut component: impl Read) -> Result<Vec<u8>, PluginError> {
    use rustix::process::{Resource, Rlimit, setrlimit};
    let failed = |what: &str, error: &dyn std::fmt::Display| PluginError::Compile {
        reason: format!("{what}: {error}"),
    };
    let limits = [
        (Resource::As, CHILD_MEMORY_BYTES_MAX),
        (Resource::Cpu, CHILD_CPU_SECONDS_MAX),
        (Resource::Core, 0),
    ];
    for (resource, most) in limits {
        let limit = Rlimit {
            current: Some(most),
            maximum: Some(most),
        };
        setrlimit(resource, limit).map_err(|error| failed("cannot limit itself", &error))?;
    }
    let mut bytes = Vec::new();
    component
        .by_ref()
        .take(prepass::COMPONENT_BYTES_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| failed("cannot read the component", &error))?;
    let engine = wasmtime::Engine::new(&config()).map_err(|error| failed("no compiler", &error))?;
    precompile(&engine, &bytes)
}

pub(super) fn precompile(engine: &wasmtime::Engine, bytes: &[u8]) -> Result<Vec<u8>, PluginError> {
    engine
        .precompile_component(bytes)
        .map_err(|error| PluginError::Compile {
            reason: format!("{error:#}"),
        })
}
