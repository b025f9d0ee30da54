//! Protobuf schemas from their text. The text may be a stranger's: its size and how deep it nests
//! are bounded before it is read.

mod nesting;
mod sources;

use std::collections::{HashMap, HashSet};

use prost_reflect::{
    DescriptorPool, FileDescriptor, MessageDescriptor, prost_types::DescriptorProto,
};
use protox::{
    Compiler,
    file::{ChainFileResolver, File, GoogleFileResolver},
};
use wasmill_core::spelling;

use crate::spawn;
use nesting::check;
use sources::{Sources, is_built_in};

/// How many files a schema may need.
const FILES_MAX: usize = 256;
/// How long a schema and all that it needs may be together.
const BYTES_MAX: usize = 1 << 20;
/// Stack of the thread that reads a schema: enough for any text of that length, should
/// [`check`] see less nesting than its reader does.
const STACK_BYTES: usize = 256 << 20;
/// The name of a schema that comes without one. Nobody imports it.
const OWN_NAME: &str = "(the schema)";

/// A schema that was read, with what it imports.
#[derive(Debug)]
pub(crate) struct Schema {
    file: FileDescriptor,
    /// Messages that stand for the entries of maps, and that nobody has written down.
    entries: HashSet<String>,
}

impl Schema {
    /// Reads a schema. `others` are those that it may import, by name.
    pub(crate) fn parse(text: &str, others: &[(String, String)]) -> Result<Self, String> {
        check(text)?;
        let mut bytes = text.len();
        let mut texts = HashMap::from([(OWN_NAME.into(), text.into())]);
        for (name, text) in others {
            check(text).map_err(|reason| format!("in `{name}`: {reason}"))?;
            bytes += text.len();
            texts.insert(name.clone(), text.clone());
        }
        if bytes > BYTES_MAX {
            return Err(format!(
                "it has {bytes} bytes with all that it imports, and may have {BYTES_MAX}"
            ));
        }
        deep(|| Self::compile(texts))
    }

    fn compile(texts: HashMap<String, String>) -> Result<Self, String> {
        let sources = Sources::new(texts);
        let own = sources.read(OWN_NAME).map_err(|error| told(&error))?;
        let mut entries = HashSet::new();
        let package = own.package.as_deref().unwrap_or_default();
        for message in &own.message_type {
            generated(message, package, &mut entries);
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
            entries,
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
            let children = at.child_messages();
            let mut written = children.filter(|it| !self.entries.contains(it.full_name()));
            written.nth(*next as usize).ok_or_else(wrong)
        })
    }

    /// The message that records of index 0 are, if there is one.
    pub(crate) fn first(&self) -> Option<MessageDescriptor> {
        self.file.messages().next()
    }
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
    if text.len() > BYTES_MAX {
        return Err(format!(
            "it has {} bytes, and may have {BYTES_MAX}",
            text.len()
        ));
    }
    deep(|| {
        let file = File::from_source(name, text).map_err(|error| told(&error))?;
        Ok(file.file_descriptor_proto().dependency.clone())
    })
}

/// Reads a text of somebody else's, however it nests, and whatever its reader makes of it.
fn deep<T: Send>(read: impl FnOnce() -> Result<T, String> + Send) -> Result<T, String> {
    let done = spawn::deep("protobuf-schema", STACK_BYTES, read);
    done.unwrap_or_else(|_| Err("it cannot be read".into()))
}

/// Collects the messages within one that stand for the entries of maps. Where somebody has written
/// one down its options are not looked at yet.
fn generated(message: &DescriptorProto, within: &str, entries: &mut HashSet<String>) {
    let name = match within {
        "" => message.name().to_owned(),
        within => format!("{within}.{}", message.name()),
    };
    for nested in &message.nested_type {
        generated(nested, &name, entries);
    }
    let options = message.options.as_ref();
    if options.is_some_and(|options| options.map_entry()) {
        entries.insert(name);
    }
}

/// A reason on one line.
fn told(error: &protox::Error) -> String {
    let text = match error.file() {
        Some(file) if file != OWN_NAME => format!("in `{file}`: {error}"),
        _ => error.to_string(),
    };
    let mut text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if error.is_file_not_found() {
        text += "; a registry has it if the schema refers to it, a file of a schema beside it";
    }
    text
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
        for hidden in [
            "message A{#}\n",
            "message A{/*}*/\n",
            "\"\\\nmessage A{",
            "message A{//}\r\n",
        ] {
            check_parse(&hidden.repeat(1000), &[], "nests more than 64 deep");
        }
        check_parse(
            &"message A{/*/**/}*/\n".repeat(1000),
            &[],
            "a comment within a comment",
        );
        let long = format!("message {} {{}}", "A".repeat(BYTES_MAX));
        check_parse(&long, &[], "and may have 1048576");
        check_parse("import \"gone.proto\";", &[], "a registry has it if");
        let deep = format!("message A {{ option (x) = {} }}", "{ a ".repeat(1000));
        check_parse(&deep, &[], "nests more than 64 deep");
    }

    /// Fibonacci's number of ways lead to the first of them.
    #[test]
    fn public_imports_are_followed_once() {
        const FILES: usize = 60;
        let import = |words: &str, number: usize| format!("import {words}\"f{number}.proto\";");
        let others: Vec<(String, String)> = (0..FILES)
            .map(|number| {
                let before = number.saturating_sub(2)..number;
                let imports: String = before.map(|before| import("public ", before)).collect();
                let text = format!("syntax = \"proto3\"; {imports} message M{number} {{}}");
                (format!("f{number}.proto"), text)
            })
            .collect();
        let last = import("", FILES - 1);
        let text = format!("syntax = \"proto3\"; {last} message A {{ M0 first = 1; }}");
        let schema = Schema::parse(&text, &others).expect("what is public is seen");
        assert_eq!(schema.message(None).expect("one").fields().len(), 1);
    }

    #[test]
    fn entries_of_maps_count_where_they_are_written_down() {
        let text = "syntax = \"proto3\";
            message A {
              repeated TagsEntry tags = 1;
              map<string, int32> more = 2;
              message TagsEntry { option map_entry = true; string key = 1; string value = 2; }
              message B {}
            }";
        let schema = Schema::parse(text, &[]).expect("it is sound");
        let at = |indexes: &[u32]| schema.at(indexes).map(|it| it.name().to_owned());
        assert_eq!(at(&[0, 0]), Ok("TagsEntry".into()));
        assert_eq!(at(&[0, 1]), Ok("B".into()));
        assert!(at(&[0, 2]).is_err());
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
