//! `#[derive(Timers)]`.
//!
//! A variant's position is its timer's number at the boundary; the descriptor has the names.

use crate::attributes::{kebab, variants};
use proc_macro2::TokenStream;
use quote::quote;
use syn::{DeriveInput, Error, Fields, Result, Variant};

pub(crate) fn expand(input: &DeriveInput) -> Result<TokenStream> {
    let variants = variants(input, "Timers")?;
    let name = &input.ident;
    let processing = variants.iter().map(|variant| is_processing(variant));
    let processing = processing.collect::<Result<Vec<_>>>()?;
    let names = variants.iter().map(|variant| kebab(&variant.ident));
    let idents: Vec<_> = variants.iter().map(|variant| &variant.ident).collect();
    let indexes: Vec<_> = (0..variants.len() as u32).collect();
    Ok(quote! {
        #[automatically_derived]
        impl ::wasmill_sdk::Timers for #name {
            const SPECS: &'static [::wasmill_sdk::private::TimerSpec] = &[
                #(::wasmill_sdk::private::TimerSpec { name: #names, processing: #processing }),*
            ];

            #[inline]
            fn index(self) -> u32 {
                match self { #(Self::#idents => #indexes,)* }
            }

            #[inline]
            fn from_index(index: u32) -> Self {
                match index {
                    #(#indexes => Self::#idents,)*
                    _ => ::core::unreachable!("the engine knows the declared timers only"),
                }
            }
        }
    })
}

/// Whether `#[timer(processing)]` stands there.
fn is_processing(variant: &Variant) -> Result<bool> {
    if !matches!(variant.fields, Fields::Unit) {
        return Err(Error::new_spanned(
            variant,
            "a timer has no fields: keep them in a state",
        ));
    }
    let mut processing = false;
    for attribute in variant
        .attrs
        .iter()
        .filter(|found| found.path().is_ident("timer"))
    {
        attribute.parse_nested_meta(|meta| {
            processing = meta.path.is_ident("processing");
            match processing || meta.path.is_ident("event") {
                true => Ok(()),
                false => Err(meta.error("`timer` knows `event` and `processing` only")),
            }
        })?;
    }
    Ok(processing)
}
