//! Builds the program anew when what it carries changes: `wasmill plugin new` unpacks the SDK and
//! the contract, which no compiler sees as an input of this package.
#![expect(clippy::print_stdout, reason = "cargo reads a build script's output")]

fn main() {
    for carried in ["../sdk/rust", "../wit"] {
        println!("cargo::rerun-if-changed={carried}");
    }
}
