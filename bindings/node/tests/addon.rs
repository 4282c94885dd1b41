//! Has `cargo test` build the addon, with the features that everything else is built with; `cargo xtask test` then runs
//! the package's own tests on it.

#[test]
fn the_addon_is_built() {
    let program = std::env::current_exe().expect("a path");
    let name = format!("{}dynamo_lock_node{}", std::env::consts::DLL_PREFIX, std::env::consts::DLL_SUFFIX);
    assert!(program.with_file_name(&name).exists(), "{name} is beside {}", program.display());
}
