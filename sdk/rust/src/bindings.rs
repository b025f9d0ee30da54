//! What the WIT of the contract becomes in Rust: the only file of the SDK that knows it.

#![allow(
    missing_docs,
    reason = "generated from the WIT, which carries the documentation"
)]
#![allow(unused_qualifications, unreachable_pub, reason = "generated")]

wit_bindgen::generate!({
    path: "../../wit",
    world: "batch-operator",
    pub_export_macro: true,
    export_macro_name: "export_component",
    default_bindings_module: "wasmill_sdk::bindings",
    runtime_path: "wasmill_sdk::wit_bindgen_rt",
});

/// What an operator exports besides if it migrates state. A world by itself: what a component does
/// not export by its macro is not in it.
pub mod migration {
    wit_bindgen::generate!({
        path: "../../wit",
        world: "state-migration",
        with: { "wasmill:operator/types@0.1.0": crate::bindings::wasmill::operator::types },
        pub_export_macro: true,
        export_macro_name: "export_migration",
        default_bindings_module: "wasmill_sdk::bindings::migration",
        runtime_path: "wasmill_sdk::wit_bindgen_rt",
    });
}

/// What an aggregate exports.
pub mod aggregate {
    wit_bindgen::generate!({
        path: "../../wit",
        world: "window-aggregate",
        with: {
            "wasmill:operator/types@0.1.0": crate::bindings::wasmill::operator::types,
            "wasmill:operator/clock@0.1.0": crate::bindings::wasmill::operator::clock,
            "wasmill:operator/log@0.1.0": crate::bindings::wasmill::operator::log,
            "wasmill:operator/metrics@0.1.0": crate::bindings::wasmill::operator::metrics,
            "wasmill:operator/random@0.1.0": crate::bindings::wasmill::operator::random,
            "wasmill:operator/report@0.1.0": crate::bindings::wasmill::operator::report,
            "wasmill:operator/state@0.1.0": crate::bindings::wasmill::operator::state,
        },
        pub_export_macro: true,
        export_macro_name: "export_window_aggregate",
        default_bindings_module: "wasmill_sdk::bindings::aggregate",
        runtime_path: "wasmill_sdk::wit_bindgen_rt",
    });
}
