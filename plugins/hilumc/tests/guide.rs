//! The guides of `plugins/README.md`, followed: their commands are run and their files written as they stand there, in an empty folder.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a failed step is a failed test")]

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A guide: its fences in order, each with its language, the text before it, and what is in it.
struct Guide(Vec<(String, String, String)>);

impl Guide {
    fn read(title: &str) -> Guide {
        let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md")).unwrap();
        let (_, text) = text.split_once(&format!("\n## {title}\n")).unwrap();
        let text = text.split("\n## ").next().unwrap();
        let mut fences = Vec::new();
        let mut parts = text.split("```");
        while let (Some(before), Some(fence)) = (parts.next(), parts.next()) {
            let (language, code) = fence.split_once('\n').unwrap();
            fences.push((language.to_owned(), before.to_owned(), code.to_owned()));
        }
        Guide(fences)
    }

    /// The file called `name`: the first fence after its name.
    fn file(&self, name: &str) -> &str {
        let found = self.0.iter().find(|(_, before, _)| before.contains(&format!("`{name}`")));
        &found.unwrap_or_else(|| panic!("the guide has no {name}")).2
    }

    /// All commands but those of steps that this test cannot take: installing packages, and what needs containers.
    fn commands(&self) -> String {
        let elsewhere = ["apt-get ", "curl ", "docker "];
        let lines = self.0.iter().filter(|(language, ..)| language == "sh").flat_map(|(.., code)| code.lines());
        lines.filter(|line| !elsewhere.iter().any(|start| line.starts_with(start))).collect::<Vec<_>>().join("\n")
    }
}

/// Programs beside hilumc, in a folder that the guides do not see.
const BIN: &str = ".bin";

/// An empty folder of this test's own, outside of any workspace as far as cargo is concerned: the crate begun in it is its own.
fn empty(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("guide").join(name);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(folder.join(BIN)).unwrap();
    // Stands in for hilum, which is only copied.
    fs::write(folder.join(BIN).join("hilum"), "#!/bin/sh\n").unwrap();
    fs::set_permissions(folder.join(BIN).join("hilum"), fs::Permissions::from_mode(0o755)).unwrap();
    folder
}

/// Runs the guide's commands in `folder`, with hilumc on the path. Whatever it left running is ended with it. Returns all it said.
fn follow(commands: &str, folder: &Path) -> String {
    let tool = Path::new(env!("CARGO_BIN_EXE_hilumc")).parent().unwrap();
    let bin = folder.ancestors().map(|folder| folder.join(BIN)).find(|bin| bin.is_dir()).unwrap();
    let path = format!("{}:{}:{}", bin.display(), tool.display(), std::env::var("PATH").unwrap());
    let output = Command::new("bash")
        .args(["-c", &format!("set -e -m; exec 2>&1; trap 'kill $(jobs -p) 2> /dev/null || true' EXIT\n{commands}\n")])
        .current_dir(folder)
        .env("PATH", path)
        .env_remove("CARGO_TARGET_DIR")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{commands}\n{said}");
    said
}

fn free_port() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string()
}

/// Whether what the guide has led to makes an image without a single library, with `service` in it.
fn makes_an_image(guide: &Guide, folder: &Path, service: &str) {
    hilum_config::load(guide.file("hilum.toml"), Path::new("/hilum.toml"), &|_| None).unwrap();
    // Everything the image copies is there.
    fs::write(folder.join("hilum.toml"), guide.file("hilum.toml")).unwrap();
    for files in guide.file("Dockerfile").lines().filter_map(|line| line.strip_prefix("COPY ")) {
        let (files, _) = files.rsplit_once(' ').unwrap();
        files.split(' ').for_each(|file| assert!(folder.join(file).is_file(), "{file}"));
    }
    let headers = Command::new("readelf").args(["--program-headers", service]).current_dir(folder).output().unwrap();
    let headers = String::from_utf8_lossy(&headers.stdout).into_owned();
    assert!(headers.contains("LOAD") && !headers.contains("INTERP"), "{headers}");
}

#[test]
fn the_guide_leads_to_a_probe_in_rust() {
    let guide = Guide::read("A probe of your own, in Rust");
    let (folder, port) = (empty("rust"), free_port());
    // Begun first, so that the guide's files are compared and the service is there before it is run.
    let commands = guide.commands().replace("7000", &port);
    let (begin, rest) = commands.split_once("\ncd probe-lines\n").unwrap();
    follow(begin, &folder);
    let crate_folder = folder.join("probe-lines");
    assert_eq!(fs::read_to_string(crate_folder.join("settings.json")).unwrap(), guide.file("settings.json"));
    assert!(fs::read_to_string(crate_folder.join("src/lib.rs")).unwrap().starts_with(guide.file("src/lib.rs")));
    fs::write(crate_folder.join("queue.rs"), guide.file("queue.rs").replace("7000", &port)).unwrap();
    let said = follow(rest, &crate_folder);
    assert!(said.contains("test result: ok. 2 passed"), "{said}");
    assert!(said.contains("imports    hilum:host/tcp@0.1.0") && said.contains("\npass ("), "{said}");
    let component = fs::read(crate_folder.join("probe-lines.wasm")).unwrap();
    assert!(!component.windows(5).any(|part| part == b"wasi:") && component.len() < 100_000, "{}", component.len());
    makes_an_image(&guide, &crate_folder, "queue");

    // The same crate elsewhere gives the same bytes.
    let other = empty("rust-again");
    follow("hilumc new --lang rust probe-lines && hilumc build probe-lines --out .", &other);
    assert!(fs::read(other.join("probe-lines.wasm")).unwrap() == component);
}

#[test]
fn the_guide_leads_to_a_probe_in_c_for_a_container_from_scratch() {
    let guide = Guide::read("A probe of your own, in C");
    let (folder, port) = (empty("c"), free_port());
    let commands = guide.commands().replace("7001", &port);
    let (begin, rest) = commands.split_once("\ncd probe-ping\n").unwrap();
    follow(begin, &folder);
    let sources = folder.join("probe-ping");
    fs::write(sources.join("pong.c"), guide.file("pong.c").replace("7001", &port)).unwrap();
    let said = follow(rest, &sources);
    assert!(said.starts_with("ok\n") && said.contains("\npass ("), "{said}");
    makes_an_image(&guide, &sources, "pong");
}
