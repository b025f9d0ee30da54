//! `#[derive(Config)]`.
//!
//! Two things come of a struct: the JSON Schema by which the host checks a pipeline before it runs,
//! and the code that reads the configuration in `open`. Both follow the same fields, so they agree.

use crate::attributes::{doc, ident, kebab, named_fields, variants};
use proc_macro2::TokenStream;
use quote::quote;
use syn::{Data, DeriveInput, Error, Expr, Field, Fields, Result};

pub(crate) fn expand(input: &DeriveInput) -> Result<TokenStream> {
    if !input.generics.params.is_empty() {
        return Err(Error::new_spanned(
            &input.generics,
            "a configuration has no generics",
        ));
    }
    match &input.data {
        Data::Enum(_) => expand_enum(input),
        _ => expand_struct(input),
    }
}

/// A struct of keys.
fn expand_struct(input: &DeriveInput) -> Result<TokenStream> {
    let fields = named_fields(input, "Config")?;
    let name = &input.ident;
    let idents: Vec<_> = fields.iter().map(|field| ident(field)).collect();
    let kinds: Vec<_> = fields.iter().map(|field| &field.ty).collect();
    let keys: Vec<_> = fields.iter().map(|field| kebab(&ident(field))).collect();
    let docs = fields.iter().map(|field| doc(&field.attrs));
    let defaults = fields
        .iter()
        .map(|field| default(field))
        .collect::<Result<Vec<_>>>()?;
    let shown = defaults.iter().map(|default| match default {
        Some(Some(value)) => quote!(::core::option::Option::Some(
            ::wasmill_sdk::private::json!(#value)
        )),
        _ => quote!(::core::option::Option::None),
    });
    let is_optional = defaults.iter().map(|default| default.is_some());
    let fallbacks = defaults
        .iter()
        .zip(&keys)
        .map(|(default, key)| match default {
            Some(Some(value)) => {
                let place = format!("the default of {key}");
                quote!(|| ::core::option::Option::Some(::wasmill_sdk::Setting::read(
                    &::wasmill_sdk::private::json!(#value), #place,
                )))
            }
            Some(None) => quote!(|| ::core::option::Option::Some(::core::result::Result::Ok(
                ::core::default::Default::default()
            ))),
            None => quote!(|| ::core::option::Option::None),
        });
    Ok(quote! {
        #[automatically_derived]
        impl ::wasmill_sdk::Config for #name {}

        #[automatically_derived]
        impl ::wasmill_sdk::Setting for #name {
            fn schema() -> ::wasmill_sdk::private::Json {
                let mut properties = ::wasmill_sdk::private::Map::new();
                let mut required = ::std::vec::Vec::new();
                #(
                    properties.insert(
                        #keys.into(),
                        ::wasmill_sdk::private::annotate(
                            <#kinds as ::wasmill_sdk::Setting>::schema(), #docs, #shown,
                        ),
                    );
                    if !#is_optional && <#kinds as ::wasmill_sdk::Setting>::absent().is_none() {
                        required.push(#keys);
                    }
                )*
                ::wasmill_sdk::private::object_schema(properties, required)
            }

            fn read(
                value: &::wasmill_sdk::private::Json,
                place: &str,
            ) -> ::core::result::Result<Self, ::wasmill_sdk::Fault> {
                let object = ::wasmill_sdk::private::object(value, place, &[#(#keys),*])?;
                ::core::result::Result::Ok(Self {
                    #(#idents: ::wasmill_sdk::private::key::<#kinds>(
                        object, place, #keys, #fallbacks,
                    )?,)*
                })
            }
        }
    })
}

/// An enum of names.
fn expand_enum(input: &DeriveInput) -> Result<TokenStream> {
    let variants = variants(input, "Config")?;
    for variant in &variants {
        if !matches!(variant.fields, Fields::Unit) {
            return Err(Error::new_spanned(
                variant,
                "a choice in a configuration has no fields",
            ));
        }
    }
    let name = &input.ident;
    let idents = variants.iter().map(|variant| &variant.ident);
    let names: Vec<_> = variants
        .iter()
        .map(|variant| kebab(&variant.ident))
        .collect();
    let indexes = 0..variants.len();
    Ok(quote! {
        #[automatically_derived]
        impl ::wasmill_sdk::Setting for #name {
            fn schema() -> ::wasmill_sdk::private::Json {
                ::wasmill_sdk::private::json!({ "enum": [#(#names),*] })
            }

            fn read(
                value: &::wasmill_sdk::private::Json,
                place: &str,
            ) -> ::core::result::Result<Self, ::wasmill_sdk::Fault> {
                ::core::result::Result::Ok(
                    match ::wasmill_sdk::private::choice(value, place, &[#(#names),*])? {
                        #(#indexes => Self::#idents,)*
                        _ => ::core::unreachable!("a choice is one of its names"),
                    },
                )
            }
        }
    })
}

/// `#[config(default)]` or `#[config(default = …)]`.
fn default(field: &Field) -> Result<Option<Option<Expr>>> {
    let mut default = None;
    for attribute in field
        .attrs
        .iter()
        .filter(|found| found.path().is_ident("config"))
    {
        attribute.parse_nested_meta(|meta| {
            if !meta.path.is_ident("default") {
                return Err(meta.error("`config` knows `default` and `default = …` only"));
            }
            default = Some(match meta.input.peek(syn::Token![=]) {
                true => Some(meta.value()?.parse()?),
                false => None,
            });
            Ok(())
        })?;
    }
    Ok(default)
}
