//! What makes an operator a component.

/// Makes an operator the one that this component exports. On other targets it does nothing, so that
/// tests run natively. `export!(Operator, migrate)` exports its migrations too: see
/// [`States`](trait@crate::States).
/// ```
/// # use wasmill_sdk::prelude::*;
/// # #[derive(Row)] struct Visit { user: u64 }
/// # struct Sample;
/// # impl Operator for Sample {
/// #     const PLUGIN: Plugin = plugin!("sample");
/// #     type Config = (); type Input<'a> = Visit; type Output<'a> = Visit; type State = ();
/// #     fn open(_: (), _: &Start) -> Result<Self, Fault> { Ok(Self) }
/// #     fn process(&mut self, _: Visit, _: &mut Context<'_, Self>) -> Result<(), Reject> {
/// #         Ok(())
/// #     }
/// # }
/// wasmill_sdk::export!(Sample);
/// # fn main() {}
/// ```
#[macro_export]
macro_rules! export {
    ($operator:ty) => {
        const _: () = assert!(
            !<<$operator as $crate::Operator>::State as $crate::States>::MIGRATES,
            "the operator migrates state: write `export!(Operator, migrate)`"
        );
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            $crate::export!(@component $operator);
        };
    };
    ($operator:ty, migrate) => {
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            $crate::export!(@component $operator);

            impl $crate::component::MigrationGuest for Component {
                fn migrate_values(
                    state: u32,
                    migration: u32,
                    old: $crate::component::WitOldValues,
                ) -> Result<$crate::component::WitNewValues, $crate::component::WitFault> {
                    $crate::component::migrate::<$operator>(state, migration, old)
                }
            }

            $crate::bindings::migration::export_migration!(
                Component with_types_in $crate::bindings::migration
            );
        };
    };
    (@component $operator:ty) => {
        struct Component;

        ::std::thread_local! {
            static ENGINE: ::std::cell::RefCell<Option<$crate::engine::Engine<$operator>>> =
                const { ::std::cell::RefCell::new(None) };
        }

        impl $crate::component::Guest for Component {
            fn describe() -> String {
                $crate::component::describe::<$operator>()
            }

            fn open(context: String) -> Result<(), $crate::component::WitFault> {
                ENGINE.with_borrow_mut(|engine| $crate::component::open(engine, &context))
            }

            fn process(
                batch: $crate::component::Buffers,
            ) -> Result<$crate::component::Buffers, $crate::component::WitFault> {
                ENGINE.with_borrow_mut(|engine| $crate::component::process(engine, &batch))
            }
        }

        $crate::bindings::export_component!(Component with_types_in $crate::bindings);
    };
}
