//! Builds the program anew when what it carries changes: `wasmill plugin new` unpacks the SDK and
//! the contract, which no compiler sees as an input of this package.

fn main() {
    for carried in ["../sdk/rust", "../wit"] {
        println!("cargo::rerun-if-changed={carried}");
    }
}
