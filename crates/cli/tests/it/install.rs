//! `install.sh`, with releases in a folder, and the places where `cargo binstall` looks for them.

use std::fs;
use std::io::{BufReader, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::{Finished, Fixture, Request, Running};

/// The platforms of the archives: output of `uname -s` and `uname -m`, and the target.
const PLATFORMS: [(&str, &str, &str); 4] = [
    ("Linux", "x86_64", "x86_64-unknown-linux-musl"),
    ("Linux", "aarch64", "aarch64-unknown-linux-musl"),
    ("Darwin", "x86_64", "x86_64-apple-darwin"),
    ("Darwin", "arm64", "aarch64-apple-darwin"),
];

/// Programs that the installer uses, apart from those that the tests choose.
const TOOLS: &str = "sh cat cut sed wc tar gzip mktemp mkdir cp mv chmod rm";

/// Returns the value of `key` in the table for `cargo binstall`, for version 1.2.3 and this target.
fn binstall(key: &str, target: &str) -> String {
    let manifest = include_str!("../../Cargo.toml");
    let value = manifest.lines().find_map(|line| line.strip_prefix(&format!("{key} = \""))?.strip_suffix('"'));
    let value =
        value.expect("the key is in the manifest").replace("{ version }", "1.2.3").replace("{ target }", target);
    value.replace("{ repo }", env!("CARGO_PKG_REPOSITORY")).replace("{ bin }", "dynamo-lock")
}

/// A release of version 1.2.3 for all platforms, and a `PATH` with chosen programs.
struct Release {
    fixture: Fixture,
    /// Folder with the archives.
    folder: PathBuf,
}

impl Release {
    fn new() -> Self {
        let fixture = Fixture::new();
        let folder = fixture.path("release");
        fs::create_dir(&folder).expect("writable");
        for (_, _, target) in PLATFORMS {
            let program = folder.join(binstall("bin-dir", target));
            fs::create_dir_all(program.parent().expect("a folder")).expect("writable");
            write_script(&program, "echo dynamo-lock 1.2.3");
        }
        let script = "cd release && for name in */; do name=${name%/}; tar -czf $name.tar.gz $name; rm -r $name; done \
                      && if command -v sha256sum; then sha256sum *; else shasum -a 256 *; fi > ../sums && mv ../sums SHA256SUMS";
        fixture.run_script(script).exits_with(0);
        Self { fixture, folder }
    }

    fn url(&self) -> String {
        format!("file://{}", self.folder.display())
    }

    /// Runs the installer on a platform with these programs in addition to [`TOOLS`] and `uname`.
    fn install(&self, (system, processor): (&str, &str), programs: &str, arguments: &[&str]) -> Finished {
        let path = self.fixture.path("path");
        let _ = fs::remove_dir_all(&path);
        fs::create_dir(&path).expect("writable");
        let found = format!("for tool in {TOOLS} {programs}; do printf '%s ' $tool; command -v $tool; done");
        for line in self.fixture.run_script(&found).stdout.lines() {
            let (name, program) = line.split_once(' ').expect("a name");
            symlink(program, path.join(name)).expect("a program");
        }
        write_script(&path.join("uname"), &format!("[ $1 = -s ] && echo {system} || echo {processor}"));
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../install.sh");
        let mut command = self.fixture.command_of("/bin/sh", &[&[script], arguments].concat());
        command.env("PATH", path);
        Running::spawn(command).wait()
    }

    fn installed(&self) -> PathBuf {
        self.fixture.path(".local/bin/dynamo-lock")
    }
}

fn write_script(path: &Path, text: &str) {
    fs::write(path, format!("#!/bin/sh\n{text}\n")).expect("writable");
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("the file exists");
}

/// Names of the programs for downloads and checksums on this system.
fn curl() -> &'static str {
    if cfg!(target_os = "macos") { "curl shasum" } else { "curl sha256sum" }
}

/// Serves the files of a folder to any number of clients, and returns the URL.
fn serve(folder: PathBuf) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("bound"));
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let Ok(request) = Request::read(&mut BufReader::new(&stream)) else { continue };
            let name = request.head.split(' ').nth(1).unwrap_or_default().trim_start_matches('/').to_owned();
            let (status, body) = match fs::read(folder.join(name)) {
                Ok(body) => ("200 OK", body),
                Err(_) => ("404 Not Found", Vec::new()),
            };
            let head = format!("HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", body.len());
            let _client_reports_errors = stream.write_all(&[head.into_bytes(), body].concat());
        }
    });
    url
}

#[test]
fn installer_places_the_program_of_each_platform() {
    let release = Release::new();
    for (system, processor, target) in PLATFORMS {
        let url = binstall("pkg-url", target);
        let archive = url.strip_prefix(concat!(env!("CARGO_PKG_REPOSITORY"), "/releases/download/v1.2.3/"));
        assert!(release.folder.join(archive.expect("a release")).exists(), "{url}");
        let to = release.fixture.path(target);
        let to = to.to_str().expect("UTF-8");
        let finished = release.install((system, processor), curl(), &["--from", &release.url(), "--to", to]);
        let finished = finished.exits_with(0);
        assert_eq!(
            finished.stdout,
            format!("installed dynamo-lock 1.2.3: {to}/dynamo-lock\nadd {to} to PATH to call it as dynamo-lock\n")
        );
        let run = Command::new(format!("{to}/dynamo-lock")).output().expect("it is executable");
        assert_eq!(run.stdout, b"dynamo-lock 1.2.3\n");
    }
}

/// A version replaces the one before, and the default folder is below the home directory. wget loads what curl does.
#[test]
fn installer_uses_wget_and_the_home_directory() {
    let release = Release::new();
    if release.fixture.run_script("command -v wget && command -v sha256sum").code != Some(0) {
        return crate::support::report_skipped("installer_uses_wget_and_the_home_directory", "wget is not installed");
    }
    fs::create_dir_all(release.fixture.path(".local/bin")).expect("writable");
    write_script(&release.installed(), "echo old");
    let url = serve(release.folder.clone());
    let arguments = ["--from", &url, "--version", "v1.2.3"];
    release.install(("Linux", "amd64"), "wget sha256sum", &arguments).exits_with(0);
    assert!(release.fixture.read(".local/bin/dynamo-lock").contains("1.2.3"));
    let finished = release.install(("Linux", "amd64"), "wget sha256sum", &["--from", &format!("{url}/none")]);
    finished.exits_with(1).prints("install.sh: cannot download");
}

/// Each failure leaves the program as it was.
#[test]
fn installer_refuses_what_it_cannot_verify() {
    let release = Release::new();
    fs::create_dir_all(release.fixture.path(".local/bin")).expect("writable");
    write_script(&release.installed(), "echo old");
    let linux = ("Linux", "x86_64");
    let url = release.url();
    let from: &[&str] = &["--from", &url];
    let archive = "dynamo-lock-1.2.3-x86_64-unknown-linux-musl.tar.gz";
    let sums = release.fixture.read("release/SHA256SUMS");
    let replace_sums = |text: &str| fs::write(release.folder.join("SHA256SUMS"), text).expect("writable");

    let fails = |finished: Finished, message: &str| {
        finished.exits_with(1).prints(message);
        assert!(release.fixture.read(".local/bin/dynamo-lock").contains("old"), "{message}");
        assert_eq!(fs::read_dir(release.fixture.path(".local/bin")).expect("a folder").count(), 1, "{message}");
    };
    fails(release.install(("Linux", "riscv64"), curl(), from), "no archive for the processor riscv64");
    fails(release.install(("FreeBSD", "amd64"), curl(), from), "no archive for the system FreeBSD");
    fails(release.install(linux, "sha256sum shasum", from), "neither curl nor wget was found");
    fails(release.install(linux, "curl", from), "neither sha256sum nor shasum was found");
    fails(release.install(linux, curl(), &["--from", "file:///nonexistent"]), "cannot download file:///nonexistent");
    fails(release.install(linux, curl(), &[from, &["--version", "9.9.9"]].concat()), "SHA256SUMS does not name one");
    fails(release.install(linux, curl(), &["--version"]), "--version needs a value");
    fails(release.install(linux, curl(), &["--prefix", "x"]), "unknown argument: --prefix");

    replace_sums(&sums.lines().map(|line| format!("0000{}\n", &line[4..])).collect::<String>());
    fails(release.install(linux, curl(), from), "nothing was installed");
    replace_sums(&format!("{sums}{sums}"));
    fails(release.install(linux, curl(), from), "SHA256SUMS does not name one archive");
    replace_sums(&sums);
    let pack = |script: &str| {
        let name = archive.trim_end_matches(".tar.gz");
        let script = format!(
            "mkdir {name} && {script} > {name}/dynamo-lock && tar -czf release/{archive} {name} && rm -r {name}; \
             cd release; if command -v sha256sum; then sha256sum *.gz; else shasum -a 256 *.gz; fi > SHA256SUMS"
        );
        release.fixture.run_script(&script).exits_with(0);
    };
    pack("printf '#!/bin/sh\\nexit 1'");
    fails(release.install(linux, curl(), from), "does not start on this system");
    pack("printf '#!/bin/sh\\necho dynamo-lock'");
    release.install(linux, curl(), from).exits_with(0);
}
