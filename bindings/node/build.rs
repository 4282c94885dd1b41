//! Configures the linker, because the symbols of Node-API are provided by the Node process.

fn main() {
    napi_build::setup();
}
