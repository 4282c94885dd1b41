//! The DynamoDB server for tests over HTTP: ministack, installed once into the cache directory, started on a free
//! loopback port, and ended together with this process.

use crate::sh;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};

const REQUIREMENTS: &str = include_str!("../ministack-requirements.txt");
const LAUNCHER: &str = include_str!("ministack.py");

/// A running server. Dropping it ends it.
pub struct Server {
    child: Child,
    /// The write end of the server's standard input. Kept outside of `child`, because `Child::wait` would close it.
    _lifeline: Option<ChildStdin>,
    scratch: PathBuf,
    url: String,
}

impl Server {
    /// Installs what is missing, and starts a server. It tries three times, because another program may take the port
    /// between the search for a free one and its use.
    pub fn start() -> Result<Server, String> {
        let (python, tag) = find_python()?;
        let packages = install(python, &tag)?;
        let first = Server::launch(python, &packages);
        first.or_else(|_| Server::launch(python, &packages)).or_else(|_| Server::launch(python, &packages))
    }

    /// Returns the URL at which the server answers.
    pub fn url(&self) -> &str {
        &self.url
    }

    fn launch(python: &str, packages: &Path) -> Result<Server, String> {
        let scratch = std::env::temp_dir().join(format!("dynamo-lock-ministack-{}", std::process::id()));
        let log = scratch.join("log");
        let file = std::fs::create_dir_all(&scratch).and_then(|()| std::fs::File::create(&log));
        let file = file.map_err(|error| format!("cannot write {}: {error}", log.display()))?;
        let mut command = launcher(python, packages, &scratch);
        command.stdout(Stdio::piped()).stderr(file);
        let mut child = command.spawn().map_err(|error| sh::cannot_start(&command, &error))?;
        let (lifeline, stdout) = (child.stdin.take(), child.stdout.take());
        let mut server = Server { child, _lifeline: lifeline, scratch, url: String::new() };
        // The launcher prints one line once the server answers, or ends within about a minute.
        let read = stdout.map(|stdout| BufReader::new(stdout).read_line(&mut server.url));
        server.url.truncate(server.url.trim_end().len());
        match read {
            Some(Ok(_)) if server.url.starts_with("http://") => Ok(server),
            _ => {
                let output = std::fs::read_to_string(&log).unwrap_or_default();
                Err(format!("ministack did not start; its output was:\n{}", sh::tail(&output, 20)))
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Errors are ignored, because they mean that the process has already ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.scratch);
    }
}

/// Runs `cargo xtask ministack`.
pub fn run_until_interrupted() -> Result<bool, String> {
    let mut server = Server::start()?;
    println!("{}\nexport DYNAMO_LOCK_TEST_ENDPOINT={}\nctrl-C ends it", server.url, server.url);
    let status = server.child.wait().map_err(|error| error.to_string())?;
    Err(format!("ministack ended by itself ({status})"))
}

/// Returns the command of the server's process. `-I` keeps the user's own packages and settings out of it.
fn launcher(python: &str, packages: &Path, scratch: &Path) -> Command {
    let mut command = Command::new(python);
    command.args(["-I", "-c", LAUNCHER]).args([packages, scratch]).stdin(Stdio::piped());
    command
}

/// Returns a Python of version 3.11 or later that has pip, and a tag such as `3.11-linux-x86_64` for compiled files.
pub fn find_python() -> Result<(&'static str, String), String> {
    const PROBE: &str = "import sys, platform, pip; v = sys.version_info; assert v >= (3, 11); \
                         print(f'{v[0]}.{v[1]}-{sys.platform}-{platform.machine()}')";
    let probe = |program| sh::stdout(Command::new(program).args(["-I", "-c", PROBE])).ok();
    let candidates = ["python3", "python3.11", "python3.12", "python3.13", "python"];
    let found = candidates.into_iter().find_map(|program| Some((program, probe(program)?.trim().to_owned())));
    found.ok_or_else(|| "no Python 3.11 or later with pip was found: install it".to_owned())
}

/// Returns the directory with the server's packages, and creates it if necessary.
fn install(python: &str, tag: &str) -> Result<PathBuf, String> {
    install_packages("ministack", python, tag, REQUIREMENTS, "xtask/ministack-requirements.txt")
}

/// Installs the packages of a pinned list once, and returns their directory. Its name contains a hash of the list and
/// the Python's tag, so that a new list never meets old files.
pub fn install_packages(what: &str, python: &str, tag: &str, list: &str, file: &str) -> Result<PathBuf, String> {
    let name = format!("{what}-{tag}-{:016x}", sh::fnv(list.as_bytes()));
    sh::once(what, &name, |to| {
        // --target instead of a virtual environment, because Debian's Python has no ensurepip. Only wheels, so that no
        // code runs during the installation.
        let mut pip = Command::new(python);
        pip.args("-I -m pip install --quiet --disable-pip-version-check --no-input --no-warn-conflicts".split(' '))
            .args("--root-user-action ignore --require-hashes --no-deps --only-binary :all: --target".split(' '))
            .arg(to)
            .arg("--requirement")
            .arg(sh::root().join(file))
            .stdin(Stdio::null());
        sh::stdout(&mut pip).map(drop)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    /// Starts the launcher with a stand-in for the server and lets its standard input end.
    #[test]
    fn server_ends_when_its_standard_input_ends() {
        let Ok((python, _)) = find_python() else {
            let _ = writeln!(std::io::stdout(), "{}server_ends: no Python", crate::tally::SKIP_MARK);
            return;
        };
        let folder = std::env::temp_dir().join(format!("dynamo-lock-xtask-{}", std::process::id()));
        let (packages, scratch) = (folder.join("packages"), folder.join("scratch"));
        std::fs::create_dir_all(packages.join("ministack")).expect("writable");
        std::fs::create_dir(&scratch).expect("writable");
        let app = "import http.server, os\nclass H(http.server.BaseHTTPRequestHandler):\n    def do_GET(self):\n        \
                   self.send_response(200)\n        self.end_headers()\n        self.wfile.write(b'\"dynamodb\"')\n\
                   def main():\n    http.server.HTTPServer(('127.0.0.1', int(os.environ['GATEWAY_PORT'])), H).serve_forever()\n";
        std::fs::write(packages.join("ministack/app.py"), app).expect("writable");
        let mut child = launcher(python, &packages, &scratch).stdout(Stdio::piped()).spawn().expect("Python starts");
        let mut url = String::new();
        BufReader::new(child.stdout.take().expect("a pipe")).read_line(&mut url).expect("a line");
        assert!(url.starts_with("http://127.0.0.1:"), "{url:?}");
        assert!(child.try_wait().expect("a state").is_none(), "the server runs while the pipe is open");
        drop(child.stdin.take());
        assert!(child.wait().expect("an end").success());
        assert!(!scratch.exists() && packages.exists());
        std::fs::remove_dir_all(folder).expect("removable");
    }
}
