//! Compiles `runtime.proto` with protox, so neither protoc nor a network is needed.

use std::{env, error::Error, fs, path::PathBuf};

use protox::prost::Message;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=runtime.proto");
    let descriptors = protox::compile(["runtime.proto"], ["."])?;
    let out = PathBuf::from(env::var("OUT_DIR")?);
    // Kept for the test that compares the messages with the wire table.
    fs::write(out.join("descriptors.bin"), descriptors.encode_to_vec())?;
    tonic_prost_build::configure()
        // Ordered label maps: what the daemon stores and answers is deterministic.
        .btree_map(".")
        .build_client(env::var_os("CARGO_FEATURE_CLIENT").is_some())
        // An RPC without an implementation answers `Unimplemented` with its name.
        .generate_default_stubs(true)
        .compile_fds(descriptors)?;
    Ok(())
}
