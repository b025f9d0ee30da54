//! Looks at a component before the compiler does: what is too large or tangled, or wants what
//! it cannot have, is
//! refused with a name. The limits leave room, twice over, for interpreters of 18 MB such as
//! Python's.

use wasmparser::{BinaryReaderError, Encoding, FunctionBody, Operator, Parser, Payload};

use super::{
    bindings::{AGGREGATE, CAPABILITIES, OPERATOR, RECORD_OPERATOR},
    error::PluginError,
};

/// Bytes of a component.
pub(super) const COMPONENT_BYTES_MAX: u64 = 64 << 20;

/// What a component may have.
const MODULES_MAX: u64 = 300;
const NESTING_MAX: u64 = 10;
const FUNCTIONS_MAX: u64 = 200_000;
const FUNCTION_BYTES_MAX: u64 = 2_000_000;
const BLOCK_NESTING_MAX: u64 = 2_000;
const LOOPS_MAX: u64 = 10_000;
const BRANCHES_MAX: u64 = 50_000;
const TYPES_MAX: u64 = 100_000;
const GLOBALS_MAX: u64 = 20_000;
const SEGMENTS_MAX: u64 = 200_000;
const NAMES_MAX: u64 = 50_000;
const CUSTOM_MAX: u64 = 1_000;

/// Packages of WASI 0.2 that we stand in for.
const WASI: &[&str] = &["cli", "clocks", "filesystem", "io", "random"];

/// Refuses what should not reach the compiler.
pub(super) fn check(bytes: &[u8]) -> Result<(), PluginError> {
    within("bytes", bytes.len() as u64, COMPONENT_BYTES_MAX)?;
    recognise(bytes)?;
    let mut counts = Counts::default();
    for payload in Parser::new(0).parse_all(bytes) {
        counts.payload(&payload.map_err(|error| malformed(&error))?)?;
    }
    counts.judge()
}

fn recognise(bytes: &[u8]) -> Result<(), PluginError> {
    let (found, remedy) = match bytes {
        [b'\0', b'a', b's', b'm', 1, 0, 0, 0, ..] => (
            "a core module",
            "build it for `wasm32-wasip2`, or run `wasm-tools component new` on it",
        ),
        [b'\0', b'a', b's', b'm', ..] => return Ok(()),
        [] => ("empty", "give the path of a `.wasm` file"),
        [0x1f, 0x8b, ..] => ("gzip data", "unpack it first"),
        [0x7f, b'E', b'L', b'F', ..] => (
            "native or precompiled code",
            "plugins are WebAssembly: build it for `wasm32-wasip2`",
        ),
        [b'(', ..] => ("WebAssembly text", "assemble it with `wasm-tools parse`"),
        _ => ("something else", "build it with `wasmill plugin build`"),
    };
    Err(PluginError::NotAComponent { found, remedy })
}

#[derive(Default)]
struct Counts {
    depth: u64,
    modules: u64,
    functions: u64,
    types: u64,
    globals: u64,
    segments: u64,
    names: u64,
    custom: u64,
    imports: Vec<String>,
    exports: Vec<String>,
}

impl Counts {
    fn payload(&mut self, payload: &Payload<'_>) -> Result<(), PluginError> {
        match payload {
            Payload::Version { encoding, .. } => {
                self.depth += 1;
                within("levels of nesting", self.depth, NESTING_MAX)?;
                if *encoding == Encoding::Module {
                    self.modules += 1;
                    within("core modules", self.modules, MODULES_MAX)?;
                }
            }
            Payload::End(_) => self.depth = self.depth.saturating_sub(1),
            Payload::TypeSection(s) => self.types(s.count())?,
            Payload::CoreTypeSection(s) => self.types(s.count())?,
            Payload::ComponentTypeSection(s) => self.types(s.count())?,
            Payload::FunctionSection(s) => {
                self.functions += u64::from(s.count());
                within("functions", self.functions, FUNCTIONS_MAX)?;
            }
            Payload::GlobalSection(s) => {
                self.globals += u64::from(s.count());
                within("globals", self.globals, GLOBALS_MAX)?;
            }
            Payload::ElementSection(s) => self.segments(s.count())?,
            Payload::DataSection(s) => self.segments(s.count())?,
            Payload::ImportSection(s) => self.names(s.count())?,
            Payload::ExportSection(s) => self.names(s.count())?,
            Payload::ComponentAliasSection(s) => self.names(s.count())?,
            Payload::CodeSectionEntry(body) => check_body(body)?,
            Payload::CustomSection(_) => {
                self.custom += 1;
                within("custom sections", self.custom, CUSTOM_MAX)?;
            }
            Payload::ComponentImportSection(s) if self.depth == 1 => {
                self.names(s.count())?;
                for import in s.clone() {
                    let import = import.map_err(|error| malformed(&error))?;
                    self.imports.push(import.name.0.to_owned());
                }
            }
            Payload::ComponentExportSection(s) if self.depth == 1 => {
                self.names(s.count())?;
                for export in s.clone() {
                    let export = export.map_err(|error| malformed(&error))?;
                    self.exports.push(export.name.0.to_owned());
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn types(&mut self, count: u32) -> Result<(), PluginError> {
        self.types += u64::from(count);
        within("types", self.types, TYPES_MAX)
    }

    fn segments(&mut self, count: u32) -> Result<(), PluginError> {
        self.segments += u64::from(count);
        within("segments", self.segments, SEGMENTS_MAX)
    }

    fn names(&mut self, count: u32) -> Result<(), PluginError> {
        self.names += u64::from(count);
        within("imports and exports", self.names, NAMES_MAX)
    }

    fn judge(&self) -> Result<(), PluginError> {
        let refused: Vec<String> = self
            .imports
            .iter()
            .filter(|name| !is_lent(name))
            .cloned()
            .collect();
        let remedy = match refused.first() {
            None => return self.judge_world(),
            Some(name) if name.starts_with("wasi:sockets") || name.starts_with("wasi:http") => {
                "a plugin has no network; give it what it needs as rows or configuration"
            }
            Some(name) if name.starts_with("wasi:") => {
                "only `wasi:cli`, `clocks`, `filesystem`, `io` and `random` of 0.2 are stood in for"
            }
            Some(name) if name.starts_with("wasmill:operator/") => {
                "this version of wasmill lends the interfaces of `wasmill:operator@0.1.0`"
            }
            Some(_) => "a plugin imports `wasmill:operator` only",
        };
        Err(PluginError::Import {
            names: list(&refused),
            remedy,
        })
    }
}

impl Counts {
    fn judge_world(&self) -> Result<(), PluginError> {
        let worlds = [OPERATOR, RECORD_OPERATOR, AGGREGATE];
        let is_ours = |name: &String| worlds.contains(&name.as_str());
        match self.exports.iter().any(is_ours) {
            true => Ok(()),
            false => Err(PluginError::WrongWorld {
                found: list(&self.exports),
            }),
        }
    }
}

/// Whether the host lends an interface of that name.
fn is_lent(name: &str) -> bool {
    let (path, version) = name.split_once('@').unwrap_or((name, ""));
    if let Some(interface) = path.strip_prefix("wasmill:operator/") {
        return version == "0.1.0" && CAPABILITIES.contains(&interface);
    }
    let Some((package, _)) = path
        .strip_prefix("wasi:")
        .and_then(|path| path.split_once('/'))
    else {
        return false;
    };
    version.starts_with("0.2.") && WASI.contains(&package)
}

fn list(names: &[String]) -> String {
    const SHOWN_MAX: usize = 5;
    let shown: Vec<String> = names
        .iter()
        .take(SHOWN_MAX)
        .map(|name| format!("`{}`", super::log::escape(name)))
        .collect();
    match names.len() {
        0 => "nothing".into(),
        n if n > SHOWN_MAX => format!("{} and {} more", shown.join(", "), n - SHOWN_MAX),
        _ => shown.join(", "),
    }
}

/// Refuses functions that would keep the compiler busy out of all proportion.
fn check_body(body: &FunctionBody<'_>) -> Result<(), PluginError> {
    let range = body.range();
    within(
        "bytes in one function",
        (range.end - range.start) as u64,
        FUNCTION_BYTES_MAX,
    )?;
    let mut operators = body
        .get_operators_reader()
        .map_err(|error| malformed(&error))?;
    let (mut depth, mut loops, mut branches) = (0, 0, 0);
    while !operators.eof() {
        match operators.read().map_err(|error| malformed(&error))? {
            Operator::Loop { .. } => {
                depth += 1;
                loops += 1;
                within("loops in one function", loops, LOOPS_MAX)?;
            }
            Operator::Block { .. } | Operator::If { .. } | Operator::TryTable { .. } => depth += 1,
            Operator::BrTable { targets } => {
                branches += u64::from(targets.len());
                within("branch targets in one function", branches, BRANCHES_MAX)?;
            }
            Operator::End => depth -= 1,
            _ => {}
        }
        within(
            "nested blocks in one function",
            u64::try_from(depth).unwrap_or(0),
            BLOCK_NESTING_MAX,
        )?;
    }
    Ok(())
}

fn within(what: &'static str, found: u64, most: u64) -> Result<(), PluginError> {
    match found > most {
        true => Err(PluginError::Bomb { what, found, most }),
        false => Ok(()),
    }
}

fn malformed(error: &BinaryReaderError) -> PluginError {
    PluginError::Malformed {
        offset: error.offset(),
        reason: error.message().to_owned(),
    }
}
