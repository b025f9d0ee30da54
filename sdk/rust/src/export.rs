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

/// Makes an aggregate the one that this component exports. On other targets it does nothing, so
/// that tests run natively.
/// ```
/// # use wasmill_sdk::prelude::*;
/// # #[derive(Row)] struct Visit { user: u64 }
/// # struct Visits;
/// # impl Aggregate for Visits {
/// #     const PLUGIN: Plugin = plugin!("visits");
/// #     type Config = (); type Row<'a> = Visit; type Accumulator = u64; type Output = u64;
/// #     fn open(_: (), _: &Start) -> Result<Self, Fault> { Ok(Self) }
/// #     fn create(&self) -> u64 { 0 }
/// #     fn add(&self, n: &mut u64, _: Visit) -> Result<(), Reject> { *n += 1; Ok(()) }
/// #     fn merge(&self, n: &mut u64, other: u64) { *n += other; }
/// #     fn result(&self, n: u64) -> u64 { n }
/// # }
/// wasmill_sdk::export_aggregate!(Visits);
/// # fn main() {}
/// ```
#[macro_export]
macro_rules! export_aggregate {
    ($aggregate:ty) => {
        const _: () = $crate::private::is_aggregate::<$aggregate>();
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            struct Component;

            type Engine = $crate::aggregating::AggregateEngine<$aggregate>;

            ::std::thread_local! {
                static ENGINE: ::std::cell::RefCell<Option<Engine>> =
                    const { ::std::cell::RefCell::new(None) };
            }

            impl $crate::component::AggregateGuest for Component {
                fn describe() -> String {
                    $crate::component::describe_aggregate::<$aggregate>()
                }

                fn open(context: String) -> Result<(), $crate::component::WitFault> {
                    ENGINE.with_borrow_mut(|engine| {
                        $crate::component::open_aggregate(engine, &context)
                    })
                }

                fn add(
                    batch: $crate::component::Buffers,
                ) -> Result<$crate::component::Buffers, $crate::component::WitFault> {
                    let (rows, directory, arena) = (batch.rows, &batch.directory, &batch.arena);
                    ENGINE.with_borrow(|engine| {
                        $crate::component::call_aggregate(engine, |engine| {
                            engine.add(rows, directory, arena)
                        })
                    })
                }

                fn merge(
                    batch: $crate::component::Buffers,
                ) -> Result<$crate::component::Buffers, $crate::component::WitFault> {
                    let (directory, arena) = (&batch.directory, &batch.arena);
                    ENGINE.with_borrow(|engine| {
                        $crate::component::call_aggregate(engine, |engine| {
                            engine.merge(directory, arena)
                        })
                    })
                }

                fn results(
                    batch: $crate::component::Buffers,
                ) -> Result<$crate::component::Buffers, $crate::component::WitFault> {
                    let (directory, arena) = (&batch.directory, &batch.arena);
                    ENGINE.with_borrow(|engine| {
                        $crate::component::call_aggregate(engine, |engine| {
                            engine.results(directory, arena)
                        })
                    })
                }
            }

            $crate::bindings::aggregate::export_window_aggregate!(
                Component with_types_in $crate::bindings::aggregate
            );
        };
    };
}
