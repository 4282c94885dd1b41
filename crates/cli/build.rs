//! Refuses systems on which the command cannot run, before its sources fail to compile there.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if std::env::var_os("CARGO_CFG_UNIX").is_none() {
        println!(
            "cargo::error=the command dynamo-lock supports Linux, macOS and the BSDs only, because it ends the command \
             that it runs by Unix signals; on Windows use WSL, or the library `dynamo-lock` and the Node package"
        );
    }
}
