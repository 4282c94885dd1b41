//! The DynamoDB server that the tests talk to over HTTP: ministack, installed once into the cache directory, started
//! on a free loopback port, and ended with us however we end.

use crate::sh;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::Duration;

const REQUIREMENTS: &str = include_str!("../ministack-requirements.txt");
const LAUNCHER: &str = include_str!("ministack.py");

/// Names that a Python may have, the machine's own choice first.
const PYTHONS: [&str; 5] = ["python3", "python3.11", "python3.12", "python3.13", "python"];
/// The oldest Python that the pinned files serve.
const OLDEST: (u32, u32) = (3, 11);
/// Other programs may take a port between our finding it free and the server's taking it.
const TRIES: u32 = 3;
/// 400 × 100 ms: it takes half a second, and forty on a machine that is short of everything.
const POLLS: u32 = 400;
const POLL: Duration = Duration::from_millis(100);

/// A Python that can install and run the server.
struct Python {
    program: &'static str,
    /// `3.11-linux-x86_64`: what compiled files are made for.
    tag: String,
}

/// A server that answers; dropping it ends it.
pub struct Server {
    child: Child,
    /// Our end of its standard input. Out of `child`, whose `wait` would close it.
    _lifeline: Option<ChildStdin>,
    scratch: PathBuf,
    url: String,
}

impl Server {
    /// Installs what is missing, and starts a server.
    pub fn start() -> Result<Server, String> {
        let python = find_python()?;
        let packages = install(&python)?;
        let mut last = String::new();
        for _ in 0..TRIES {
            match Server::on_a_free_port(&python, &packages) {
                Ok(server) => return Ok(server),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Where it answers.
    pub fn url(&self) -> &str {
        &self.url
    }

    fn on_a_free_port(python: &Python, packages: &Path) -> Result<Server, String> {
        let address = free_port().map_err(|error| format!("no free port on the loopback interface: {error}"))?;
        let scratch = std::env::temp_dir().join(format!("dynamo-lock-ministack-{}", std::process::id()));
        let log = scratch.join("log");
        let file = std::fs::create_dir_all(&scratch)
            .and_then(|()| std::fs::File::create(&log))
            .and_then(|file| Ok((file.try_clone()?, file)))
            .map_err(|error| format!("cannot write {}: {error}", log.display()))?;
        let mut command = launcher(python.program, packages, &scratch);
        command
            .env("BIND_HOST", address.ip().to_string())
            .env("GATEWAY_PORT", address.port().to_string())
            // DynamoDB alone, in memory, nothing written outside our own directory.
            .envs([("SERVICES", "dynamodb"), ("PERSIST_STATE", "0"), ("SFTP_ENABLED", "0"), ("IOT_MTLS_ENABLED", "0")])
            .envs([("LOG_LEVEL", "WARNING"), ("USE_SSL", "0"), ("AUTH", "false")])
            .env("TMPDIR", &scratch)
            .stdout(file.0)
            .stderr(file.1);
        let mut child = command.spawn().map_err(|error| sh::cannot_start(&command, &error))?;
        let mut server = Server { _lifeline: child.stdin.take(), child, scratch, url: format!("http://{address}") };
        match server.wait(address) {
            Ok(()) => Ok(server),
            Err(error) => {
                let said = std::fs::read_to_string(&log).unwrap_or_default();
                Err(format!("{error}; it said:\n{}", sh::tail(&said, 20)))
            }
        }
    }

    /// Waits until it answers, a bounded time.
    fn wait(&mut self, address: SocketAddr) -> Result<(), String> {
        for _ in 0..POLLS {
            // Asked first: somebody else may answer at a port that our child did not get.
            if let Some(status) = self.child.try_wait().map_err(|error| error.to_string())? {
                return Err(format!("ministack ended before it answered ({status})"));
            }
            if answers(address) {
                return Ok(());
            }
            std::thread::sleep(POLL);
        }
        Err(format!("ministack did not answer within {:?}", POLL * POLLS))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // A failure here means that it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.scratch);
    }
}

/// `cargo xtask ministack`.
pub fn by_hand() -> Result<bool, String> {
    let mut server = Server::start()?;
    println!("{}\nexport DYNAMO_LOCK_TEST_ENDPOINT={}\nctrl-C ends it", server.url, server.url);
    let status = server.child.wait().map_err(|error| error.to_string())?;
    Err(format!("ministack ended by itself ({status})"))
}

/// The server's process. Its standard input is a pipe that we alone hold and never write to: when we end, also by
/// kill -9, the pipe ends and the server with it.
fn launcher(python: &str, packages: &Path, scratch: &Path) -> Command {
    let mut command = Command::new(python);
    // -I: nobody's own packages or settings.
    command.args(["-I", "-c", LAUNCHER]).args([packages, scratch]).stdin(Stdio::piped());
    command
}

fn free_port() -> std::io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}

/// Whether a ministack with a DynamoDB answers at `address`.
fn answers(address: SocketAddr) -> bool {
    let ask = || -> std::io::Result<String> {
        let limit = Some(Duration::from_secs(2));
        let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(2))?;
        stream.set_read_timeout(limit)?;
        stream.set_write_timeout(limit)?;
        stream.write_all(b"GET /_ministack/health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
        let mut answer = Vec::new();
        stream.take(64 * 1024).read_to_end(&mut answer)?;
        Ok(String::from_utf8_lossy(&answer).into_owned())
    };
    ask().is_ok_and(|answer| {
        answer.lines().next().is_some_and(|status| status.contains(" 200")) && answer.contains("\"dynamodb\"")
    })
}

fn find_python() -> Result<Python, String> {
    const ASK: &str = "import sys, platform, pip; v = sys.version_info; \
                       print(v[0], v[1], sys.platform + '-' + platform.machine())";
    PYTHONS
        .into_iter()
        .find_map(|program| {
            let printed =
                sh::output(Command::new(program).args(["-I", "-c", ASK])).ok().filter(|printed| printed.ok)?;
            python_tag(&printed.stdout).map(|tag| Python { program, tag })
        })
        .ok_or_else(|| format!("no Python {}.{} or later with pip was found: install it", OLDEST.0, OLDEST.1))
}

/// `3.11-linux-x86_64` from `3 11 linux-x86_64`, if that is new enough.
fn python_tag(said: &str) -> Option<String> {
    let mut words = said.split_whitespace();
    let version = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    let machine = words.next()?;
    (version >= OLDEST).then(|| format!("{}.{}-{machine}", version.0, version.1))
}

/// The directory with the server's packages, made if it is not there. Its name carries the pinned list and the
/// Python, so that a new list never meets old files.
fn install(python: &Python) -> Result<PathBuf, String> {
    let name = format!("ministack-{}-{:016x}", python.tag, sh::fnv(REQUIREMENTS.as_bytes()));
    let list = sh::root().join("xtask/ministack-requirements.txt");
    sh::once("ministack", &name, |half| {
        // --target and not a virtual environment: Debian's Python has no ensurepip. Wheels only: nothing is run to
        // install.
        let mut pip = Command::new(python.program);
        pip.args("-I -m pip install --quiet --disable-pip-version-check --no-input --no-warn-conflicts".split(' '))
            .args("--root-user-action ignore --require-hashes --no-deps --only-binary :all:".split(' '))
            .arg("--target")
            .arg(half)
            .arg("--requirement")
            .arg(list)
            .stdin(Stdio::null());
        match sh::output(&mut pip)? {
            printed if printed.ok => Ok(()),
            printed => Err(format!("pip could not install ministack:\n{}", sh::tail(&printed.stderr, 20))),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lines of `list` that pin no version, and packages without a hash.
    fn unpinned(list: &str) -> Vec<String> {
        let text = list.replace("\\\n", " ");
        let packages = text.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#'));
        packages.filter(|line| !line.contains("==") || !line.contains("--hash=sha256:")).map(str::to_owned).collect()
    }

    #[test]
    fn every_package_of_the_server_is_pinned_by_version_and_hash() {
        assert_eq!(unpinned(REQUIREMENTS), [""; 0]);
        assert!(REQUIREMENTS.contains("\nministack=="));
        assert_eq!(unpinned("# a\na==1\nb>=1 --hash=sha256:00\nc==1 \\\n    --hash=sha256:00\n").len(), 2);
    }

    #[test]
    fn an_old_or_silent_python_is_not_taken() {
        assert_eq!(python_tag("3 11 linux-x86_64\n").as_deref(), Some("3.11-linux-x86_64"));
        assert!(python_tag("3 14 darwin-arm64").is_some());
        for said in ["3 9 linux-x86_64", "2 7 linux2-x86_64", "", "Python 3.11"] {
            assert_eq!(python_tag(said), None, "{said}");
        }
    }

    #[test]
    fn nobody_answers_at_a_closed_port_and_a_stranger_is_not_taken_for_the_server() {
        assert!(!answers(free_port().expect("a port")));
        assert!(!answer_of("HTTP/1.1 200 OK\r\n\r\nhello"));
        assert!(!answer_of("HTTP/1.1 503 Busy\r\n\r\n{\"dynamodb\": 1}"));
        assert!(answer_of("HTTP/1.1 200 OK\r\n\r\n{\"dynamodb\": 1}"));
    }

    /// What we make of a server that says `text`.
    fn answer_of(text: &'static str) -> bool {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let address = listener.local_addr().expect("an address");
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a connection");
            let mut asked = [0; 1024];
            let _ = stream.read(&mut asked).expect("a question");
            stream.write_all(text.as_bytes()).expect("an answer");
        });
        let taken = answers(address);
        server.join().expect("the server");
        taken
    }

    #[test]
    fn the_server_ends_when_the_pipe_to_it_ends() {
        let Ok(python) = find_python() else {
            let _ = writeln!(std::io::stdout(), "{}the_server_ends_with_its_pipe: no Python", crate::tally::SKIP_MARK);
            return;
        };
        let directory = std::env::temp_dir().join(format!("dynamo-lock-xtask-{}", std::process::id()));
        let (packages, scratch) = (directory.join("packages"), directory.join("scratch"));
        std::fs::create_dir_all(packages.join("ministack")).expect("a directory");
        std::fs::create_dir(&scratch).expect("a directory");
        let app = "import time\ndef main():\n    print('up', flush=True)\n    time.sleep(3600)\n";
        std::fs::write(packages.join("ministack/app.py"), app).expect("a stand-in");
        let mut command = launcher(python.program, &packages, &scratch);
        let mut child = command.stdout(Stdio::piped()).spawn().expect("a process");
        let mut up = [0; 2];
        child.stdout.as_mut().expect("a pipe").read_exact(&mut up).expect("it runs");
        assert!(child.try_wait().expect("a state").is_none(), "it runs while the pipe is held");
        drop(child.stdin.take());
        assert!(child.wait().expect("an end").success());
        assert!(!scratch.exists() && packages.exists());
        std::fs::remove_dir_all(directory).expect("it is ours");
    }
}
