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
