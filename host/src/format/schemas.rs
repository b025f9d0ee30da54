//! Where decoders get their schemas, and what they made of them.

use std::{collections::HashMap, fs, path::Path, sync::Arc};

use wasmill_core::{
    lineage::Chunk,
    pipeline::{Format, FormatKind, SchemaPlace, document::SchemaFile},
};

use super::{
    FormatError, protobuf,
    registry::{Known, Registry, SchemaText},
    wire,
};

/// Numbers without a schema are remembered up to so many.
const NOTHING_MAX: usize = 10_000;
/// How much of a reason a record tells.
const REASON_CHARS_MAX: usize = 500;

/// Where the schemas of a source come from; shared by its subtasks.
#[derive(Debug, Clone)]
pub enum Schemas {
    /// The format has none.
    None,
    /// The one schema of all records.
    One(Arc<GivenSchema>),
    /// A registry.
    Registry(Arc<Registry>),
}

/// A schema from a file.
#[derive(Debug)]
pub struct GivenSchema {
    /// The file.
    pub path: String,
    /// What it holds.
    pub text: SchemaText,
    /// Protobuf: which of its messages records are, if it has several.
    pub message: Option<String>,
}

impl GivenSchema {
    fn read(path: &Path, schema: &SchemaFile, kind: FormatKind) -> Result<Self, String> {
        let read = |path: &Path| {
            let bytes = fs::read(path).map_err(|error| format!("it cannot be read: {error}"))?;
            String::from_utf8(bytes).map_err(|_| "it is no text".to_string())
        };
        let text = read(path)?;
        let (language, references) = match kind {
            FormatKind::Protobuf => {
                let folder = path.parent().unwrap_or(Path::new(""));
                let import = |name: &str| {
                    read(&folder.join(name)).map_err(|reason| format!("`{name}`: {reason}"))
                };
                ("PROTOBUF", protobuf::schema::imports(&text, import)?)
            }
            _ => ("AVRO", Vec::new()),
        };
        Ok(Self {
            path: path.display().to_string(),
            text: SchemaText {
                language: language.into(),
                text,
                references,
            },
            message: schema.message.clone(),
        })
    }
}

impl Schemas {
    /// As a format says. `folder` is where relative paths begin.
    ///
    /// # Errors
    /// If a file cannot be read.
    pub fn of(format: &Format, folder: &Path) -> Result<Self, FormatError> {
        Ok(match &format.schemas {
            None => Self::None,
            Some(SchemaPlace::Registry(registry)) => Self::Registry(Registry::open(registry)?),
            Some(SchemaPlace::File(file)) => {
                let path = folder.join(&file.file);
                let given = GivenSchema::read(&path, file, format.kind);
                let given = given.map_err(|reason| FormatError::Schema {
                    path: path.display().to_string(),
                    reason,
                })?;
                Self::One(Arc::new(given))
            }
        })
    }

    /// Whoever waits for a registry that is away waits no longer.
    pub fn stop(&self) {
        if let Self::Registry(registry) = self {
            registry.stop();
        }
    }
}

/// A reason that may be told of each record: what it cites may be long.
pub(super) fn short(mut reason: String) -> String {
    if let Some((end, _)) = reason.char_indices().nth(REASON_CHARS_MAX) {
        reason.truncate(end);
        reason.push_str("...");
    }
    reason
}

/// What a decoder made of each schema that it met.
#[derive(Debug)]
pub(super) enum Numbered<P> {
    One(P),
    Many(Box<Many<P>>),
}

/// By their numbers in a registry.
#[derive(Debug)]
pub(super) struct Many<P> {
    registry: Arc<Registry>,
    /// Or why rows of that schema do not fit.
    known: HashMap<u32, Result<P, String>>,
}

impl<P> Numbered<P> {
    pub(super) fn new(
        schemas: &Schemas,
        make: impl FnOnce(&SchemaText) -> Result<P, String>,
    ) -> Result<Self, FormatError> {
        match schemas {
            Schemas::None => Err(FormatError::Schema {
                path: String::new(),
                reason: "there is none".into(),
            }),
            Schemas::Registry(registry) => Ok(Self::Many(Box::new(Many {
                registry: Arc::clone(registry),
                known: HashMap::new(),
            }))),
            Schemas::One(given) => {
                let made = make(&given.text).map_err(|reason| FormatError::Schema {
                    path: given.path.clone(),
                    reason,
                })?;
                Ok(Self::One(made))
            }
        }
    }

    /// Fetches the schemas that a chunk's records name. What is no schema for the columns is for
    /// the rows to say.
    pub(super) async fn prepare(
        &mut self,
        chunk: &Chunk,
        make: impl Fn(&SchemaText) -> Result<P, String>,
    ) -> Result<(), FormatError> {
        let Self::Many(many) = self else {
            return Ok(());
        };
        let Many { registry, known } = &mut **many;
        if known.len() > NOTHING_MAX {
            known.retain(|_, made| made.is_ok());
        }
        let mut last = None;
        for (start, end) in &chunk.spans {
            let record = chunk.bytes.get(*start as usize..*end as usize);
            let Some(Ok((number, _))) = record.map(wire::split) else {
                continue;
            };
            if last == Some(number) || known.contains_key(&number) {
                last = Some(number);
                continue;
            }
            let made = match registry.schema(number).await? {
                Known::Schema(text) => {
                    make(&text).map_err(|reason| format!("schema {number}: {reason}"))
                }
                Known::Nothing(reason) => Err(reason),
            };
            known.insert(number, made.map_err(short));
        }
        Ok(())
    }

    /// What to do with a record, and its value.
    #[inline]
    pub(super) fn split<'a, 'b>(
        &'a mut self,
        record: &'b [u8],
    ) -> Result<(&'a mut P, &'b [u8]), String> {
        match self {
            Self::One(only) => Ok((only, record)),
            Self::Many(many) => {
                let (number, value) = wire::split(record)?;
                match many.known.get_mut(&number) {
                    Some(Ok(made)) => Ok((made, value)),
                    Some(Err(reason)) => Err(reason.clone()),
                    None => Err(format!("schema {number} was not fetched")),
                }
            }
        }
    }
}
