//! `wasmill plugin new`: the SDK and the contract come out of this binary, since neither is
//! published yet.

use std::{fs, path::Path};

use include_dir::{Dir, include_dir};

use super::NewArguments;
use crate::cli::{self, failure::Failure};

static SDK: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../sdk/rust");
static WIT: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../wit");

/// Where SDK and contract are unpacked, in the places that they have in our own repository.
const UNPACKED: &str = ".wasmill";

/// What an author starts with. `NAME` stands for the plugin's name, `OPERATOR` for its struct's.
const TEMPLATE: [(&str, &str); 4] = [
    ("Cargo.toml", include_str!("template/Cargo.toml.txt")),
    ("src/lib.rs", include_str!("template/lib.rs.txt")),
    ("pipeline.yaml", include_str!("template/pipeline.yaml.txt")),
    ("tests/large.json", include_str!("template/large.json.txt")),
];

/// The same of an aggregate.
const AGGREGATE: [(&str, &str); 4] = [
    (
        "Cargo.toml",
        include_str!("template/aggregate/Cargo.toml.txt"),
    ),
    ("src/lib.rs", include_str!("template/aggregate/lib.rs.txt")),
    (
        "pipeline.yaml",
        include_str!("template/aggregate/pipeline.yaml.txt"),
    ),
    (
        "tests/spread.json",
        include_str!("template/aggregate/spread.json.txt"),
    ),
];

/// What git leaves out; a file that is there already is the author's own.
const IGNORED: &str = include_str!("template/gitignore.txt");

/// Types that the templates name beside the operator's own.
const TAKEN: [&str; 22] = [
    "Aggregate",
    "AggregateHarness",
    "Bounds",
    "Config",
    "Context",
    "Extremes",
    "Fault",
    "Harness",
    "Large",
    "Limits",
    "Memory",
    "Operator",
    "Order",
    "Payment",
    "Plugin",
    "Reading",
    "Reject",
    "Row",
    "Self",
    "Start",
    "State",
    "Value",
];

pub(super) fn run(arguments: &NewArguments) -> Result<(), Failure> {
    let folder = &arguments.folder;
    fs::create_dir_all(folder).map_err(|error| cannot_write(folder, &error))?;
    let name = name(arguments)?;
    let template = match arguments.aggregate {
        true => AGGREGATE,
        false => TEMPLATE,
    };
    for (file, _) in template {
        let path = folder.join(file);
        if path.exists() {
            let path = path.display();
            return Err(Failure::Invalid(format!(
                "`{path}` is there already; give an empty folder: wasmill plugin new FOLDER"
            )));
        }
    }
    for (file, text) in template {
        let text = text.replace("NAME", &name);
        let text = text.replace("OPERATOR", &operator(&name));
        write(&folder.join(file), text.as_bytes())?;
    }
    let ignored = folder.join(".gitignore");
    if !ignored.exists() {
        write(&ignored, IGNORED.as_bytes())?;
    }
    unpack(&SDK, &folder.join(UNPACKED).join("sdk/rust"))?;
    unpack(&WIT, &folder.join(UNPACKED).join("wit"))?;
    cli::print(&closing(folder, &name))
}

/// The longest name of a plugin, in bytes.
const NAME_LEN_MAX: usize = 63;

/// The name that was given, or one after the folder's.
fn name(arguments: &NewArguments) -> Result<String, Failure> {
    let Some(name) = arguments.name.clone() else {
        let folder = arguments.folder.canonicalize().unwrap_or_default();
        let folder = folder.file_name().unwrap_or_default();
        return Ok(after(&folder.to_string_lossy()));
    };
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let fits = name.len() <= NAME_LEN_MAX
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.chars().all(inner);
    if fits {
        return Ok(name);
    }
    Err(Failure::Invalid(format!(
        "`{name}` is not a plugin's name; give one of a to z, 0 to 9 and -: --name my-plugin"
    )))
}

/// A plugin's name after a folder's, whatever that is: `My_Rule` gives `my-rule`.
fn after(folder: &str) -> String {
    let fitting = |c: char| match c.is_ascii_alphanumeric() {
        true => c.to_ascii_lowercase(),
        false => '-',
    };
    let name: String = folder.chars().map(fitting).collect();
    let name = name.trim_start_matches(|c: char| !c.is_ascii_lowercase());
    let name = name[..name.len().min(NAME_LEN_MAX)].trim_end_matches('-');
    match name {
        "" => "plugin".into(),
        name => name.into(),
    }
}

/// The name of the operator's struct: `large-payments` gives `LargePayments`.
fn operator(name: &str) -> String {
    let capitalised = |word: &str| {
        let (first, rest) = word.split_at(word.len().min(1));
        first.to_ascii_uppercase() + rest
    };
    let camel: String = name.split('-').map(capitalised).collect();
    match TAKEN.contains(&camel.as_str()) {
        true => camel + "Operator",
        false => camel,
    }
}

fn unpack(dir: &Dir<'_>, to: &Path) -> Result<(), Failure> {
    for file in dir.files() {
        write(&to.join(file.path()), file.contents())?;
    }
    for inner in dir.dirs() {
        unpack(inner, to)?;
    }
    Ok(())
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let parent = path.parent().map(Path::to_path_buf).unwrap_or_default();
    fs::create_dir_all(&parent).map_err(|error| cannot_write(&parent, &error))?;
    fs::write(path, bytes).map_err(|error| cannot_write(path, &error))
}

fn cannot_write(path: &Path, error: &std::io::Error) -> Failure {
    Failure::Failed(format!("`{}` cannot be written: {error}", path.display()))
}

fn closing(folder: &Path, name: &str) -> String {
    let enter = match folder.as_os_str() == "." {
        true => String::new(),
        false => format!("  cd {}\n", folder.display()),
    };
    format!(
        "{name} is there. Next:\n{enter}  \
         cargo test              # the operator itself, natively\n  \
         wasmill plugin build    # gives {name}.wasm\n  \
         wasmill plugin test     # the component, with tests/*.json\n  \
         wasmill run pipeline.yaml\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_unpacked_where_paths_expect_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let arguments = |name: Option<&str>| NewArguments {
            folder: folder.path().join("p"),
            name: name.map(str::to_owned),
            aggregate: false,
        };
        assert!(matches!(
            run(&arguments(Some("No Name"))),
            Err(Failure::Invalid(_))
        ));
        run(&arguments(Some("my-plugin"))).expect("an empty folder");
        let at = |path: &str| folder.path().join("p").join(path);
        for file in [
            ".wasmill/sdk/rust/macros/Cargo.toml",
            ".wasmill/wit/world.wit",
            "src/lib.rs",
        ] {
            assert!(at(file).is_file(), "{file}");
        }
        let manifest = fs::read_to_string(at("Cargo.toml")).expect("a manifest");
        assert!(manifest.contains("name = \"my-plugin\""), "{manifest}");
        let library = fs::read_to_string(at("src/lib.rs")).expect("a library");
        assert!(
            library.contains("impl Operator for MyPlugin {"),
            "{library}"
        );
        let ignored = fs::read_to_string(at(".gitignore")).expect("what git leaves out");
        assert!(ignored.lines().any(|line| line == "/target"), "{ignored}");
        let again = run(&arguments(Some("my-plugin")));
        assert!(matches!(again, Err(Failure::Invalid(message)) if message.contains("already")));
    }

    #[test]
    fn every_folder_gives_a_name() {
        for (folder, name) in [
            ("my-rule", "my-rule"),
            ("My_Rule", "my-rule"),
            ("tmp.Vtb7-", "tmp-vtb7"),
            ("2026 rules", "rules"),
            ("", "plugin"),
            ("42", "plugin"),
            ("b\u{e9}b\u{e9}", "b-b"),
        ] {
            assert_eq!(after(folder), name, "{folder:?}");
        }
        assert_eq!(after(&"a".repeat(70)).len(), NAME_LEN_MAX);
    }

    #[test]
    fn the_operator_is_named_after_the_plugin() {
        for (plugin, name) in [
            ("my-rule", "MyRule"),
            ("a", "A"),
            ("top-10--x-", "Top10X"),
            ("large", "LargeOperator"),
            ("self", "SelfOperator"),
        ] {
            assert_eq!(operator(plugin), name);
        }
    }

    #[test]
    fn what_git_leaves_out_stays_the_authors() {
        let folder = tempfile::tempdir().expect("a folder");
        let ignored = folder.path().join(".gitignore");
        fs::write(&ignored, "mine").expect("ours");
        let arguments = NewArguments {
            folder: folder.path().to_path_buf(),
            name: Some("a".into()),
            aggregate: false,
        };
        run(&arguments).expect("nothing else is there");
        assert_eq!(fs::read_to_string(&ignored).expect("it is there"), "mine");
    }
}
