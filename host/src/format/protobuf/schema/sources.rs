//! The files of a schema: those that came with it, and those that everybody has.

use std::collections::{HashMap, HashSet};

use parking_lot::Mutex;
use prost_reflect::prost_types::FileDescriptorProto;
use protox::file::{File, FileResolver, GoogleFileResolver};

/// Files of which registries are seldom told, beside those of `google/protobuf`.
const BUILT_IN: &[(&str, &str)] = &[
    (
        "confluent/meta.proto",
        r#"syntax = "proto3";
        package confluent;
        import "google/protobuf/descriptor.proto";
        message Meta {
          string doc = 1;
          map<string, string> params = 2;
          repeated string tags = 3;
        }
        extend google.protobuf.FileOptions { Meta file_meta = 1088; }
        extend google.protobuf.MessageOptions { Meta message_meta = 1088; }
        extend google.protobuf.FieldOptions { Meta field_meta = 1088; }
        extend google.protobuf.EnumOptions { Meta enum_meta = 1088; }
        extend google.protobuf.EnumValueOptions { Meta enum_value_meta = 1088; }"#,
    ),
    (
        "confluent/type/decimal.proto",
        r#"syntax = "proto3";
        package confluent.type;
        message Decimal { bytes value = 1; uint32 precision = 2; int32 scale = 3; }"#,
    ),
    (
        "google/type/date.proto",
        r#"syntax = "proto3";
        package google.type;
        message Date { int32 year = 1; int32 month = 2; int32 day = 3; }"#,
    ),
    (
        "google/type/timeofday.proto",
        r#"syntax = "proto3";
        package google.type;
        message TimeOfDay {
          int32 hours = 1;
          int32 minutes = 2;
          int32 seconds = 3;
          int32 nanos = 4;
        }"#,
    ),
];

/// Files in memory.
pub(super) struct Sources {
    texts: HashMap<String, String>,
    read: Mutex<HashMap<String, FileDescriptorProto>>,
}

impl Sources {
    /// Texts by the names of their files.
    pub(super) fn new(texts: HashMap<String, String>) -> Self {
        Self {
            texts,
            read: Mutex::default(),
        }
    }

    /// What a file declares.
    pub(super) fn read(&self, name: &str) -> Result<FileDescriptorProto, protox::Error> {
        if let Some(known) = self.read.lock().get(name) {
            return Ok(known.clone());
        }
        let own = self.texts.get(name).map(String::as_str);
        let built_in = BUILT_IN.iter().find(|(own, _)| *own == name);
        let text = own.or_else(|| built_in.map(|(_, text)| *text));
        let text = text.ok_or_else(|| protox::Error::file_not_found(name))?;
        let mut file: FileDescriptorProto = File::from_source(name, text)?.into();
        // Where things stand in the text is of no further use.
        file.source_code_info = None;
        self.read.lock().insert(name.into(), file.clone());
        Ok(file)
    }
}

impl FileResolver for Sources {
    fn open_file(&self, name: &str) -> Result<File, protox::Error> {
        let mut file = self.read(name)?;
        // What a file imports publicly, those who import it see as their own. Each is looked at
        // once, however many ways lead to it.
        let mut seen: HashSet<String> = file.dependency.iter().cloned().collect();
        let mut next = 0;
        while let Some(imported) = file.dependency.get(next).cloned() {
            next += 1;
            // Those that everybody has import nothing publicly.
            let Ok(imported) = self.read(&imported) else {
                continue;
            };
            let public = imported.public_dependency.iter();
            let public =
                public.filter_map(|at| imported.dependency.get(usize::try_from(*at).ok()?));
            let new = public.filter(|name| seen.insert((*name).clone()));
            file.dependency.extend(new.cloned().collect::<Vec<_>>());
        }
        file.public_dependency.clear();
        Ok(file.into())
    }
}

/// Whether a file is there without being fetched.
pub(super) fn is_built_in(name: &str) -> bool {
    let ours = BUILT_IN.iter().any(|(own, _)| *own == name);
    ours || GoogleFileResolver::new().open_file(name).is_ok()
}
