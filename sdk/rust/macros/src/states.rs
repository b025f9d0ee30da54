//! `#[derive(States)]`.
//!
//! Each field is a handle that knows how its state rides with a batch. The struct passes every call
//! of the engine on to all of them, with the state's position as its number.

use crate::attributes::{ident, kebab, named_fields};
use proc_macro2::{Ident, TokenStream};
use quote::{quote, quote_spanned};
use syn::meta::ParseNestedMeta;
use syn::spanned::Spanned;
use syn::{Data, DeriveInput, Error, Expr, Field, LitInt, LitStr, Result, Type};

/// One field with what its attributes say.
struct Declared {
    options: TokenStream,
    bound: bool,
    items_max: TokenStream,
    name: String,
    /// The function that folds it.
    reduce: Option<Expr>,
    /// Older types, and what makes a value of this type of theirs.
    migrations: Vec<(Type, Expr)>,
}

pub(crate) fn expand(input: &DeriveInput) -> Result<TokenStream> {
    if !input.generics.params.is_empty() {
        return Err(Error::new_spanned(
            &input.generics,
            "a struct of states has no generics",
        ));
    }
    let (key, timer) = key_and_timer(input)?;
    let fields = fields(input, timer.is_some())?;
    let timer = timer.unwrap_or_else(|| quote!(()));
    let name = &input.ident;
    let idents: Vec<_> = fields.iter().map(|field| ident(field)).collect();
    let kinds: Vec<_> = fields.iter().map(|field| &field.ty).collect();
    let declared = fields
        .iter()
        .map(|field| declared(field))
        .collect::<Result<Vec<_>>>()?;
    let names: Vec<_> = declared.iter().map(|state| &state.name).collect();
    let options = declared
        .iter()
        .zip(&kinds)
        .map(|(state, kind)| options(state, kind));
    let migrate = migrate(&declared, &kinds);
    let unbound = declared.iter().map(|state| !state.bound);
    let created = declared.iter().zip(&kinds).zip(0..);
    let created = created.map(|((state, kind), ordinal)| create(state, kind, ordinal));
    let handle = quote!(::wasmill_sdk::private::Handle);
    let calls = calls(&idents, &handle);
    // Then there is nobody to pass a call on to.
    let without_fields = fields.is_empty();
    let without_fields = without_fields.then(|| quote!(#[expect(unused_variables)]));
    Ok(quote! {
        #[automatically_derived]
        #without_fields
        impl ::wasmill_sdk::States for #name {
            type Key<'a> = #key;
            type Timer = #timer;
            const MAPS: bool = false #(|| (#unbound && <#kinds as #handle>::IS_MAP))*;
            const KEYED: bool = false #(|| <#kinds as #handle>::IS_KEYED)*;

            #migrate

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
                Self { #(#idents: #created,)* }
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

/// The fields of the struct: none where an operator keeps timers alone.
fn fields(input: &DeriveInput, has_timers: bool) -> Result<Vec<&Field>> {
    match &input.data {
        Data::Struct(data) if data.fields.is_empty() && has_timers => Ok(Vec::new()),
        _ => named_fields(input, "States"),
    }
}

/// The handle of a state. What its type lacks, or does not take, is told at the type.
fn create(state: &Declared, kind: &Type, ordinal: u32) -> TokenStream {
    let (name, bound, items_max) = (&state.name, state.bound, &state.items_max);
    let options = quote!(&::wasmill_sdk::private::HandleOptions {
        ordinal: #ordinal,
        name: #name,
        bound: #bound,
        items_max: #items_max,
    });
    match &state.reduce {
        None => quote_spanned!(kind.span() =>
            <#kind as ::wasmill_sdk::private::Create>::create(#options)),
        Some(reduce) => quote_spanned!(kind.span() =>
            <#kind as ::wasmill_sdk::private::CreateFolded>::create(#options, #reduce)),
    }
}

/// `#[states(key = Account<'a>, timer = Timer)]`.
fn key_and_timer(input: &DeriveInput) -> Result<(TokenStream, Option<TokenStream>)> {
    let (mut key, mut timer) = (quote!(()), None);
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
                false => timer = Some(quote!(#named)),
            }
            Ok(())
        })?;
    }
    Ok((key, timer))
}

/// `#[state(ttl = "30d", column = "merchant", items_max = 10, reduce = max, name = "…")]`.
fn declared(field: &Field) -> Result<Declared> {
    let mut state = Declared {
        options: TokenStream::new(),
        bound: false,
        items_max: quote!(usize::MAX),
        name: kebab(&ident(field)),
        reduce: None,
        migrations: Vec::new(),
    };
    let (mut ttl, mut ttl_time) = (None, quote!("event"));
    for attribute in field
        .attrs
        .iter()
        .filter(|found| found.path().is_ident("state"))
    {
        attribute.parse_nested_meta(|meta| {
            if meta.path.is_ident("migrate") {
                state.migrations.push(migration(&meta)?);
                return Ok(());
            }
            if meta.path.is_ident("reduce") {
                state.reduce = Some(meta.value()?.parse::<Expr>()?);
                return Ok(());
            }
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

const KNOWN: &str =
    "`state` knows `name`, `ttl`, `ttl_time`, `column`, `items_max`, `reduce` and `migrate`";

/// `migrate(from = u32, with = widen)`.
fn migration(meta: &ParseNestedMeta<'_>) -> Result<(Type, Expr)> {
    let (mut from, mut with) = (None, None);
    meta.parse_nested_meta(|part| {
        if part.path.is_ident("from") {
            from = Some(part.value()?.parse::<Type>()?);
        } else if part.path.is_ident("with") {
            with = Some(part.value()?.parse::<Expr>()?);
        } else {
            return Err(part.error("`migrate` knows `from = OLDER TYPE` and `with = FUNCTION`"));
        }
        Ok(())
    })?;
    from.zip(with)
        .ok_or_else(|| meta.error("a migration needs `from = OLDER TYPE` and `with = FUNCTION`"))
}

/// What the descriptor says of a state besides its types.
fn options(state: &Declared, kind: &Type) -> TokenStream {
    let options = &state.options;
    if state.migrations.is_empty() {
        return quote!(#options);
    }
    let from = state.migrations.iter().map(|(from, _)| from);
    quote!(#options "migrates-from": [
        #(<#kind as ::wasmill_sdk::private::Migrates<#from>>::older()),*
    ],)
}

/// The constant and the method of migrations, if a state has any.
fn migrate(declared: &[Declared], kinds: &[&Type]) -> TokenStream {
    let mut arms = TokenStream::new();
    for (state, (of, kind)) in (0_u32..).zip(declared.iter().zip(kinds)) {
        for (migration, (from, with)) in (0_u32..).zip(&of.migrations) {
            arms.extend(quote!((#state, #migration) =>
                <#kind as ::wasmill_sdk::private::Migrates<#from>>::migrate(#with, old, new),));
        }
    }
    if arms.is_empty() {
        return arms;
    }
    quote! {
        const MIGRATES: bool = true;

        fn migrate(
            place: (u32, u32),
            old: (&[u8], &[u8]),
            new: &mut ::wasmill_sdk::private::NewValue<'_>,
        ) -> ::core::result::Result<bool, ::wasmill_sdk::Malformed> {
            match place {
                #arms
                _ => ::core::result::Result::Err(::wasmill_sdk::private::unknown_migration()),
            }
        }
    }
}

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
