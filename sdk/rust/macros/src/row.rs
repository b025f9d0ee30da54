//! `#[derive(Row)]`.
//!
//! A row is two things. As a `Field` it can stand in another row, as a struct column: reading one
//! is reading each field from its columns, which were bound once a batch. As a `Row` it has columns
//! with names and types, for the descriptor, and may declare features.

use crate::attributes::{ident, kebab, name_in, named_fields, text};
use proc_macro2::{Ident, TokenStream};
use quote::{format_ident, quote};
use syn::{DeriveInput, Error, Field, Lifetime, Lit, LitStr, Result, Type};

/// One field with what its attributes say.
struct Column<'i> {
    ident: Ident,
    kind: &'i Type,
    name: String,
    feature: Option<TokenStream>,
}

pub(crate) fn expand(input: &DeriveInput) -> Result<TokenStream> {
    let fields = named_fields(input, "Row")?;
    let columns = fields.into_iter().map(column).collect::<Result<Vec<_>>>()?;
    let name = name_in(&input.attrs, "row")?.unwrap_or_else(|| kebab(&input.ident));
    let lifetime = lifetime(input)?;
    let struct_name = &input.ident;
    let readers = format_ident!("{}Columns", struct_name);
    let (idents, kinds): (Vec<_>, Vec<_>) = columns
        .iter()
        .map(|column| (&column.ident, column.kind))
        .unzip();
    let field_impl = field_impl(&columns, struct_name, &lifetime, &readers);
    let row_impl = row_impl(&columns, struct_name, &lifetime, &name);
    let visibility = &input.vis;
    let (used, _) = lifetimes(&lifetime);
    Ok(quote! {
        #[doc(hidden)]
        #[derive(Clone)]
        #[allow(missing_docs, non_camel_case_types, unused_lifetimes)]
        #visibility struct #readers<#used> {
            #(#idents: <#kinds as ::wasmill_sdk::Field<#used>>::Column,)*
            of: ::core::marker::PhantomData<&#used ()>,
        }
        #field_impl
        #row_impl
    })
}

/// The lifetime to implement for, and the struct's generics.
fn lifetimes(own: &Option<Lifetime>) -> (Lifetime, TokenStream) {
    match own {
        Some(own) => (own.clone(), quote!(<#own>)),
        None => (
            Lifetime::new("'row", proc_macro2::Span::call_site()),
            quote!(),
        ),
    }
}

/// The struct's own lifetime, by which it borrows from the batch; it has at most one.
fn lifetime(input: &DeriveInput) -> Result<Option<Lifetime>> {
    let mut lifetimes = input.generics.lifetimes();
    let first = lifetimes.next().map(|first| first.lifetime.clone());
    let others = input.generics.params.len() > usize::from(first.is_some());
    match others {
        true => Err(Error::new_spanned(
            &input.generics,
            "a row has at most one lifetime, the batch's, and no other generics",
        )),
        false => Ok(first),
    }
}

/// How the struct is read from columns and appended to them.
fn field_impl(
    columns: &[Column<'_>],
    name: &Ident,
    own: &Option<Lifetime>,
    readers: &Ident,
) -> TokenStream {
    let (lifetime, generics) = lifetimes(own);
    let idents: Vec<_> = columns.iter().map(|column| &column.ident).collect();
    let kinds: Vec<_> = columns.iter().map(|column| column.kind).collect();
    let names: Vec<_> = columns.iter().map(|column| &column.name).collect();
    let field = quote!(::wasmill_sdk::Field<#lifetime>);
    quote! {
        #[automatically_derived]
        impl<#lifetime> #field for #name #generics {
            type Column = #readers<#lifetime>;
            const COLUMNS: usize = 1 #(+ <#kinds as #field>::COLUMNS)*;

            fn type_text(text: &mut ::std::string::String) {
                text.push_str("struct<");
                let mut separator = "";
                #(if <#kinds as #field>::DECLARED {
                    text.push_str(separator);
                    text.push_str(#names);
                    text.push_str(": ");
                    <#kinds as #field>::type_text(text);
                    separator = ", ";
                })*
                let _ = separator;
                text.push('>');
            }

            fn shapes(shapes: &mut ::std::vec::Vec<::wasmill_sdk::private::Shape>) {
                let fields = [#(<#kinds as #field>::DECLARED),*];
                let count = fields.iter().filter(|declared| **declared).count();
                shapes.push(::wasmill_sdk::private::Shape::Struct(count));
                <Self as ::wasmill_sdk::Row<#lifetime>>::row_shapes(shapes);
            }

            fn bind(
                binder: &mut ::wasmill_sdk::private::Binder<#lifetime>,
            ) -> ::core::result::Result<Self::Column, ::wasmill_sdk::Malformed> {
                binder.take_struct();
                <Self as ::wasmill_sdk::Row<#lifetime>>::bind_row(binder)
            }

            #[inline]
            fn read(columns: &Self::Column, row: usize) -> Self {
                Self { #(#idents: <#kinds as #field>::read(&columns.#idents, row),)* }
            }

            fn append(&self, rows: &mut ::wasmill_sdk::private::Rows, column: usize) {
                ::wasmill_sdk::Row::append_row(self, rows, column + 1);
                rows.end_struct(column);
            }

            fn wants_time() -> bool {
                false #(|| <#kinds as #field>::wants_time())*
            }
        }
    }
}

/// What the descriptor says of the struct, and how it is bound as an input or output.
fn row_impl(
    columns: &[Column<'_>],
    name: &Ident,
    own: &Option<Lifetime>,
    row_name: &str,
) -> TokenStream {
    let (lifetime, generics) = lifetimes(own);
    let idents: Vec<_> = columns.iter().map(|column| &column.ident).collect();
    let kinds: Vec<_> = columns.iter().map(|column| column.kind).collect();
    let names: Vec<_> = columns.iter().map(|column| &column.name).collect();
    let features = columns.iter().filter_map(|column| column.feature.as_ref());
    let field = quote!(::wasmill_sdk::Field<#lifetime>);
    let readers = format_ident!("{}Columns", name);
    quote! {
        #[automatically_derived]
        impl<#lifetime> ::wasmill_sdk::Row<#lifetime> for #name #generics {
            const NAME: &'static str = #row_name;

            fn columns() -> ::std::vec::Vec<(&'static str, ::std::string::String)> {
                let mut columns = ::std::vec::Vec::new();
                #(if <#kinds as #field>::DECLARED {
                    columns.push((#names, ::wasmill_sdk::private::type_of::<#kinds>()));
                })*
                columns
            }

            fn features() -> ::std::vec::Vec<::wasmill_sdk::private::Json> {
                ::std::vec![#(#features),*]
            }

            fn bind_row(
                binder: &mut ::wasmill_sdk::private::Binder<#lifetime>,
            ) -> ::core::result::Result<Self::Column, ::wasmill_sdk::Malformed> {
                ::core::result::Result::Ok(#readers {
                    #(#idents: <#kinds as #field>::bind(binder)?,)*
                    of: ::core::marker::PhantomData,
                })
            }

            fn row_shapes(shapes: &mut ::std::vec::Vec<::wasmill_sdk::private::Shape>) {
                #(<#kinds as #field>::shapes(shapes);)*
            }

            #[inline]
            fn append_row(&self, rows: &mut ::wasmill_sdk::private::Rows, first: usize) {
                let column = first;
                #(
                    <#kinds as #field>::append(&self.#idents, rows, column);
                    let column = column + <#kinds as #field>::COLUMNS;
                )*
                let _ = column;
            }
        }
    }
}

/// What a field is as a column.
fn column(field: &Field) -> Result<Column<'_>> {
    let ident = ident(field);
    let (name, feature) = name_and_feature(field)?;
    let name = name.unwrap_or_else(|| text(&ident));
    let feature =
        feature.map(|feature| quote!(::wasmill_sdk::private::json!({ "name": #name, #feature })));
    Ok(Column {
        ident,
        kind: &field.ty,
        name,
        feature,
    })
}

/// `#[row(name = "…", feature(sum = "amount", over = "1h"))]`.
fn name_and_feature(field: &Field) -> Result<(Option<String>, Option<TokenStream>)> {
    let (mut name, mut feature) = (None, None);
    for attribute in field
        .attrs
        .iter()
        .filter(|found| found.path().is_ident("row"))
    {
        attribute.parse_nested_meta(|meta| {
            if meta.path.is_ident("name") {
                name = Some(meta.value()?.parse::<LitStr>()?.value());
                return Ok(());
            }
            if !meta.path.is_ident("feature") {
                return Err(meta.error("`row` knows `name = …` and `feature(…)` only"));
            }
            let mut entries = TokenStream::new();
            meta.parse_nested_meta(|meta| {
                let key = kebab(meta.path.require_ident()?);
                let value = meta.value()?.parse::<Lit>()?;
                entries.extend(quote!(#key: #value,));
                Ok(())
            })?;
            feature = Some(entries);
            Ok(())
        })?;
    }
    Ok((name, feature))
}
