//! Compiles `runtime.proto` with protox, so neither protoc nor a network is needed.

use std::{env, error::Error, fs, path::PathBuf};

use protox::prost::Message;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=runtime.proto");
    let descriptors = protox::compile(["runtime.proto"], ["."])?;
    let out = PathBuf::from(env::var("OUT_DIR")?);
    // Kept for the test that compares the messages with the wire table.
    fs::write(out.join("descriptors.bin"), descriptors.encode_to_vec())?;
    let mut builder = tonic_prost_build::configure();
    for file in &descriptors.file {
        for message in &file.message_type {
            for field in &message.field {
                let path = format!(".{}.{}.{}", file.package(), message.name(), field.name());
                builder =
                    builder.field_attribute(path, "#[serde(skip_serializing_if = \"crate::is_default\")]");
            }
        }
    }
    builder
        // Ordered label maps: what the daemon stores and answers is deterministic.
        .btree_map(".")
        // A configuration is kept as JSON beside the object it made; defaults are left out.
        .message_attribute(".", "#[derive(serde::Serialize, serde::Deserialize)]")
        .message_attribute(".", "#[serde(default)]")
        .build_server(false)
        .build_client(env::var_os("CARGO_FEATURE_CLIENT").is_some())
        .compile_fds(descriptors.clone())?;
    // The servers apart, because the answers that are asked for all the time are sent as they were encoded before.
    let server = out.join("server");
    fs::create_dir_all(&server)?;
    let mut builder = tonic_prost_build::configure().out_dir(server);
    for answer in ENCODED {
        builder = builder.extern_path(format!(".runtime.v1.{answer}"), "crate::encoded::List");
    }
    builder
        .extern_path(".runtime.v1", "crate")
        .build_client(false)
        // An RPC without an implementation answers `Unimplemented` with its name.
        .generate_default_stubs(true)
        .compile_fds(descriptors)?;
    Ok(())
}

/// Answers of servers that are of the module `encoded`.
const ENCODED: [&str; 4] = [
    "ListContainersResponse",
    "ListPodSandboxResponse",
    "StreamContainersResponse",
    "StreamPodSandboxesResponse",
];
