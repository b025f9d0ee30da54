//! What all derives need: fields, names, documentation.

use proc_macro2::Ident;
use quote::format_ident;
use syn::{Attribute, Data, DeriveInput, Error, Expr, Field, Fields, Lit, Meta, Result, Variant};

/// The named fields of a struct.
pub(crate) fn named_fields<'i>(input: &'i DeriveInput, derive: &str) -> Result<Vec<&'i Field>> {
    let refuse = || {
        let message = format!("`{derive}` is derived for structs with at least one named field");
        Err(Error::new_spanned(&input.ident, message))
    };
    match &input.data {
        Data::Struct(data) => match &data.fields {
            Fields::Named(fields) if !fields.named.is_empty() => Ok(fields.named.iter().collect()),
            _ => refuse(),
        },
        _ => refuse(),
    }
}

/// The variants of an enum.
pub(crate) fn variants<'i>(input: &'i DeriveInput, derive: &str) -> Result<Vec<&'i Variant>> {
    match &input.data {
        Data::Enum(data) if !data.variants.is_empty() => Ok(data.variants.iter().collect()),
        _ => {
            let message = format!("`{derive}` is derived for enums with variants");
            Err(Error::new_spanned(&input.ident, message))
        }
    }
}

/// The name of a field.
pub(crate) fn ident(field: &Field) -> Ident {
    field
        .ident
        .clone()
        .unwrap_or_else(|| format_ident!("unnamed"))
}

/// `max_per_minute` and `MaxPerMinute` as `max-per-minute`.
pub(crate) fn kebab(ident: &Ident) -> String {
    let mut name = String::new();
    for letter in text(ident).chars() {
        if letter.is_uppercase() && !name.is_empty() {
            name.push('-');
        }
        match letter {
            '_' => name.push('-'),
            letter => name.extend(letter.to_lowercase()),
        }
    }
    name
}

/// An identifier without the `r#` of a keyword.
pub(crate) fn text(ident: &Ident) -> String {
    let text = ident.to_string();
    text.strip_prefix("r#").map(str::to_owned).unwrap_or(text)
}

/// The doc comment, as one paragraph.
pub(crate) fn doc(attributes: &[Attribute]) -> String {
    let mut lines = Vec::new();
    for attribute in attributes {
        if let Meta::NameValue(meta) = &attribute.meta
            && meta.path.is_ident("doc")
            && let Expr::Lit(literal) = &meta.value
            && let Lit::Str(line) = &literal.lit
        {
            lines.push(line.value().trim().to_owned());
        }
    }
    lines.join(" ").trim().to_owned()
}

/// The value of `name = "…"` in an attribute, if it stands there; other keys are refused.
pub(crate) fn name_in(attributes: &[Attribute], attribute: &str) -> Result<Option<String>> {
    let mut name = None;
    for found in attributes
        .iter()
        .filter(|found| found.path().is_ident(attribute))
    {
        found.parse_nested_meta(|meta| {
            if !meta.path.is_ident("name") {
                return Err(meta.error(format!("`{attribute}` knows `name = \"…\"` only")));
            }
            name = Some(meta.value()?.parse::<syn::LitStr>()?.value());
            Ok(())
        })?;
    }
    Ok(name)
}
