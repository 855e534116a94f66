//! Tells the compiler to embed migrations anew when their folder changes.

fn main() {
    println!("cargo:rerun-if-changed=migrations");
}
