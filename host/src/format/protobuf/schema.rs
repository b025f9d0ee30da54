//! Protobuf schemas from their text. The text may be a stranger's: its size and how deep it nests
//! are bounded before it is read.

use prost_reflect::{DescriptorPool, FileDescriptor, MessageDescriptor, prost_types};
use protox::{
    Compiler,
    file::{ChainFileResolver, File, FileResolver, GoogleFileResolver},
};
use wasmill_core::spelling;

/// How deep braces and brackets may nest in a schema's text: reading them recurses.
const NESTING_MAX: usize = 64;
/// How many files a schema may need.
const FILES_MAX: usize = 256;
/// The name of a schema that comes without one. Nobody imports it.
const OWN_NAME: &str = "schema.proto";

/// Files that registries have without being told, beside those of `google/protobuf`.
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

/// A schema that was read, with what it imports.
#[derive(Debug)]
pub(crate) struct Schema {
    file: FileDescriptor,
}

impl Schema {
    /// Reads a schema. `others` are those that it may import, by name.
    pub(crate) fn parse(text: &str, others: &[(String, String)]) -> Result<Self, String> {
        check(text)?;
        let mut sources = Sources(vec![(OWN_NAME.into(), text.into())]);
        for (name, text) in others {
            check(text).map_err(|reason| format!("in `{name}`: {reason}"))?;
            sources.0.push((name.clone(), text.clone()));
        }
        let mut files = ChainFileResolver::new();
        files.add(sources);
        files.add(GoogleFileResolver::new());
        let mut compiler = Compiler::with_file_resolver(files);
        let read = compiler.open_file(OWN_NAME).map(drop);
        read.map_err(|error| told(&error))?;
        let pool: DescriptorPool = compiler.descriptor_pool();
        let file = pool.get_file_by_name(OWN_NAME);
        Ok(Self {
            file: file.ok_or("it is empty")?,
        })
    }

    /// The message of this name, or the only one.
    pub(crate) fn message(&self, name: Option<&str>) -> Result<MessageDescriptor, String> {
        let names: Vec<String> = self
            .file
            .messages()
            .map(|message| message.full_name().to_owned())
            .collect();
        let Some(name) = name else {
            let mut messages = self.file.messages();
            return match (messages.next(), messages.next()) {
                (Some(only), None) => Ok(only),
                (None, _) => Err("it has no message".into()),
                (Some(_), Some(_)) => Err(format!(
                    "it has several messages: say one of `{}` as `message` beside the `file`",
                    names.join("`, `")
                )),
            };
        };
        let pool = self.file.parent_pool();
        let found = pool.get_message_by_name(name.trim_start_matches('.'));
        found.ok_or_else(|| {
            let near = spelling::nearest(name, names.iter().map(String::as_str));
            let hint = near.map_or(String::new(), |near| format!(" but `{near}`"));
            format!("it has no message `{name}`{hint}")
        })
    }

    /// The message that a record's indexes name: the place of a message in its file, then that of
    /// one in the message before it.
    pub(crate) fn at(&self, indexes: &[u32]) -> Result<MessageDescriptor, String> {
        let wrong = || {
            let told: Vec<String> = indexes.iter().map(u32::to_string).collect();
            let told = told.join(", ");
            format!("the schema has no message at [{told}], which the record names")
        };
        let (first, nested) = indexes.split_first().ok_or_else(wrong)?;
        let mut messages = self.file.messages();
        // The record may say any number, and what comes before it would be looked up.
        if *first as usize >= messages.len() {
            return Err(wrong());
        }
        let first = messages.nth(*first as usize).ok_or_else(wrong)?;
        nested.iter().try_fold(first, |at, next| {
            // Entries of maps are messages that nobody has written down.
            let mut written = at.child_messages().filter(|it| !it.is_map_entry());
            written.nth(*next as usize).ok_or_else(wrong)
        })
    }

    /// The message that records of index 0 are, if there is one.
    pub(crate) fn first(&self) -> Option<MessageDescriptor> {
        self.file.messages().next()
    }
}

/// Whether a file is there without being fetched.
fn is_built_in(name: &str) -> bool {
    let ours = BUILT_IN.iter().any(|(own, _)| *own == name);
    ours || GoogleFileResolver::new().open_file(name).is_ok()
}

/// The files that a text imports, and those that they do: `read` gives the text of a name.
pub(crate) fn imports(
    text: &str,
    mut read: impl FnMut(&str) -> Result<String, String>,
) -> Result<Vec<(String, String)>, String> {
    let mut found: Vec<(String, String)> = Vec::new();
    let mut wanted = names_of(OWN_NAME, text)?;
    let mut next = 0;
    while next < wanted.len() {
        let name = wanted[next].clone();
        next += 1;
        if is_built_in(&name) || found.iter().any(|(known, _)| *known == name) {
            continue;
        }
        if found.len() >= FILES_MAX {
            return Err(format!("it imports more than {FILES_MAX} files"));
        }
        let text = read(&name)?;
        wanted.extend(names_of(&name, &text).map_err(|reason| format!("in `{name}`: {reason}"))?);
        found.push((name, text));
    }
    Ok(found)
}

/// What a file imports.
fn names_of(name: &str, text: &str) -> Result<Vec<String>, String> {
    check(text)?;
    let file = File::from_source(name, text).map_err(|error| told(&error))?;
    Ok(file.file_descriptor_proto().dependency.clone())
}

/// Files in memory.
struct Sources(Vec<(String, String)>);

impl FileResolver for Sources {
    fn open_file(&self, name: &str) -> Result<File, protox::Error> {
        let own = self.0.iter().find(|(own, _)| own == name);
        let own = own.map(|(_, text)| text.as_str());
        let built_in = BUILT_IN.iter().find(|(own, _)| *own == name);
        let text = own.or_else(|| built_in.map(|(_, text)| *text));
        let text = text.ok_or_else(|| protox::Error::file_not_found(name))?;
        let file = File::from_source(name, text)?;
        // Where things stand in the text is of no further use.
        let mut file: prost_types::FileDescriptorProto = file.into();
        file.source_code_info = None;
        Ok(file.into())
    }
}

/// A reason on one line.
fn told(error: &protox::Error) -> String {
    let text = match error.file() {
        Some(file) if file != OWN_NAME => format!("in `{file}`: {error}"),
        _ => error.to_string(),
    };
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Whether a text nests no deeper than it may. Comments and texts in quotes do not count.
fn check(text: &str) -> Result<(), String> {
    let bytes = text.as_bytes();
    let (mut at, mut depth) = (0, 0_usize);
    while let Some(byte) = bytes.get(at) {
        at += 1;
        match (byte, bytes.get(at)) {
            (b'/', Some(b'/')) => {
                let rest = bytes[at..].iter().position(|byte| *byte == b'\n');
                at = rest.map_or(bytes.len(), |rest| at + rest);
            }
            (b'/', Some(b'*')) => {
                let rest = bytes[at + 1..].windows(2).position(|two| two == b"*/");
                at = rest.map_or(bytes.len(), |rest| at + 1 + rest + 2);
            }
            (b'"' | b'\'', _) => {
                while let Some(inner) = bytes.get(at) {
                    at += 1 + usize::from(*inner == b'\\');
                    if inner == byte || *inner == b'\n' {
                        break;
                    }
                }
            }
            (b'{' | b'[' | b'(' | b'<', _) => depth += 1,
            (b'}' | b']' | b')' | b'>', _) => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > NESTING_MAX {
            return Err(format!("it nests more than {NESTING_MAX} deep"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_parse(text: &str, others: &[(&str, &str)], part: &str) {
        let others: Vec<_> = others
            .iter()
            .map(|(name, text)| ((*name).into(), (*text).into()))
            .collect();
        let error = Schema::parse(text, &others).expect_err(text);
        assert!(error.contains(part), "{error}");
        assert!(!error.contains('\n'), "{error}");
    }

    #[test]
    fn what_is_no_schema_is_refused() {
        check_parse("message", &[], "expected");
        check_parse("syntax = \"proto3\"; message A { B b = 1; }", &[], "B");
        check_parse("import \"x.proto\";", &[], "'x.proto' not found");
        check_parse(
            "import \"x.proto\";",
            &[("x.proto", "message {")],
            "in `x.proto`",
        );
        check_parse(
            "import \"x.proto\";",
            &[("x.proto", "import \"x.proto\";")],
            "cycle",
        );
        let deep = "message A {".repeat(100_000);
        check_parse(&deep, &[], "nests more than 64 deep");
        let hidden = "message A { // }\n /* } */ option a = \"}\\\"}\"; ".repeat(1000);
        check_parse(&hidden, &[], "nests more than 64 deep");
        let deep = format!("message A {{ option (x) = {} }}", "{ a ".repeat(1000));
        check_parse(&deep, &[], "nests more than 64 deep");
    }

    #[test]
    fn messages_are_found_by_name_and_by_place() {
        let text = "syntax = \"proto3\"; package p;
            message A { map<string, int32> m = 1; message B { message C {} } message D {} }
            message E {}";
        let schema = Schema::parse(text, &[]).expect("it is sound");
        let at = |indexes: &[u32]| {
            let found = schema.at(indexes);
            found.map(|message| message.full_name().to_owned())
        };
        assert_eq!(at(&[0]), Ok("p.A".into()));
        assert_eq!(at(&[1]), Ok("p.E".into()));
        assert_eq!(at(&[0, 0]), Ok("p.A.B".into()));
        assert_eq!(at(&[0, 1]), Ok("p.A.D".into()));
        assert_eq!(at(&[0, 0, 0]), Ok("p.A.B.C".into()));
        for wrong in [&[2][..], &[0, 2], &[1, 0], &[], &[u32::MAX]] {
            let reason = at(wrong).expect_err("there is none");
            assert!(reason.contains("no message at ["), "{reason}");
        }
        let error = schema.message(None).expect_err("there are two");
        assert!(error.contains("one of `p.A`, `p.E`"), "{error}");
        let error = schema.message(Some("p.F")).expect_err("there is none");
        assert!(error.contains("no message `p.F` but `p."), "{error}");
        assert!(schema.message(Some("p.A.B")).is_ok());
    }

    #[test]
    fn files_that_everybody_has_are_built_in() {
        let text = "syntax = \"proto3\";
            import \"confluent/meta.proto\";
            import \"confluent/type/decimal.proto\";
            import \"google/type/date.proto\";
            import \"google/protobuf/timestamp.proto\";
            message A {
              option (confluent.message_meta) = {
                doc: \"d\", params: [{ key: \"a\", value: \"b\" }]
              };
              confluent.type.Decimal d = 1 [(confluent.field_meta) = { tags: [\"x\"] }];
              google.type.Date e = 2;
              google.protobuf.Timestamp t = 3;
            }";
        let schema = Schema::parse(text, &[]).expect("it is sound");
        assert_eq!(schema.message(None).expect("one").fields().len(), 3);
        let found = imports(
            "import \"a.proto\"; import \"google/type/date.proto\";",
            |name| {
                Ok(match name {
                    "a.proto" => {
                        "import \"b/c.proto\"; import \"google/protobuf/any.proto\";".into()
                    }
                    "b/c.proto" => "import \"a.proto\";".into(),
                    other => return Err(other.into()),
                })
            },
        );
        let names: Vec<String> = found
            .expect("all are there")
            .into_iter()
            .map(|it| it.0)
            .collect();
        assert_eq!(names, ["a.proto", "b/c.proto"]);
    }
}
