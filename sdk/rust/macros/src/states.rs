//! `#[derive(States)]`.
//!
//! Each field is a handle that knows how its state rides with a batch. The struct passes every call
//! of the engine on to all of them, with the state's position as its number.

use crate::attributes::{ident, kebab, named_fields};
use proc_macro2::{Ident, TokenStream};
use quote::quote;
use syn::{DeriveInput, Error, Field, LitInt, LitStr, Result, Type};

/// One field with what its attributes say.
struct Declared {
    options: TokenStream,
    bound: bool,
    items_max: TokenStream,
    name: String,
}

pub(crate) fn expand(input: &DeriveInput) -> Result<TokenStream> {
    if !input.generics.params.is_empty() {
        return Err(Error::new_spanned(
            &input.generics,
            "a struct of states has no generics",
        ));
    }
    let fields = named_fields(input, "States")?;
    let (key, timer) = key_and_timer(input)?;
    let name = &input.ident;
    let idents: Vec<_> = fields.iter().map(|field| ident(field)).collect();
    let kinds: Vec<_> = fields.iter().map(|field| &field.ty).collect();
    let declared = fields
        .iter()
        .map(|field| declared(field))
        .collect::<Result<Vec<_>>>()?;
    let names: Vec<_> = declared.iter().map(|state| &state.name).collect();
    let options = declared.iter().map(|state| &state.options);
    let bound = declared.iter().map(|state| state.bound);
    let unbound = declared.iter().map(|state| !state.bound);
    let items_max = declared.iter().map(|state| &state.items_max);
    let ordinals = 0..fields.len() as u32;
    let count = fields.len();
    let handle = quote!(::wasmill_sdk::private::Handle);
    let calls = calls(&idents, &handle);
    Ok(quote! {
        #[automatically_derived]
        impl ::wasmill_sdk::States for #name {
            type Key<'a> = #key;
            type Timer = #timer;
            const MAPS: bool = false #(|| (#unbound && <#kinds as #handle>::IS_MAP))*;
            const COUNT: usize = #count;

            fn describe() -> ::std::vec::Vec<::wasmill_sdk::private::Json> {
                ::std::vec![#(<#kinds as #handle>::describe(
                    #names,
                    ::wasmill_sdk::private::json!({ #options }),
                )),*]
            }

            fn widths() -> ::std::vec::Vec<::wasmill_sdk::private::Widths> {
                ::std::vec![#(<#kinds as #handle>::widths()),*]
            }

            fn create() -> Self {
                Self { #(#idents: #handle::create(&::wasmill_sdk::private::HandleOptions {
                    ordinal: #ordinals,
                    name: #names,
                    bound: #bound,
                    items_max: #items_max,
                }),)* }
            }

            fn load(
                &mut self,
                batch: &::wasmill_sdk::private::Batch<'_>,
                keys: usize,
            ) -> ::core::result::Result<(), ::wasmill_sdk::Malformed> {
                #(#handle::load(&mut self.#idents, batch, keys)?;)*
                ::core::result::Result::Ok(())
            }

            #calls
        }
    })
}

/// `#[states(key = Account<'a>, timer = Timer)]`.
fn key_and_timer(input: &DeriveInput) -> Result<(TokenStream, TokenStream)> {
    let (mut key, mut timer) = (quote!(()), quote!(()));
    for attribute in input
        .attrs
        .iter()
        .filter(|found| found.path().is_ident("states"))
    {
        attribute.parse_nested_meta(|meta| {
            let is_key = meta.path.is_ident("key");
            if !is_key && !meta.path.is_ident("timer") {
                return Err(meta.error("`states` knows `key = …` and `timer = …` only"));
            }
            let named = meta.value()?.parse::<Type>()?;
            match is_key {
                true => key = quote!(#named),
                false => timer = quote!(#named),
            }
            Ok(())
        })?;
    }
    Ok((key, timer))
}

/// `#[state(ttl = "30d", column = "merchant", items_max = 10, name = "…")]`.
fn declared(field: &Field) -> Result<Declared> {
    let mut state = Declared {
        options: TokenStream::new(),
        bound: false,
        items_max: quote!(usize::MAX),
        name: kebab(&ident(field)),
    };
    let (mut ttl, mut ttl_time) = (None, quote!("event"));
    for attribute in field
        .attrs
        .iter()
        .filter(|found| found.path().is_ident("state"))
    {
        attribute.parse_nested_meta(|meta| {
            if meta.path.is_ident("items_max") {
                let items = meta.value()?.parse::<LitInt>()?;
                state.options.extend(quote!("items-max": #items,));
                state.items_max = quote!(#items);
                return Ok(());
            }
            let key = meta.path.require_ident()?.to_string();
            let text = match key.as_str() {
                "name" | "column" | "ttl" | "ttl_time" => meta.value()?.parse::<LitStr>()?,
                _ => return Err(meta.error(KNOWN)),
            };
            match key.as_str() {
                "name" => state.name = text.value(),
                "ttl" => ttl = Some(text),
                "ttl_time" => ttl_time = quote!(#text),
                _ => {
                    state.options.extend(quote!("column": #text,));
                    state.bound = true;
                }
            }
            Ok(())
        })?;
    }
    if let Some(after) = ttl {
        state
            .options
            .extend(quote!("ttl": { "after": #after, "time": #ttl_time },));
    }
    Ok(state)
}

const KNOWN: &str = "`state` knows `name`, `ttl`, `ttl_time`, `column` and `items_max`";

/// The methods that only pass a call on to each state.
fn calls(idents: &[Ident], handle: &TokenStream) -> TokenStream {
    quote! {
        #[inline]
        fn seek(&mut self, key: usize, row: ::core::option::Option<usize>) {
            #(#handle::seek(&mut self.#idents, key, row);)*
        }

        fn undo(&mut self) {
            #(#handle::undo(&mut self.#idents);)*
        }

        fn fetch(&mut self) -> ::core::result::Result<(), ::wasmill_sdk::Malformed> {
            #(#handle::fetch(&mut self.#idents)?;)*
            ::core::result::Result::Ok(())
        }

        fn put<P: ::wasmill_sdk::private::Put>(&self, put: &mut P) {
            #(#handle::put(&self.#idents, put);)*
        }
    }
}
