//! `#[derive(Outputs)]`.
//!
//! A variant's position is its output's number, in the descriptor and in the answer.

use crate::attributes::{kebab, name_in, variants};
use proc_macro2::{Ident, TokenStream};
use quote::{ToTokens, quote};
use syn::{DeriveInput, Error, Fields, Lifetime, Result, Type};

pub(crate) fn expand(input: &DeriveInput) -> Result<TokenStream> {
    let variants = variants(input, "Outputs")?;
    let mut names = Vec::new();
    let mut rows: Vec<&Type> = Vec::new();
    for variant in &variants {
        names.push(name_in(&variant.attrs, "output")?.unwrap_or_else(|| kebab(&variant.ident)));
        match &variant.fields {
            Fields::Unnamed(fields) if fields.unnamed.len() == 1 => {
                rows.push(&fields.unnamed[0].ty)
            }
            _ => {
                return Err(Error::new_spanned(
                    variant,
                    "an output is a variant with one row",
                ));
            }
        }
    }
    let name = &input.ident;
    let own = input
        .generics
        .lifetimes()
        .next()
        .map(|first| first.lifetime.clone());
    let (lifetime, generics) = match own {
        Some(own) => (own.clone(), quote!(<#own>)),
        None => (Lifetime::new("'row", input.ident.span()), quote!()),
    };
    let idents: Vec<_> = variants.iter().map(|variant| &variant.ident).collect();
    let ordinals: Vec<_> = (0..variants.len()).collect();
    let impl_generics = quote!(<#lifetime>);
    let conversions = conversions(name, &generics, &rows, &idents);
    Ok(quote! {
        #[automatically_derived]
        impl #impl_generics ::wasmill_sdk::Outputs<#lifetime> for #name #generics {
            fn describe() -> ::std::vec::Vec<::wasmill_sdk::private::Json> {
                ::std::vec![#(::wasmill_sdk::private::describe_output::<#rows>(#names)),*]
            }

            fn shapes() -> ::std::vec::Vec<::std::vec::Vec<::wasmill_sdk::private::Shape>> {
                ::std::vec![#(::wasmill_sdk::private::output_shapes::<#rows>()),*]
            }

            #[inline]
            fn append(&self, outputs: &mut [::wasmill_sdk::private::Rows], cause: u32) {
                match self {
                    #(Self::#idents(row) => {
                        ::wasmill_sdk::private::append_output(row, &mut outputs[#ordinals], cause);
                    })*
                }
            }

            fn read_all(
                batch: &::wasmill_sdk::private::Batch<#lifetime>,
            ) -> ::core::result::Result<
                ::std::vec::Vec<(Self, u32)>, ::wasmill_sdk::Malformed,
            > {
                let mut all = ::std::vec::Vec::new();
                #(
                    let rows = ::wasmill_sdk::private::read_output::<#rows>(
                        batch, #ordinals as u32,
                    )?;
                    all.extend(rows.into_iter().map(|(row, cause)| (Self::#idents(row), cause)));
                )*
                ::core::result::Result::Ok(all)
            }
        }
        #conversions
    })
}

/// `From` each row type into its variant; one that two outputs share does not say which is meant.
fn conversions(
    name: &Ident,
    generics: &TokenStream,
    rows: &[&Type],
    idents: &[&Ident],
) -> TokenStream {
    let text = |row: &Type| row.to_token_stream().to_string();
    let is_unique = |row: &Type| rows.iter().filter(|other| text(other) == text(row)).count() == 1;
    let conversions = rows.iter().zip(idents).filter(|(row, _)| is_unique(row));
    let conversions = conversions.map(|(row, ident)| {
        quote! {
            #[automatically_derived]
            impl #generics ::core::convert::From<#row> for #name #generics {
                #[inline]
                fn from(row: #row) -> Self {
                    Self::#ident(row)
                }
            }
        }
    });
    conversions.collect()
}
