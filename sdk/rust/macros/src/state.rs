//! `#[derive(State)]`.
//!
//! The encoding is that of a struct in docs/formats/state.md: the fields one after the other. Where
//! all are of fixed width, so is the struct, and reading one is a few loads.

use crate::attributes::{ident, name_in, named_fields, text};
use proc_macro2::TokenStream;
use quote::quote;
use syn::{DeriveInput, Error, Result};

pub(crate) fn expand(input: &DeriveInput) -> Result<TokenStream> {
    if !input.generics.params.is_empty() {
        return Err(Error::new_spanned(
            &input.generics,
            "a state has no generics",
        ));
    }
    let fields = named_fields(input, "State")?;
    let name = &input.ident;
    let idents: Vec<_> = fields.iter().map(|field| ident(field)).collect();
    let kinds: Vec<_> = fields.iter().map(|field| &field.ty).collect();
    let mut names = Vec::new();
    for field in &fields {
        let renamed = name_in(&field.attrs, "state")?;
        names.push(renamed.unwrap_or_else(|| text(&ident(field))));
    }
    let separators = (0..fields.len()).map(|index| if index == 0 { "" } else { ", " });
    Ok(quote! {
        #[automatically_derived]
        impl ::wasmill_sdk::Encode for #name {
            #[inline]
            fn encode(&self, sink: &mut impl ::wasmill_sdk::private::Sink) {
                #(::wasmill_sdk::Encode::encode(&self.#idents, sink);)*
            }
        }

        #[automatically_derived]
        impl ::wasmill_sdk::State for #name {
            const WIDTH: ::core::option::Option<usize> =
                ::wasmill_sdk::private::width_sum(&[#(<#kinds as ::wasmill_sdk::State>::WIDTH),*]);

            fn type_text(text: &mut ::std::string::String) {
                text.push_str("struct<");
                #(
                    text.push_str(#separators);
                    text.push_str(#names);
                    text.push_str(": ");
                    <#kinds as ::wasmill_sdk::State>::type_text(text);
                )*
                text.push('>');
            }

            #[inline]
            fn decode(
                bytes: &mut &[u8],
            ) -> ::core::result::Result<Self, ::wasmill_sdk::Malformed> {
                ::core::result::Result::Ok(Self {
                    #(#idents: <#kinds as ::wasmill_sdk::State>::decode(bytes)?,)*
                })
            }
        }
    })
}
