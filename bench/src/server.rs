//! The DynamoDB server: dynoxide over HTTP in a process of its own, with its table in memory.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, ChildStdin, Command, Stdio};

use crate::{Failure, Outcome};

/// A running server. Dropping it ends it.
pub struct Server {
    child: Child,
    /// The write end of the server's standard input, whose end makes the server end too.
    _lifeline: Option<ChildStdin>,
    pub address: SocketAddr,
}

impl Server {
    /// Starts the server on a free port of the loopback interface.
    pub fn start() -> Outcome<Server> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("server").stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn()?;
        let mut line = String::new();
        let stdout = child.stdout.take().ok_or("the server has no standard output")?;
        let read = BufReader::new(stdout).read_line(&mut line);
        let lifeline = child.stdin.take();
        let address = read.map_err(Failure::from).and_then(|_| Ok(line.trim().parse()?));
        match address {
            Ok(address) => Ok(Server { child, _lifeline: lifeline, address }),
            Err(error) => {
                let _ = child.kill();
                let _ = child.wait();
                Err(format!("cannot start the DynamoDB server: {error}").into())
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill(); // an error means that the process has already ended
        let _ = self.child.wait();
    }
}

/// Runs the server's process: prints its address, and ends when its standard input ends.
pub fn run() -> Outcome<()> {
    std::thread::spawn(|| {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        std::process::exit(0);
    });
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        let database = dynoxide::Database::memory().map_err(|error| error.to_string())?;
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        println!("{}", listener.local_addr()?);
        dynoxide::server::serve_on(listener, database).await;
        Ok(())
    })
}
