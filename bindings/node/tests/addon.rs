//! Makes `cargo test` build the addon with the same features as the rest of the workspace. `cargo xtask test` then runs
//! the JavaScript tests with it.

#[test]
fn addon_is_built_next_to_test_program() {
    let program = std::env::current_exe().expect("a path");
    let name = format!("{}dynamo_lock_node{}", std::env::consts::DLL_PREFIX, std::env::consts::DLL_SUFFIX);
    assert!(program.with_file_name(&name).exists(), "{name} is not next to {}", program.display());
}
