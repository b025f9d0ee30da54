//! Compares a document with a schema, and says what is wrong in the words of the document's author.

use serde_json::Value as Json;

use super::{Additional, Format, Rule, Schema, Type, is_whole};
use crate::tree::{Entry, Node, Path, Position, Value};
use crate::{byte_size, data_type, duration, spelling};

/// References without end stop here.
pub(super) const DEPTH_MAX: usize = 128;
/// The most comparisons: alternatives within alternatives grow fast.
const STEPS_MAX: usize = 2_000_000;
/// More mistakes than anyone reads.
const MISTAKES_MAX: usize = 50;

/// Something that the schema does not allow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// Where it stands in the text.
    pub position: Position,
    /// Where it stands in the document.
    pub path: Path,
    /// What is wrong.
    pub message: String,
    /// What would be right.
    pub remedy: Option<String>,
}

/// Every mistake of the document in the order of its text, at most [`MISTAKES_MAX`] of them.
pub(super) fn check(schema: &Schema, node: &Node) -> Vec<Mistake> {
    let mut checker = Checker { schema, steps: 0 };
    let mut mistakes = checker.node(schema.root, node, &Path::default(), 0);
    mistakes.sort_by_key(|mistake| mistake.position);
    mistakes.dedup();
    mistakes.truncate(MISTAKES_MAX);
    mistakes
}

/// One comparison, and how much it has cost so far: a schema comes from a plugin, so its
/// alternatives may be built to take for ever.
struct Checker<'a> {
    schema: &'a Schema,
    steps: usize,
}

impl<'a> Checker<'a> {
    /// What is wrong with a value and everything below it. A value of the wrong type is told once:
    /// what is inside it would only repeat that.
    fn node(&mut self, rule: usize, node: &Node, path: &Path, depth: usize) -> Vec<Mistake> {
        self.steps += 1;
        if depth > DEPTH_MAX || self.steps > STEPS_MAX {
            return vec![mistake(
                node,
                path,
                "the schema is too complex to compare",
                None,
            )];
        }
        let rule = &self.schema.rules[rule];
        if let Some(wrong) = scalar(rule, node, path) {
            return vec![wrong];
        }
        let mut mistakes = Vec::new();
        match &node.value {
            Value::Map(entries) => self.map(rule, (node, entries), path, depth, &mut mistakes),
            Value::List(items) => {
                for (index, item) in items.iter().enumerate() {
                    if let Some(rule) = rule.items {
                        mistakes.extend(self.node(rule, item, &path.index(index), depth + 1));
                    }
                }
            }
            _ => {}
        }
        for parent in &rule.all_of {
            mistakes.extend(self.node(*parent, node, path, depth + 1));
        }
        if !rule.any_of.is_empty() {
            mistakes.extend(self.any(&rule.any_of, node, path, depth));
        }
        mistakes
    }

    /// The fields of a mapping: unknown ones are refused with the nearest known, missing ones
    /// named.
    fn map(
        &mut self,
        rule: &Rule,
        (node, entries): (&Node, &[Entry]),
        path: &Path,
        depth: usize,
        mistakes: &mut Vec<Mistake>,
    ) {
        for entry in entries {
            let below = path.key(&entry.key);
            let property = match (rule.properties.get(&entry.key), rule.additional) {
                (Some(property), _) => *property,
                (None, Additional::Like(property)) => property,
                (None, Additional::Allowed) => continue,
                (None, Additional::Refused) => {
                    mistakes.push(unknown_field(rule, entry, below));
                    continue;
                }
            };
            mistakes.extend(self.node(property, &entry.node, &below, depth + 1));
        }
        for name in &rule.required {
            if !entries.iter().any(|entry| entry.key == *name) {
                let message = format!("the field `{name}` is missing");
                mistakes.push(mistake(node, path, message, None));
            }
        }
    }

    /// Of several alternatives, those of the value's own type are meant; the one with the fewest
    /// mistakes speaks.
    fn any(&mut self, rules: &[usize], node: &Node, path: &Path, depth: usize) -> Vec<Mistake> {
        let mut least: Option<Vec<Mistake>> = None;
        let mut allowed = Vec::new();
        let mut may_be_text = false;
        let (secrets, others): (Vec<&usize>, Vec<&usize>) =
            rules.iter().partition(|it| self.is_secret(**it));
        for rule in others.into_iter().chain(secrets) {
            // Whatever may stand in the document speaks before a secret, which may not.
            if least.is_some() && self.is_secret(*rule) {
                continue;
            }
            let types = self.types_of(*rule, depth);
            may_be_text |= types == [Type::String];
            let fits = types.is_empty() || types.iter().any(|wanted| wanted.allows(node));
            allowed.extend(types);
            if !fits {
                continue;
            }
            let found = self.node(*rule, node, path, depth + 1);
            if found.is_empty() {
                return found;
            }
            if least.as_ref().is_none_or(|least| found.len() < least.len()) {
                least = Some(found);
            }
        }
        if let (Value::Text(text), Some(_)) = (&node.value, &least) {
            let mut known = Known::default();
            self.known(rules, depth, &mut known);
            if !known.words.is_empty() {
                let remedy = known.instead_of(text);
                return vec![mistake(node, path, not_known(text), remedy)];
            }
        }
        let is_bare = matches!(node.value, Value::Number(_) | Value::Bool(_));
        if is_bare && may_be_text && rules.iter().any(|rule| self.is_secret(*rule)) {
            // Text without its quotes is more likely than a secret.
            return vec![wrong_type(&[Type::String], node, path)];
        }
        least.unwrap_or_else(|| vec![wrong_type(&allowed, node, path)])
    }

    fn is_secret(&self, rule: usize) -> bool {
        let rule = &self.schema.rules[rule];
        let mut below = rule.all_of.iter();
        rule.format == Some(Format::Secret)
            || below.any(|below| self.schema.rules[*below].format == Some(Format::Secret))
    }

    /// The types that a rule allows, found through references; none if it does not say.
    fn types_of(&mut self, rule: usize, depth: usize) -> Vec<Type> {
        self.steps += 1;
        let rule = &self.schema.rules[rule];
        if rule.format == Some(Format::Secret) {
            // Whatever else stands in its place has a message of its own.
            return vec![
                Type::Boolean,
                Type::Number,
                Type::String,
                Type::Array,
                Type::Object,
            ];
        }
        if let Some(types) = &rule.types {
            return types.clone();
        }
        let choices = rule.choices.iter().flatten();
        if rule.choices.is_some() && choices.clone().all(Json::is_string) {
            return vec![Type::String];
        }
        let mut types = Vec::new();
        for below in rule.all_of.iter().chain(&rule.any_of) {
            if depth > DEPTH_MAX || self.steps > STEPS_MAX {
                break;
            }
            let of_below = self.types_of(*below, depth + 1);
            if of_below.is_empty() && rule.any_of.contains(below) {
                // One of the alternatives takes anything, so there is nothing to say.
                return Vec::new();
            }
            types.extend(of_below);
        }
        types
    }

    /// What alternatives allow where text stands, and in its place.
    fn known(&mut self, rules: &[usize], depth: usize, known: &mut Known) {
        for rule in rules {
            self.steps += 1;
            if depth > DEPTH_MAX || self.steps > STEPS_MAX {
                return;
            }
            let rule = &self.schema.rules[*rule];
            let choices = rule.choices.iter().flatten();
            let words = choices.filter_map(Json::as_str).map(str::to_owned);
            known.words.extend(words);
            known.fields.extend(rule.properties.keys().cloned());
            self.known(&rule.all_of, depth + 1, known);
            self.known(&rule.any_of, depth + 1, known);
        }
    }
}

/// What alternatives allow.
#[derive(Default)]
struct Known {
    words: Vec<String>,
    /// Fields of mappings that may stand in place of a word.
    fields: Vec<String>,
}

impl Known {
    /// What to write instead of a word.
    fn instead_of(&self, text: &str) -> Option<String> {
        let words = || self.words.iter().map(String::as_str);
        let hint = spelling::hint(text, words());
        if self.fields.is_empty() || spelling::nearest(text, words()).is_some() {
            return hint;
        }
        let field = spelling::nearest(text, self.fields.iter().map(String::as_str));
        Some(match field {
            Some(field) => format!("write a mapping, `{{ {field}: … }}`"),
            None => {
                let fields = spelling::list(&self.fields);
                format!("{}, or a mapping with {fields}", hint.unwrap_or_default())
            }
        })
    }
}

/// A field that nobody knows, at its own place, with the name that was probably meant.
fn unknown_field(rule: &Rule, entry: &Entry, path: Path) -> Mistake {
    Mistake {
        position: entry.position,
        path,
        message: format!("there is no field `{}` here", shorten(&entry.key)),
        remedy: spelling::hint(&entry.key, rule.properties.keys().map(String::as_str)),
    }
}

/// A mistake about a value, at its place.
fn mistake(
    node: &Node,
    path: &Path,
    message: impl Into<String>,
    remedy: Option<String>,
) -> Mistake {
    Mistake {
        position: node.position,
        path: path.clone(),
        message: message.into(),
        remedy,
    }
}

/// What is said of a word that is none of those allowed.
fn not_known(text: &str) -> String {
    format!("`{}` is not known here", shorten(text))
}

/// The beginning of a text that may be long.
fn shorten(text: &str) -> String {
    match text.char_indices().nth(60) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.into(),
    }
}

/// A value of a type that does not fit; YAML reads `1.10` and `true` otherwise than people may
/// mean, so where text is wanted the remedy is quotes.
fn wrong_type(wanted: &[Type], node: &Node, path: &Path) -> Mistake {
    let mut names: Vec<&str> = Vec::new();
    for name in wanted
        .iter()
        .filter(|t| **t != Type::Null)
        .map(|t| t.people())
    {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let quoted =
        wanted.contains(&Type::String) && matches!(node.value, Value::Number(_) | Value::Bool(_));
    let remedy = if quoted {
        "put it in quotes".into()
    } else {
        format!("write {}", names.join(" or "))
    };
    let message = format!("{} does not fit here", node.kind());
    mistake(node, path, message, Some(remedy))
}

/// An example of what a number lacks where an amount with a unit is wanted.
fn unit(rule: &Rule) -> Option<&'static str> {
    match rule.format? {
        Format::Duration | Format::SignedDuration => Some("30s"),
        Format::ByteSize => Some("64MiB"),
        Format::DataType | Format::Name | Format::Secret => None,
    }
}

/// The first thing that is wrong with the value itself.
fn scalar(rule: &Rule, node: &Node, path: &Path) -> Option<Mistake> {
    let wrong =
        |message: String, remedy: Option<String>| Some(mistake(node, path, message, remedy));
    if rule.never {
        return wrong("nothing is allowed here".into(), None);
    }
    if rule.format == Some(Format::Secret) && !matches!(node.value, Value::Map(_)) {
        let remedy = "write `{ env: NAME }` or `{ file: PATH }`";
        return wrong(
            "a secret does not stand in the document".into(),
            Some(remedy.into()),
        );
    }
    if let Some(types) = &rule.types
        && !types.iter().any(|wanted| wanted.allows(node))
    {
        let mut mistake = wrong_type(types, node, path);
        if let (Some(unit), Value::Number(_)) = (unit(rule), &node.value) {
            mistake.remedy = Some(format!("add a unit, such as `{unit}`"));
        }
        return Some(mistake);
    }
    if let Some(choices) = &rule.choices
        && !choices.iter().any(|choice| equal(choice, node))
    {
        return Some(wrong_choice(choices, node, path));
    }
    match &node.value {
        Value::Number(number) => {
            let (message, remedy) = range(rule, number)?;
            wrong(message, Some(remedy))
        }
        Value::Text(text) => {
            let (message, remedy) = text_form(rule, text)?;
            wrong(message, remedy)
        }
        Value::List(items) => {
            let (least, most) = rule.item_count;
            let (message, remedy) = count(items.len(), least, most, "items")?;
            wrong(message, Some(remedy))
        }
        _ => None,
    }
}

/// A value that is none of those allowed.
fn wrong_choice(choices: &[Json], node: &Node, path: &Path) -> Mistake {
    let words: Vec<&str> = choices.iter().filter_map(Json::as_str).collect();
    match &node.value {
        Value::Text(text) if words.len() == choices.len() => {
            let remedy = spelling::hint(text, words);
            mistake(node, path, not_known(text), remedy)
        }
        _ => {
            let listed: Vec<String> = choices.iter().map(Json::to_string).collect();
            let message = format!("{} does not fit here", node.kind());
            let remedy = format!("use one of {}", spelling::list(&listed));
            mistake(node, path, message, Some(remedy))
        }
    }
}

/// Whether a choice is the value; `1` and `1.0` are one number.
fn equal(choice: &Json, node: &Node) -> bool {
    match (choice, &node.value) {
        (Json::Number(a), Value::Number(b)) => a == b || a.as_f64() == b.as_f64(),
        _ => *choice == node.to_json(),
    }
}

/// A number out of its range, with the limit.
fn range(rule: &Rule, number: &serde_json::Number) -> Option<(String, String)> {
    let value = number.as_f64()?;
    let refused = |limit: String| Some((format!("{number} is out of range"), limit));
    if let Some(least) = rule.minimum.filter(|least| value < *least) {
        return refused(format!("at least {least} is allowed"));
    }
    if let Some(most) = rule.maximum.filter(|most| value > *most) {
        return refused(format!("at most {most} is allowed"));
    }
    if let Some(above) = rule.above.filter(|above| value <= *above) {
        return refused(format!("more than {above} is allowed"));
    }
    if let Some(below) = rule.below.filter(|below| value >= *below) {
        return refused(format!("less than {below} is allowed"));
    }
    None
}

/// Too few or too many of something, with the limit.
fn count(
    found: usize,
    least: Option<u64>,
    most: Option<u64>,
    noun: &str,
) -> Option<(String, String)> {
    let found = found as u64;
    if let Some(least) = least.filter(|least| found < *least) {
        return Some((
            format!("{found} {noun} are too few"),
            format!("at least {least} are needed"),
        ));
    }
    if let Some(most) = most.filter(|most| found > *most) {
        return Some((
            format!("{found} {noun} are too many"),
            format!("at most {most} are allowed"),
        ));
    }
    None
}

/// A text of the wrong length or form, with what is wrong and what would be right.
fn text_form(rule: &Rule, text: &str) -> Option<(String, Option<String>)> {
    let (least, most) = rule.chars;
    if let Some((message, remedy)) = count(text.chars().count(), least, most, "characters") {
        return Some((message, Some(remedy)));
    }
    match rule.format? {
        Format::Duration => duration::parse(text).err().map(|e| (e.to_string(), None)),
        Format::SignedDuration => {
            let error = duration::parse_signed(text).err();
            error.map(|e| (e.to_string(), None))
        }
        Format::ByteSize => byte_size::parse(text).err().map(|e| (e.to_string(), None)),
        Format::DataType => data_type::parse(text).err().map(|error| {
            // Inside `{ }` YAML ends a plain text at the comma.
            let cut = text.contains('(') && !text.contains(')');
            let remedy = "put a type that contains a comma in quotes: \"decimal(12,2)\"";
            (error.to_string(), cut.then(|| remedy.into()))
        }),
        Format::Name if !is_name(text) => Some((
            format!("`{}` is not a name", shorten(text)),
            Some("use a to z, 0 to 9, - and _, at most 63, beginning with a letter".into()),
        )),
        Format::Name | Format::Secret => None,
    }
}

/// Names of operators, streams and states.
pub(crate) fn is_name(text: &str) -> bool {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '-';
    text.len() <= 63
        && text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.chars().all(inner)
}

impl Type {
    /// Whether a value is of this type.
    fn allows(self, node: &Node) -> bool {
        match &node.value {
            Value::Null => self == Type::Null,
            Value::Bool(_) => self == Type::Boolean,
            Value::Number(number) => {
                self == Type::Number || (self == Type::Integer && is_whole(number))
            }
            Value::Text(_) => self == Type::String,
            Value::List(_) => self == Type::Array,
            Value::Map(_) => self == Type::Object,
        }
    }

    /// The type in words for people, as in "write a whole number".
    fn people(self) -> &'static str {
        match self {
            Type::Null => "nothing",
            Type::Boolean => "true or false",
            Type::Integer => "a whole number",
            Type::Number => "a number",
            Type::String => "text",
            Type::Array => "a list",
            Type::Object => "a mapping",
        }
    }
}
